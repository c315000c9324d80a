"""一个位置上的卷积：输入的一个窗口，逐个乘以卷积核，加起来是输出的一个数；窗口是 1×1 的，就是矩阵乘以一个像素。"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from helpers.arguments import between, brief, flag, listed
from helpers.pictures.canvas import GREY, IMAGE, ORANGE, PALE_ORANGE, SIGNED, Picture, canvas
from helpers.pictures.doors import named, tensor, wording
from helpers.pictures.pen import box, color_bar, paint, sheet, times, write

_WIDTH, _SIDE, _STEP = 8.4, 1.15, 1.4  # 英寸：pointwise_at 的图多宽，里面一张特征图的边长，两张之间
_FAR = 1_000  # 步幅至多几格，四周至多填充几格
_READABLE = 7  # 小表的边长：再大，格子里的数就小得看不清


def convolution_at(X: Tensor, kernel: Tensor, row: int, column: int, *, stride: int = 1,
                   padding: int | None = None) -> Picture:
    """输出的第 (row, column) 格是怎样算出来的：左边是输入和窗口，中间是逐个相乘，右边是整张输出和这一格。

    X: (1, 1, H, W)，取值 0–1；kernel: (k, k)，没有偏置，k 超过 7 时小表里不写数。
    stride: 步幅，大于 1 时每个窗口的中心画一个橙色的点；padding: 四周各填充几个 0，默认 k // 2：k 是奇数、
        步幅是 1 时输出也是 H×W。
    图像 0 是黑，1 是白；有正有负的是红正蓝负，0 是白。row、column 从 0 数起；输出没有这一格时抛出 ValueError。
    """
    X = _decimals("X", X, "(N, 1, H, W)")
    kernel = tensor("kernel", kernel, "(k, k)").to(X)
    row, column, stride = between("row", row, 0), between("column", column, 0), between("stride", stride, 1, _FAR)
    size, pad = len(kernel), len(kernel) // 2 if padding is None else between("padding", padding, 0, _FAR)
    padded = F.pad(X, [pad] * 4)[0, 0]
    if size > min(padded.shape):
        raise ValueError(f"kernel 是 {size}×{size}，比填充之后的图像 {times(padded.shape)} 还大；padding 大一些。")
    output = F.conv2d(X, kernel[None, None], stride=stride, padding=pad)[0, 0]
    if row >= len(output) or column >= output.shape[1]:
        raise ValueError(f"输出是 {times(output.shape)}，从 0 数起，没有第 {brief(row)} 行第 {brief(column)} 列。")
    top, left = row * stride, column * stride
    window = padded[top:top + size, left:left + size]
    with canvas(9.6, 2.2, f"第 {row} 行第 {column} 列：窗口 × 卷积核，加起来是 "
                          f"{_text((window * kernel).sum().item())}") as drawn:
        grid = drawn.figure.subplots(1, 5, width_ratios=(1.25, 1, 1, 1, 1.25))
        _draw_input(grid[0], padded, pad, size, stride)
        _frame(grid[0], top, left, size, size, ORANGE, 2)
        _numbers(grid[1], window, IMAGE, 0, 1)
        reach = _reach(kernel)  # 输入不超过 1，所以乘积用同一个刻度
        _numbers(grid[2], kernel, SIGNED, -reach, reach)
        _numbers(grid[3], window * kernel, SIGNED, -reach, reach)
        paint(grid[4], output, SIGNED, vmin=-_reach(output), vmax=_reach(output))
        _frame(grid[4], row, column, 1, 1, ORANGE, 2)
        titles = (f"输入，四周填充 {pad} 格 0" if pad else "输入，不填充", "窗口", "卷积核", "相乘",
                  f"输出，这一格 {_text(output[row, column].item())}")
        for axes, title, sign in zip(grid, titles, ("", "", "×", "=", "相加"), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=GREY)
            axes.set_title(title, fontsize=10)
            write(axes, -0.12, 0.5, sign, 9, transform=axes.transAxes)
        drawn.figure.subplots_adjust(0.01, 0.02, 0.99, 0.9, 0.24)
    return drawn


def _draw_input(axes: Axes, padded: Tensor, pad: int, size: int, stride: int) -> None:
    """填充过的输入，原来的图框出来；步幅大于 1 时点出每个窗口的中心。"""
    paint(axes, padded)
    height, width = padded.shape
    _frame(axes, pad, pad, height - 2 * pad, width - 2 * pad, GREY, 0.8)
    if stride > 1:
        middle = (size - 1) / 2
        for y in range(0, height - size + 1, stride):
            for x in range(0, width - size + 1, stride):
                axes.plot(x + middle, y + middle, ".", ms=3, color=ORANGE, mew=0)


def chains_at(X: Tensor, chains: Mapping[str, Sequence[Tensor]], row: int, column: int, *,
              relu: bool = True) -> Picture:
    """几个卷积核一个接一个，输出的第 (row, column) 格从哪里来：一个名字一行，橙框是各层里它看得到的。

    X: (1, 1, H, W)，取值 0–1；chains: 名字到几个 (k, k) 的核，k 是奇数，四周各填充 k // 2 个 0，没有偏置。
    relu: 两个核之间有没有 ReLU；最后一个核后面没有。核的结果红正蓝负，共用一个刻度。row、column 从 0 数起。
    """
    X, relu = _decimals("X", X, "(N, 1, H, W)"), flag("relu", relu)
    row, column = between("row", row, 0, X.shape[2] - 1), between("column", column, 0, X.shape[3] - 1)
    chains = {name: [kernel.to(X) for kernel in kernels]
              for name, kernels in named("chains", chains, listed, tensor, "(k, k)").items()}
    rows = {name: _after_each(X, kernels, relu) for name, kernels in chains.items()}
    reach = max(_reach(made) for maps in rows.values() for made in maps[1:])
    values = {name: _text(maps[-1][row, column].item()) for name, maps in rows.items()}
    columns = 2 * max(map(len, rows.values())) - 1
    title = "，".join(f"{name} 是 {value}" for name, value in values.items())
    with canvas(1.9 * columns, 2.1 * len(rows), f"第 {row} 行第 {column} 列：{title}") as drawn:
        grid = drawn.figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, maps), kernels in zip(grid, rows.items(), chains.values(), strict=True):
            used = [*line[:2 * len(kernels)], line[-1]]  # 核少的一行，中间空着
            for axes in {*line} - {*used}:
                axes.set_visible(False)
            for k, (axes, made) in enumerate(zip(used[::2], maps, strict=True)):
                paint(axes, made, *(SIGNED,) * (k > 0), vmin=-reach if k else 0, vmax=reach if k else 1)
                side = 1 + sum(len(kernel) - 1 for kernel in kernels[k:])
                _frame(axes, row - side // 2, column - side // 2, side, side, ORANGE, 2)
                axes.set_title(f"第 {k} 个核之后" if k else "输入", fontsize=10)
            for k, (axes, kernel) in enumerate(zip(used[1::2], kernels, strict=True), start=1):
                _numbers(axes, kernel, SIGNED, -_reach(kernel), _reach(kernel))
                axes.set_title(f"第 {k} 个核", fontsize=10)
            used[-1].set_title(f"{name}：{values[name]}", fontsize=10)
            for axes in used:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color=GREY)
        drawn.figure.subplots_adjust(0.01, 0.02, 0.99, 0.92, 0.12, 0.2)
    return drawn


def _decimals(name: str, value: Any, shape: str) -> Tensor:
    """小数的图像，不求导数。"""
    X = tensor(name, value, shape)
    if not X.is_floating_point():
        raise ValueError(f"{name} 应当是小数，如 0–1 的亮度，收到的是 {X.dtype}；先写 {name} / 255。")
    return X.detach()


def _after_each(X: Tensor, kernels: Sequence[Tensor], relu: bool) -> list[Tensor]:
    """输入，和每个核之后的 (H, W)；relu 为真时，除了最后一个都过一次 ReLU。"""
    maps = [X]
    for k, kernel in enumerate(kernels, start=1):
        made = F.conv2d(maps[-1], kernel[None, None], padding=len(kernel) // 2)
        maps.append(made.relu() if relu and k < len(kernels) else made)
    return [made[0, 0] for made in maps]


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
    for i, line in enumerate(table.tolist() if len(table) <= _READABLE else []):
        for j, value in enumerate(line):
            dark = value < 0.5 if cmap == IMAGE else abs(value) > 0.6 * high
            axes.text(j, i, _text(value), ha="center", va="center",
                      fontsize=min(7, 36 / len(table)), color="white" if dark else "black")


def pointwise_at(X: Tensor, weight: Tensor, bias: Tensor, row: int, column: int, names: Sequence[str]) -> Picture:
    """1×1 的卷积在像素 (row, column) 上怎样算：左边是输入的各通道，中间是 y = W × x + b，右边是输出的各通道。

    X: (1, C, H, W)；weight: (O, C)；bias: (O,)；names: C 个输入通道的名字。row、column 从 0 数起，这个像素框成橙色。
    各图共用输入的刻度，红正蓝负，0 是白；输出超出刻度的，是两头的颜色。
    """
    X = _decimals("X", X, "(N, C, H, W)")
    weight = tensor("weight", weight, "(O, C)", C=X.shape[1]).detach().to(X)
    bias = tensor("bias", bias, "(O,)", O=len(weight)).detach().to(X)
    row, column = between("row", row, 0, X.shape[2] - 1), between("column", column, 0, X.shape[3] - 1)
    names, x = listed("names", names, wording, count=X.shape[1]), X[0, :, row, column]
    outputs, y = (weight @ X[0].flatten(1) + bias[:, None]).reshape(-1, *X.shape[2:]), weight @ x + bias
    height = max(X.shape[1], len(outputs)) * _STEP + 0.1
    with canvas(_WIDTH, height, f"像素 ({row}, {column})：W × x + b = {'、'.join(map(_text, y.tolist()))}") as drawn:
        columns = [("y", y[:, None]), ("=", None), ("W", weight), ("×", None), ("x", x[:, None]), ("+", None),
                   ("b", bias[:, None])]
        _equation(sheet(drawn.figure, (0, _WIDTH), (0, height)), columns, height / 2)
        titles = [f"输出通道 {k}" for k in range(len(outputs))]
        for left, maps, labels in ((0.1, X[0], names), (_WIDTH - _SIDE - 0.7, outputs, titles)):
            image = _stack(drawn.figure, left, maps, labels, (row, column), _reach(X))
        color_bar(drawn.figure, image, (1 - 0.6 / _WIDTH, 0.5 - 0.5 / height, 0.1 / _WIDTH, 1 / height))
    return drawn


def _stack(figure: Figure, left: float, maps: Tensor, titles: Sequence[str], at: tuple[int, int],
           reach: float) -> AxesImage:
    """自上而下一列特征图 (C, H, W)，上下居中，像素 at 框成橙色；返回最后一张。left: 英寸。"""
    width, height = figure.get_size_inches()
    for k, (one, title) in enumerate(zip(maps, titles, strict=True)):
        bottom = height / 2 + (len(maps) / 2 - k - 1) * _STEP
        axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
        image = paint(axes, one, SIGNED, vmin=-reach, vmax=reach)
        _frame(axes, *at, 1, 1, ORANGE, 2)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=GREY)
        axes.set_title(title, fontsize=9, pad=3)
    return image


def _equation(axes: Axes, columns: Sequence[tuple[str, Tensor | None]], middle: float) -> None:
    """一行算式，左右居中：(名字, 矩阵)，没有矩阵的是一个符号；x 和 y 的底是橙色。middle: 中线的高度，英寸。"""
    sizes = [0.35 if matrix is None else 0.55 * matrix.shape[1] for _, matrix in columns]
    left = (_WIDTH - 0.6 - sum(sizes)) / 2
    for (name, matrix), size in zip(columns, sizes, strict=True):
        top = middle if matrix is None else middle + 0.2 * len(matrix)
        write(axes, left + size / 2, top + (0 if matrix is None else 0.15), name, 12)
        for i, line in enumerate([] if matrix is None else matrix.tolist()):
            for j, value in enumerate(line):
                box(axes, left + 0.55 * j + 0.02, top - 0.4 * (i + 1) + 0.05, 0.51, 0.3, _text(value),
                    PALE_ORANGE if name in "xy" else "none")
        left += size
