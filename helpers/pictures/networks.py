"""从活的网络画出各层：一层一框，一块一框，稠密连接。"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from helpers.network.trace import trace
from helpers.pictures.canvas import Picture, chinese, picture

# 淡色底、深色字，在亮色和暗色主题里都看得清
COLORS = {"Conv2d": "#cfe2f3", "Linear": "#f9cb9c", "pool": "#d9ead3", "other": "#eeeeee"}


ACTIVATIONS = {"ReLU": "ReLU", "Sigmoid": "sigmoid", "Tanh": "tanh"}


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
        return (names | ACTIVATIONS).get(kind, kind)
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
            if type(module).__name__ in ACTIVATIONS or isinstance(module, nn.Dropout):
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
                                              facecolor=COLORS.get(kind, COLORS["other"]),
                                              boxstyle="round,pad=0,rounding_size=0.03"))
                axes.text(i + 0.5, j + 0.4, text, ha="center", va="center", fontsize=9)
                if j:
                    axes.annotate("", (i + 0.5, j + 0.15), (i + 0.5, j - 0.35),
                                  arrowprops={"arrowstyle": "->", "color": "#666666"})
            axes.text(i + 0.5, len(boxes) + 0.1, title, ha="center", va="center", fontsize=12)
    return picture(figure, "、".join(title for title, _ in columns) + " 的各层")


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
                                                  facecolor=COLORS.get(kind, COLORS["other"]),
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
        if boxes and (kind in ACTIVATIONS or isinstance(module, nn.Dropout)):
            boxes[-1] = (f"{boxes[-1][0]}，{describe(module)}", boxes[-1][1])
        else:
            boxes.append((describe(module), "pool" if "Pool" in kind else kind))
        channels, *sizes = map(str, layer.out_shape[1:])
        blocks.append((boxes, f"{channels} @ {'×'.join(sizes)}" if sizes else channels))
        fresh = "Pool" in kind
    return blocks


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


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value


def _window(size: int | tuple[int, ...]) -> str:
    return "×".join(map(str, _pair(size)))
