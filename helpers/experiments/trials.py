"""同一件事用几个种子各做一次：平均、区间，两边分不分得出高下。"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from helpers.arguments import brief, instance, listed, whole

CONFIDENCE = 0.95
_MOST = 100_000  # 至多几个种子
_HUGE = 1e150  # 再大，平方就溢出，算不出标准差
_BESIDE = re.compile("(?<=[一-鿿])(?=[0-9A-Za-z])|(?<=[0-9A-Za-z])(?=[一-鿿])")  # 汉字与数字、字母相邻：空一格


@dataclass(frozen=True)
class Trials:
    """几次测量，一个种子一次。

    values: 测得的数，没有 NaN 和无穷大；seeds: 各自的种子，与 values 等长，不重复，默认 0、1、2……
    不是这样时抛出 ValueError。
    """

    values: Sequence[float]
    seeds: Sequence[int] = ()

    def __post_init__(self):
        values, given = listed("values", self.values, least=0), listed("seeds", self.seeds, least=0)
        seeds, different = tuple(given or range(len(values))), 0
        with suppress(TypeError):  # 一个种子不能是一串
            different = len(set(seeds))
        if not len(values) == len(seeds) == different or not seeds:
            raise ValueError(f"一个种子一个数，种子不重复；收到 {len(values)} 个数，种子 {brief(list(seeds))}。")
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "values", tuple(number(value, f"种子 {seed} ")
                                                 for seed, value in zip(seeds, values, strict=True)))

    @property
    def mean(self) -> float:
        """平均数。"""
        return math.fsum(self.values) / len(self.values)

    @property
    def low(self) -> float:
        """平均数的 95 % 区间（学生 t 分布）的下端；只有一次就是负无穷。"""
        return _interval(self.values)[0]

    @property
    def high(self) -> float:
        """区间的上端；只有一次就是正无穷。"""
        return _interval(self.values)[1]

    def versus(self, other: "Trials") -> "Difference":
        """与另一边比：同一个种子的两次成一对，次序不论。两边的种子不同时抛出 ValueError。"""
        instance(other, Trials, "另一边应当是 Trials，如 trials(measure)")
        theirs = dict(zip(other.seeds, other.values, strict=True))
        if {*self.seeds} != {*theirs}:
            raise ValueError(f"同一个种子的两次才成一对：这边的种子是 {list(self.seeds)}，"
                             f"那边是 {list(other.seeds)}。两边用同样的种子再测。")
        return Difference(tuple(value - theirs[seed] for seed, value in zip(self.seeds, self.values, strict=True)))

    def expects(self, value: float, groups: Sequence["Trials"] = ()) -> bool:
        """再做一次，得到这个数，是不是意料之中：在 99.9 % 的预测区间里，或者与平均数相差不到百分之一。

        groups: 这个量的各组，种子一样多。自己几次都相同（如几次都选中的学习率、都停在 0.1 的精度），不等于不会波动：
            给出了各组，波动就按各组的方差的平均算。
        """
        varied = groups if groups and len({*self.values}) == 1 else [self]
        widths = [high - low for low, high in (_interval(each.values, 0.999) for each in varied)]
        reach = math.sqrt(math.fsum(width ** 2 for width in widths) / len(widths)) / 2
        reach *= math.sqrt(len(self.values) + 1)  # 新的一次自己也会波动
        return abs(value - self.mean) <= max(reach, 0.01 * abs(self.mean))

    def __str__(self) -> str:
        return f"{self.mean:.3g}（{_between(self)}，{len(self.values)} 个种子）"


@dataclass(frozen=True)
class Difference:
    """两边成对的差，一对一个：前一边减后一边。"""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """差的平均数。"""
        return math.fsum(self.values) / len(self.values)

    @property
    def low(self) -> float:
        """差的 95 % 区间的下端。"""
        return _interval(self.values)[0]

    @property
    def high(self) -> float:
        """差的 95 % 区间的上端。"""
        return _interval(self.values)[1]

    @property
    def larger(self) -> int | None:
        """哪一边大：0 是前一边，1 是后一边；区间里有 0，就看不出，是 None。"""
        low, high = _interval(self.values)
        return 0 if low > 0 else 1 if high < 0 else None

    def describe(self, first: str, second: str) -> str:
        """一句话：谁大、大多少；看不出就说看不出。first, second: 两边的名字。"""
        tail = f"{_between(self)}，{len(self.values)} 对"
        if self.larger is None:
            return f"看不出：{first} − {second} = {self.mean:+.3g}（{tail}）" + "，区间里有 0" * (len(self.values) > 1)
        winner, loser = (first, second) if self.larger == 0 else (second, first)
        larger = _BESIDE.sub(" ", f"{winner}比{loser}大")
        return f"{larger} {abs(self.mean):.3g}：{first} − {second} = {self.mean:+.3g}（{tail}）"

    def __str__(self) -> str:
        return self.describe("前者", "后者")


def trials(measure: Callable[[int], float], seeds: int | Iterable[int] = 5) -> Trials:
    """用每个种子各测一次：measure(seed) 返回一个数，它自己拿这个种子去 torch.manual_seed。

    seeds: 几个种子（0、1、2……），或者就是那些种子；不是这样，或者测得的不是数时抛出 ValueError。
    """
    if not callable(measure):
        raise TypeError(f"measure 应当是一个函数，收下种子，返回一个数，收到的是 {brief(measure)}。"
                        "先写 def measure(seed): …，再写 trials(measure)。")
    count = whole(seeds)
    if count is not None and count > _MOST:
        raise ValueError(f"seeds 是 {brief(seeds)}，一个种子测一次，太多了；至多 {_MOST:,} 个。")
    given = seeds if isinstance(seeds, Iterable) and getattr(seeds, "ndim", 1) else ()
    chosen = [*map(whole, given)] if count is None else [*range(count)]
    good = [seed for seed in chosen if seed is not None]
    if not good or good != chosen:
        raise ValueError(f"seeds 应当是一个正整数（几个种子），或者一串整数（就是那些种子），收到的是 {brief(seeds)}。")
    return Trials([measure(seed) for seed in good], good)


def number(value: Any, where: str = "") -> float:
    """测得的一个数；不是数，或者是 NaN、无穷大时抛出 ValueError。where: 哪一次测的，写在话的开头。"""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # RuntimeError：不止一个数的张量
        raise ValueError(f"{where}测得的应当是一个数，收到的是 {brief(value)}。") from error
    if not abs(found) < _HUGE:
        raise ValueError(f"{where}测得 {found}，算不出平均数。让 measure 换一个总是有数的量，例如精度；"
                         "损失会溢出的，就数溢出了几次。")
    return found


def _interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """平均数的区间；几次都相同，区间就是这一点，只有一次就是整条数轴。"""
    from scipy import stats  # 导入要一秒，多数单元格用不着

    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return -math.inf, math.inf
    reach = _quantile(len(values) - 1, confidence) * float(stats.sem(values))
    return mean - reach, mean + reach


@cache
def _quantile(freedom: int, confidence: float) -> float:
    """中间的 confidence 那么多，到标准误差的几倍为止。"""
    from scipy import stats

    return float(stats.t.interval(confidence, freedom)[1])


def _between(measured: Trials | Difference) -> str:
    if len(measured.values) == 1:
        return "只有一次，没有区间"
    return f"{100 * CONFIDENCE:g} % 区间 {measured.low:.3g} 到 {measured.high:.3g}"
