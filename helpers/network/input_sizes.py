"""一个网络走得通多大的输入。"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from helpers.network.layer import Shape
from helpers.network.shape_errors import ShapeError
from helpers.network.walk import walking

_LIMIT = 1024  # 最大试到多少像素
_STEP = 32  # 有的网络只接受某个数的倍数，先找多少的倍数


def input_sizes(net: nn.Module, shape: Shape) -> tuple[int, int | None]:
    """走得通的最小和最大边长（像素，高和宽相等）；最大为 None 表示到 1024 都行。

    shape: (B, C, H, W)，其中 H、W 不起作用。没有任何边长走得通时抛出 ValueError；说得出停在哪一层的，是 ShapeError。
    """
    with walking(net, depth=0) as walk:
        sizes = find_sizes(walk, shape)
    if sizes is None:
        with walking(net, depth=1) as walk:
            walk(shape)  # 说得出是哪一层的话，由它来抛
        raise ValueError(f"没有任何 1 到 {_LIMIT} 之间的边长走得通。")
    return sizes


def find_sizes(walk: Callable[[Shape], Any], shape: Shape) -> tuple[int, int | None] | None:
    """`input_sizes` 的两个数；没有任何边长走得通就是 None。walk: 走不通就抛出 ShapeError 的函数。

    「太小」和「太大」都随边长单调，所以用二分；先在 32 的倍数里找。
    """
    @cache
    def verdict(size: int) -> str:
        """"fits" 走得通，"small" 太小，"large" 太大，"broken" 别的原因。"""
        try:
            walk((*shape[:2], size, size))
        except ShapeError as error:
            return error.fault.direction or "broken"
        return "fits"

    def before(reached: Callable[[int], bool]) -> int:
        """第一个 reached 的边长前面有几个。"""
        multiples = sizes[_STEP - 1::_STEP]
        low = 0 if reached(_STEP) else _STEP * bisect_left(multiples, True, key=reached)  # 多半不到 32
        return bisect_left(sizes, True, lo=low, hi=min(low + _STEP, _LIMIT), key=reached)

    def first(candidates: Any) -> int | None:
        return next((size for size in candidates if verdict(size) == "fits"), None)

    sizes = range(1, _LIMIT + 1)
    start = before(lambda size: verdict(size) != "small")
    smallest = first(sizes[start:start + _STEP])
    if smallest is None:
        return None
    if verdict(_LIMIT) == "fits":
        return smallest, None
    end = before(lambda size: size > smallest and verdict(size) == verdict(_LIMIT))
    return smallest, first(reversed(sizes[:end]))
