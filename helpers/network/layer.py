"""逐层清单的一行。"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

Shape = tuple[int, ...]

WHOLE = inf  # 这个方向上全看得到，图像多大就是多大


class Field(NamedTuple):
    """感受野：输出的一个位置看得到的输入有多高、多宽（像素）；WHOLE 是整个方向，None 是说不清。

    `str()` 是「5×5」「全图」「?」，两个方向不一样时如「3×全宽」「?×5」。
    """

    height: float | None
    width: float | None

    @property
    def window(self) -> tuple[int, int] | None:
        """(高, 宽)；有一个方向是全图，或者说不清，就是 None。"""
        height, width = self
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __str__(self) -> str:
        if self == (WHOLE, WHOLE):
            return "全图"
        if self == (None, None):
            return "?"
        return "×".join("?" if side is None else f"全{name}" if side == WHOLE else f"{side}"
                        for side, name in zip(self, "高宽", strict=True))


@dataclass(frozen=True)
class Layer:
    """一层的一次调用。

    name: 在网络里的名字，如 "3" 或 "4.1"；kind: 类名，如 "Conv2d"。
    in_shape, out_shape: 形状，第 0 维是批量。
    params: 参数个数，共享的参数只在第一次出现时计入。
    macs: 乘加次数，只算卷积和矩阵乘法，对整个批量。
    receptive_field: 输出的一个位置看得到的输入，见 Field。输出是 (B, n) 的向量时，整个向量是一个位置。
    """

    name: str
    kind: str
    in_shape: Shape
    out_shape: Shape
    params: int
    macs: int
    receptive_field: Field
