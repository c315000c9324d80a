"""同一件事用几个种子各做一次：平均、区间，两边分不分得出高下。"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trials:
    """几次测量，一个种子一次。

    values: 测得的数，没有 NaN 和无穷大；seeds: 各自的种子，与 values 等长，不重复，默认 0、1、2……
    """

    values: Sequence[float]
    seeds: Sequence[int] = ()

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "seeds", tuple(self.seeds) or tuple(range(len(self.values))))
        if len(self.values) != len(self.seeds) or len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError(f"一个种子一个数，种子不重复；收到 {len(self.values)} 个数，种子 {list(self.seeds)}。")
        for seed, value in zip(self.seeds, self.values, strict=True):
            if not math.isfinite(value):
                raise ValueError(f"种子 {seed} 测得 {value}，算不出平均数。让 measure 换一个总是有数的量，"
                                 "例如精度；损失会溢出的，就数溢出了几次。")

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
        """与另一边比：同一个种子的两次成一对。两边的种子不同时抛出 ValueError。"""
        if self.seeds != other.seeds:
            raise ValueError(f"同一个种子的两次才成一对：这边的种子是 {list(self.seeds)}，"
                             f"那边是 {list(other.seeds)}。两边用同样的种子再测。")
        return Difference(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def expects(self, value: float) -> bool:
        """再做一次，得到这个数，是不是意料之中：在 99.9 % 的预测区间里，或者与平均数相差不到百分之一。"""
        low, high = _interval(self.values, 0.999)
        reach = (high - low) / 2 * math.sqrt(len(self.values) + 1)  # 新的一次自己也会波动
        return abs(value - self.mean) <= max(reach, 0.01 * abs(self.mean))

    def __str__(self) -> str:
        return f"{self.mean:.3g}（{_between(self.low, self.high)}，{len(self.values)} 个种子）"


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
        return 0 if self.low > 0 else 1 if self.high < 0 else None

    def describe(self, first: str, second: str) -> str:
        """一句话：谁大、大多少；看不出就说看不出。first, second: 两边的名字。"""
        tail = f"{_between(self.low, self.high)}，{len(self.values)} 对"
        if self.larger is None:
            return f"看不出：{first} − {second} = {self.mean:+.3g}（{tail}），区间里有 0"
        winner, loser = (first, second) if self.larger == 0 else (second, first)
        return f"{winner}比{loser}大 {abs(self.mean):.3g}：{first} − {second} = {self.mean:+.3g}（{tail}）"

    def __str__(self) -> str:
        return self.describe("前者", "后者")


def trials(measure: Callable[[int], float], seeds: int | Iterable[int] = 5) -> Trials:
    """用每个种子各测一次：measure(seed) 返回一个数，它自己拿这个种子去 torch.manual_seed。

    seeds: 几个种子（0、1、2……），或者就是那些种子。
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    return Trials([float(measure(seed)) for seed in chosen], chosen)


def _interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """平均数的区间；几次都相同，区间就是这一点，只有一次就是整条数轴。"""
    from scipy import stats  # 导入要一秒，多数单元格用不着

    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return -math.inf, math.inf
    error = float(stats.sem(values))
    low, high = stats.t.interval(confidence, len(values) - 1, loc=mean, scale=error) if error else (mean, mean)
    return float(low), float(high)


def _between(low: float, high: float) -> str:
    return f"{100 * CONFIDENCE:g} % 区间 {low:.3g} 到 {high:.3g}"
