"""有分支的块：残差、Inception，从活的模块画出流程图。"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import cycle

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from torch import Tensor, nn
from wcwidth import wcswidth

from helpers.network.trace import Trace, trace
from helpers.pictures.canvas import BLUE, GREY, ORANGE, Picture, chinese, picture
from helpers.pictures.networks import ACTIVATIONS, COLORS, describe

_ARROW = {"arrowstyle": "-|>", "color": "#666666", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}


_GAP, _FRAME, _BAND = 0.22, 0.12, 0.22  # 英寸：两个框之间，框到虚线，虚线框里写字的一条


# 并行的路径各用一种颜色，所有的图里相同
PATH_COLORS = ("#cfe2f3", "#f9cb9c", "#d9ead3", "#ead1dc")


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
    return COLORS[next((kind for word, kind in kinds.items() if word in text), "other")]


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
                axes.add_patch(FancyBboxPatch((2.2, j - 0.3), 4.6, 0.6, facecolor=COLORS["other"],
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
        _text_box(axes, 0.04, 0.72, full, 0.4, f"输入 {'×'.join(map(str, shape[1:]))}", COLORS["other"])
        left = 0.04
        for i, (name, color) in enumerate(zip(paths, cycle(PATH_COLORS), strict=False)):
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
        if boxes and type(module).__name__ in ACTIVATIONS:
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
                _text_box(axes, i + 0.04, j + 0.1, 0.84, 0.72, text, COLORS.get(kind, COLORS["other"]),
                          0.75 if parts else 0.48)
                left = i + 0.04
                for part, color in zip(parts, cycle(PATH_COLORS), strict=False):
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
        if kind in ACTIVATIONS and boxes:
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
