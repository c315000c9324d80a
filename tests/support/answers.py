"""一节的练习，和检查之后认出的想错的办法。"""

import pytest

from helpers import exercises


def exercise(section, name):
    """一道练习。"""
    [found] = [each for each in exercises(section) if each.name == name]
    return found


def told(section, name, answer):
    """检查一个答案：(结果, 认出的想错的办法)。"""
    verdict = exercise(section, name).check(answer)
    return verdict.outcome, {mistake.key for mistake in verdict.mistakes}


def cases(wrong):
    """{名字: [(答案, 想错的办法), …]} 摊开成参数。"""
    return [pytest.param(name, answer, keys, id=f"{name}-{i}")
            for name, answers in wrong.items() for i, (answer, keys) in enumerate(answers)]
