"""从活的网络画出这一章的图。"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import cycle

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn
from wcwidth import wcswidth

from helpers.data import LABELS
from helpers.diagnosis import Band
from helpers.modes import evaluating
from helpers.plotting import BLUE, GREEN, GREY, ORANGE, Picture, chinese, picture
from helpers.trace import Trace, trace

# 淡色底、深色字，在亮色和暗色主题里都看得清
_COLORS = {"Conv2d": "#cfe2f3", "Linear": "#f9cb9c", "pool": "#d9ead3", "other": "#eeeeee"}
_ACTIVATIONS = {"ReLU": "ReLU", "Sigmoid": "sigmoid", "Tanh": "tanh"}


def describe(module: nn.Module) -> str:
    """一层的中文说法，参数从模块里读，如「5×5 卷积层 (6)，填充 2」。"""
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d):
        text = f"{_window(module.kernel_size)} 卷积层 ({module.out_channels})"
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        text = f"{_window(module.kernel_size)} {'最大' if 'Max' in kind else '平均'}汇聚层"
    elif isinstance(module, nn.Linear):
        return f"全连接层 ({module.out_features})"
    elif isinstance(module, nn.BatchNorm2d):
        return "批量规范化"
    elif isinstance(module, nn.Dropout):
        return f"暂退法 {module.p:g}"
    elif isinstance(module, nn.AdaptiveAvgPool2d) and set(_pair(module.output_size)) != {1}:
        return f"自适应平均汇聚层，输出 {_window(module.output_size)}"
    else:
        names = {"Flatten": "展平", "AdaptiveAvgPool2d": "全局平均汇聚层", "AdaptiveMaxPool2d": "全局最大汇聚层"}
        return (names | _ACTIVATIONS).get(kind, kind)
    stride, padding = _pair(module.stride)[0], _pair(module.padding)[0]
    default = 1 if isinstance(module, nn.Conv2d) else None
    return text + (f"，步幅 {stride}" if stride != default else "") + (f"，填充 {padding}" if padding else "")


def layer_stacks(nets: dict[str, nn.Sequential], input_text: str = "图像") -> Picture:
    """每个网络画成一列自下而上的方框，一层一框，并排比较。

    nets: 标题到 nn.Sequential；激活函数、展平这样不改变权重的层并入它前面的框。
    """
    columns = []
    for title, net in nets.items():
        boxes = [(input_text, "other")]
        for module in net:
            if isinstance(module, nn.Flatten):
                continue
            if type(module).__name__ in _ACTIVATIONS or isinstance(module, nn.Dropout):
                boxes[-1] = (f"{boxes[-1][0]}，{describe(module)}", boxes[-1][1])
                continue
            kind = type(module).__name__
            boxes.append((describe(module), "pool" if "Pool" in kind else kind))
        columns.append((title, boxes))
    tallest = max(len(boxes) for _, boxes in columns)
    with chinese():
        figure = Figure(figsize=(4 * len(columns), 0.42 * tallest + 0.4), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(columns)), ylim=(-0.2, tallest + 0.7))
        axes.axis("off")
        for i, (title, boxes) in enumerate(columns):
            for j, (text, kind) in enumerate(boxes):
                axes.add_patch(FancyBboxPatch((i + 0.06, j + 0.15), 0.88, 0.5, edgecolor="#888888",
                                              facecolor=_COLORS.get(kind, _COLORS["other"]),
                                              boxstyle="round,pad=0,rounding_size=0.03"))
                axes.text(i + 0.5, j + 0.4, text, ha="center", va="center", fontsize=9)
                if j:
                    axes.annotate("", (i + 0.5, j + 0.15), (i + 0.5, j - 0.35),
                                  arrowprops={"arrowstyle": "->", "color": "#666666"})
            axes.text(i + 0.5, len(boxes) + 0.1, title, ha="center", va="center", fontsize=12)
    return picture(figure, "、".join(title for title, _ in columns) + " 的各层")


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


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value


def _window(size: int | tuple[int, ...]) -> str:
    return "×".join(map(str, _pair(size)))


def block_stacks(nets: dict[str, nn.Sequential], shape: tuple[int, ...]) -> Picture:
    """每个网络自下而上一列；以汇聚层收尾的一组层框成一块，全连接层框成最后一块，框的右边是这一块的输出形状。

    nets: 标题到 nn.Sequential，可以嵌套；shape: 输入形状 (B, C, H, W)。激活函数和暂退法并入它前面的框。
    """
    columns = {title: _blocks(net, shape) for title, net in nets.items()}
    heights = {title: sum(0.62 * len(boxes) + 0.45 for boxes, _ in blocks) for title, blocks in columns.items()}
    tallest = max(heights.values())
    with chinese():
        figure = Figure(figsize=(4.4 * len(columns), 0.5 * (tallest + 1.2)), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(columns)), ylim=(-0.9, tallest + 0.3))
        axes.axis("off")
        for i, (title, blocks) in enumerate(columns.items()):
            y = 0.0
            axes.text(i + 0.39, -0.6, " @ ".join([str(shape[1]), "×".join(map(str, shape[2:]))]) + " 图像",
                      ha="center", va="center", fontsize=9)
            for boxes, out_text in blocks:
                top = y + 0.62 * len(boxes) + 0.12
                axes.add_patch(FancyBboxPatch((i + 0.03, y), 0.72, top - y, facecolor="none", edgecolor="#888888",
                                              linestyle="--", boxstyle="round,pad=0,rounding_size=0.02"))
                axes.annotate("", (i + 0.39, y), (i + 0.39, y - 0.33),
                              arrowprops={"arrowstyle": "->", "color": "#666666"})
                for j, (text, kind) in enumerate(boxes):
                    axes.add_patch(FancyBboxPatch((i + 0.05, y + 0.62 * j + 0.12), 0.68, 0.5, edgecolor="#cccccc",
                                                  facecolor=_COLORS.get(kind, _COLORS["other"]),
                                                  boxstyle="round,pad=0,rounding_size=0.02"))
                    axes.text(i + 0.39, y + 0.62 * j + 0.36, text, ha="center", va="center", fontsize=8.5)
                axes.text(i + 0.77, top - 0.36, out_text, ha="left", va="center", fontsize=8.5, color="#555555")
                y = top + 0.33
            axes.text(i + 0.39, heights[title] - 0.02, title, ha="center", va="center", fontsize=12)
    return picture(figure, "、".join(columns) + " 画成块")


def _blocks(net: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[list[tuple[str, str]], str]]:
    """网络分成块：(框的文字和种类, 输出形状)；汇聚层结束一块，展平之后是新的一块。"""
    layers = [module for module in net.modules() if not list(module.children())]
    blocks: list[tuple[list[tuple[str, str]], str]] = []
    fresh = True  # 下一层另起一块
    for module, layer in zip(layers, trace(net, shape, depth=99), strict=True):
        kind = type(module).__name__
        if isinstance(module, nn.Flatten):
            fresh = True
            continue
        boxes = [] if fresh else blocks.pop()[0]
        if boxes and (kind in _ACTIVATIONS or isinstance(module, nn.Dropout)):
            boxes[-1] = (f"{boxes[-1][0]}，{describe(module)}", boxes[-1][1])
        else:
            boxes.append((describe(module), "pool" if "Pool" in kind else kind))
        channels, *sizes = map(str, layer.out_shape[1:])
        blocks.append((boxes, f"{channels} @ {'×'.join(sizes)}" if sizes else channels))
        fresh = "Pool" in kind
    return blocks


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


def dots(values: dict[str, Sequence[float]], label: str) -> Picture:
    """每个名字一行，每次测量一个点，竖线是平均数；比较差别与波动哪个大。label: 横轴的量和单位。"""
    with chinese():
        figure = Figure(figsize=(8.4, 0.45 * len(values) + 0.9), dpi=100)
        axes = figure.subplots()
        for i, numbers in enumerate(values.values()):
            axes.plot(numbers, [i] * len(numbers), "o", ms=7, color=BLUE, alpha=0.5, mew=0)
            axes.plot([np.mean(numbers)] * 2, [i - 0.3, i + 0.3], color=ORANGE, lw=2)
            axes.text(np.mean(numbers), i + 0.32, f"{np.mean(numbers):.3g}", ha="center", va="top", fontsize=8)
        axes.set(ylim=(len(values) - 0.3, -0.5), xlabel=label)
        axes.set_yticks(range(len(values)), list(values))
        axes.grid(axis="x", alpha=0.25)
        figure.tight_layout()
    return picture(figure, label + "：" + "、".join(values))


def flow_chart(charts: dict[str, Sequence], input_text: str = "x", output_text: str = "") -> Picture:
    """自下而上的流程图，中间可以分成几条路再合起来；每个标题一张，并排。

    charts: 标题到一串东西：模块画成框（nn.Sequential 逐层画），文字画成框，"+" 画成圆圈，
        列表是并行的几条路，每条是一个模块或者又一串；nn.Identity 和空的一串是一条直线；
        字典 {文字: 一串东西} 外面画虚线框。
    input_text, output_text: 写在最下面和最上面的文字。
    """
    flows = {title: _flow(items) for title, items in charts.items()}
    width = 0.3 + 0.069 * max(wcswidth(line) for flow in flows.values() for line in _lines(flow))
    spans = [_span(flow, width) for flow in flows.values()]
    tall = max(_height(flow) for flow in flows.values())
    with chinese():
        figure = Figure(figsize=(sum(low + high for low, high in spans) + 0.5 * len(spans), tall + 1.05), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))  # 单位是英寸
        axes.set(xlim=(0, figure.get_figwidth()), ylim=(-0.35, tall + 0.7))
        axes.axis("off")
        left = 0.0
        for (title, flow), (low, high) in zip(flows.items(), spans, strict=True):
            x = left + 0.25 + low
            left += low + high + 0.5
            axes.text(x, -0.18, input_text, ha="center", va="center", fontsize=9)
            top = _draw_flow(axes, flow, x, 0.0, width)
            axes.annotate("", (x, top + 0.22), (x, top), arrowprops=_ARROW)
            axes.text(x, top + 0.26, output_text, ha="center", va="bottom", fontsize=9)
            axes.text((x - low + x + high) / 2, tall + 0.55, title, ha="center", va="center", fontsize=11)
    return picture(figure, "、".join(charts))


_ARROW = {"arrowstyle": "-|>", "color": "#666666", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
_GAP, _FRAME, _BAND = 0.22, 0.12, 0.22  # 英寸：两个框之间，框到虚线，虚线框里写字的一条


def _flow(items: nn.Module | Sequence) -> list:
    """一串东西变成文字（框）、列表（并行的几条路）和二元组（虚线框的文字，里面的一串）。"""
    if isinstance(items, nn.Module):
        items = items if isinstance(items, nn.Sequential) else [items]
    flow = []
    for item in items:
        if isinstance(item, str):
            flow.append(item)
        elif isinstance(item, nn.Sequential):
            flow += _flow(item)
        elif isinstance(item, list):
            flow.append([_flow(path) for path in item])
        elif isinstance(item, dict):
            flow += [(text, _flow(inside)) for text, inside in item.items()]
        elif not isinstance(item, nn.Identity):
            flow.append(describe(item))
    return flow


def _lines(flow: list) -> list[str]:
    lines = []
    for item in flow:
        if isinstance(item, str):
            lines += item.split("\n")
        else:
            lines += [line for path in (item if isinstance(item, list) else item[1:]) for line in _lines(path)]
    return lines


def _span(flow: list, width: float) -> tuple[float, float]:
    """一串东西从主干向左、向右各占多宽。"""
    low = high = width / 2 if any(isinstance(item, str) and item != "+" for item in flow) else 0.12
    for item in flow:
        if isinstance(item, tuple):
            low, high = (max(side, inside + _FRAME) for side, inside in zip((low, high), _span(item[1], width),
                                                                            strict=True))
    for item in flow:
        if isinstance(item, list):
            sides = [_span(path, width) for path in item]
            offsets = _offsets(item, width)
            low = max(low, max(side[0] - x for side, x in zip(sides, offsets, strict=True)))
            high = max(high, max(side[1] + x for side, x in zip(sides, offsets, strict=True)))
    return low, high


def _offsets(paths: list, width: float) -> list[float]:
    """几条路的中线离主干多远；主干对着有框的那几条路的正中。"""
    centers, left = [], 0.0
    for low, high in (_span(path, width) for path in paths):
        centers.append(left + low)
        left += low + high + 0.2
    boxed = [x for x, path in zip(centers, paths, strict=True) if path] or centers
    trunk = (boxed[0] + boxed[-1]) / 2
    return [x - trunk for x in centers]


def _height(flow: list) -> float:
    """一串东西有多高，连同每一项前面的空隙。"""
    height = 0.0
    for item in flow:
        if isinstance(item, str):
            height += _GAP + (0.26 if item == "+" else 0.14 + 0.17 * len(item.split("\n")))
        elif isinstance(item, list):
            height += _GAP / 2 + max(map(_height, item))
        else:
            height += _height(item[1]) + _BAND
    return height


def _draw_flow(axes: Axes, flow: list, x: float, y: float, width: float) -> float:
    """从 (x, y) 往上画一串东西，返回顶端的 y。"""
    ends: list[tuple[float, float]] = [(x, y)]  # 等着接到下一项的线头
    for item in flow:
        if isinstance(item, list):
            split = y + _GAP / 2
            xs = [x + offset for offset in _offsets(item, width)]
            axes.plot([x, x], [y, split], color="#666666", lw=1)
            axes.plot([min(xs), max(xs)], [split, split], color="#666666", lw=1)
            ends = [(end, _draw_flow(axes, path, end, split, width)) for end, path in zip(xs, item, strict=True)]
            y = split + max(map(_height, item))
            continue
        if isinstance(item, tuple):
            low, high = _span(item[1], width)
            top = _draw_flow(axes, item[1], x, y, width) + _BAND
            axes.add_patch(FancyBboxPatch((x - low - _FRAME, y + _GAP - _FRAME), low + high + 2 * _FRAME,
                                          top - y - _GAP + _FRAME, facecolor="none", edgecolor="#888888",
                                          linestyle="--", boxstyle="round,pad=0,rounding_size=0.05"))
            axes.text(x - low, top - _BAND / 2, item[0], va="center", fontsize=9, color="#555555")
            axes.plot([x, x], [top - _BAND, top], color="#666666", lw=1)
            y, ends = top, [(x, top)]
            continue
        height = _height([item]) - _GAP
        bottom, middle = y + _GAP, y + _GAP + height / 2
        for end, start in ends:
            if end == x:
                axes.annotate("", (x, bottom), (x, start), arrowprops=_ARROW)
            elif item == "+":  # 从旁边进圆圈
                axes.plot([end, end], [start, middle], color="#666666", lw=1)
                axes.annotate("", (x + (0.13 if end > x else -0.13), middle), (end, middle), arrowprops=_ARROW)
            else:
                turn = y + _GAP / 3
                axes.plot([end, end, x], [start, turn, turn], color="#666666", lw=1)
                axes.annotate("", (x, bottom), (x, turn), arrowprops=_ARROW)
        if item == "+":
            axes.add_patch(Circle((x, middle), 0.13, facecolor="white", edgecolor="#666666"))
        else:
            axes.add_patch(FancyBboxPatch((x - width / 2, bottom), width, height, facecolor=_text_color(item),
                                          edgecolor="#888888", boxstyle="round,pad=0,rounding_size=0.05"))
        axes.text(x, middle, item, ha="center", va="center", fontsize=9, linespacing=1.25)
        y = bottom + height
        ends = [(x, y)]
    return y


def _text_color(text: str) -> str:
    kinds = {"卷积层": "Conv2d", "全连接层": "Linear", "汇聚层": "pool"}
    return _COLORS[next((kind for word, kind in kinds.items() if word in text), "other")]


def skip_paths(blocks: dict[str, nn.Module], X: Tensor) -> Picture:
    """带跨层线路的块，自下而上：输入、分支里的各层、汇合、输出；小图是这些块此刻真的算出来的通道。

    blocks: 标题到块；X: (1, C, H, W)，与块在同一设备。输出的通道比输入多就是连结，一样多就是相加。
    在训练模式下、在块的副本上算，块不变。
    """
    columns = {}
    for title, original in blocks.items():
        block, modules = deepcopy(original).train(), []
        for module in block.modules():
            if not list(module.children()):
                module.register_forward_hook(lambda module, *_, called=modules: called.append(module))
        with torch.no_grad():
            Y = block(X)
        while isinstance(modules[-1], nn.ReLU | nn.Identity):  # 汇合之后的激活不在分支里
            modules.pop()
        columns[title] = ([describe(module) for module in modules], Y)
    tallest = max(len(texts) for texts, _ in columns.values())
    arrow = {"arrowstyle": "->", "color": "#666666"}
    with chinese():
        figure = Figure(figsize=(4.4 * len(blocks), 0.55 * (tallest + 4)), dpi=100)
        for i, (title, (texts, Y)) in enumerate(columns.items()):
            axes = figure.add_axes((i / len(blocks), 0, 1 / len(blocks), 1))
            axes.axis("off")
            merge, joined = len(texts) + 1, Y.shape[1] > X.shape[1]
            _draw_channels(axes, X, 0, [BLUE] * X.shape[1], "x")
            for j, text in enumerate(texts, start=1):
                axes.add_patch(FancyBboxPatch((2.2, j - 0.3), 4.6, 0.6, facecolor=_COLORS["other"],
                                              edgecolor="#888888", boxstyle="round,pad=0,rounding_size=0.15"))
                axes.text(4.5, j, text, ha="center", va="center", fontsize=9)
            for j in range(merge + 1):
                axes.annotate("", (4.5, j + 0.7 - 0.15 * (j == merge)), (4.5, j + 0.3), arrowprops=arrow)
            axes.plot((4.6 + min(X.shape[1], 8) / 2, 8.6, 8.6), (0, 0, merge), color=BLUE)
            axes.annotate("", (5.1, merge), (8.6, merge), arrowprops=arrow | {"color": BLUE})
            axes.text(4.5, merge, "[ , ]" if joined else "+", ha="center", va="center", fontsize=11,
                      bbox={"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "#666666"})
            colors = [BLUE] * X.shape[1] + [ORANGE] * Y.shape[1] if joined else ["#7b5ea7"] * Y.shape[1]
            _draw_channels(axes, Y, merge + 1.05, colors, "输出")
            axes.text(4.5, tallest + 3, f"{title}：{X.shape[1]} → {Y.shape[1]} 个通道", ha="center", fontsize=11)
            axes.set(xlim=(-0.5, 9.5), ylim=(-0.6, tallest + 3.4))
    return picture(figure, "、".join(blocks))


def _draw_channels(axes: Axes, X: Tensor, y: float, colors: Sequence[str], label: str) -> None:
    """一排小图，一格一个通道，至多八格；边框的颜色说明它从哪里来。"""
    count = min(X.shape[1], 8)
    for k in range(count):
        left = 4.5 + 1.0 * (k - count / 2)
        axes.imshow(X[0, k].float().cpu().numpy(), cmap="gray_r", aspect="auto",
                    extent=(left, left + 0.9, y - 0.36, y + 0.36))
        axes.add_patch(Rectangle((left, y - 0.36), 0.9, 0.72, fill=False, edgecolor=colors[k], lw=2))
    axes.text(4.4 - count / 2, y, label, ha="right", va="center", fontsize=9)


def dense_arcs(nodes: Sequence[str], arcs: Sequence[tuple[int, int]], title: str = "稠密连接") -> Picture:
    """一排节点，每条弧 (i, j) 是节点 j 用到了节点 i；弧的颜色随 i。"""
    with chinese():
        figure = Figure(figsize=(1.5 * len(nodes), 0.3 * len(nodes) + 1.2), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        for i, j in arcs:
            near = j == i + 1
            axes.annotate("", (j - 0.36, 0) if near else (j - 0.3 * (j - i - 1) / len(nodes), 0.36), zorder=0,
                          xytext=(i + 0.36, 0) if near else (i + 0.1, 0.36), annotation_clip=False,
                          arrowprops={"arrowstyle": "-|>", "color": f"C{i}", "lw": 1.5, "shrinkA": 0, "shrinkB": 0,
                                      "connectionstyle": "arc3" if near else "arc3,rad=-0.42"})
        for j, text in enumerate(nodes):
            axes.add_patch(FancyBboxPatch((j - 0.36, -0.36), 0.72, 0.72, facecolor="white", edgecolor=f"C{j}",
                                          boxstyle="round,pad=0,rounding_size=0.08", lw=1.5))
            axes.text(j, 0, text, ha="center", va="center", fontsize=9)
        axes.set(xlim=(-0.6, len(nodes) - 0.4), ylim=(-0.5, 0.5 + 0.21 * len(nodes)))
    return picture(figure, title)


def heat_maps(tables: dict[str, Tensor], rows: Sequence[str], columns: Sequence[str], label: str,
              middle: float = 1.0) -> Picture:
    """几张并排的热图，格子里写数字，颜色的刻度共用，middle 是白色；NaN 是空格。tables: 标题到 (行, 列) 的张量。"""
    reach = max(0.1, *(float((table - middle).abs().nan_to_num().max()) for table in tables.values()))
    with chinese():
        figure = Figure(figsize=(2.5 * len(tables) + 0.8, 3.2), dpi=100)
        for k, (axes, (title, table)) in enumerate(zip(figure.subplots(1, len(tables), squeeze=False)[0],
                                                       tables.items(), strict=True)):
            axes.imshow(table.numpy(), cmap="RdBu_r", vmin=middle - reach, vmax=middle + reach)
            for i, j in (~table.isnan()).nonzero().tolist():
                axes.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=8,
                          color="white" if abs(table[i, j] - middle) > 0.65 * reach else "black")
            axes.set_title(title, fontsize=10)
            axes.set_xticks(range(len(columns)), columns, fontsize=8)
            axes.set_yticks(range(len(rows)), rows if k == 0 else [], fontsize=9)
            axes.spines[:].set(visible=True, color=GREY, lw=0.5)
            axes.tick_params(length=0)
        figure.supxlabel(label, fontsize=9)
        figure.tight_layout()
    return picture(figure, label)


def staircase(stairs: dict[str, Sequence[int]], edges: Sequence[int] = (), label: str = "通道数") -> Picture:
    """通道数怎样一层一层变：每条线是一个网络，最后一条是主角，前面的是灰色的对照。

    stairs: 名字到每一层的通道数；edges: 主角在第几层之前换了一级，画竖线。
    """
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        axes = figure.subplots()
        *others, main = stairs
        for name in others:
            axes.step(range(len(stairs[name])), stairs[name], where="mid", color=GREY, lw=1.2, label=name)
        axes.step(range(len(stairs[main])), stairs[main], where="mid", color=BLUE, lw=2, label=main)
        axes.fill_between(range(len(stairs[main])), stairs[main], step="mid", color=BLUE, alpha=0.12)
        top = 1.12 * max(map(max, stairs.values()))
        for k, value in enumerate(stairs[main]):
            axes.text(k, value + 0.02 * top, str(value), ha="center", fontsize=8, color=BLUE)
        for edge in edges:
            axes.axvline(edge - 0.5, color=GREY, lw=0.8, ls=":")
        axes.set(ylim=(0, top), xlabel="从前往后的各层", ylabel=label, xticks=[])
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=2, frameon=False, fontsize=9, borderpad=0)
        figure.tight_layout()
    return picture(figure, label)


def partial_sum(x: Sequence[float], f: Sequence[float], terms: dict[str, Sequence[float]], title: str) -> Picture:
    """左：函数 f 和各项的和；右：各项分开画。x: 横轴；terms: 每一项的写法到它在 x 上的值。"""
    total = np.sum(list(terms.values()), axis=0)
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        left, right = figure.subplots(1, 2)
        left.plot(x, f, color="black", lw=2, label="f(x)")
        left.plot(x, total, color=ORANGE, lw=2, ls="--", label="各项的和")
        left.fill_between(x, f, total, color=ORANGE, alpha=0.15)
        for i, (name, values) in enumerate(terms.items()):
            right.plot(x, values, color=f"C{i % 10}", label=name)
        for axes, text in ((left, "相加：只留下和"), (right, "连结：每一项都留着")):
            axes.set(ylim=(min(f) - 0.6, max(f) + 0.6), xlim=(x[0], x[-1]))
            axes.set_title(text, loc="left", fontsize=10)
            axes.legend(frameon=False, fontsize=8, ncols=2 if axes is right else 1)
            axes.grid(alpha=0.25)
        figure.suptitle(title, fontsize=11, x=0.02, ha="left")
        figure.tight_layout()
    return picture(figure, title)


def trade_offs(costs: dict[str, dict[str, float]], bands: dict[str, Band], lines: dict[str, float],
               own: dict[str, float]) -> Picture:
    """几个网络的精度对每一种代价（对数刻度），一种代价一格；竖条是官方运行的 5–95 %，圆点是中位数。

    costs: 代价的名字到 {网络: 值}；bands: 网络到官方区间；lines: 要画的参考线；own: 这台机器上的精度，画成叉。
    """
    rows = -(-len(costs) // 2)
    with chinese():
        figure = Figure(figsize=(8.4, 3.3 * rows), dpi=100)
        cells = figure.subplots(rows, 2, squeeze=False, sharey=True).flat
        bottom = 0.76
        for axes, (label, values) in zip(cells, costs.items(), strict=False):
            for i, (text, height) in enumerate(lines.items()):  # 第一条的字在线上面，其余的在下面
                axes.axhline(height, color=GREY, lw=0.8, ls="--")
                axes.text(0.01, height, text, transform=axes.get_yaxis_transform(), fontsize=8, color="#666666",
                          va="top" if i else "bottom")
            for i, (name, value) in enumerate(values.items()):
                band = bands[name]
                axes.plot([value] * 2, [max(band.low, bottom), band.high], color=f"C{i}", lw=4, alpha=0.35,
                          solid_capstyle="butt")
                axes.plot(value, band.median, "o", color=f"C{i}", ms=6)
                axes.annotate(name, (value, band.median), (5, 0), textcoords="offset points", fontsize=8, va="center")
                if name in own:
                    axes.plot(value, own[name], "x", color="black", ms=7)
            low, high = min(values.values()), max(values.values())
            axes.set(xscale="log", xlabel=label, xlim=(low / 2, high * (high / low) ** 0.22), ylim=(bottom, 0.94))
            axes.grid(alpha=0.25)
        figure.tight_layout()
    return picture(figure, "七个网络：精度与代价")


def cost_shares(tables: dict[str, Trace]) -> Picture:
    """每个网络一行：左边参数、右边乘加各在哪些层；条长是占全网的百分比，条上写着个数。tables: 标题到清单。"""
    layers = {title: [layer for layer in table if layer.params] for title, table in tables.items()}
    with chinese():
        figure = Figure(figsize=(8.8, sum(0.27 * len(rows) + 0.75 for rows in layers.values())), dpi=100)
        grid = figure.subplots(len(tables), 2, squeeze=False, height_ratios=[len(rows) for rows in layers.values()])
        for pair, (title, rows) in zip(grid, layers.items(), strict=True):
            for axes, field, text in zip(pair, ("params", "macs"), ("个参数", "次乘加"), strict=True):
                total = getattr(tables[title], field)
                values = [getattr(layer, field) for layer in rows]
                bars = axes.barh([f"{layer.name} {layer.kind}" for layer in rows], [value / total for value in values],
                                 color=[BLUE if "Conv" in layer.kind else ORANGE for layer in rows], height=0.7)
                axes.bar_label(bars, [f"{value:,}（{100 * value / total:.1f} %）" for value in values],
                               padding=3, fontsize=8)
                axes.set(xlim=(0, 1.6 * max(values) / total), xticks=[])
                axes.invert_yaxis()
                axes.spines["bottom"].set_visible(False)
                axes.tick_params(axis="y", length=0, labelsize=8)
                axes.set_title(f"{title}：{total:,} {text}", loc="left", fontsize=10)
            axes.set_yticks([])
        figure.tight_layout()
    return picture(figure, "、".join(tables) + " 的参数和乘加在哪些层")


def line_chart(series: dict[str, Sequence[float]], x: Sequence[float], xlabel: str, ylabel: str, *, log: bool = False,
               span: tuple[float, float] | None = None) -> Picture:
    """几条折线，图例在右边。

    x: 横轴，与每条线等长；log: 纵轴用对数刻度，0 不画；span: 横轴上要加绿色底的一段。
    """
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        axes = figure.subplots()
        for name, values in series.items():
            whole = all(isinstance(value, int) for value in values)  # 整数画成台阶
            axes.plot(x, values, marker="o" if len(x) < 40 else None, ms=3.5, label=name,
                      drawstyle="steps-mid" if whole else "default")
            if whole:
                axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if span:
            axes.axvspan(*span, color=GREEN, alpha=0.2, lw=0)
        if log:
            axes.set_yscale("log", nonpositive="mask")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")  # 数学字体的负号不在字库里
            axes.minorticks_off()
        axes.set(xlabel=xlabel)
        axes.set_title(ylabel, loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return picture(figure, f"{ylabel}：{'、'.join(series)}")


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


# 并行的路径各用一种颜色，所有的图里相同
_PATHS = ("#cfe2f3", "#f9cb9c", "#d9ead3", "#ead1dc")


def branches(paths: dict[str, nn.Sequential | None], shape: tuple[int, ...]) -> Picture:
    """同一个输入走几条并行的路径，输出在通道维上连结；框里是层和它的输出形状，最上面一条的各段与通道数成比例。

    paths: 名字到 nn.Sequential，各条的输出高和宽相同；None 是关掉的路径，只留下位置。
    shape: 输入形状 (B, C, H, W)。激活函数并入它前面的框。
    """
    tables = {name: trace(path, shape, depth=99) for name, path in paths.items() if path is not None}
    boxes = {name: _path_boxes(paths[name], table) for name, table in tables.items()}
    channels = {name: table[-1].out_shape[1] for name, table in tables.items()}
    joined = (sum(channels.values()), *next(iter(tables.values()))[-1].out_shape[2:])
    rows, full = max(map(len, boxes.values())), len(paths) - 0.08
    top = 1.45 + 1.02 * rows
    with chinese():
        figure = Figure(figsize=(2.3 * len(paths), top + 0.85), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(paths)), ylim=(0, top + 0.85))
        axes.axis("off")
        _text_box(axes, 0.04, 0.72, full, 0.4, f"输入 {'×'.join(map(str, shape[1:]))}", _COLORS["other"])
        left = 0.04
        for i, (name, color) in enumerate(zip(paths, cycle(_PATHS), strict=False)):
            if name not in tables:
                axes.text(i + 0.5, 0.36, f"{name}：关", ha="center", va="center", fontsize=8.5, color=GREY)
                continue
            table, y = tables[name], 1.12
            axes.text(i + 0.5, 0.36, f"{name}，感受野 {table[-1].receptive_field}×{table[-1].receptive_field}\n"
                      f"{table.params:,} 参数\n{table.macs:,} 乘加", ha="center", va="center", fontsize=8.5)
            for j, text in enumerate(boxes[name], start=rows - len(boxes[name])):
                bottom = 1.45 + 1.02 * j
                axes.annotate("", (i + 0.5, bottom), (i + 0.5, y), arrowprops=_ARROW)
                y = bottom + 0.6
                _text_box(axes, i + 0.04, bottom, 0.92, 0.6, text, color)
            width = full * channels[name] / joined[0]
            axes.annotate("", (left + width / 2, top), (i + 0.5, y), arrowprops=_ARROW)
            axes.add_patch(Rectangle((left, top), width, 0.36, facecolor=color, edgecolor="#888888"))
            axes.text(left + width / 2, top + 0.18, channels[name], ha="center", va="center", fontsize=8.5)
            left += width
        axes.text(len(paths) / 2, top + 0.6, f"在通道维上连结：{'×'.join(map(str, joined))}", ha="center", va="center")
    return picture(figure, f"{len(tables)} 条并行的路径，连结成 {'×'.join(map(str, joined))}")


def _path_boxes(path: nn.Sequential, table: Trace) -> list[str]:
    """一条路径的框：层和它的输出形状各一行，激活函数并入前面的框。"""
    layers = [module for module in path.modules() if not list(module.children())]
    boxes: list[str] = []
    for module, layer in zip(layers, table, strict=True):
        if boxes and type(module).__name__ in _ACTIVATIONS:
            text, size = boxes[-1].split("\n")
            boxes[-1] = f"{text}，{describe(module)}\n{size}"
        else:
            boxes.append(f"{describe(module)}\n{'×'.join(map(str, layer.out_shape[1:]))}")
    return boxes


def stage_columns(net: nn.Sequential, shape: tuple[int, ...]) -> Picture:
    """网络的每一段自下而上一列，从左到右；列顶是这一段的输出形状。

    net: 由几段组成的 nn.Sequential；shape: 输入形状 (B, C, H, W)。激活函数并入它前面的框。
    有 `paths`（并行的路径）的块，下半截的各段与各条路径的输出通道数成比例。
    """
    stages = [(layer.out_shape, _stage_boxes(module)) for layer, module in zip(trace(net, shape), net, strict=True)]
    tallest = max(len(boxes) for _, boxes in stages)
    with chinese():
        figure = Figure(figsize=(2 * len(stages), 0.62 * tallest + 0.9), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(stages)), ylim=(-0.75, tallest + 0.7))
        axes.axis("off")
        for i, (out_shape, boxes) in enumerate(stages):
            for j, (text, kind, parts) in enumerate(boxes):
                axes.annotate("", (i + 0.46, j + 0.1), (i + 0.46, j - 0.18), arrowprops=_ARROW)
                _text_box(axes, i + 0.04, j + 0.1, 0.84, 0.72, text, _COLORS.get(kind, _COLORS["other"]),
                          0.75 if parts else 0.48)
                left = i + 0.04
                for part, color in zip(parts, cycle(_PATHS), strict=False):
                    width = 0.84 * part / sum(parts)
                    axes.add_patch(Rectangle((left, j + 0.1), width, 0.34, facecolor=color, edgecolor="#888888"))
                    axes.text(left + width / 2, j + 0.26, part, ha="center", va="center", fontsize=8)
                    left += width
            top = len(boxes) - 0.18
            axes.text(i + 0.46, top + 0.26, "×".join(map(str, out_shape[1:])), ha="center", va="center")
            if i + 1 < len(stages):  # 从这一列的顶接到下一列的底
                axes.plot([i + 0.88, i + 0.96, i + 0.96, i + 1.46], [top - 0.36] * 2 + [-0.18] * 2, "#666666", lw=1)
        axes.text(0.46, -0.4, f"输入 {'×'.join(map(str, shape[1:]))}", ha="center", va="center", fontsize=9)
    return picture(figure, "网络的各段")


def _stage_boxes(stage: nn.Module) -> list[tuple[str, str, list[int]]]:
    """一段的框：(文字, 种类, 各条路径的输出通道数)。"""
    boxes: list[tuple[str, str, list[int]]] = []
    for module in stage if isinstance(stage, nn.Sequential) else [stage]:
        kind = type(module).__name__
        if isinstance(module, nn.Flatten):
            continue
        if kind in _ACTIVATIONS and boxes:
            boxes[-1] = (f"{boxes[-1][0]}，{describe(module)}", *boxes[-1][1:])
            continue
        parts = [[conv.out_channels for conv in path.modules() if isinstance(conv, nn.Conv2d)][-1]
                 for path in getattr(module, "paths", {}).values()]
        text = f"{kind} ({sum(parts)})" if parts else describe(module).replace("，", "\n", 1)
        boxes.append((text, "pool" if "Pool" in kind else kind, parts))
    return boxes


def _text_box(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str,
              level: float = 0.48) -> None:
    """一个写着字的圆角框；level: 文字的中线在框里的高度，0–1。"""
    axes.add_patch(FancyBboxPatch((x, y), width, height, edgecolor="#888888", facecolor=color,
                                  boxstyle="round,pad=0,rounding_size=0.03"))
    axes.text(x + width / 2, y + level * height, text, ha="center", va="center", fontsize=8.5)


def windows(masks: dict[str, Tensor]) -> Picture:
    """每个名字一张方格图，mask (H, W) 里为真的格子涂色，例如一格输出看得到的输入。"""
    with chinese():
        figure = Figure(figsize=(2.1 * len(masks), 2.4), dpi=100)
        for axes, (title, mask), color in zip(figure.subplots(1, len(masks), squeeze=False)[0], masks.items(),
                                              cycle(_PATHS), strict=False):
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
