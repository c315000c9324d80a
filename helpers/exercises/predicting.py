"""先算出来的一个数，或者一个形状。"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from helpers.arguments import brief, number, whole
from helpers.exercises.exercise import Exercise
from helpers.exercises.guard import ReaderError
from helpers.exercises.miscounts import MISCOUNTED_MACS, MISCOUNTED_PARAMS, Count, Piece
from helpers.exercises.verdict import Mistake, Verdict, wrong

NO_BATCH = Mistake("no_batch", "漏了批量那一维：它在最前面。")
EXTRA_BATCH = Mistake("extra_batch", "多写了批量那一维：问的是一张图。")
ORDER = Mistake("order", "数都对，次序不对：先通道，再高，再宽。")


@dataclass(kw_only=True, eq=False)
class Number(Exercise):
    """一个数。

    mistakes: 想错的每一种到它会得到的数，从网络算；parts: 数参数或乘加的题，是哪几层，常见的数错由它们算。
    counting: 数的是什么，"params" 或 "macs"；within: 差多少以内也算对（相对的）。
    remark: 答对之后说的一句。
    """

    mistakes: Mapping[Mistake, Callable[[], float]] = field(default_factory=dict)
    parts: Callable[[], list[Piece]] | None = None
    counting: str = "params"
    within: float = 0.0
    remark: str = ""

    kind = "先算"

    def judge(self, answer: Any) -> Verdict:
        """与参考答案比；不对就看是哪几种想错的得到它。"""
        value = number(answer)
        if value is None:
            raise ReaderError(f"答案应当是一个数，收到的是 {brief(answer)}。")
        truth = self.truth
        if self._close(value, truth):
            return Verdict("对", self.remark)
        found = tuple(mistake for mistake, number in self.misled.items() if self._close(value, number))
        return wrong(_distance(value, truth), found)

    @cached_property
    def misled(self) -> dict[Mistake, float]:
        """想错的每一种得到的数；恰好与正确的相同的、一个也没有数到的不算。"""
        truth, found = self.truth, {}
        if self.parts:
            parts = self.parts()
            table: dict[Mistake, Count] = MISCOUNTED_PARAMS if self.counting == "params" else MISCOUNTED_MACS
            found = {mistake: count(parts) for mistake, count in table.items()}
        found |= {mistake: compute() for mistake, compute in self.mistakes.items()}
        return {mistake: value for mistake, value in found.items() if value and not self._close(value, truth)}

    def _close(self, value: float, other: float) -> bool:
        return math.isclose(value, other, rel_tol=max(self.within, 1e-9))


def _distance(value: float, truth: float) -> str:
    """偏大还是偏小，差多少。"""
    gap = abs(value - truth)
    ratio = value / truth if truth else 1
    part = f"，差 {gap / abs(truth):.1%}" if 0.5 < ratio < 2 else f"，是正确的 {ratio:.3g} 倍"
    return f"{_plain(value)} 偏{'大' if value > truth else '小'}了 {_plain(gap)}{part}。"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


@dataclass(kw_only=True, eq=False)
class Shape(Exercise):
    """一个形状。mistakes: 想错的每一种到它会得到的形状，从网络算；remark: 答对之后说的一句。"""

    mistakes: Callable[[], Mapping[Mistake, Sequence[int]]]
    batch: bool = False  # 问的形状带不带批量
    remark: str = ""

    kind = "先算"

    def judge(self, answer: Any) -> Verdict:
        """逐个数与参考答案比。"""
        value, truth = shape_of(answer), tuple(self.truth)
        if value is None:
            raise ReaderError(f"答案应当是一个形状，如 (3, 8, 8)，收到的是 {brief(answer)}。")
        if value == truth:
            return Verdict("对", self.remark)
        found = tuple(mistake for mistake, shape in self.misled.items() if value == shape)
        if not found and len(value) == len(truth):
            return wrong("；".join(_axis(i, a, b) for i, (a, b) in enumerate(zip(value, truth, strict=True)) if a != b)
                         + "。")
        return wrong(f"{value} 有 {len(value)} 维，应当是 {len(truth)} 维。" if len(value) != len(truth) else
                     f"不是 {value}。", found)

    @cached_property
    def misled(self) -> dict[Mistake, tuple[int, ...]]:
        """想错的每一种得到的形状；恰好与正确的相同的不算。"""
        truth = tuple(self.truth)
        found = {mistake: tuple(shape) for mistake, shape in self.mistakes().items()}
        found |= {NO_BATCH: truth[1:]} if self.batch else {EXTRA_BATCH: (1, *truth)}
        found[ORDER] = (truth[0], *truth[2:], truth[1]) if self.batch else (*truth[1:], truth[0])
        return {mistake: shape for mistake, shape in found.items() if shape != truth}


def shape_of(answer: Any) -> tuple[int, ...] | None:
    """一串整数；不是就是 None。"""
    if isinstance(answer, str | bytes) or not isinstance(answer, Sequence):
        return None
    found = [whole(value) for value in answer]
    return None if not found or None in found else tuple(value for value in found if value is not None)


def _axis(i: int, value: int, truth: int) -> str:
    return f"第 {i + 1} 个数 {value} 偏{'大' if value > truth else '小'}了 {abs(value - truth)}"
