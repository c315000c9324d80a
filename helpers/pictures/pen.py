"""几笔：网络图共用的框、箭头、线和字，还有把张量画成图像。"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from helpers.pictures.canvas import EDGE, GREY, IMAGE, LINE

OPEN = {"arrowstyle": "->", "shrinkA": 2, "shrinkB": 2, "mutation_scale": 10}  # 箭头的另一种样子：张开，两头留空


def sheet(figure: Figure, xlim: tuple[float, float], ylim: tuple[float, float]) -> Axes:
    """一张没有坐标轴的白纸，占满 figure。"""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=xlim, ylim=ylim)
    axes.axis("off")
    return axes


def write(axes: Axes, x: float, y: float, text: str, size: float = 9, **style: Any) -> None:
    """以 (x, y) 为中心写字。"""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": size} | style)


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str = "", color: str = "none", *,
        size: float = 9, level: float = 0.5, rounding: float = 0.03, edgecolor: str = EDGE, **style: Any) -> None:
    """左下角在 (x, y) 的框，里面写字。

    color: 底色；size: 字号；level: 字的中线在框里的高度，0–1；rounding: 圆角的半径，0 是方角；
    edgecolor, style: 边的样子。
    """
    shape = f"round,pad=0,rounding_size={rounding}" if rounding else "square,pad=0"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, facecolor=color,
                                  edgecolor=edgecolor, **style))
    write(axes, x + width / 2, y + level * height, text, size)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> Annotation:
    """从 start 到 end 的箭头；style 改它的样子，例如 **OPEN。"""
    solid = {"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    return axes.annotate("", end, start, arrowprops=solid | style)


def line(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """一条折线，没有箭头。"""
    axes.plot(x, y, color=LINE, lw=1)


def reference_line(axes: Axes, height: float, text: str, size: float = 8, **style: Any) -> None:
    """图里一条横的参考线；字在线上面，靠左。size: 字号；style: 线的样子。"""
    axes.axhline(height, **{"color": GREY, "lw": 0.8, "ls": "--"} | style)
    axes.annotate(text, (0.01, height), (0, 2), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                  fontsize=size, color=LINE, va="bottom")


def paint(axes: Axes, image: Tensor, cmap: str = IMAGE, **options: Any) -> AxesImage:
    """把 (H, W) 的张量画成图像，(3, H, W) 的是彩色。cmap: 色表，默认是一张图像的，0 是黑，1 是白。"""
    shown = image.permute(1, 2, 0) if image.dim() == 3 else image
    scale: dict[str, Any] = {"vmin": 0, "vmax": 1} if cmap == IMAGE else {}
    return axes.imshow(shown.detach().float().cpu().numpy(), cmap=cmap, **scale | options)


def color_bar(figure: Figure, image: AxesImage, place: tuple[float, float, float, float], label: str = "") -> None:
    """image 的色标：什么颜色是多少。place: (左, 下, 宽, 高)，占 figure 的几分之几；label: 写在上面的字。"""
    axes = figure.add_axes(place)
    figure.colorbar(image, cax=axes, ticks=MaxNLocator(3), format="{x:.3g}").outline.set_linewidth(0)
    axes.tick_params(labelsize=8, length=2)
    axes.set_title(label, fontsize=8, loc="left")


def times(sizes: Sequence[int]) -> str:
    """写成「6×28×28」。"""
    return "×".join(map(str, sizes))


def channels_at(shape: Sequence[int]) -> str:
    """一张特征图的形状 (C, H, W) 写成「6 @ 28×28」，一个向量的 (n,) 写成「120」，一个数的 () 写成「1」。"""
    channels, *sides = shape or (1,)
    return f"{channels} @ {times(sides)}" if sides else str(channels)
