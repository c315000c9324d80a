"""从活的网络画出这一章的图。"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from torch import Tensor, nn
from wcwidth import wcswidth

from helpers.data import LABELS
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
