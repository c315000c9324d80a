"""一个张量看得到图像的哪里：高和宽各一个 Axis，和几个张量合起来看得到的。"""

from collections.abc import Callable, Container, Sequence
from functools import lru_cache, reduce
from typing import Any, NamedTuple

from helpers.network.axis import Axis, Place, union
from helpers.network.layer import Field

Change = Callable[[Axis, Place], Axis | None]


class Sight(NamedTuple):
    """一个张量看得到的输入，两个方向；说不清的方向是 None。

    even: 同一个位置上各个通道看得到的一样。两条不同的路在通道上连结，就不一样了，取其中几个通道就说不清。
        第 0 维（批量）上总是一样的。
    """

    height: Axis | None
    width: Axis | None
    even: bool = True

    @property
    def axes(self) -> tuple[Axis | None, Axis | None]:
        """两个方向。"""
        return self.height, self.width

    @property
    def placed(self) -> bool:
        """两个方向的格子都知道排在哪一维。"""
        return all(axis is not None and axis.place is not None for axis in self.axes)

    @property
    def known(self) -> bool:
        """两个方向的每一格看得到哪里，都说得清。"""
        return all(axis is not None and (axis.place is None or axis.cells is not None) for axis in self.axes)

    def along(self, dim: int) -> bool:
        """有一个方向的格子排在第 dim 维。"""
        height, width = self.height and self.height.place, self.width and self.width.place
        return (height is not None and height.dim == dim) or (width is not None and width.dim == dim)

    def each(self, change: Change, dims: Container[int] | None = None) -> "Sight":
        """格子排在 dims（默认任何一维）的方向变成 change(它, 格子排在哪里)，别的不变。"""
        def changed(axis: Axis | None) -> Axis | None:
            if axis is None or axis.place is None or (dims is not None and axis.place.dim not in dims):
                return axis
            return change(axis, axis.place)
        return Sight(changed(self.height), changed(self.width), self.even)

    def alone(self, shape: Sequence[int], change: Change, dims: Container[int] | None = None) -> "Sight":
        """同 `each`；格子与别的数挤在一维里的，变了就说不清。shape: 张量的形状。"""
        return self.each(lambda axis, place: change(axis, place) if place.alone(shape) else None, dims)

    def gathered(self, dims: Container[int] | None = None) -> "Sight":
        """格子排在 dims 的方向，所有的格子合在一起。"""
        return self.each(lambda axis, _: axis.gathered(), dims)

    def moved(self, where: Callable[[int], int]) -> "Sight":
        """数不变，第 d 维成了第 where(d) 维。"""
        return self.each(lambda axis, place: axis._replace(place=place._replace(dim=where(place.dim))))

    def stretched(self, old: Sequence[int], new: Sequence[int]) -> "Sight":
        """形状从 old 广播到 new；只有一格的方向，广播出去的每一格都看得到它看得到的。"""
        if old == new:
            return self
        shift = len(new) - len(old)
        if shift and not self.even:
            return UNKNOWN
        return self.each(lambda axis, place: axis if old[place.dim] == new[place.dim + shift] else axis.gathered()
                         ).moved(lambda dim: dim + shift)

    def checked(self) -> "Sight":
        """一个方向上全是填充，就什么也看不到，两个方向都没有什么可说。"""
        blank = (self.height and not self.height.seen) or (self.width and not self.width.seen)
        return UNKNOWN if blank else self

    def field(self) -> Field:
        """一个位置看得到多高、多宽。"""
        height, width = (axis and axis.side() for axis in self.axes)
        return Field(height, width)

    def _solid(self) -> "Sight":
        """有的格子只有填充（或者说不清），一个方向上什么也看不到，另一个方向上也就看不到全部。"""
        def kept(axis: Axis | None, other: Axis | None) -> Axis | None:
            hollow = other is None or not other.seen or (other.place and (other.cells is None or 0 in other.cells))
            return None if hollow and axis is not None and axis.place is None else axis
        return Sight(kept(self.height, self.width), kept(self.width, self.height), self.even)


UNKNOWN = Sight(None, None)


def _same(items: Sequence[Any]) -> bool:
    """都一样。不用 set：算一长串格子的哈希，比一格格比慢得多。"""
    return all(each == items[0] for each in items[1:])


def merged(seen: Sequence[Sight]) -> Sight:
    """同一格合起来看得到的。有一个各通道一样、又看得到全部，合起来的各通道也一样。"""
    return seen[0] if _same(seen) else _merged(tuple(seen))


@lru_cache(maxsize=256)  # 同一个网络走了又走（拖滑块），看得到哪里多半没有变
def _merged(seen: tuple[Sight, ...]) -> Sight:
    height, width = (reduce(union, axes) for axes in zip(*(each._solid().axes for each in seen), strict=True))
    even = all(each.even for each in seen) or any(each == (height, width, True) for each in seen)
    return Sight(height, width, even)


def beside(seen: Sequence[Sight], count: int, dim: int, dims: int) -> Sight:
    """count 个张量并排放在第 dim 维（共 dims 维），其中看得到图像的是 seen；格子不排在这一维。"""
    together = merged(seen)
    if len(seen) == count and _same(seen):
        return together
    # 这一维是通道，一个位置看得到的就是合起来的；不知道是不是通道，就说不清。两个方向都有格子排在别的维里，就是通道
    directions = zip(*(each.axes for each in seen), strict=True)
    elsewhere = all(any(axis and axis.place for axis in axes) for axes in directions)
    channels = dim and (elsewhere or (dim == 1 and dims == 2))
    return together._replace(even=False) if channels else UNKNOWN


def chained(seen: Sequence[Sight], dim: int, count: int) -> Sight:
    """格子首尾相接，排在第 dim 维的 count 格里：合起来看得到的不变，哪一格看得到哪里说不清。"""
    def joined(axes: Sequence[Axis | None]) -> Axis | None:
        if not any(axis and axis.place and axis.place.dim == dim for axis in axes):
            return axes[0] if _same(axes) else None  # 另一个方向，要都一样
        total = reduce(union, (axis and axis.gathered() for axis in axes))
        return total and total.scattered(dim, count)
    height, width = map(joined, zip(*(each.axes for each in seen), strict=True))
    return Sight(height, width, all(each.even for each in seen))
