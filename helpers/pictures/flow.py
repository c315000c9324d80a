"""流程图：分开又合起来的线路，例如残差块。一张图是一串东西：模块、Box、PLUS、Paths、Frame。"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import nn
from wcwidth import wcswidth

from helpers.arguments import brief, listed
from helpers.network.describe import LayerText
from helpers.pictures.canvas import FAINT, LINE, Picture, canvas, kind_color
from helpers.pictures.doors import named, network, wording
from helpers.pictures.pen import arrow, box, line, sheet, write

# 英寸：两项之间，框到虚线，虚线框里写字的一条，圆圈的半径，两条路之间，没有框的线占的一半
_GAP, _FRAME, _BAND, _RADIUS, _APART, _WIRE = 0.22, 0.12, 0.22, 0.13, 0.2, 0.12

Ends = list[tuple[float, float]]  # 等着接到下一项的线头


class Item(ABC):
    """流程图里的一项：知道自己多大，会画自己。单位是英寸，width 是图里每个框的宽。

    height: 多高，连同前面的空隙；lines: 框里的字，一行一个。
    """

    height: float
    lines: Sequence[str] = ()

    @abstractmethod
    def span(self, width: float) -> tuple[float, float]:
        """从主干向左、向右各占多宽。"""

    @abstractmethod
    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        """从主干上的 (x, y) 往上画，把 ends 接进来；返回新的线头。"""


Things = nn.Module | Item | Sequence  # 一样东西，或者它们的一串


class Box(Item):
    """画在一个框里的几层，一行一层；底色随第一层。单独的模块不必写 Box。"""

    def __init__(self, *modules: nn.Module):
        texts = [LayerText.of(module) for module in listed("Box 里的层", modules, network)]
        self.lines, self.color = [str(text) for text in texts], kind_color(texts[0].kind)
        self.height = _GAP + (0.14 + 0.17 * len(self.lines))

    def span(self, width: float) -> tuple[float, float]:
        return width / 2, width / 2

    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        _join(axes, x, y, ends)
        height = self.height - _GAP
        box(axes, x - width / 2, y + _GAP, width, height, color=self.color, rounding=0.05)
        _say(axes, x, y + _GAP + height / 2, "\n".join(self.lines))
        return [(x, y + self.height)]


class Plus(Item):
    """几条路相加的圆圈；用现成的 PLUS。"""

    height = _GAP + 2 * _RADIUS

    def span(self, width: float) -> tuple[float, float]:
        return _WIRE, _WIRE

    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        middle = y + _GAP + _RADIUS
        _join(axes, x, y, [end for end in ends if end[0] == x])
        for end, start in ends:
            if end != x:  # 从旁边进圆圈
                line(axes, (end, end), (start, middle))
                arrow(axes, (end, middle), (x + (_RADIUS if end > x else -_RADIUS), middle))
        axes.add_patch(Circle((x, middle), _RADIUS, facecolor="white", edgecolor=LINE))
        _say(axes, x, middle, "+")
        return [(x, y + self.height)]


PLUS = Plus()


class Flow(Item):
    """自下而上的一串；空的一串是一条直线。"""

    def __init__(self, items: Things):
        self.items = _items(items)
        self.height = sum(item.height for item in self.items)
        self.lines = [text for item in self.items for text in item.lines]

    def span(self, width: float) -> tuple[float, float]:
        low, high = zip((_WIRE, _WIRE), *(item.span(width) for item in self.items), strict=True)
        return max(low), max(high)

    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        for item in self.items:
            ends = item.draw(axes, width, x, y, ends)
            y += item.height
        return ends


class Paths(Item):
    """并行的几条路，每条是一个模块、一项，或者一串；nn.Identity 和空的一串是一条直线。"""

    def __init__(self, *paths: Things):
        self.paths = [Flow(path) for path in listed("Paths 里的路", paths)]
        self.height = _GAP / 2 + max(path.height for path in self.paths)
        self.lines = [text for path in self.paths for text in path.lines]

    def span(self, width: float) -> tuple[float, float]:
        low, high = zip(*((low - x, high + x) for (low, high), x in zip(
            (path.span(width) for path in self.paths), self._offsets(width), strict=True)), strict=True)
        return max(low), max(high)

    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        split, xs = y + _GAP / 2, [x + offset for offset in self._offsets(width)]
        for end, start in ends:
            line(axes, (end, end), (start, split))
        across = [*xs, *(end for end, _ in ends)]
        line(axes, (min(across), max(across)), (split, split))
        return [top for path, start in zip(self.paths, xs, strict=True)
                for top in path.draw(axes, width, start, split, [(start, split)])]

    def _offsets(self, width: float) -> list[float]:
        """几条路的中线离主干多远；主干对着有框的那几条路的正中。"""
        centers, left = [], 0.0
        for low, high in (path.span(width) for path in self.paths):
            centers.append(left + low)
            left += low + high + _APART
        boxed = [x for x, path in zip(centers, self.paths, strict=True) if path.items] or centers
        trunk = (boxed[0] + boxed[-1]) / 2
        return [x - trunk for x in centers]


class Frame(Item):
    """一串东西外面画虚线框，左上角写字。"""

    def __init__(self, text: str, items: Things):
        self.text, self.inside = wording("text", text), Flow(items)
        self.height, self.lines = self.inside.height + _BAND, self.inside.lines

    def span(self, width: float) -> tuple[float, float]:
        low, high = self.inside.span(width)
        return low + _FRAME, high + _FRAME

    def draw(self, axes: Axes, width: float, x: float, y: float, ends: Ends) -> Ends:
        low, high = self.span(width)
        top = y + self.height
        ends = self.inside.draw(axes, width, x, y, ends)
        bottom = y + _GAP - _FRAME
        box(axes, x - low, bottom, low + high, top - bottom, rounding=0.05, linestyle="--")
        write(axes, x - low + _FRAME, top - _BAND / 2, self.text, ha="left", color=FAINT)
        for end, start in ends:
            line(axes, (end, end), (start, top))
        return [(end, top) for end, _ in ends]


def flow_chart(charts: Mapping[str, Things], input_text: str = "x", output_text: str = "") -> Picture:
    """自下而上的流程图，中间可以分成几条路再合起来；每个标题一张，并排。

    charts: 标题到一串东西：模块画成框（nn.Sequential 逐层画），Box 是几层画成一个框，PLUS 是圆圈，
        Paths 是并行的几条路，Frame 外面画虚线框；只有一样就不必写成一串。
    input_text, output_text: 写在最下面和最上面的文字。
    """
    flows = named("charts", charts, lambda _, items: Flow(items))
    input_text, output_text = wording("input_text", input_text), wording("output_text", output_text)
    width = 0.3 + 0.069 * max((wcswidth(text) for flow in flows.values() for text in flow.lines), default=0)
    spans = [flow.span(width) for flow in flows.values()]
    wide = sum(low + high + 0.5 for low, high in spans)
    tall = max(flow.height for flow in flows.values())
    with canvas(wide, tall + 1.05, "、".join(flows)) as drawn:
        axes = sheet(drawn.figure, (0, wide), (-0.35, tall + 0.7))  # 单位是英寸
        left = 0.0
        for (title, flow), (low, high) in zip(flows.items(), spans, strict=True):
            x = left + 0.25 + low
            left += low + high + 0.5
            write(axes, x, -0.18, input_text)
            _join(axes, x, flow.height, flow.draw(axes, width, x, 0.0, [(x, 0.0)]))
            write(axes, x, flow.height + 0.26, output_text, va="bottom")
            write(axes, x + (high - low) / 2, tall + 0.55, title, 11)
    return drawn


def _items(things: Things) -> list[Item]:
    """模块、一项，或者它们的一串，展开成一串。"""
    match things:
        case Item():
            return [things]
        case nn.Identity():
            return []
        case nn.Sequential() | list() | tuple():
            return [item for thing in things for item in _items(thing)]
        case nn.Module():
            return [Box(things)]
    raise TypeError(f"流程图里的一项是模块、Box、PLUS、Paths 或 Frame，收到的是 {brief(things)}。")


def _say(axes: Axes, x: float, y: float, text: str) -> None:
    write(axes, x, y, text, linespacing=1.25)


def _join(axes: Axes, x: float, y: float, ends: Ends) -> None:
    """把线头接到主干上，箭头到 (x, y + _GAP)；旁边的先拐过来。"""
    for end, start in ends:
        if end != x:
            turn = y + _GAP / 3
            line(axes, (end, end, x), (start, turn, turn))
            start = turn
        arrow(axes, (x, start), (x, y + _GAP))
