"""一个 Explorer 的滑块，和每个位置的文字：从 `trace` 抽样。"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
from torch import nn

from helpers.network.input_sizes import find_sizes
from helpers.network.layer import Layer
from helpers.network.shape_errors import ShapeError
from helpers.network.sizes import Sizes
from helpers.network.trace import Trace, trace, tried_to
from helpers.network.walk import Walk, walking
from helpers.widgets.model import Model
from helpers.widgets.panel import first_line
from helpers.widgets.sliders import make_slider

Values = dict[str, Any]
SLOT = "#"  # 挖掉的数


@dataclass(frozen=True)
class Slider:
    """网页上的一个滑块：它停得下的每个值，和写在网页上的样子。range 是真：拖的；是假：选的。"""

    name: str
    label: str
    values: list[Any]
    labels: list[Any]
    ranged: bool

    @property
    def fractional(self) -> bool:
        """有小数。"""
        return self.ranged and not all(isinstance(value, int) for value in self.values)

    def tick(self, value: Any) -> int:
        """一个值是第几个。"""
        return self.values.index(value)

    def data(self) -> dict[str, Any]:
        """网页要的。"""
        common = {"name": self.name, "label": self.label}
        if not self.ranged:
            return common | {"options": self.labels}
        low, high = self.values[0], self.values[-1]
        step = round(self.values[1] - low, 10) if len(self.values) > 1 else 1
        return common | {"low": low, "high": high, "step": step} | ({"fractional": True} if self.fractional else {})


def sliders_of(model: Model, ranges: Values) -> list[Slider]:
    """除了学习率的每个滑块：它与这张表无关。"""
    return [_slider(name, allowed, model.start[name]) for name, allowed in ranges.items() if name != "lr"]


def _slider(name: str, allowed: Any, start: Any) -> Slider:
    made: Any = make_slider(name, allowed, start, print)
    if isinstance(made, widgets.Checkbox):
        return Slider(name, made.description, [False, True], [False, True], False)
    if isinstance(made, widgets.SelectionSlider):
        pairs = [each if isinstance(each, tuple) and len(each) == 2 else (each, each) for each in made.options]
        return Slider(name, made.description, [value for _, value in pairs], [label for label, _ in pairs], False)
    count = math.floor((made.max - made.min) / made.step + 1e-9) + 1
    values = [made.min + k * made.step for k in range(count)]
    return Slider(name, made.description, [v if isinstance(v, int) else round(v, 10) for v in values],
                  [], True)


def told(model: Model, values: Values) -> str:
    """一个位置的文字：一层一行，走不通就以「!」和那句话结束。"""
    try:
        return whole(model.table(values))
    except ShapeError as error:
        return broken(error)
    except ValueError as error:
        return "!" + first_line(error)


def whole(table: Trace) -> str:
    """走得通的。合计由网页加起来，所以要与各行的和相同。"""
    if (table.params, table.macs) != (sum(row.params for row in table), sum(row.macs for row in table)):
        raise ValueError("这个网络有表外的参数或运算，合计不是各行的和。")
    return "\n".join(map(_line, table))


def broken(error: ShapeError) -> str:
    """走不通的：走通的几层，那句话，停下的一层。"""
    parts = ["!" + str(error)]
    if error.place is not None:
        shape = "×".join(map(str, error.place.received))
        parts += [error.place.name, error.place.kind, f"收到 {shape}：{error.fault.symptom}"]
    return "\n".join([*map(_line, error.layers), "\t".join(parts)])


def _line(layer: Layer) -> str:
    return "\t".join([layer.name, layer.kind, "×".join(map(str, layer.out_shape)), str(layer.params),
                      str(layer.macs), str(layer.receptive_field)])


def blank(text: str) -> tuple[str, list[int]]:
    """挖掉数：(剩下的, 各个数)。层的名字和种类里的数字留着：它们不同，就是不同的一类。"""
    numbers: list[int] = []

    def take(found: re.Match[str]) -> str:
        numbers.append(int(found[0]))
        return SLOT

    if SLOT in text:
        raise ValueError(f"文字里有 {SLOT}，它是挖掉的数的记号。")
    lines = []
    for line in text.split("\n"):
        kept = {1, 2} if line.startswith("!") else {0, 1}
        lines.append("\t".join(part if i in kept else re.sub(r"(?<![A-Za-z\d.])(?<!第 )\d+", take, part)
                               for i, part in enumerate(line.split("\t"))))
    return "\n".join(lines), numbers


def layout(template: str) -> list[tuple[int, str]]:
    """走得通的一类，每个空在第几行，是什么：形状的第几维、"params"、"macs" 或 "field"。"""
    places = []
    for row, line in enumerate(template.split("\n")):
        _, _, shape, *_, seen = line.split("\t")
        places += [(row, str(i)) for i in range(shape.count(SLOT))] + [(row, "params"), (row, "macs")]
        places += [(row, "field")] * seen.count(SLOT)
    return places


Ends = dict[str, tuple[int, int]]  # 一层的名字到来的和出去的通道数


class Samples:
    """从一个 Model 抽样；同一个网络的许多边长一起走。renamed: 哪些滑块的值就写在表里，见 `named_in_the_table`。"""

    def __init__(self, model: Model, sizes: Sequence[int], renamed: Values):
        self.model, self.sizes, self.renamed = model, sizes, renamed
        self._fitting: dict[Any, tuple[int, ...]] = {}

    def __call__(self, values: Values, sizes: Iterable[int], form: Any) -> list[tuple[str, list[int]]]:
        """每个边长的 (剩下的, 各个数)。form: 走得通的边长由它定，与宽度无关；不对的话，最后核对时看得出。"""
        plan = self.model.at(values)
        with walking(plan.meta(), 1) as walk:
            texts = [self._text(walk, (*plan.shape[:2], size, size), form) for size in sizes]
        return [blank(rename(text, self.renamed)) for text in texts]

    def deep(self, values: Values) -> dict[str, Layer]:
        """展开到底的各层里有参数的：名字到那一行。"""
        plan = self.model.at(values)
        return {layer.name: layer for layer in trace(plan.meta(), plan.shape, depth=99) if layer.params}

    def ends(self, values: Values) -> dict[str, tuple[int, int]]:
        """同上，只要来的和出去的通道数：建好就知道，不用走。"""
        modules = self.model.at(values).meta().named_modules()
        return {name: (module.weight.shape[1], module.weight.shape[0]) for name, module in modules
                if isinstance(module, nn.Conv2d | nn.Linear)}

    def _text(self, walk: Walk, shape: tuple[int, ...], form: Any) -> str:
        try:
            meter = walk(shape)
        except ShapeError as error:
            if error.fault.sized:
                error.sizes = self._sizes(walk, shape, form)
            return broken(error)
        return whole(Trace(meter.layers, sum(p.numel() for p in walk.net.parameters()), meter.macs))

    def _sizes(self, walk: Walk, shape: tuple[int, ...], form: Any) -> Sizes | None:
        if form not in self._fitting:
            found = find_sizes(walk, shape, max(tried_to((1, 1, size, size)) for size in self.sizes))
            self._fitting[form] = found.fits if found else ()
        limit = tried_to(shape)
        fits = [size for size in self._fitting[form] if size <= limit]
        return Sizes(fits, limit) if fits else None


def rename(text: str, renamed: Values) -> str:
    """值就写在表里的滑块，把它的值换成 {名字}。"""
    for name, value in renamed.items():
        text = text.replace(value, "{" + name + "}")
    return text


def named_in_the_table(model: Model, sliders: Iterable[Slider]) -> Values:
    """只改表里的字的选项，如激活函数：名字到书上的值。"""
    found = {}
    for slider in sliders:
        start = model.start[slider.name]
        if isinstance(start, str) and len({rename(told(model, {slider.name: value}), {slider.name: value})
                                           for value in slider.values}) == 1:
            found[slider.name] = start
    return found
