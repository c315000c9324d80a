"""图像与特征图：数据怎样流过网络，测试图像，混淆矩阵，感受野，类别图。"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from helpers.data.fashion import LABELS
from helpers.network.borrow import evaluating
from helpers.network.trace import Trace
from helpers.pictures.canvas import BLUE, GREEN, GREY, ORANGE, Picture, chinese, picture
from helpers.pictures.flow import PATH_COLORS
from helpers.pictures.networks import describe


def data_flow(net: nn.Sequential, X: Tensor) -> Picture:
    """一张图像怎样流过网络：每一级的特征图都是网络此刻真的算出来的。

    net: nn.Sequential；X: (1, C, H, W)，与 net 在同一设备。形状改变一次就是一级，最多画前 6 个通道。
    """
    stages = [("输入", X)]
    with torch.no_grad(), evaluating(net):
        for layer in net:
            before, X = X, layer(X)
            if X.shape == before.shape:
                stages[-1] = (stages[-1][0] + "\n" + describe(layer), X)
            else:
                stages.append((describe(layer).replace("，", "\n"), X))
    with chinese():
        figure = Figure(figsize=(1.5 * len(stages), 3), dpi=100)
        for i, (text, maps) in enumerate(stages):
            left = (i + 0.04) / len(stages)
            _draw_stage(figure, left, 0.84 / len(stages), maps[0].float().cpu())
            figure.text(left, 0.93, _shape_text(maps), fontsize=10)
            figure.text(left, 0.02, text, fontsize=8, color="#555555", va="bottom")
            if i:
                figure.text(left - 0.04 / len(stages), 0.55, "→", fontsize=12, color=GREY, ha="right")
    return picture(figure, "数据怎样流过网络")


def _draw_stage(figure: Figure, left: float, width: float, maps: Tensor) -> None:
    """特征图 (C, H, W) 画成一叠，向量 (n,) 画成一条。"""
    if maps.dim() == 1:
        height = 0.12 + 0.13 * np.log10(len(maps))
        axes = figure.add_axes((left + 0.3 * width, 0.55 - height / 2, 0.16 * width, height))
        axes.imshow(maps[:, None].numpy(), aspect="auto", cmap="viridis")
        axes.set(xticks=[], yticks=[])
        return
    count = min(len(maps), 6)
    # 边长按平方根缩放：28 像素和 5 像素都看得清
    side = width * (0.35 + 0.3 * min(1.0, (maps.shape[-1] / 28) ** 0.5))
    aspect = figure.get_figwidth() / figure.get_figheight()
    for k in reversed(range(count)):
        shift = k * 0.06 * width
        axes = figure.add_axes((left + shift, 0.55 - side * aspect / 2 + shift * aspect, side, side * aspect))
        axes.imshow(maps[k].numpy(), cmap="viridis")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="white", linewidth=0.5)


def _shape_text(X: Tensor) -> str:
    sizes = list(X.shape[1:])
    return f"{sizes[0]} @ {sizes[1]}×{sizes[2]}" if len(sizes) == 3 else str(sizes[0])


def image_grid(X: Tensor, titles: Sequence[str], wrong: Sequence[bool] = (), columns: int = 9) -> Picture:
    """一格一张图像，标题写在上面；wrong 为真的标题是红色。X: (N, 1, H, W)。"""
    rows = -(-len(X) // columns)
    with chinese():
        figure = Figure(figsize=(columns * 1.15, rows * 1.5), dpi=100)
        cells = figure.subplots(rows, columns, squeeze=False).flat
        for i, axes in enumerate(cells):
            axes.axis("off")
            if i < len(X):
                axes.imshow(X[i, 0].float().cpu().numpy(), cmap="gray_r")
                axes.set_title(titles[i], fontsize=8, color="#d62728" if i < len(wrong) and wrong[i] else "black")
        figure.subplots_adjust(0.01, 0.01, 0.99, 0.88, hspace=0.45)
    return picture(figure, "测试图像与标签")


def confusion_matrix(y: Tensor, y_hat: Tensor) -> Picture:
    """混淆矩阵：行是真实类别，列是预测，格子里是占这一类的百分比。y, y_hat: (N,) int64，0–9。"""
    counts = torch.zeros(10, 10).index_put_((y.cpu(), y_hat.cpu()), torch.ones(len(y)), accumulate=True)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    names = [label.split()[0] for label in LABELS]
    with chinese():
        figure = Figure(figsize=(6, 5.2), dpi=100)
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(10, 10):
            if share[i, j] >= 0.005:
                axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if share[i, j] > 0.6 else "black")
        axes.set_xticks(range(10), names, rotation=45)
        axes.set_yticks(range(10), names)
        axes.set(xlabel="预测", ylabel="真实")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.tight_layout()
    return picture(figure, "混淆矩阵")


def receptive_fields(X: Tensor, table: Trace, count: int | None = None,
                     at: tuple[float, float] = (0.5, 0.5)) -> Picture:
    """前 count 层（默认全部）的一格看得到的窗口，画在图像上；右边是窗口怎样随深度变大。

    X: (1, 1, H, W)；table: trace 走过同样大小的输入得到的清单，只画卷积层和汇聚层，填充应当左右对称；
    at: 这一格在特征图上的位置 (行, 列)，0–1。
    """
    layers = [layer for layer in table if "Conv" in layer.kind or "Pool" in layer.kind]
    count = len(layers) if count is None else count
    colors = [BLUE if "Conv" in layer.kind else GREEN for layer in layers]
    size = X.shape[-1]
    with chinese():
        figure = Figure(figsize=(8.4, 3.9), dpi=100)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        left.imshow(X[0, 0].float().cpu().numpy(), cmap="gray_r")
        deepest = layers[count - 1]
        cells = deepest.out_shape[-1]
        focus = [(min(int(share * cells), cells - 1) + 0.5) * size / cells for share in at]
        for layer, color in zip(layers[:count], colors, strict=False):
            step, field = size / layer.out_shape[-1], layer.receptive_field
            row, column = ((int(place / step) + 0.5) * step - 0.5 for place in focus)  # 离最深那一格最近的一格
            last = layer is deepest
            left.add_patch(Rectangle((column - field / 2, row - field / 2), field, field, fill=False,
                                     edgecolor=ORANGE if last else color, lw=2.5 if last else 1))
        left.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=[], yticks=[])
        left.spines[:].set(visible=True, color=GREY)
        left.set_title(f"第 {count} 层 {'×'.join(map(str, deepest.out_shape[1:]))} 里的一格", fontsize=10)
        fields = [layer.receptive_field for layer in layers]
        bars = right.bar(range(1, len(layers) + 1), fields, color=colors)
        for i, bar in enumerate(bars):
            bar.set(alpha=1 if i < count else 0.25, color=ORANGE if i == count - 1 else colors[i])
        right.bar_label(bars, fontsize=8)
        right.axhline(size, color=GREY, lw=1, ls="--")
        right.text(0.4, size, f"图像边长 {size}", va="bottom", fontsize=8, color="#666666")
        right.set(xticks=range(1, len(layers) + 1), ylim=(0, 1.12 * max(size, *fields)))
        right.set_xlabel("第几层（蓝：卷积，绿：汇聚，橙：左图的这一层）")
        right.set_title("感受野的边长（像素）", loc="left", fontsize=10)
        figure.subplots_adjust(left=0.01, right=0.99, bottom=0.13, top=0.91, wspace=0.1)
    return picture(figure, f"第 {count} 层的感受野 {deepest.receptive_field}×{deepest.receptive_field}")


def gallery(rows: dict[str, Tensor]) -> Picture:
    """每行一组图像，行名写在左边；灰度固定，0 是黑，1 是白，所以看得出明暗。rows: 行名到 (N, 1, H, W)。"""
    columns = max(map(len, rows.values()))
    with chinese():
        figure = Figure(figsize=(1.1 + 1.1 * columns, 1.15 * len(rows)), dpi=100)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes in line:
                axes.axis("off")
            for axes, image in zip(line, images, strict=False):
                axes.imshow(image[0].float().cpu().numpy(), cmap="gray", vmin=0, vmax=1)
            line[0].text(-0.12, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
        figure.subplots_adjust(1.05 / (1.1 + 1.1 * columns), 0.01, 0.99, 0.99, 0.05, 0.05)
    return picture(figure, "、".join(rows))


def windows(masks: dict[str, Tensor]) -> Picture:
    """每个名字一张方格图，mask (H, W) 里为真的格子涂色，例如一格输出看得到的输入。"""
    with chinese():
        figure = Figure(figsize=(2.1 * len(masks), 2.4), dpi=100)
        for axes, (title, mask), color in zip(figure.subplots(1, len(masks), squeeze=False)[0], masks.items(),
                                              cycle(PATH_COLORS), strict=False):
            height, width = mask.shape
            axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=range(1, width), yticks=range(1, height))
            for row, column in mask.cpu().nonzero().tolist():
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor="none"))
            axes.grid(color="#bbbbbb", lw=0.5)
            axes.tick_params(length=0, labelbottom=False, labelleft=False)
            axes.spines[:].set(visible=True, color="#bbbbbb")
            axes.set_title(title, fontsize=10)
        figure.tight_layout()
    return picture(figure, "、".join(masks))


def map_grid(X: Tensor, maps: Tensor, names: Sequence[str], marked: Sequence[int] = ()) -> Picture:
    """每行一张图像和它的各张特征图，同一行共用色标（深蓝最小，黄最大），图下是平均数。

    X: (N, 1, H, W)；maps: (N, C, h, w)；names: C 个名字；marked: 每行要用橙色框出的是第几张，例如真实的类别。
    """
    rows, count = maps.shape[:2]
    maps = maps.detach().float().cpu()
    with chinese():
        figure = Figure(figsize=(0.8 * (count + 1), 1.08 * rows + 0.3), dpi=100)
        grid = figure.subplots(rows, count + 1, squeeze=False)
        for i, line in enumerate(grid):
            low, high = min(0.0, maps[i].min().item()), max(maps[i].max().item(), 1e-6)
            line[0].imshow(X[i, 0].float().cpu().numpy(), cmap="gray_r")
            for k, axes in enumerate(line[1:]):
                axes.imshow(maps[i, k].numpy(), cmap="viridis", vmin=low, vmax=high)
                axes.set_xlabel(f"{maps[i, k].mean().item():.2g}", fontsize=8, labelpad=2)
            for k, axes in enumerate(line):
                axes.set(xticks=[], yticks=[])
                here = i < len(marked) and k == marked[i] + 1
                axes.spines[:].set(visible=here, color=ORANGE, linewidth=2.5)
                if i == 0 and k:
                    axes.set_title(names[k - 1], fontsize=9)
        figure.subplots_adjust(0.01, 0.2 / figure.get_figheight(), 0.99, 1 - 0.25 / figure.get_figheight(), 0.12, 0.3)
    return picture(figure, "图像和它的特征图")
