"""一个位置上的卷积：输入的一个窗口，逐个乘以卷积核，加起来是输出的一个数。"""

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from helpers.pictures.canvas import GREY, ORANGE, Picture, canvas
from helpers.pictures.pen import paint, write


def convolution_at(X: Tensor, kernel: Tensor, row: int, column: int) -> Picture:
    """输出的第 (row, column) 格是怎样算出来的：左边是输入和窗口，中间是逐个相乘，右边是整张输出和这一格。

    X: (1, 1, H, W)，取值 0–1；kernel: (k, k)，k 是奇数，四周各填充 k // 2 个 0，所以输出也是 H×W，没有偏置。
    灰度 0 是白，1 是黑；有正有负的是红正蓝负，0 是白。row、column 从 0 数起。
    """
    size, pad, (height, width) = len(kernel), len(kernel) // 2, X.shape[2:]
    padded = F.pad(X, [pad] * 4)[0, 0]
    output = F.conv2d(X, kernel[None, None], padding=pad)[0, 0]
    window = padded[row:row + size, column:column + size]
    value = (window * kernel).sum().item()
    with canvas(9.6, 2.2, f"第 {row} 行第 {column} 列：窗口 × 卷积核，加起来是 {_text(value)}") as drawn:
        grid = drawn.figure.subplots(1, 5, width_ratios=(1.25, 1, 1, 1, 1.25))
        paint(grid[0], padded, vmin=0, vmax=1)
        _frame(grid[0], pad, pad, height, width, GREY, 0.8)
        _frame(grid[0], row, column, size, size, ORANGE, 2)
        _numbers(grid[1], window, "gray_r", 0, 1)
        reach = _reach(kernel)  # 输入不超过 1，所以乘积用同一个刻度
        _numbers(grid[2], kernel, "RdBu_r", -reach, reach)
        _numbers(grid[3], window * kernel, "RdBu_r", -reach, reach)
        paint(grid[4], output, "RdBu_r", vmin=-_reach(output), vmax=_reach(output))
        _frame(grid[4], row, column, 1, 1, ORANGE, 2)
        titles = ("输入，四周填充 0", "窗口", "卷积核", "相乘", f"输出，这一格 {_text(value)}")
        for axes, title, sign in zip(grid, titles, ("", "", "×", "=", "相加"), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=GREY)
            axes.set_title(title, fontsize=10)
            write(axes, -0.12, 0.5, sign, 9, transform=axes.transAxes)
        drawn.figure.subplots_adjust(0.01, 0.02, 0.99, 0.9, 0.24)
    return drawn


def _text(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00")


def _reach(table: Tensor) -> float:
    return max(table.abs().max().item(), 1e-6)


def _frame(axes: Axes, row: int, column: int, height: int, width: int, color: str, lw: float) -> None:
    """图像上从 (row, column) 开始的一块，框出来。"""
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), width, height, fill=False, edgecolor=color, lw=lw,
                             clip_on=False))


def _numbers(axes: Axes, table: Tensor, cmap: str, low: float, high: float) -> None:
    """一张小表 (k, k)：颜色和数字。"""
    paint(axes, table, cmap, vmin=low, vmax=high)
    for i, line in enumerate(table.tolist()):
        for j, value in enumerate(line):
            dark = abs(value) > 0.6 * high
            axes.text(j, i, _text(value), ha="center", va="center",
                      fontsize=min(7, 36 / len(table)), color="white" if dark else "black")
