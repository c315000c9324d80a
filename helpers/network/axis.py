"""图像的一个方向（高或宽）在一个张量里的样子：格子排在哪一维，每一格看得到哪些像素。

窗口怎样变大，公式见 Araujo 等，Computing Receptive Fields of Convolutional Neural Networks，Distill 2019。
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from math import prod
from operator import or_
from typing import NamedTuple

from helpers.network.layer import WHOLE


class Place(NamedTuple):
    """格子排在张量的哪里：第 dim 维的下标除以 inner，再取 count 的余数，就是第几格。

    inner 不是 1，是展平之后：例如 (B, C·H·W) 里的高，inner 是 W。
    """

    dim: int
    inner: int
    count: int

    def alone(self, shape: Sequence[int]) -> bool:
        """这一维只有这些格子。"""
        return self.inner == 1 and self.count == shape[self.dim]


class Span(NamedTuple):
    """不算图像的边：第 0 格看得到像素 start 到 end，下一格往后 jump 个像素。"""

    start: int
    end: int
    jump: int

    def grown(self, first: int, last: int, stride: int = 1) -> "Span":
        """第 0 格改看第 first 到第 last 格看得到的，下一格往后 stride 格。"""
        return Span(self.start + first * self.jump, self.end + last * self.jump, self.jump * stride)


class Axis(NamedTuple):
    """一个方向：全体格子合起来看得到像素 seen，图像的这个方向有 size 个像素。像素的集合写成整数，第 i 位是第 i 个像素。

    place: 格子排在哪里；None 是不分格子，每个数都看得到 seen。
    cells: 每一格看得到的像素；None 是分格子，但哪一格看得到哪里说不清。
    span: 窗口有多大、隔多远；None 是各格不一样大，或者说不清。
    lost: 步幅除不尽，末尾谁也看不到的像素。
    """

    size: int
    seen: int
    place: Place | None = None
    cells: tuple[int, ...] | None = None
    span: Span | None = None
    lost: int = 0

    def __hash__(self) -> int:
        return hash((self.size, self.seen, self.place, self.span))  # 几百格的哈希算得慢，留给相等去比

    @classmethod
    @lru_cache(maxsize=8)  # 一次次走的多半是同样大的图像
    def of_image(cls, dim: int, size: int) -> "Axis":
        """输入图像的一个方向：一格是一个像素。"""
        return cls(size, (1 << size) - 1, Place(dim, 1, size), tuple(1 << i for i in range(size)), Span(0, 0, 1))

    @property
    def whole(self) -> bool:
        """每个数都看得到整个方向；步幅除不尽剩下的几个像素谁也看不到，不算。"""
        rest = (1 << self.size) - (1 << self.seen.bit_length())  # seen 后面的像素
        return self.place is None and self.seen & 1 == 1 and rest & ~self.lost == 0

    def gathered(self) -> "Axis":
        """所有的格子合在一起：每个数都看得到这些格子看得到的。"""
        return self._replace(place=None, cells=None, span=None)

    def scattered(self, dim: int, count: int) -> "Axis":
        """都在第 dim 维的 count 格里，合起来看得到的不变，哪一格看得到哪里说不清。"""
        return self._replace(place=Place(dim, 1, count), cells=None, span=None)

    def slid(self, place: Place, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Axis | None":
        """窗口滑过。起点 ← 起点 - p·j，终点 ← 终点 + ((k - 1)·d - p)·j，j ← j·s。"""
        was = self.place.count if self.place else 0
        reached = (place.count - 1) * stride - padding + (kernel - 1) * dilation  # 最后一个窗口到第几格
        if self.cells is None:  # 每一格都用到了，合起来看得到的才不变
            return self.scattered(place.dim, place.count) if stride <= kernel and dilation == 1 and (
                reached >= was - 1) else None
        taps = range(-padding, kernel * dilation - padding, dilation)
        cells, seen = _windows(self.cells, place.count, stride, taps)
        lost = self.lost | self.seen & ~seen if reached < was - 1 else self.lost
        return Axis(self.size, seen, place, cells, self.span and self.span.grown(taps[0], taps[-1], stride), lost)

    def cut(self, place: Place, first: int, edge: Callable[[int, int], int] = lambda i, count: i) -> "Axis | None":
        """从第 first 格起；first 是负数、格子比原来多，就是填充了几格。edge: 填充的第 i 格用 count 格里的哪一格。"""
        if self.cells is None:
            kept = self.place and first <= 0 and first + place.count >= self.place.count
            return self.scattered(place.dim, place.count) if kept else None
        count = len(self.cells)
        used = (edge(first + i, count) for i in range(place.count))
        cells = tuple(self.cells[i] if 0 <= i < count else 0 for i in used)
        seen = reduce(or_, cells, 0)
        lost = self.lost if seen.bit_length() == self.seen.bit_length() else 0
        return Axis(self.size, seen, place, cells, self.span and self.span.grown(first, first), lost)

    def reshaped(self, old: Sequence[int], new: Sequence[int]) -> "Axis | None":
        """形状从 old 变成 new，数的次序不变；这个方向被拆开就是 None。"""
        if self.place is None:
            return self
        dim, inner, count = self.place
        if count == 1:
            return self.gathered()
        step = inner * prod(old[dim + 1:])  # 相邻两格相距几个数
        for dim in range(len(new)):
            rest = prod(new[dim + 1:])
            if step % rest == 0 and rest * new[dim] % (step * count) == 0:
                return self._replace(place=Place(dim, step // rest, count))
        return None

    def side(self) -> float | None:
        """一格看得到几个像素，从第一个到最后一个；整个方向是 WHOLE，说不清是 None。"""
        if self.place is not None:
            return self.span and self.span.end - self.span.start + 1
        return WHOLE if self.whole else _extent(self.seen)


def _windows(cells: tuple[int, ...], count: int, stride: int, taps: range) -> tuple[tuple[int, ...], int]:
    """count 个窗口各看得到什么，合起来看得到什么：第 i 个用第 i·stride + taps 格，没有的格子是填充。"""
    windows = tuple(reduce(or_, (cells[j] for tap in taps if 0 <= (j := i * stride + tap) < len(cells)), 0)
                    for i in range(count))
    return windows, reduce(or_, windows, 0)


def union(a: Axis | None, b: Axis | None) -> Axis | None:
    """每一格看得到 a 和 b 的同一格看得到的；说不清是 None。"""
    if a == b:
        return a
    for axis in (a, b):
        if axis and axis.whole:
            return axis
    if a is None or b is None or (a.place and b.place and a.place != b.place):
        return None
    cells, widest = _joined(a.cells, b.cells) if a.cells is not None and b.cells is not None else (None, 0)
    span = None
    if a.span and b.span and a.span.jump == b.span.jump:
        span = Span(min(a.span.start, b.span.start), max(a.span.end, b.span.end), a.span.jump)
        if widest > span.end - span.start + 1:
            span = None  # 镜像的填充与原来的并起来，靠边的几格可以看得比中间的还远：各格就不一样大了
    return Axis(a.size, a.seen | b.seen, a.place or b.place, cells, span, a.lost | b.lost)


def _joined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """每一格看得到 a 和 b 的同一格看得到的；看得最远的一格看得到多远。"""
    cells = tuple(map(or_, a, b))
    return cells, max(map(_extent, cells), default=0)


def _extent(pixels: int) -> int:
    """从第一个像素到最后一个，一共几个；一个也没有是 0。"""
    return pixels.bit_length() - (pixels & -pixels).bit_length() + (pixels > 0)
