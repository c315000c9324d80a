"""画布：任何机器上都有中文，画好就是一张 Picture；还有画成图的表格和全书的颜色。"""

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from PIL import Image
from wcwidth import wcswidth

from helpers import paths

FONT = "Noto Sans CJK SC"
BLUE, ORANGE, GREEN, GREY = "#1f77b4", "#d95f02", "#1b9e77", "#999999"
_STYLE = {"font.family": [FONT, "DejaVu Sans"], "font.size": 10, "axes.unicode_minus": False,
          "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white"}
font_manager.fontManager.addfont(paths.FONT)


@contextmanager
def chinese() -> Iterator[None]:
    """在这个 with 里画的图都有中文；离开后 matplotlib 的设置还原。"""
    with mpl.rc_context(_STYLE):
        yield


class Picture:
    """一张画好的图：`png` 是它的字节，`title` 是看不到图时的文字。"""

    def __init__(self, png: bytes, title: str):
        self.png, self.title = png, title

    def __repr__(self) -> str:
        return f"〔图：{self.title}〕"

    def _repr_png_(self) -> bytes:
        return self.png


def picture(figure: Figure, title: str) -> Picture:
    """把 matplotlib 的图变成 Picture。不经过 pyplot，所以没有要关的图，也没有要选的后端。"""
    canvas = FigureCanvasAgg(figure)
    with chinese():
        canvas.draw()
    return Picture(encode(canvas), title)


def grid_picture(rows: Sequence[Sequence[str]], title: str, *, marked: Collection[tuple[int, int]] = (),
                 notes: Sequence[str] = (), above: Callable[[SubFigure], None] | None = None) -> Picture:
    """画成图的表格：每台机器不同的数字不该进文字输出。

    rows: 第一行是表头；marked: 要标成橙色的格子 (行, 列)；notes: 写在表格下面的话，自动折行；
    above: 在表格上面的一块里画图的函数。
    """
    columns = [max(map(wcswidth, column)) + 2 for column in zip(*rows, strict=True)]
    width = max(0.075 * sum(columns), 8.4 if above else 6.0)
    lines = [line for note in notes for line in _wrap(note, int(width / 0.078))]
    heights = [3.4 if above else 0, 0.29 * len(rows), 0.25 * len(lines) + 0.1]
    with chinese():
        figure = Figure(figsize=(width, sum(heights)), dpi=100)
        top, middle, bottom = figure.subfigures(3, 1, height_ratios=[max(h, 1e-3) for h in heights])
        if above:
            above(top)
        axes = middle.add_axes((0, 0, 1, 1))
        axes.axis("off")
        table = axes.table(rows, colWidths=[c / sum(columns) for c in columns], cellLoc="left",
                           bbox=(0.002, 0.002, 0.996, 0.996))
        table.auto_set_font_size(False)
        for (row, column), cell in table.get_celld().items():
            cell.set(edgecolor="#dddddd", facecolor="#f5f5f5" if row == 0 else "white")
            cell.PAD = 0.9 / columns[column]  # 左边空出半个汉字
            if (row, column) in marked:
                cell.get_text().set_color(ORANGE)
        for i, line in enumerate(lines):
            bottom.text(0.08 / width, 1 - (i + 0.7) * 0.25 / heights[2], line)
    return picture(figure, title)


def _wrap(text: str, columns: int) -> list[str]:
    """按显示宽度折行，汉字占两列。"""
    lines, line = [], ""
    for character in text:
        if wcswidth(line + character) > columns and character not in "，。；：、）」.":
            lines.append(line)
            line = ""
        line += character if line or character != " " else ""
    return [*lines, line]


def encode(canvas: FigureCanvasAgg) -> bytes:
    """画好的画布变成 PNG。"""
    file = io.BytesIO()
    # 大片是白色，最快的压缩就够小；PIL 比 savefig 快，因为不必重画
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()
