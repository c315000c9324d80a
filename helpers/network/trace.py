"""逐层的形状、参数、乘加次数和感受野。"""

from collections.abc import Sequence
from html import escape

from torch import nn
from wcwidth import wcswidth

from helpers.network.input_sizes import find_sizes
from helpers.network.layer import Layer
from helpers.network.shape_errors import ShapeError
from helpers.network.walk import checked_shape, walking


class Trace(list[Layer]):
    """一个网络的逐层清单。`params` 和 `macs` 是整个网络的合计，表外的运算也算在内。"""

    def __init__(self, layers: list[Layer], params: int, macs: int):
        super().__init__(layers)
        self.params, self.macs = params, macs

    def cells(self) -> list[list[str]]:
        """表格的文字：表头、每层一行、合计。"""
        rows = [["层", "种类", "输出形状", "参数", "乘加", "感受野"]]
        for layer in self:
            rows.append([layer.name, layer.kind, "×".join(map(str, layer.out_shape)), f"{layer.params:,}",
                         f"{layer.macs:,}", str(layer.receptive_field)])
        rows.append(["合计", "", "", f"{self.params:,}", f"{self.macs:,}", ""])
        return rows

    def __repr__(self) -> str:
        rows = self.cells()
        widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
        return "\n".join(_line(row, widths) for row in rows)

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, book: "Trace | None" = None, tail: str | None = None) -> str:
        """HTML 表格；给出 book（书上的网络）时，与它不同的格子加底色和粗体。tail: 代替合计的最后一行，HTML。"""
        rows = self.cells()
        base = rows if book is None else book.cells()
        # 层数不同时（例如滑块改变了块数），按从前往后的次序对照；合计对合计
        beside = [base[min(i, len(base) - 1)] for i in range(len(self) + 1)] + [base[-1]]
        tags = ["th", *["td"] * len(self), "th"]
        lines = [*map(_html_row, rows, beside, tags)]
        if tail is not None:
            lines[-1] = tail
        return f"<table>{''.join(lines)}</table>"


def trace(net: nn.Module, shape: Sequence[int], depth: int = 1) -> Trace:
    """让一个形状走过网络，返回逐层清单：在 meta 设备上走一遍，不分配内存，也不做计算。

    net: 在 CPU、CUDA 或 meta 设备上都可以；网络的权重、模式和统计量都不改变。
    shape: 输入形状 (B, C, H, W)；数值类型与网络的权重相同。
    depth: 展开几层子模块；1 是网络的直接子模块，没有子模块的模块不再展开。
    形状走不通时抛出 ShapeError（一种 ValueError），写明哪一层、前后形状和改法；net、shape 或 depth 不对时抛出
    TypeError 或 ValueError。
    """
    shape = checked_shape(shape)
    with walking(net, depth) as walk:
        try:
            meter = walk(shape)
        except ShapeError as error:
            if error.fault.sized and len(shape) == 4:  # 别的形状没有边长可说
                error.sizes = find_sizes(walk, shape, tried_to(shape))
            raise
    return Trace(meter.layers, walk.params, meter.macs)


def tried_to(shape: Sequence[int]) -> int:
    """这个形状走不通时，走得通的边长试到多大。"""
    return min(1024, max(256, 2 * max(shape[2:], default=0)))


def _line(row: list[str], widths: list[int]) -> str:
    """一行文字：前两列左对齐，数右对齐；一个汉字占两格。"""
    parts = []
    for i, (text, width) in enumerate(zip(row, widths, strict=True)):
        pad = " " * (width - wcswidth(text))
        parts.append(text + pad if i < 2 else pad + text)
    return "  ".join(parts).rstrip()


def _html_row(row: list[str], base: list[str], tag: str) -> str:
    """HTML 的一行，对齐同上；与 base 不同的格子标出来。"""
    cells = []
    for i, (text, was) in enumerate(zip(row, base, strict=True)):
        style = f"padding:2px 8px;text-align:{'left' if i < 2 else 'right'}"
        if text != was:
            style += ";font-weight:bold;background:rgba(255,170,0,.3)"
        cells.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
    return f"<tr>{''.join(cells)}</tr>"
