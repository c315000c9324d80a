"""从模块画图：一层一框，一块一框，一段一列，并行的路径，稠密的连接，跨层的线路。"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from helpers.arguments import between, brief, listed
from helpers.network.answer import answered, placed
from helpers.network.describe import LayerText
from helpers.network.layer import Shape
from helpers.network.trace import Trace, trace
from helpers.network.walk import checked_shape
from helpers.pictures.canvas import (
    BLUE,
    FAINT,
    GREY,
    LINE,
    MAPS,
    ORANGE,
    PATH_COLORS,
    PURPLE,
    Picture,
    canvas,
    kind_color,
)
from helpers.pictures.doors import layers, named, network, tensor, wording
from helpers.pictures.pen import OPEN, arrow, box, channels_at, line, paint, sheet, times, write


@dataclass(frozen=True)
class _Tile:
    """图里的一个框：一层，后面是并入它的激活函数和暂退法。

    shape: 这一层的输出形状，没有算过就是空的；parts: 并行的各条路径的输出通道数，不分路就是空的。
    """

    texts: tuple[LayerText, ...]
    shape: Shape = ()
    parts: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "，".join(map(str, self.texts))

    @property
    def color(self) -> str:
        """框的底色。"""
        return kind_color(self.texts[0].kind)

    def folded(self) -> str:
        """第一行是这一层，第二行是它的细节；没有细节就只有一行。"""
        head, *rest = self.texts
        return f"{head.title}\n{'，'.join([*head.details, *map(str, rest)])}" if head.details else str(self)


def _tiles(layers: Iterable[tuple[nn.Module, Shape]]) -> list[_Tile]:
    """一层一框；激活函数和暂退法并入前面的框，展平不画。layers: (一层, 它的输出形状)。"""
    tiles: list[_Tile] = []
    for module, shape in layers:
        text = LayerText.of(module)
        if tiles and text.kind in ("activation", "dropout"):
            tiles[-1] = replace(tiles[-1], texts=(*tiles[-1].texts, text))
        elif parts := _path_channels(module):
            tiles.append(_Tile((LayerText(text.kind, f"{text.title} ({sum(parts)})"),), shape, parts))
        elif text.kind != "flatten":
            tiles.append(_Tile((text,), shape))
    return tiles


def _path_channels(module: nn.Module) -> tuple[int, ...]:
    """有 `paths`（并行的路径，每条都有卷积层）的块，各条路径的输出通道数。"""
    paths = getattr(module, "paths", None)
    convs = [[layer for layer in path.modules() if isinstance(layer, nn.Conv2d)]
             for path in (paths.values() if isinstance(paths, nn.ModuleDict | dict) else ())]
    return tuple(found[-1].out_channels for found in convs) if all(convs) else ()


def _traced(net: nn.Module, table: Trace) -> list[tuple[nn.Module, Shape]]:
    """清单里的各层和它们的输出形状，按调用的次序；没有子模块的 net 自己就是一层。"""
    modules = dict(net.named_modules())
    return [(modules.get(layer.name, net), layer.out_shape) for layer in table]


def layer_stacks(nets: Mapping[str, nn.Sequential], input_text: str = "图像") -> Picture:
    """每个网络画成一列自下而上的方框，一层一框，并排比较。

    nets: 标题到 nn.Sequential；激活函数、暂退法、展平这样没有权重的层并入它前面的框。
    """
    first = _Tile((LayerText("other", wording("input_text", input_text)),))
    columns = {title: [first, *_tiles((module, ()) for module in net)]
               for title, net in named("nets", nets, layers).items()}
    tallest = max(map(len, columns.values()))
    with canvas(4 * len(columns), 0.42 * tallest + 0.4, "、".join(columns) + " 的各层") as drawn:
        axes = sheet(drawn.figure, (0, len(columns)), (-0.2, tallest + 0.7))
        for i, (title, tiles) in enumerate(columns.items()):
            for j, tile in enumerate(tiles):
                box(axes, i + 0.06, j + 0.15, 0.88, 0.5, str(tile), tile.color)
                if j:
                    arrow(axes, (i + 0.5, j - 0.35), (i + 0.5, j + 0.15), **OPEN)
            write(axes, i + 0.5, len(tiles) + 0.1, title, 12)
    return drawn


def block_stacks(nets: Mapping[str, nn.Sequential], shape: Shape) -> Picture:
    """每个网络自下而上一列；以汇聚层收尾的一组层框成一块，全连接层框成最后一块，框的右边是这一块的输出形状。

    nets: 标题到 nn.Sequential，可以嵌套；shape: 输入形状 (B, C, H, W)。激活函数和暂退法并入它前面的框。
    """
    shape = checked_shape(shape)
    columns = {title: _blocks(net, shape) for title, net in named("nets", nets, network).items()}
    heights = {title: sum(0.62 * len(tiles) + 0.45 for tiles in blocks) for title, blocks in columns.items()}
    tallest = max(heights.values())
    with canvas(4.4 * len(columns), 0.5 * (tallest + 1.2), "、".join(columns) + " 画成块") as drawn:
        axes = sheet(drawn.figure, (0, len(columns)), (-0.9, tallest + 0.3))
        for i, (title, blocks) in enumerate(columns.items()):
            write(axes, i + 0.39, -0.6, f"{channels_at(shape[1:])} 图像")
            y = 0.0
            for tiles in blocks:
                y = _draw_block(axes, i, y, tiles) + 0.33
            write(axes, i + 0.39, heights[title] - 0.02, title, 12)
    return drawn


def _blocks(net: nn.Module, shape: Shape) -> list[list[_Tile]]:
    """网络分成块：汇聚层结束一块，展平之后是新的一块。"""
    runs: list[list[tuple[nn.Module, Shape]]] = [[]]
    for module, out_shape in _traced(net, trace(net, shape, depth=99)):
        runs[-1].append((module, out_shape))
        if LayerText.of(module).kind in ("pool", "flatten"):
            runs.append([])
    return [tiles for run in runs if (tiles := _tiles(run))]


def _draw_block(axes: Axes, left: float, y: float, tiles: Sequence[_Tile]) -> float:
    """底边在 y 的一块，返回顶边。"""
    height = 0.62 * len(tiles) + 0.12
    box(axes, left + 0.03, y, 0.72, height, rounding=0.02, linestyle="--")
    arrow(axes, (left + 0.39, y - 0.33), (left + 0.39, y), **OPEN)
    for j, tile in enumerate(tiles):
        box(axes, left + 0.05, y + 0.62 * j + 0.12, 0.68, 0.5, str(tile), tile.color, size=8.5, level=0.48,
            rounding=0.02, edgecolor="#cccccc")
    write(axes, left + 0.77, y + height - 0.36, channels_at(tiles[-1].shape[1:]), 8.5, ha="left", color=FAINT)
    return y + height


def stage_columns(net: nn.Sequential, shape: Shape) -> Picture:
    """网络的每一段自下而上一列，从左到右；列顶是这一段的输出形状。

    net: 由几段组成的 nn.Sequential；shape: 输入形状 (B, C, H, W)。激活函数和暂退法并入它前面的框。
    有 `paths`（并行的路径）的块，下半截的各段与各条路径的输出通道数成比例。
    """
    stages = [_tiles((module, ()) for module in (stage if isinstance(stage, nn.Sequential) else [stage]))
              for stage in layers("net", net, least=1)]
    shape, tallest = checked_shape(shape), max(map(len, stages))
    table = trace(net, shape)
    if len(table) != len(stages):
        raise ValueError(f"net 应当是 nn.Sequential，一段接一段：它有 {len(stages)} 段，走过的却是 {len(table)} 段。")
    with canvas(2 * len(stages), 0.62 * tallest + 0.9, "网络的各段") as drawn:
        axes = sheet(drawn.figure, (0, len(stages)), (-0.75, tallest + 0.7))
        write(axes, 0.46, -0.4, f"输入 {times(shape[1:])}")
        for i, (tiles, layer) in enumerate(zip(stages, table, strict=True)):
            for j, tile in enumerate(tiles):
                _draw_stage_tile(axes, i, j, tile)
            top = len(tiles) - 0.18
            write(axes, i + 0.46, top + 0.26, times(layer.out_shape[1:]), 10)
            if i + 1 < len(stages):  # 从这一列的顶接到下一列的底
                line(axes, [i + 0.88, i + 0.96, i + 0.96, i + 1.46], [top - 0.36] * 2 + [-0.18] * 2)
    return drawn


def _draw_stage_tile(axes: Axes, i: int, j: int, tile: _Tile) -> None:
    """第 i 列从下往上第 j 个框。"""
    arrow(axes, (i + 0.46, j - 0.18), (i + 0.46, j + 0.1))
    box(axes, i + 0.04, j + 0.1, 0.84, 0.72, tile.folded(), tile.color, size=8.5, level=0.75 if tile.parts else 0.48)
    left = i + 0.04
    for part, color in zip(tile.parts, cycle(PATH_COLORS), strict=False):
        width = 0.84 * part / sum(tile.parts)
        box(axes, left, j + 0.1, width, 0.34, str(part), color, size=8, level=0.16 / 0.34, rounding=0)
        left += width


def branches(paths: Mapping[str, nn.Sequential | None], shape: Shape) -> Picture:
    """同一个输入走几条并行的路径，输出在通道维上连结；框里是层和它的输出形状，最上面一条的各段与通道数成比例。

    paths: 名字到 nn.Sequential，各条的输出高和宽相同；None 是关掉的路径，只留下位置。
    shape: 输入形状 (B, C, H, W)。激活函数和暂退法并入它前面的框。
    """
    shape, given = checked_shape(shape), named("paths", paths, lambda name, path: None if path is None
                                               else network(name, path))
    on = {name: path for name, path in given.items() if path is not None}
    tables = {name: trace(path, shape, depth=99) for name, path in on.items()}
    if not on or any(not table or len(table[-1].out_shape) < 2 for table in tables.values()):
        raise ValueError("paths 至少要有一条不是 None 的路径，每条都走过几层，输出 (B, C, H, W)；这样才连结得起来。")
    columns = {name: _tiles(_traced(path, tables[name])) for name, path in on.items()}
    outs = {name: table[-1].out_shape for name, table in tables.items()}
    joined = (sum(out[1] for out in outs.values()), *next(iter(outs.values()))[2:])
    rows, full = max(map(len, columns.values())), len(given) - 0.08
    top = 1.45 + 1.02 * rows
    with canvas(2.3 * len(given), top + 0.85, f"{len(on)} 条并行的路径，连结成 {times(joined)}") as drawn:
        axes = sheet(drawn.figure, (0, len(given)), (0, top + 0.85))
        box(axes, 0.04, 0.72, full, 0.4, f"输入 {times(shape[1:])}", kind_color("other"), size=8.5, level=0.48)
        left = 0.04
        for i, (name, color) in enumerate(zip(given, cycle(PATH_COLORS), strict=False)):
            if name not in on:
                write(axes, i + 0.5, 0.36, f"{name}：关", 8.5, color=GREY)
                continue
            write(axes, i + 0.5, 0.36, f"{name}，{_path_cost(tables[name])}", 8.5)
            y = _draw_path(axes, i, rows - len(columns[name]), columns[name], color)
            width = full * outs[name][1] / joined[0]
            arrow(axes, (i + 0.5, y), (left + width / 2, top))
            box(axes, left, top, width, 0.36, str(outs[name][1]), color, size=8.5, rounding=0)
            left += width
        write(axes, len(given) / 2, top + 0.6, f"在通道维上连结：{times(joined)}", 10)
    return drawn


def _path_cost(table: Trace) -> str:
    return f"感受野 {table[-1].receptive_field}\n{table.params:,} 参数\n{table.macs:,} 乘加"


def _draw_path(axes: Axes, i: int, start: int, tiles: Sequence[_Tile], color: str) -> float:
    """第 i 条路径，最下面的框在第 start 行；返回最上面的框的顶边。"""
    y = 1.12
    for j, tile in enumerate(tiles, start):
        bottom = 1.45 + 1.02 * j
        arrow(axes, (i + 0.5, y), (i + 0.5, bottom))
        y = bottom + 0.6
        box(axes, i + 0.04, bottom, 0.92, 0.6, f"{tile}\n{times(tile.shape[1:])}", color, size=8.5, level=0.48)
    return y


def dense_arcs(nodes: Sequence[str], arcs: Sequence[tuple[int, int]], title: str = "稠密连接") -> Picture:
    """一排节点，每条弧 (i, j) 是节点 j 用到了节点 i；弧的颜色随 i。"""
    nodes, pairs = listed("nodes", nodes, wording), listed("arcs", arcs, _arc, len(nodes), least=0)
    with canvas(1.5 * len(nodes), 0.3 * len(nodes) + 1.2, title) as drawn:
        axes = sheet(drawn.figure, (-0.6, len(nodes) - 0.4), (-0.5, 0.5 + 0.21 * len(nodes)))
        for i, j in pairs:
            if j == i + 1:
                start, end, bend = (i + 0.36, 0), (j - 0.36, 0), "arc3"
            else:
                start, end, bend = (i + 0.1, 0.36), (j - 0.3 * (j - i - 1) / len(nodes), 0.36), "arc3,rad=-0.42"
            arrow(axes, start, end, color=f"C{i}", lw=1.5, mutation_scale=10, connectionstyle=bend).set_zorder(0)
        for j, text in enumerate(nodes):
            box(axes, j - 0.36, -0.36, 0.72, 0.72, text, "white", rounding=0.08, edgecolor=f"C{j}", lw=1.5)
    return drawn


def _arc(name: str, value: Any, count: int) -> list[int]:
    """一条弧：count 个节点里的两个，从 0 数起。"""
    return listed(name, value, between, 0, count - 1, count=2)


def skip_paths(blocks: Mapping[str, nn.Module], X: Tensor) -> Picture:
    """带跨层线路的块，自下而上：输入、分支里的各层、汇合、输出；小图是这些块此刻真的算出来的通道，
    一个块里的共用一个刻度；蓝框是输入的通道，橙框是新算出来、连结上去的，紫框是相加的和。

    blocks: 标题到块；X: (1, C, H, W)，与块在同一设备。输出的通道比输入多就是连结，一样多就是相加。
    在训练模式下、在块的副本上算，块不变。
    """
    X, blocks = tensor("X", X, "(N, C, H, W)"), named("blocks", blocks, network)
    columns = {title: _walk(title, block, X) for title, block in blocks.items()}
    tallest = max(len(texts) for texts, _ in columns.values())
    with canvas(4.4 * len(blocks), 0.55 * (tallest + 5), "、".join(blocks)) as drawn:
        for i, (title, (texts, Y)) in enumerate(columns.items()):
            axes = drawn.figure.add_axes((i / len(blocks), 0, 1 / len(blocks), 1))
            axes.axis("off")
            _draw_skip(axes, X, texts, Y)
            write(axes, 4.5, tallest + 3.4, f"{title}：{X.shape[1]} → {Y.shape[1]} 个通道", 11, va="baseline")
            axes.set(xlim=(-0.5, 9.5), ylim=(-1.1, tallest + 3.9))
    return drawn


def _walk(title: str, original: nn.Module, X: Tensor) -> tuple[list[LayerText], Tensor]:
    """分支里的各层，按调用的次序，和块的输出。"""
    X, block, called = placed(original, X), deepcopy(original).train(), []
    for module in block.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, *_: called.append(module))
    with torch.no_grad():
        try:
            Y = tensor(f"{brief(title)} 的输出", answered(block, original, X), "(N, C, H, W)")
        except ValueError as error:
            if "per channel when training" not in str(error):
                raise
            raise ValueError(f"{brief(title)} 里的规范化，训练时一个通道要不止一个数；X 大一些。") from error
    while called and isinstance(called[-1], nn.ReLU | nn.Identity):  # 汇合之后的激活不在分支里
        called.pop()
    return [LayerText.of(module) for module in called], Y


def _draw_skip(axes: Axes, X: Tensor, texts: Sequence[LayerText], Y: Tensor) -> None:
    """一个块：第 0 行是输入，然后一层一行，然后汇合，最上面是输出；右边是跨层的线路。"""
    merge, joined = len(texts) + 1, Y.shape[1] > X.shape[1]
    given, scale = [BLUE] * X.shape[1], {"vmin": float(min(X.min(), Y.min())), "vmax": float(max(X.max(), Y.max()))}
    _draw_channels(axes, X, -0.4, given, "x", scale)
    for j, text in enumerate(texts, start=1):
        box(axes, 2.2, j - 0.3, 4.6, 0.6, str(text), kind_color("other"), rounding=0.15)
    for j in range(merge + 1):
        arrow(axes, (4.5, j + 0.3 - 0.2 * (j == 0)), (4.5, j + 0.7), **OPEN | {"shrinkA": 0, "shrinkB": 0})
    axes.plot((4.5 + _pitch(X.shape[1]) * min(X.shape[1], 8) / 2, 9.2, 9.2), (-0.4, -0.4, merge), color=BLUE)
    arrow(axes, (9.2, merge), (4.86, merge), **OPEN | {"color": BLUE, "shrinkA": 0, "shrinkB": 0})
    write(axes, 4.5, merge, "[ , ]" if joined else "+", 11,
          bbox={"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": LINE})
    made = given + [ORANGE] * Y.shape[1] if joined else [PURPLE] * Y.shape[1]
    _draw_channels(axes, Y, merge + 1.25, made, "输出", scale)


def _pitch(channels: int) -> float:
    """一排小图，一格有多宽：至多六格时是 1.25，再多就窄一些。"""
    return 1.25 if channels <= 6 else 1.0


def _draw_channels(axes: Axes, X: Tensor, y: float, colors: Sequence[str], label: str,
                   scale: dict[str, float]) -> None:
    """一排小图，一格一个通道，至多八格；边框的颜色说明它从哪里来。"""
    count, pitch = min(X.shape[1], 8), _pitch(X.shape[1])
    side, rise = 0.92 * pitch, 0.37 * pitch  # 横轴的一格比纵轴的窄：画出来是方的
    for k in range(count):
        left = 4.5 + pitch * (k - count / 2)
        paint(axes, X[0, k], MAPS, **scale, aspect="auto", extent=(left, left + side, y - rise, y + rise))
        axes.add_patch(Rectangle((left, y - rise), side, 2 * rise, fill=False, edgecolor=colors[k], lw=2))
    write(axes, 4.4 - pitch * count / 2, y, label, ha="right")
