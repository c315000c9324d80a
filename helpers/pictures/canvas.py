"""画布：任何机器上都有中文，画好就是一张 Picture；还有画成图的表格和全书的颜色。"""

import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import Bbox
from pyparsing import ParseBaseException
from wcwidth import wcswidth

from helpers import paths
from helpers.arguments import brief
from helpers.pictures.doors import amount, wording
from helpers.pictures.png import DPI, bundle, encode, squeeze

# 颜色，一种只有一个意思，全书相同。线和点：
#   BLUE 训练，只画一样时也是它；ORANGE 测试，和要看的那一个；GREEN 官方运行；RED 错；PURPLE 两者之和；GREY 背景
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#1f77b4", "#d95f02", "#1b9e77", "#d62728", "#7b5ea7", "#999999"
#   放在一起比的几样（几次训练、几个网络、几组），各是一种，上面的都不在内；画布里写成 C0、C1……
SERIES = ("#3b2f8f", "#c94f9b", "#97901f", "#35b6c8", "#8c5a3c", "#e0a800", "#7a1f4b", "#8aa6e8")
# 连线和箭头，框的边，格子的边，次要的字
LINE, EDGE, RULE, FAINT = "#666666", "#888888", "#bbbbbb", "#555555"
# 框的底：一种层一种，见 kind_color；淡色底、深色字，在亮色和暗色主题里都看得清
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_GREY = "#cfe2f3", "#f9cb9c", "#d9ead3", "#eeeeee"
# 并行的路径，一条一种
PATH_COLORS = ("#cdbce6", "#f5df7a", "#93d6cc", "#f3adc6")
# 色表：图像，0 是黑、1 是白；特征图，从深紫到黄；有正有负的（权重、差），0 是白、正的红、负的蓝；占多少，从白到深蓝
IMAGE, MAPS, SIGNED, SHARES = "gray", "viridis", "RdBu_r", "Blues"

# 字体用自己的名字登记：机器上若另有同名的一份，版本和字数都不同，图也就不同了
_FONT = "Noto Sans SC GB2312"
font_manager.fontManager.ttflist.append(
    replace(font_manager.ttfFontProperty(font_manager.get_font(paths.FONT)), name=_FONT))
_STYLE: Any = {"font.family": [_FONT, "DejaVu Sans"], "font.size": 10, "axes.unicode_minus": False,
               "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
               "axes.prop_cycle": cycler(color=SERIES)}


_LAYOUTS = ("tight", "constrained")
_LONGEST, _WIDEST = 327, 4_000  # 英寸，平方英寸：再大，matplotlib 画不出，PIL 打不开


def kind_color(kind: str) -> str:
    """一层的框是什么底色。kind: 见 LayerText。"""
    return {"conv": PALE_BLUE, "linear": PALE_ORANGE, "pool": PALE_GREEN}.get(kind, PALE_GREY)


class Picture:
    """一张画好的图：`png` 是它的字节，`title` 是看不到图时的文字；在笔记本里显示的是变小了的，见 `squeeze`。"""

    text = ""  # 同样内容的文字，表格才有

    def __init__(self, png: bytes, title: str):
        self.png, self.title = png, title

    def __str__(self) -> str:
        return self.text or repr(self)

    def __repr__(self) -> str:
        return f"〔图：{self.title}〕"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return bundle(squeeze(self.png), repr(self))


class Drawing(Picture):
    """正在画的一张图：画完以前有 `figure`，没有 `png`；画完以后正相反。"""

    def __init__(self, figure: Figure, title: str):
        self.figure, self.title = figure, title


@contextmanager
def canvas(width: float, height: float, title: str, *,
           layout: Literal["tight", "constrained"] | None = None) -> Iterator[Drawing]:
    """一张图，用作 with；离开之后它就是画好的 Picture：

        with canvas(6, 3, "一条线") as drawn:
            drawn.figure.subplots().plot([1, 2, 4])
        drawn

    width, height: 英寸；title: 看不到图时的文字，with 里还可以改；
    layout: matplotlib 的排版引擎，"tight" 或 "constrained"，默认不排。
    任何机器上都有中文。不经过 pyplot，所以没有要关的图，也没有要选的后端。离开后 matplotlib 的设置还原；
    中途抛出异常就没有图。大小画不出、写错了公式（两个 $ 之间的）时抛出 ValueError。
    """
    size = _size(width, height)
    if layout is not None and not (isinstance(layout, str) and layout in _LAYOUTS):
        raise ValueError(f"layout 应当是 {'、'.join(map(repr, _LAYOUTS))} 或 None，收到的是 {brief(layout)}。")
    with chinese():
        drawn = Drawing(Figure(figsize=size, dpi=DPI, layout=layout), title)
        yield drawn
        pixels = FigureCanvasAgg(drawn.figure)
        try:
            pixels.draw()
        except ValueError as error:
            if not isinstance(error.__context__, ParseBaseException):
                raise
            formula = str(error).strip().partition("\n")[0][:60]
            raise ValueError(f"图上的字，两个 $ 之间是公式，「{formula}」不成公式；要写 $ 自己，写成 \\$。") from error
        drawn.png = encode(np.asarray(pixels.buffer_rgba()), DPI)
        del drawn.figure  # 图留着，画它用的东西不留


def _size(width: float, height: float) -> tuple[float, float]:
    """画得出的大小，英寸；不是就抛出 ValueError。"""
    width, height = amount("width", width, 0), amount("height", height, 0)
    if max(width, height) > _LONGEST or width * height > _WIDEST or min(width, height) * DPI < 1:
        raise ValueError(f"画不出 {width:.3g}×{height:.3g} 英寸的图：一边至多 {_LONGEST} 英寸，"
                         f"一共至多 {_WIDEST} 平方英寸。少画几样，或者分成几张。")
    return width, height


# matplotlib 的设置是整个进程的；网页的消息也许在另一个线程里画图，所以一次只有一个线程在画
_drawing = threading.RLock()


@contextmanager
def chinese() -> Iterator[None]:
    """在这个 with 里画的字都有中文；离开后 matplotlib 的设置还原。别的线程正在画，就等它画完。"""
    with _drawing, mpl.rc_context(_STYLE):
        yield


def verbatim(words: str) -> str:
    """读者给的字，画出来一字不改：$ 不是公式，不成字的（坏文件名里的）写成转义。"""
    return wording("", words).replace("$", r"\$")


def table_picture(rows: Sequence[Sequence[str]], title: str, *, marked: Collection[tuple[int, int]] = (),
                  notes: Sequence[str] = (), widest: int = 96, above: Callable[[SubFigure], None] | None = None,
                  above_height: float = 3.4) -> Picture:
    """画成图的表格：每台机器不同的数字不该进文字输出。

    rows: 第一行是表头；marked: 要标成橙色的格子 (行, 列)；notes: 写在表格下面的话，自动折行；
    widest: 一格最宽，单位是半个汉字，再长就折行；above: 在表格上面的一块里画图的函数，above_height: 那一块的高，英寸。
    str() 是同样内容的文字，可以复制。
    """
    cells = [["\n".join(_wrap(cell, widest)) for cell in row] for row in rows]
    tall = [max(cell.count("\n") + 1 for cell in row) for row in cells]
    columns = [max(wcswidth(line) for cell in column for line in cell.split("\n")) + 2
               for column in zip(*cells, strict=True)]
    width = max(0.075 * sum(columns), 8.4 if above else 6.0)
    lines = [line for note in notes for line in _wrap(note, int(width / 0.078))]
    heights = [above_height if above else 0, sum(0.13 + 0.16 * count for count in tall), 0.25 * len(lines) + 0.1]
    with canvas(width, sum(heights), title) as drawn:
        parts = drawn.figure.subfigures(3, 1, squeeze=False, height_ratios=[max(h, 1e-3) for h in heights])
        top, middle, bottom = parts[:, 0]
        if above:
            above(top)
        _draw_table(middle.add_axes((0, 0, 1, 1)), cells, columns, tall, marked)
        for i, line in enumerate(lines):
            bottom.text(0.08 / width, 1 - (i + 0.7) * 0.25 / heights[2], verbatim(line))
    drawn.text = "\n".join([aligned(rows), *notes])
    return drawn


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """对齐的文字，汉字占两列。"""
    widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell + " " * (width - wcswidth(cell)) for cell, width in zip(row, widths, strict=True))
                     .rstrip() for row in rows)


def _draw_table(axes: Axes, rows: Sequence[Sequence[str]], columns: Sequence[int], tall: Sequence[int],
                marked: Collection[tuple[int, int]]) -> None:
    """表格占满 axes；columns: 各列的宽，单位是半个汉字；tall: 各行几行字。"""
    axes.axis("off")
    cells = [[verbatim(cell) for cell in row] for row in rows]
    table = axes.table(cells, colWidths=[column / sum(columns) for column in columns], cellLoc="left",
                       bbox=Bbox.from_bounds(0.002, 0.002, 0.996, 0.996))
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.set(edgecolor="#dddddd", facecolor="#f5f5f5" if row == 0 else "white")
        cell.set_height(0.13 + 0.16 * tall[row])
        cell.PAD = 0.9 / columns[column]  # 左边空出半个汉字
        if (row, column) in marked:
            cell.get_text().set_color(ORANGE)


def _wrap(text: str, columns: int) -> list[str]:
    """按显示宽度折行，汉字占两列；数和西文的词不拆开，除非一行放不下。"""
    lines, line = [], ""
    words = [part for word in re.findall(r"[!-~]+|[^!-~]", text) for part in ([word] if len(word) <= columns else word)]
    for word in words:
        if wcswidth(line + word) > columns and word not in "，。；：、）」.":
            lines.append(line)
            line = ""
        line += word if line or word != " " else ""
    return [*lines, line]
