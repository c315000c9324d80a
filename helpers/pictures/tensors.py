"""从张量画图：数据怎样流过网络，测试图像，混淆矩阵，感受野，类别图。"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor, nn

from helpers.arguments import between, brief, flag, instance, listed
from helpers.data.fashion import LABELS
from helpers.network.answer import blame, placed
from helpers.network.borrow import evaluating
from helpers.network.describe import LayerText
from helpers.network.layer import Layer
from helpers.network.trace import Trace
from helpers.pictures.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    IMAGE,
    MAPS,
    ORANGE,
    PATH_COLORS,
    RED,
    RULE,
    SHARES,
    SIGNED,
    Picture,
    canvas,
)
from helpers.pictures.doors import layers, named, numbers, of_kind, tensor, wording
from helpers.pictures.pen import channels_at, color_bar, paint, reference_line, sheet, times, write
from helpers.training.mistakes import Mistakes

_DRAWN = "(N, C, H, W)", "(N, n)"  # data_flow 画得出的：图像和向量


def data_flow(net: nn.Sequential, X: Tensor) -> Picture:
    """一张图像怎样流过网络：每一级的特征图都是网络此刻真的算出来的。

    net: nn.Sequential；X: (1, C, H, W)，与 net 在同一设备。形状改变一次就是一级，最多画前 16 个通道；
    输入是灰度；往后一级里的各张共用一个刻度，深紫最小，黄最大，两端写在下面。
    """
    stages = _stages(net, X)
    with canvas(1.5 * len(stages), 2.75, "数据怎样流过网络") as drawn:
        axes = sheet(drawn.figure, (0, 1.5 * len(stages)), (0, 2.75))
        for i, (lines, maps) in enumerate(stages):
            left = 1.5 * i + 0.08
            low, high = maps.min().item(), maps.max().item()
            _draw_stage(axes, left, maps, *((MAPS, low, high) if i else (IMAGE, 0, 1)))
            write(axes, left, 2.6, channels_at(maps.shape), 10, ha="left")
            write(axes, left, 0.8, f"{low:.2g} 到 {high:.2g}", 8, ha="left")
            write(axes, left, 0.68, "\n".join(lines), 8, ha="left", va="top", color=FAINT)
            if i:
                write(axes, left - 0.08, 1.6, "→", 12, ha="right", color=GREY)
        axes.set(xlim=(0, 1.5 * len(stages)), ylim=(0, 2.75))  # 画图像时改过
    return drawn


def _stages(net: nn.Sequential, X: Tensor) -> list[tuple[list[str], Tensor]]:
    """形状改变一次就是一级：(走过的各层，这一级最后的特征图 (C, H, W) 或向量 (n,))。"""
    X, chain = tensor("X", X, *_DRAWN), nn.Sequential(*layers("net", net))
    stages, image = [(["输入"], X[0])], placed(chain, X)
    X = image
    with torch.no_grad(), evaluating(chain):
        for k, layer in enumerate(chain):
            before = X
            try:
                X = layer(X)
            except RuntimeError as error:
                blame(error, chain, image)
                raise
            X = tensor(f"第 {k} 层 {type(layer).__name__} 的输出", X, *_DRAWN)
            said = LayerText.of(layer)
            earlier = stages.pop()[0] if X.shape == before.shape else []
            stages.append(([*earlier, said.title, *said.details], X[0]))
    return stages


def _draw_stage(axes: Axes, left: float, maps: Tensor, cmap: str, low: float, high: float) -> None:
    """特征图 (C, H, W) 画成一叠，第一个通道在最前面；向量 (n,) 画成一条，第一个数在最上面。"""
    scale: dict[str, Any] = {"cmap": cmap, "vmin": low, "vmax": high, "aspect": "auto"}
    bottom, shift = 0.95, 0.035
    if maps.dim() == 1:
        height = 0.35 + 0.39 * math.log10(len(maps))
        paint(axes, maps[:, None], extent=(left, left + 0.2, bottom, bottom + height), **scale)
        return
    side = 0.44 + 0.38 * min(1.0, (maps.shape[-1] / 28) ** 0.5)  # 按平方根缩放：28 像素和 5 像素都看得清
    for k in reversed(range(min(len(maps), 16))):
        x, y = left + shift * k, bottom + shift * k
        paint(axes, maps[k], extent=(x, x + side, y, y + side), **scale)
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor="white", lw=0.5))


def image_grid(X: Tensor, titles: Sequence[str], wrong: Sequence[bool] = (), columns: int = 9) -> Picture:
    """一格一张图像，标题写在上面；wrong 为真的标题是红色。X: (N, 1, H, W)，彩色的是 (N, 3, H, W)。"""
    images, columns = _images("X", X, "(1, H, W)", "(3, H, W)", "(H, W)"), between("columns", columns, 1, 1_000)
    titles, wrong = listed("titles", titles, wording, least=len(images)), listed("wrong", wrong, flag, least=0)
    rows = -(-len(images) // columns)
    with canvas(columns * 1.15, rows * 1.5, "测试图像与标签") as drawn:
        for i, axes in enumerate(drawn.figure.subplots(rows, columns, squeeze=False).flat):
            axes.axis("off")
            if i < len(images):
                paint(axes, images[i].squeeze(0) if images[i].dim() == 3 else images[i])
                axes.set_title(titles[i], fontsize=8, color=RED if i < len(wrong) and wrong[i] else "black")
        drawn.figure.subplots_adjust(0.01, 0.01, 0.99, 0.88, hspace=0.45)
    return drawn


def _images(name: str, value: Any, *shapes: str, least: int = 1) -> list[Tensor]:
    """几张图像，一张是 shapes 之一：在一个张量里，或者一张一张的列表。"""
    if isinstance(value, list | tuple) or (not least and isinstance(value, Tensor) and value.shape[:1] == (0,)):
        return listed(name, value, tensor, *shapes, least=least)
    return [*tensor(name, value, *(f"(N, {shape[1:]}" for shape in shapes))]


def mistake_grid(mistakes: Mistakes, columns: int = 6) -> Picture:
    """认错的图，见 `confident_mistakes`：上面是「真实的类别 → 预测的」，和网络给预测的概率。"""
    instance(mistakes, Mistakes, "mistakes 应当是认错的图，如 confident_mistakes(net, test)")
    if not len(mistakes.y):
        with canvas(3, 0.4, "没有认错的") as drawn:
            write(sheet(drawn.figure, (0, 1), (0, 1)), 0.5, 0.5, "一张也没有认错")
        return drawn
    titles = [f"{mistakes.classes[y]} → {mistakes.classes[y_hat]}\n{p:.2f}"
              for y, y_hat, p in zip(mistakes.y.tolist(), mistakes.y_hat.tolist(), mistakes.p.tolist(), strict=True)]
    picture = image_grid(mistakes.X, titles, columns=columns)
    picture.title = "最有把握的错"
    return picture


def confusion_matrix(y: Tensor, y_hat: Tensor) -> Picture:
    """混淆矩阵：行是真实类别，列是预测，格子里是占这一类的百分比。y, y_hat: (N,) int64，0–9。"""
    y, y_hat = _classes("y", y), _classes("y_hat", y_hat)
    if len(y) != len(y_hat):
        raise ValueError(f"y 有 {len(y)} 个，y_hat 有 {len(y_hat)} 个；一张图像一个，两边要一样多。")
    counts = torch.zeros(10, 10).index_put_((y, y_hat), torch.ones(len(y)), accumulate=True)
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    names = [label.split()[0] for label in LABELS]
    with canvas(6, 5.2, "混淆矩阵", layout="tight") as drawn:
        axes = drawn.figure.subplots()
        paint(axes, share, SHARES, vmin=0, vmax=1)
        for i, j in (100 * share).round().nonzero().tolist():  # 不到 0.5 % 的不写
            axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=9,
                      color="white" if share[i, j] > 0.6 else "black")
        axes.set_xticks(range(10), names, rotation=45)
        axes.set_yticks(range(10), names)
        axes.set(xlabel="预测", ylabel="真实")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    return drawn


def _classes(name: str, value: Any) -> Tensor:
    """(N,) 的类别，int64，在 CPU 上。"""
    y = tensor(name, value, "(N,)")
    if y.is_floating_point() or y.dtype == torch.bool or not 0 <= y.min() <= y.max() <= 9:
        raise ValueError(f"{name} 应当是类别，0–9 的整数，收到的是 {brief(value)}。对数几率先写 .argmax(dim=1)。")
    return y.cpu().long()


def receptive_fields(X: Tensor, table: Trace, count: int | None = None,
                     at: tuple[float, float] = (0.5, 0.5)) -> Picture:
    """前 count 层（默认全部）的一格看得到的窗口，画在图像上；右边是窗口怎样随深度变大。

    X: (1, 1, H, W)；table: trace 走过同样大小的输入得到的清单，只画感受野说得清、不是全图的卷积层和汇聚层，
        填充应当左右对称；
    at: 这一格在特征图上的位置 (行, 列)，0–1。
    """
    X, at = tensor("X", X, "(N, C, H, W)"), numbers("at", at, 2)
    seen = [(layer, window) for layer in listed("table", table, of_kind, Layer, "清单的一行，见 trace")
            if ("Conv" in layer.kind or "Pool" in layer.kind) and len(layer.out_shape) == 4
            if (window := layer.receptive_field.window) is not None]
    if not seen:
        raise ValueError("table 里没有一个卷积层或汇聚层，感受野说得清、又不是全图的。")
    count = len(seen) if count is None else between("count", count, 1, len(seen))
    with canvas(8.4, 3.9, f"第 {count} 个的感受野 {times(seen[count - 1][1])}") as drawn:
        left, right = drawn.figure.subplots(1, 2, width_ratios=(1, 1.35))
        paint(left, X[0, 0])
        _draw_fields(left, X.shape[2:], seen[:count], at)
        _draw_growth(right, max(X.shape[2:]), seen, count)
        drawn.figure.subplots_adjust(left=0.01, right=0.99, bottom=0.13, top=0.91, wspace=0.1)
    return drawn


def _layer_color(layer: Layer) -> str:
    return BLUE if "Conv" in layer.kind else GREEN


def _draw_fields(axes: Axes, size: Sequence[int], layers: Sequence[tuple[Layer, tuple[int, int]]],
                 at: tuple[float, float]) -> None:
    """各层的窗口，都对着最深一层位于 at 的那一格；最深的是橙色。size: 图像的高和宽；layers: (一层, 窗口的高和宽)。"""
    deepest, _ = layers[-1]
    focus = [(min(int(share * cells), cells - 1) + 0.5) * side / cells
             for share, cells, side in zip(at, deepest.out_shape[2:], size, strict=True)]
    for layer, (height, width) in layers:
        steps = [side / cells for side, cells in zip(size, layer.out_shape[2:], strict=True)]
        # 离最深那一格最近的一格
        row, column = ((int(place / step) + 0.5) * step - 0.5 for place, step in zip(focus, steps, strict=True))
        last = layer is deepest
        axes.add_patch(Rectangle((column - width / 2, row - height / 2), width, height, fill=False,
                                 edgecolor=ORANGE if last else _layer_color(layer), lw=2.5 if last else 1.5,
                                 path_effects=[withStroke(linewidth=4 if last else 2.5, foreground="white")]))
    axes.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GREY)
    axes.set_title(f"第 {len(layers)} 个，{times(deepest.out_shape[1:])} 里的一格", fontsize=10)


def _draw_growth(axes: Axes, size: int, layers: Sequence[tuple[Layer, tuple[int, int]]], count: int) -> None:
    """每一层窗口的边长（较长的一边），一层一条；前 count 层是实的，第 count 层是橙色。size: 图像的边长。"""
    fields, places = [max(window) for _, window in layers], range(1, len(layers) + 1)
    bars = axes.bar(places, fields)
    for k, bar, (layer, _) in zip(places, bars, layers, strict=True):
        bar.set(alpha=1 if k <= count else 0.25, color=ORANGE if k == count else _layer_color(layer))
    axes.bar_label(bars, fontsize=8)
    reference_line(axes, size, f"图像边长 {size}")
    axes.set(xticks=places, ylim=(0, 1.12 * max(size, *fields)))
    axes.set_xlabel("第几个（蓝：卷积层，绿：汇聚层，橙：左图的这一个）")
    axes.set_title("感受野的边长（像素）", loc="left", fontsize=10)


def filter_grid(weights: Mapping[str, Tensor], columns: int = 16) -> Picture:
    """卷积层的各个卷积核，一个名字一组，全都共用一个刻度：0 是白，正的红，负的蓝。

    weights: 名字到 (N, 1, h, w) 或 (N, h, w) 的权重，如 {"训练前": before, "训练后": net[0].weight}；
        有几个输入通道的，先取出一个，如 weight[:, :1]。
    columns: 一行最多几个。形状不对时抛出 ValueError。
    """
    columns, groups = between("columns", columns, 1), named("weights", weights, _sheets)
    reach = max(float(group.abs().max()) for group in groups.values()) or 1.0
    return _draw_groups("卷积核", groups, "权重", columns, cmap=SIGNED, vmin=-reach, vmax=reach)


def feature_maps(X: Tensor, maps: Mapping[str, Tensor], columns: int = 8) -> Picture:
    """一张图像，右边是它的特征图，一个名字一组，全都共用一个刻度：深紫最小，黄最大。

    X: (1, 1, H, W)，0–1；maps: 名字到 (1, C, h, w) 或 (C, h, w)，例如同一层在训练前和训练后的。
        一层的输出是 `record(net, X)["0"].content`，层的名字同 net.named_modules()；只看几个通道就切片。
    columns: 一行最多几个。形状不对时抛出 ValueError。
    """
    columns, X = between("columns", columns, 1), tensor("X", X, "(N, C, H, W)")
    groups = named("maps", maps, lambda name, each: _sheets(
        name, each.squeeze(0) if isinstance(each, Tensor) and each.dim() == 4 else each))
    low, high = (float(end) for end in torch.cat([group.flatten() for group in groups.values()]).aminmax())
    return _draw_groups("特征图", groups, "激活", columns, X, cmap=MAPS, vmin=low, vmax=high)


def _sheets(name: str, value: Any) -> Tensor:
    """(N, 1, h, w) 或 (N, h, w) 变成 (N, h, w)；别的抛出 TypeError 或 ValueError。"""
    found = tensor(name, value, "(N, 1, h, w)", "(N, h, w)",
                   remedy="有几个输入通道的卷积核，先取出一个，如 weight[:, :1]。")
    return (found[:, 0] if found.dim() == 4 else found).detach().float().cpu()


def _draw_groups(kind: str, groups: Mapping[str, Tensor], label: str, columns: int, X: Tensor | None = None,
                 **scale: Any) -> Picture:
    """几组 (N, h, w)，一个标题一组，自上而下；最右边是共用的色标，X (1, 1, H, W) 画在最左边。label: 色标的量。"""
    columns = min(columns, max(map(len, groups.values())))
    left, bar = 0.1 if X is None else 1.4, 0.8  # 英寸
    side = min(0.8, (8.4 - left - bar) / columns)
    width = left + side * columns + bar
    height = max(1.5, sum(0.28 + side * -(-len(group) // columns) for group in groups.values()))
    with canvas(width, height, f"{kind}：{'、'.join(groups)}") as drawn:
        axes, top = sheet(drawn.figure, (0, width), (0, height)), height
        if X is not None:
            write(axes, 0.1, top - 0.14, "输入", 10, ha="left")
            paint(axes, X[0, 0], extent=(0.1, 1.2, top - 1.38, top - 0.28), aspect="auto")
        for name, group in groups.items():
            write(axes, left, top - 0.14, name, 10, ha="left")
            top -= 0.28
            for i, one in enumerate(group):
                x, y, share = left + side * (i % columns), top - side * (i // columns), 0.93 * side / max(one.shape)
                painted = paint(axes, one, extent=(x, x + share * one.shape[1], y - share * one.shape[0], y),
                                aspect="auto", **scale)
            top -= side * -(-len(group) // columns)
        axes.set(xlim=(0, width), ylim=(0, height))  # 画图像时改过
        color_bar(drawn.figure, painted, (1 - 0.7 / width, 1 - 1.4 / height, 0.1 / width, 1.1 / height), label)
    return drawn


def gallery(rows: Mapping[str, Tensor]) -> Picture:
    """每行一组图像，行名写在左边；灰度固定，0 是黑，1 是白，所以看得出明暗。rows: 行名到 (N, 1, H, W)。"""
    groups = named("rows", rows, partial(_images, least=0), "(C, H, W)")
    columns = max(map(len, groups.values()))
    if not columns:
        raise ValueError("rows 里一张图像也没有；至少给一行 (N, 1, H, W)。")
    width = 1.1 + 1.1 * columns
    with canvas(width, 1.15 * len(groups), "、".join(groups)) as drawn:
        grid = drawn.figure.subplots(len(groups), columns, squeeze=False)
        for line, (name, images) in zip(grid, groups.items(), strict=True):
            for axes in line:
                axes.axis("off")
            for axes, image in zip(line, images, strict=False):
                paint(axes, image[0])
            line[0].text(-0.12, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
        drawn.figure.subplots_adjust(1.05 / width, 0.01, 0.99, 0.99, 0.05, 0.05)
    return drawn


def windows(masks: Mapping[str, Tensor]) -> Picture:
    """每个名字一张方格图，mask (H, W) 里为真的格子涂色，例如一格输出看得到的输入。"""
    masks = named("masks", masks, tensor, "(H, W)")
    with canvas(2.1 * len(masks), 2.4, "、".join(masks), layout="tight") as drawn:
        grid = drawn.figure.subplots(1, len(masks), squeeze=False)[0]
        for axes, (title, mask), color in zip(grid, masks.items(), cycle(PATH_COLORS), strict=False):
            height, width = mask.shape
            axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=range(1, width), yticks=range(1, height))
            for row, column in mask.cpu().nonzero().tolist():
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor="none"))
            axes.grid(color=RULE, lw=0.5)
            axes.tick_params(length=0, labelbottom=False, labelleft=False)
            axes.spines[:].set(visible=True, color=RULE)
            axes.set_title(title, fontsize=10)
    return drawn


def map_grid(X: Tensor, maps: Tensor, names: Sequence[str], marked: Sequence[int] = ()) -> Picture:
    """每行一张图像和它的各张特征图，全都共用一个刻度（深紫最小，黄最大），图下是平均数。

    X: (N, 1, H, W)；maps: (N, C, h, w)；names: C 个名字；marked: 每行要用橙色框出的是第几张，例如真实的类别。
    """
    rows, count = tensor("maps", maps, "(N, C, h, w)").shape[:2]
    X, names = tensor("X", X, "(N, C, H, W)"), listed("names", names, wording, count=count)
    marked = numbers("marked", marked, least=0)
    if len(X) < rows:
        raise ValueError(f"一行一张图像：maps 有 {rows} 行，X 只有 {len(X)} 张。")
    width, height = 0.8 * (count + 1) + 0.7, 1.08 * rows + 0.3
    low, high = min(0.0, maps.min().item()), max(maps.max().item(), 1e-6)
    with canvas(width, height, "图像和它的特征图") as drawn:
        grid = drawn.figure.subplots(rows, count + 1, squeeze=False)
        for i, line in enumerate(grid):
            paint(line[0], X[i, 0])
            for axes, one in zip(line[1:], maps[i], strict=True):
                last = paint(axes, one, MAPS, vmin=low, vmax=high)
                axes.set_xlabel(f"{one.mean().item():.2g}", fontsize=8, labelpad=2)
            for k, axes in enumerate(line):
                axes.set(xticks=[], yticks=[])
                here = i < len(marked) and k == marked[i] + 1
                axes.spines[:].set(visible=here, color=ORANGE, linewidth=2.5)
        for axes, name in zip(grid[0, 1:], names, strict=True):
            axes.set_title(name, fontsize=9)
        drawn.figure.subplots_adjust(0.08 / width, 0.2 / height, 1 - 0.78 / width, 1 - 0.25 / height, 0.12, 0.3)
        color_bar(drawn.figure, last, (1 - 0.6 / width, 0.25 / height, 0.1 / width, 0.7 / height))
    return drawn


def heat_overlay(X: Tensor, heats: Mapping[str, Tensor], titles: Sequence[str] = ()) -> Picture:
    """图像上叠着网络看的地方，一行一个名字：红的让它更像这一类，蓝的相反，越浓越多；每张用自己的刻度。

    X: (N, 1, H, W)，0–1；heats: 名字到 (N, H, W)，如 `grad_cam` 和 `occlusion` 算的；titles: N 张图像的标题。
    """
    X, titles = tensor("X", X, "(N, C, H, W)"), listed("titles", titles, wording, least=0)
    given = named("heats", heats, _heats, len(X), least=0)
    rows, left = 1 + len(given), 1.0
    with canvas(left + 1.15 * len(X), 1.15 * rows + 0.35, "、".join(given)) as drawn:
        grid = drawn.figure.subplots(rows, len(X), squeeze=False)
        for line, (name, maps) in zip(grid, {"图像": None, **given}.items(), strict=True):
            for k, axes in enumerate(line):
                paint(axes, X[k, 0])
                axes.axis("off")
                if maps is not None:
                    reach = max(float(maps[k].abs().max()), 1e-12)
                    paint(axes, maps[k], SIGNED, vmin=-reach, vmax=reach,
                          alpha=(0.8 * maps[k].abs() / reach).cpu().numpy())
            line[0].text(-0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
        for axes, title in zip(grid[0], titles, strict=False):
            axes.set_title(title, fontsize=8)
        width, height = drawn.figure.get_size_inches()
        drawn.figure.subplots_adjust(left / width, 0.01, 0.99, 1 - 0.35 / height, 0.05, 0.05)
    return drawn


def _heats(name: str, value: Any, count: int) -> list[Tensor]:
    """count 张热的图，没有 NaN 和无穷大：浓淡要照它算。"""
    found = listed(name, value, tensor, "(H, W)", least=count)
    if not all(heat.isfinite().all() for heat in found):
        raise ValueError(f"{name} 里有 NaN 或无穷大，说不出哪里热；多半是网络的权重溢出了，学习率小一些，再训练。")
    return found
