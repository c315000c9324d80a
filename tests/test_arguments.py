"""arguments.py：什么算整数、什么算数；不对时一句话。"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from helpers.arguments import between, brief, flag, instance, listed, number, whole

META = torch.empty((), device="meta", dtype=torch.int64)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers(value):
    assert whole(value) == 3 and type(whole(value)) is int
    assert number(value) == 3 and type(number(value)) is float
    assert between("n", value, 3, 3) == 3 == between("n", value, 1)


@pytest.mark.parametrize("value", [True, np.bool_(True), torch.tensor(True), 2.0, np.float32(2), "3", None, [3], 1j,
                                   np.array([3]), torch.tensor([3]), Decimal(3), META, float("nan")])
def test_what_is_no_whole_number(value):
    assert whole(value) is None
    with pytest.raises(ValueError, match="n 应当是正整数，收到的是"):
        between("n", value, 1)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)])
def test_numbers(value):
    assert number(value) == 0.5 and type(number(value)) is float


@pytest.mark.parametrize("value", [True, np.bool_(True), torch.tensor(True), "0.5", None, 1j, np.array([0.5]), META,
                                   float("nan"), float("inf"), -float("inf"), 1e39, 10**400])
def test_what_is_no_number(value):
    assert number(value) is None


@pytest.mark.parametrize("low, high, words", [
    (2, 5, "n 应当是 2 到 5 之间的整数"), (1, None, "n 应当是正整数"), (0, None, "n 应当是不小于 0 的整数")])
def test_the_limits_are_named(low, high, words):
    for value in (low - 1, *([high + 1] if high else [])):
        with pytest.raises(ValueError, match=f"{words}，收到的是 {value}。"):
            between("n", value, low, high)
    assert between("n", low, low, high) == low and (high is None or between("n", high, low, high) == high)


def test_the_kind_is_named():
    assert instance("a", str, "要文字") == "a" and instance(3, (str, int), "要文字") == 3
    with pytest.raises(TypeError, match="要文字，收到的是 3。加上引号"):
        instance(3, str, "要文字", "加上引号。")


@pytest.mark.parametrize("value", [[1, 2], (1, 2), range(1, 3), np.array([1, 2]), torch.tensor([1, 2]), {1: 0, 2: 0},
                                   iter([1, 2])])
def test_several_become_a_list(value):
    assert listed("n", value) == [1, 2]


def test_each_of_several_is_checked_and_they_are_counted():
    assert listed("n", "ab", lambda name, value, *rest: (name, value, *rest), 3) == [("n[0]", "a", 3), ("n[1]", "b", 3)]
    assert listed("n", (), least=0) == [] == listed("n", (), count=0)
    with pytest.raises(ValueError, match=r"n\[1\] 应当是正整数"):
        listed("n", (1, 0), between, 1)
    for options, words in (({}, "至少有 1 个，收到 0 个"), ({"count": 2}, "2 个，收到 0 个")):
        with pytest.raises(ValueError, match=words):
            listed("n", (), **options)


@pytest.mark.parametrize("value", [None, 3, np.array(3), torch.tensor(3), torch.empty(3, device="meta")])
def test_what_is_not_several(value):
    with pytest.raises(TypeError, match="n 应当是一串"):
        listed("n", value)


@pytest.mark.parametrize("value", [True, 1, np.bool_(True), torch.tensor(True), torch.tensor([1]), "x"])
def test_what_is_true(value):
    assert flag("n", value) is True


@pytest.mark.parametrize("value", [torch.rand(3), np.zeros(2), torch.empty((), device="meta")])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(TypeError, match="n 应当是 True 或 False"):
        flag("n", value)


def test_what_was_given_is_shown_on_one_line():
    assert brief("甲") == "'甲'" and brief(np.array([[1], [2]])).count("\n") == 0
    assert brief("x" * 78) == repr("x" * 78) and brief("x" * 79) == "'" + 75 * "x" + " ……"
