"""每一道练习：参考答案过得了自己的检查，错的、没有写的、走不完的各是各的。"""

import json
import signal
import threading
import types

import nbformat
import pytest
import torch
from support.answers import exercise, told
from torch import nn

from helpers import exercises
from helpers.exercises.coding import Code
from helpers.exercises.contests import RECORDED, Contest
from helpers.exercises.designing import Design
from helpers.exercises.predicting import Number, Shape
from helpers.exercises.report import document
from helpers.exercises.shelf import SHELF, guesses

ALL = [each for section in SHELF for each in exercises(section)]
EVERY = pytest.mark.parametrize("each", ALL, ids=lambda each: each.key)


@EVERY
def test_the_reference_answer_passes_its_own_check(each):
    assert each.check(each.answer()).outcome == "对"


@pytest.mark.parametrize("each, code", [(each, code) for each in ALL if isinstance(each, Design)
                                        for code in each.others], ids=lambda value: getattr(value, "key", ""))
def test_other_designs_pass_too(each, code):
    net = each.execute(code)["answer"]
    assert each.check(net).outcome == "对"
    assert sum(p.numel() for p in net.parameters()) != sum(p.numel() for p in each.answer().parameters())


@EVERY
def test_nothing_written_yet_is_not_wrong_and_not_noted(each, runs_folder):
    names = {}
    exec(each.stub, names)  # 笔记本里的那一格
    written = names[each.function] if isinstance(each, Code) else names[each.stub.split()[0]]
    assert each.check(written).outcome == each.check().outcome == each.check(None).outcome == "还没有作答"
    assert not runs_folder.exists()


@EVERY
def test_an_answer_of_the_wrong_kind_is_not_a_wrong_answer(each):
    verdict = each.check(object())
    assert verdict.outcome == "出错" and not verdict.mistakes


@EVERY
def test_three_hints_and_a_solution_that_runs(each):
    assert len({each.hint(n).text for n in (1, 2, 3)}) == 3
    assert each.hint(1).text != each.hint().text == each.hint(2).text
    with pytest.raises(ValueError, match="1 到 3"):
        each.hint(4)
    assert each.code in each.solution().text


@pytest.mark.parametrize("each", [each for each in ALL if isinstance(each, Number | Shape)], ids=lambda each: each.key)
def test_every_mistake_of_a_number_is_recognized_by_its_number(each):
    assert len(each.misled) >= 4
    for mistake, value in each.misled.items():
        assert mistake in each.check(value).mistakes


@pytest.mark.parametrize("each", [each for each in ALL if isinstance(each, Code)], ids=lambda each: each.key)
def test_every_mistake_of_a_function_is_recognized_by_its_function(each):
    assert len(each.misled) >= 4
    for mistake, function in each.misled.items():
        verdict = each.check(function)
        assert verdict.outcome == "出错" or verdict.mistakes == (mistake,)  # 有的想法在有的输入上走不通


BOOK = {"6.6": 4, "7.1": 5, "7.2": 4, "7.3": 4, "7.4": 3, "7.5": 7, "7.6": 5, "7.7": 5}  # 书上各节有几题


def test_every_question_of_the_book_is_covered():
    asked = {f"{section}.{i}" for section, count in BOOK.items() for i in range(1, count + 1)}
    covered = {question for each in ALL for question in each.covers}
    assert covered <= asked
    assert covered == asked or len(SHELF) < 7


def test_at_least_five_a_section_and_kinds_mixed():
    for section in SHELF:
        assert len(exercises(section)) >= 5 and len({each.kind for each in exercises(section)}) >= 4
        assert guesses(section)
    assert len({each.key for each in ALL}) == len(ALL)


def test_recorded_experiments_are_those_of_today():
    found = json.loads(RECORDED.read_text(encoding="utf-8"))
    slow = {each.key: each.code for each in ALL if isinstance(each, Contest) and each.slow}
    assert {key: run["code"] for key, run in found.items()} == slow
    assert all(len(run["seeds"]) >= 5 for run in found.values())


def test_all_solutions_are_in_one_document():
    text = document()
    assert all(each.question in text and each.code in text for each in ALL)
    nbformat.v4.new_markdown_cell(text)


def endless(X, K, b):
    while True:
        pass


def test_an_endless_loop_that_is_interrupted_is_an_error():
    convolve = exercise("7.1", "convolve")
    assert convolve.check(convolve.answer()).outcome == "对"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    try:
        verdict = convolve.check(endless)
    finally:
        signal.signal(signal.SIGINT, before)
    assert verdict.outcome == "出错" and "中断" in verdict.text
    assert convolve.check(convolve.answer()).outcome == "对"


@pytest.mark.parametrize("error", [ZeroDivisionError("除数"), RecursionError(), SystemExit(3), KeyError("K")])
def test_an_exception_in_the_readers_code_is_an_error_and_names_itself(error):
    def convolve(X, K, b):
        raise error
    verdict = exercise("7.1", "convolve").check(convolve)
    assert verdict.outcome == "出错" and type(error).__name__ in verdict.text and not verdict.mistakes


def test_a_network_that_raises_is_an_error():
    class Broken(nn.Module):
        def forward(self, X):
            return X[0][undefined]  # noqa: F821

    assert told("7.1", "half", Broken()) == ("出错", set())
    assert told("7.1", "half", lambda: 1 / 0) == ("出错", set())


def test_the_readers_random_numbers_are_his_own():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    exercise("7.1", "convolve").check(lambda X, K, b: torch.rand(3))
    assert torch.equal(torch.rand(1), expected)


def test_how_far_off_and_in_which_direction():
    number = exercise("7.1", "second-conv")
    assert "偏大了 84" in number.check(2500).text and "偏小了 16" in number.check(2400).text
    assert number.check(torch.tensor(2416)).outcome == "对" and number.check(True).outcome == "出错"


def test_two_mistakes_with_the_same_number_are_both_named():
    assert len(exercise("7.1", "original-input").check(400).mistakes) == 3


def test_a_function_that_returns_a_constant_is_an_attempt():
    def convolve(X, K, b):
        return 1
    assert exercise("7.1", "convolve").check(convolve).outcome == "不对"

    def documented(X, K, b):
        """还没有写。"""
    assert exercise("7.1", "convolve").check(documented).outcome == "还没有作答"


def test_another_shape_is_told_as_a_shape_and_functions_by_their_names():
    told = exercise("7.1", "convolve").check(lambda X, K, b: X[:1, :1]).text
    assert told.endswith("的形状应当是 (2, 2)，你的是 (1, 1)。")
    assert "[函数 sin, 函数 neg]" in exercise("7.5", "inception").check(lambda X, paths: [X, X]).text


def test_a_number_may_be_a_tensor_without_axes():
    field = exercise("7.3", "receptive-field")
    assert field.check(lambda layers: torch.tensor(field.truth(layers))).outcome == "对"
    assert field.check(lambda layers: torch.tensor([field.truth(layers)])).outcome == "不对"


def test_a_function_that_takes_other_arguments_is_told_which():
    verdict = exercise("7.1", "convolve").check(lambda X, K: X)
    assert verdict.outcome == "出错" and "X, K, b" in verdict.text
    assert exercise("7.1", "convolve").check(lambda *all: 1).outcome == "不对"


def test_what_an_exception_says_keeps_its_quotes():
    def convolve(X, K, b):
        return (1,).nothing
    text = exercise("7.1", "convolve").check(convolve).text
    assert "AttributeError：'tuple' object has no attribute 'nothing'（" in text


def test_a_section_that_is_not_there_is_refused():
    for section in ("7.9", 7.1, None):
        with pytest.raises(ValueError, match="没有第"):
            exercises(section)


def test_the_line_that_failed_is_the_readers(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text("def convolve(X, K, b):\n    wanted = K.nothing\n    return X\n", encoding="utf-8")
    module = types.ModuleType("cell")
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    assert "第 2 行：wanted = K.nothing" in exercise("7.1", "convolve").check(module.convolve).text
