"""全部的练习和先猜，一节一格。"""

from helpers.arguments import brief
from helpers.exercises import section_7_1, section_7_2, section_7_3, section_7_4, section_7_5, section_7_6, section_7_7
from helpers.exercises.exercise import Exercise
from helpers.exercises.guesses import Guess

SHELF = {"7.1": section_7_1, "7.2": section_7_2, "7.3": section_7_3, "7.4": section_7_4, "7.5": section_7_5,
         "7.6": section_7_6, "7.7": section_7_7}


def exercises(section: str) -> tuple[Exercise, ...]:
    """一节的练习，如 `exercises("7.1")`；没有这一节时抛出 ValueError。"""
    return _of(section).EXERCISES


def guesses(section: str) -> tuple[Guess, ...]:
    """一节的先猜；没有这一节时抛出 ValueError。"""
    return _of(section).GUESSES


def _of(section: str):
    if not isinstance(section, str) or section not in SHELF:
        raise ValueError(f"没有第 {brief(section)} 节；有的是 {'、'.join(SHELF)}，节号是文字，如 exercises('7.1')。")
    return SHELF[section]
