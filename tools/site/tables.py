"""Explorer 的形状表，写成网页自己算得出的样子：从 `trace` 抽样，网页里没有第二份网络。

一个位置的表（或者走不通的那句话）是一段文字；把里面的数挖掉，剩下的是一类，每个数是一个空。
一个空里的数 = 只由边长定的一个整数 × 只由宽度定的一个多项式；两个都从样本解出来，都是整数，没有舍入。
多项式的变量是滑块的值，和由它们算出来的几个通道数：整除的（DenseNet）、四条路径加起来的（GoogLeNet）。
写好之后在没有用来解的位置上与 `trace` 对一遍，有一处不同就抛出 ValueError。
"""

import ast
import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations_with_replacement, product
from typing import Any

import ipywidgets as widgets
import nbformat
from torch import nn

from helpers.book.sections import load
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
_CHECKS = 6  # 写好之后核对几个位置
_LARGEST = 2**53  # 网页里的整数到这么大都是准的


def plug(section: str, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """一本笔记本里每个 Explorer 的单元格：单元格的 id 到网页要的数据，见 `export`。"""
    return {cell: export(model, ranges) for cell, model, ranges in explorers(section, notebook)}


# ---------- 笔记本里的 Explorer ----------

def explorers(section: str, notebook: nbformat.NotebookNode) -> Iterator[tuple[str, Model, Values]]:
    """笔记本里的每个 `Explorer(plan, **ranges)`：(单元格的 id, Model, 各个滑块的范围)。只运行它用到的语句，不训练。"""
    before: list[ast.stmt] = []
    for cell in notebook.cells:
        for statement in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            for call in ast.walk(statement):
                if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Explorer":
                    space = _space(section, before, call)
                    plan, ranges = (_value(each, space) for each in (call.args[0], _keywords(call)))
                    ranges["size"] = ranges.pop("size", (plan.book.size, plan.book.size))  # 与 Explorer 一样排在最后
                    yield cell.id, Model(plan, ranges), ranges
            before.append(statement)


def _keywords(call: ast.Call) -> ast.Call:
    return ast.Call(ast.Name("dict", ast.Load()), [], call.keywords)


def _value(expression: ast.expr, space: dict[str, Any]) -> Any:
    return eval(compile(ast.fix_missing_locations(ast.Expression(expression)), "<Explorer>", "eval"), space)


def _space(section: str, before: Sequence[ast.stmt], call: ast.Call) -> dict[str, Any]:
    """运行了 call 用到的语句之后的名字；net 单元格里的名字由 `load` 给。"""
    space = dict(vars(load(section)))
    needed: set[int] = set()
    waiting = [_names(argument) for argument in (*call.args, *call.keywords)]
    while waiting:
        for name in waiting.pop() - space.keys():
            last = max((i for i, statement in enumerate(before) if name in _defined(statement)), default=None)
            if last is not None and last not in needed:
                needed.add(last)
                waiting.append(_names(before[last]))
    for i in sorted(needed):
        exec(compile(ast.Module([before[i]], []), "<Explorer>", "exec"), space)
    return space


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def _defined(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign(targets=targets):
            return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return set()


# ---------- 滑块 ----------

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


# ---------- 一个位置是一段文字 ----------

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


# ---------- 解多项式 ----------

Mono = tuple[int, ...]  # 几个变量的积，变量用号码；() 是 1


class Basis:
    """几个单项式和几个样本点：一列数是哪个多项式。points: 每个点各变量的值。"""

    def __init__(self, monos: Sequence[Mono], points: Sequence[Sequence[int]]):
        self.monos = list(monos)
        self.rows = [[math.prod(point[i] for i in mono) for mono in monos] for point in points]
        self.chosen, self.inverse = _invert(self.rows)

    def fit(self, column: Sequence[int]) -> Any:
        """这一列的多项式，见 `poly`；不是这样的多项式就是 None。"""
        coefs = [sum(a * column[i] for a, i in zip(row, self.chosen, strict=True) if a) for row in self.inverse]
        if any(sum(c * x for c, x in zip(coefs, row, strict=True) if c) != value
               for row, value in zip(self.rows, column, strict=True)):
            return None
        by = math.lcm(*(Fraction(c).denominator for c in coefs))
        return poly({mono: int(c * by) for mono, c in zip(self.monos, coefs, strict=True)}, by)


def poly(terms: dict[Mono, int], by: int = 1) -> Any:
    """一个多项式在网页里的样子：常数就是那个数，别的是 [除以几, [系数, 变量, 变量…], …]。"""
    kept = {mono: c for mono, c in terms.items() if c}
    if by == 1 and not kept.keys() - {()}:
        return kept.get((), 0)
    return [by, *([c, *mono] for mono, c in kept.items())]


def _invert(rows: list[list[int]]) -> tuple[list[int], list[list[Fraction]]]:
    """选出解得开的几行，和它们的逆。"""
    count, chosen, reduced = len(rows[0]), [], []  # reduced: (主元的列, 这一行, 它是选出的各行怎样合成的)
    for index, row in enumerate(rows):
        if len(chosen) == count:
            break
        now, mix = [Fraction(x) for x in row], {index: Fraction(1)}
        for column, other, parts in reduced:
            if factor := now[column]:
                now = [x - factor * y for x, y in zip(now, other, strict=True)]
                for i, part in parts.items():
                    mix[i] = mix.get(i, Fraction(0)) - factor * part
        lead = next((i for i, x in enumerate(now) if x), None)
        if lead is None:
            continue
        scale = now[lead]
        now, mix = [x / scale for x in now], {i: part / scale for i, part in mix.items()}
        for k, (column, other, parts) in enumerate(reduced):
            if factor := other[lead]:
                reduced[k] = (column, [x - factor * y for x, y in zip(other, now, strict=True)],
                              {i: parts.get(i, 0) - factor * mix.get(i, 0) for i in parts.keys() | mix.keys()})
        reduced.append((lead, now, mix))
        chosen.append(index)
    if len(chosen) < count:
        raise ValueError("样本不够，解不出多项式。")
    return chosen, [[parts.get(i, Fraction(0)) for i in chosen] for _, _, parts in sorted(reduced, key=lambda r: r[0])]


def monos_to(degree: int, variables: int) -> list[Mono]:
    """次数到 degree 为止的全部单项式。"""
    return [mono for d in range(degree + 1) for mono in combinations_with_replacement(range(variables), d)]


# ---------- 写成网页要的 ----------

@dataclass
class Pool:
    """同样的只存一份：add 返回号码。"""

    items: list[Any] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, item: Any) -> int:
        """item 的号码。"""
        number = self._numbers.setdefault(repr(item), len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


@dataclass
class Sheet:
    """一个 Explorer 的数据，一部分一部分写进来。

    form: 哪些滑块定有哪些类和边长的影响；pick: 哪些选项只改数；variables: 哪些滑块的值是多项式的变量。
    made: pick 到由滑块算出来的变量；places: form 到 (每个边长是第几类，各类)。
    """

    form: list[Slider] = field(default_factory=list)
    pick: list[Slider] = field(default_factory=list)
    variables: list[Slider] = field(default_factory=list)
    made: dict[str, list[Any]] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)
    texts: Pool = field(default_factory=Pool)
    scales: Pool = field(default_factory=Pool)
    polys: Pool = field(default_factory=Pool)
    slots: Pool = field(default_factory=Pool)
    tables: Pool = field(default_factory=Pool)

    def entry(self, template: str, scales: Sequence[Any], polys: Sequence[Any]) -> list[int]:
        """一类里的一种：文字的号码，每个空的号码。"""
        slots = [self.slots.add([self.scales.add(scale), self.polys.add(each)])
                 for scale, each in zip(scales, polys, strict=True)]
        return [self.texts.add(template), *slots]

    def data(self) -> dict[str, Any]:
        """JSON 写得下的。"""
        return {"form": [each.name for each in self.form], "pick": [each.name for each in self.pick],
                "variables": [each.name for each in self.variables], "made": self.made, "places": self.places,
                "texts": self.texts.items, "scales": self.scales.items, "polys": self.polys.items,
                "slots": self.slots.items, "tables": self.tables.items}


def key(sliders: Iterable[Slider], values: Values) -> str:
    """几个滑块在哪里；有小数的，只看是不是 0。"""
    return ",".join(str(int(values[each.name] != 0) if each.fractional else each.tick(values[each.name]))
                    for each in sliders)


def classes(found: Sequence[tuple[str, list[int]]]) -> dict[str, list[int]]:
    """剩下的文字到它是哪几个边长（第几个）。"""
    groups: dict[str, list[int]] = {}
    for i, (template, _) in enumerate(found):
        groups.setdefault(template, []).append(i)
    return groups


def positions(groups: dict[str, list[int]]) -> str:
    """每个边长是第几类，一个边长一个字。"""
    where = {i: k for k, ticks in enumerate(groups.values()) for i in ticks}
    return "".join("0123456789abcdefghijklmnopqrstuvwxyz"[where[i]] for i in range(len(where)))


def scale(column: Sequence[int]) -> Any:
    """一个空随边长怎样变：互质的几个整数；不变就是 1。"""
    common = math.gcd(*column) or 1
    found = [number // common for number in column]
    return 1 if len({*found}) == 1 else found


def at(scale: Any, rank: int) -> int:
    """第 rank 个边长的。"""
    return scale if isinstance(scale, int) else scale[rank]


def divided(numbers: Sequence[int], scales: Sequence[Any], rank: int) -> list[int]:
    """各个空除去边长的影响。"""
    parts = [at(scale, rank) for scale in scales]
    if any(part == 0 or number % part for number, part in zip(numbers, parts, strict=True)):
        raise ValueError("有一个数不是边长的影响乘宽度的影响。")
    return [number // part for number, part in zip(numbers, parts, strict=True)]


def combinations(sliders: Sequence[Slider]) -> Iterator[Values]:
    """几个滑块的全部位置。"""
    names = [each.name for each in sliders]
    for values in product(*(each.values for each in sliders)):
        yield dict(zip(names, values, strict=True))


# ---------- 一层的数是几个宽度的二次式：LeNet、AlexNet、VGG、NiN、ResNet ----------

def plain(samples: Samples, sliders: list[Slider]) -> Sheet:
    """每个空是宽度的二次式，在宽度最小的一角取样。"""
    form, pick, wide = _sorted(samples, sliders)
    low = {each.name: each.values[0] for each in [*pick, *wide]} | samples.renamed
    steps = [[0] * len(wide)] + [[mono.count(i) for i in range(len(wide))] for mono in monos_to(2, len(wide))[1:]]
    points = [[each.values[0] + step for each, step in zip(wide, each_step, strict=True)] for each_step in steps]
    basis, sheet = Basis(monos_to(2, len(wide)), points), Sheet(form, pick, wide)
    for shape in combinations(form):
        found = samples(low | shape, samples.sizes, key(form, shape))
        groups = classes(found)
        scales = [[scale(column) for column in zip(*(found[i][1] for i in ticks), strict=True)]
                  for ticks in groups.values()]
        entries: list[dict[str, list[int]]] = [{} for _ in groups]
        for choice in combinations(pick):
            columns = _columns(samples, low | shape | choice, wide, points, groups, scales, key(form, shape))
            for entry, template, factors, each in zip(entries, groups, scales, columns, strict=True):
                entry[key(pick, choice)] = sheet.entry(template, factors, [_fitted(basis, column) for column in each])
        sheet.places[key(form, shape)] = [positions(groups), entries]
    return sheet


def _fitted(basis: Basis, column: Sequence[int]) -> Any:
    found = poly({(): column[0]}) if len({*column}) == 1 else basis.fit(column)
    if found is None:
        raise ValueError("有一个数不是宽度的二次式。")
    return found


def _columns(samples: Samples, values: Values, wide: list[Slider], points: list[list[int]],
             groups: dict[str, list[int]], scales: list[list[Any]], form: str) -> list[list[tuple[int, ...]]]:
    """每一类的每个空，在各个样本点上除去边长的影响是多少。"""
    firsts = [samples.sizes[ticks[0]] for ticks in groups.values()]
    rows: list[list[list[int]]] = [[] for _ in groups]
    for point in points:
        there = values | {each.name: value for each, value in zip(wide, point, strict=True)}
        found = samples(there, firsts, form)
        if [template for template, _ in found] != [*groups]:
            raise ValueError("只改宽度，剩下的文字也变了。")
        for row, (_, numbers), factors in zip(rows, found, scales, strict=True):
            row.append(divided(numbers, factors, 0))
    return [[*zip(*row, strict=True)] for row in rows]


def _sorted(samples: Samples, sliders: list[Slider]) -> tuple[list[Slider], list[Slider], list[Slider]]:
    """滑块分三种：改变图像有多大、看得到多少的；别的选项；别的数。"""
    def look(values: Values) -> Any:
        [(template, numbers)] = samples(values | samples.renamed, [samples.model.start["size"]], object())
        if "!" in template:
            return template
        spatial = {"2", "3", "field"}
        return template, [n for (_, what), n in zip(layout(template), numbers, strict=True) if what in spatial]

    base, form, pick, wide = look({}), [], [], []
    for each in sliders:
        if each.name == "size" or each.name in samples.renamed:
            continue
        tried = [each.values[0], each.values[-1]] if each.ranged else each.values
        same = all(look({each.name: value}) == base for value in tried)
        (form if not same else wide if each.ranged else pick).append(each)
    return form, pick, wide


# ---------- 一行的数由来的通道数和自己的滑块定：DenseNet ----------

def chain(samples: Samples, sliders: list[Slider]) -> Sheet:
    """一行一行：变量是来的通道数；出去的通道数是它的一次式，或者它除以一个选项，取整。"""
    variables = [each for each in sliders if each.name != "size"]
    dice, sheet = random.Random(0), Sheet(variables=variables)
    low = {each.name: each.values[0] for each in variables}
    found = samples(low, samples.sizes, None)
    groups, first = classes(found), []
    scales = [[scale(column) for column in zip(*(found[i][1] for i in ticks), strict=True)]
              for ticks in groups.values()]
    points = [{each.name: dice.choice(each.values[:4]) for each in variables} for _ in range(50)]
    firsts = [samples.sizes[ticks[0]] for ticks in groups.values()]
    rows = [samples(point, firsts, None) for point in points]
    for k, (template, factors) in enumerate(zip(groups, scales, strict=True)):
        columns = [*zip(*(divided(row[k][1], factors, 0) for row in rows), strict=True)]
        links = Links([[point[each.name] for each in variables] for point in points], variables)
        polys = links.polys(layout(template), columns)
        if first and links.made != first:
            raise ValueError("各类的通道数不是同样算出来的。")
        first = links.made
        sheet.places.setdefault("", [positions(groups), []])[1].append({"": sheet.entry(template, factors, polys)})
    sheet.made[""] = first
    return sheet


class Links:
    """样本上一行一行走：每一行来的通道数是哪个变量，出去的又是哪个。points: 每个样本各变量的值。"""

    def __init__(self, points: list[list[int]], sliders: list[Slider]):
        self.points, self.sliders = points, sliders
        self.made: list[Any] = []
        self.coming: int | None = None  # 来的通道数是第几个变量
        self._bases: dict[tuple[Mono, ...], Basis] = {}

    def polys(self, places: list[tuple[int, str]], columns: Sequence[Sequence[int]]) -> list[Any]:
        """每个空的多项式。"""
        found: list[Any] = []
        local: list[Mono] = [()]
        for (_, what), column in zip(places, columns, strict=True):
            if len({*column}) == 1:
                found.append(column[0])
            elif what == "1":
                out, local = self._out(column)
                found.append(poly({(out,): 1}))
            elif what == "field":
                found.append(self._fit(monos_to(1, len(self.sliders)), column))
            else:
                found.append(self._fit(local, column))
        return found

    def _out(self, column: Sequence[int]) -> tuple[int, list[Mono]]:
        """出去的通道数是第几个变量，这一行的数用哪些单项式。"""
        came, own = self.coming, []
        out = next((i for i in range(len(self.points[0])) if self._column(i) == [*column]), None)
        if out is None:
            out, own = self._make(column)
        self.coming = out
        if own:
            return out, [(*c, *m) for c in ((), (came,)) for m in _squares(own)]
        ends = [i for i in {came, out} if i is not None]
        return out, [tuple(i for i, e in zip(ends, powers, strict=True) for _ in range(e))
                     for powers in product(*(range(2) for _ in ends))]

    def _make(self, column: Sequence[int]) -> tuple[int, list[int]]:
        """新的变量；是一次式的话，用到了哪些滑块。"""
        came = self.coming
        for i, each in enumerate(self.sliders):
            if not each.ranged and came is not None and [point[came] // point[i] for point in self.points] == [*column]:
                return self._add(["//", came, i], column), []
        inputs = [i for i, each in enumerate(self.sliders) if each.ranged]
        inputs += [came] if came is not None and came not in inputs else []
        found = self._fit([(), *((i,) for i in inputs), *combinations_with_replacement(inputs, 2)], column)
        own = sorted({i for _, *mono in found[1:] for i in mono if i < len(self.sliders) and i != came})
        return self._add(found, column), own

    def _add(self, how: Any, column: Sequence[int]) -> int:
        self.made.append(how)
        for point, value in zip(self.points, column, strict=True):
            point.append(value)
        return len(self.points[0]) - 1

    def _column(self, i: int) -> list[int]:
        return [point[i] for point in self.points]

    def _fit(self, monos: list[Mono], column: Sequence[int]) -> Any:
        if tuple(monos) not in self._bases:
            self._bases[tuple(monos)] = Basis(monos, self.points)
        found = self._bases[tuple(monos)].fit(column)
        if found is None:
            raise ValueError("有一行的数不由来的通道数和自己的滑块定。")
        return found


def _squares(variables: Sequence[int]) -> list[Mono]:
    """每个变量至多二次的单项式。"""
    return [tuple(i for i, e in zip(variables, powers, strict=True) for _ in range(e))
            for powers in product(range(3), repeat=len(variables))]


# ---------- 通道数是几条路径的和：GoogLeNet ----------

def paths(samples: Samples, sliders: list[Slider]) -> Sheet:
    """每一层来的和出去的通道数，是几个滑块各自一张表的和；一行的数是各层的和，每层是两个通道数的积。"""
    shares = [each for each in sliders if each.fractional]
    pick = [each for each in sliders if not each.ranged]
    sheet = Sheet(form=shares, pick=pick)
    narrow = {each.name: each.values[0] for each in pick} | {pick[0].name: pick[0].values[-1]}
    found = samples(narrow | {each.name: each.values[-1] for each in shares}, samples.sizes, None)
    groups = classes(found)
    scales = [[scale(column) for column in zip(*(found[i][1] for i in ticks), strict=True)]
              for ticks in groups.values()]
    firsts = [samples.sizes[ticks[0]] for ticks in groups.values()]
    sums = {choice: made for ratio in pick[0].values
            for choice, made in Branches(samples, sliders, sheet, {pick[0].name: ratio}).sums(firsts)}
    for mask in product((0, -1), repeat=len(shares)):  # 每条路径关掉，或者开到头
        there = {each.name: each.values[end] for each, end in zip(shares, mask, strict=True)}
        if not any(mask):
            sheet.places[key(shares, there)] = ["0" * len(samples.sizes), [_closed(samples, sheet, there)]]
            continue
        seen = samples(narrow | there, firsts, None)
        if [template for template, _ in seen] != [*groups]:
            raise ValueError("关掉一条路径，剩下的文字也变了。")
        sheet.places[key(shares, there)] = [positions(groups), [
            {choice: sheet.entry(template, factors, made.polys(layout(template), numbers, factors, k))
             for choice, made in sums.items()}
            for k, ((template, numbers), factors) in enumerate(zip(seen, scales, strict=True))]]
    return sheet


def _closed(samples: Samples, sheet: Sheet, there: Values) -> dict[str, list[int]]:
    """路径都关掉：那句话里写着选了什么。"""
    found = {}
    for choice in combinations(sheet.pick):
        template, numbers = blank(told(samples.model, there | choice))
        found[key(sheet.pick, choice)] = sheet.entry(template, [1] * len(numbers), numbers)
    return found


@dataclass
class Sums:
    """一种选择之下各行的数：每行的参数、每类边长的乘加，是通道数的二次式；channels: 每行出去的通道数是第几个变量。"""

    params: list[dict[Mono, int]]
    macs: list[list[dict[Mono, int]]]
    channels: list[int]

    def polys(self, places: list[tuple[int, str]], numbers: Sequence[int], factors: Sequence[Any], k: int) -> list[Any]:
        """第 k 类每个空的多项式；与通道数无关的，就是 numbers 里的除去边长的影响。"""
        found: list[Any] = []
        for (row, what), number, factor in zip(places, divided(numbers, factors, 0), factors, strict=True):
            if what == "1":
                found.append(poly({(self.channels[row],): 1}))
            elif what == "params":
                found.append(poly(self.params[row]))
            elif what == "macs":
                found.append(poly({mono: c // at(factor, 0) for mono, c in self.macs[k][row].items()}))
            else:
                found.append(number)
        return found


class Branches:
    """一个 ratio 的各条路径：从展开到底的清单里找出每个通道数由哪几个滑块、怎样定。fixed: 这个 ratio。"""

    def __init__(self, samples: Samples, sliders: list[Slider], sheet: Sheet, fixed: Values):
        self.samples, self.sliders, self.sheet, self.fixed = samples, sliders, sheet, fixed
        self.shares = sheet.form
        self.tables: list[set[tuple[int, ...]]] = [set() for _ in self.shares]
        self.full = {each.name: each.values[-1] for each in self.shares}

    def sums(self, sizes: Sequence[int]) -> Iterator[tuple[str, Sums]]:
        """每种选择的 Sums；层最多的在前，别的选择里的通道数它都有。"""
        tops = [(choice, [self.samples.deep(self.fixed | choice | self.full | {"size": size}) for size in sizes])
                for choice in combinations(self.sheet.pick[1:])]
        for choice, top in sorted(tops, key=lambda each: -len(each[1][0])):
            drops = [self._ends(choice, self.full | {each.name: each.values[0]}) for each in self.shares]
            spread = self._spread()[:3 if any(self.tables) else None]
            seen = [(ticks, self._ends(choice, {each.name: each.values[t]
                                                for each, t in zip(self.shares, ticks, strict=True)}))
                    for ticks in spread]
            own = {name: next((j for j, drop in enumerate(drops) if name not in drop), None) for name in top[0]}
            if not any(self.tables):
                self._learn(own, seen)
            made, full = Pool(), self._ends(choice, self.full)
            ends = {name: self._variables(name, own[name], full, drops, seen, made) for name in top[0]}
            where = key(self.sheet.pick, self.fixed | choice)
            self.sheet.made[where] = made.items
            yield where, _summed(top, full, ends)

    def _ends(self, choice: Values, shares: Values) -> Ends:
        return self.samples.ends(self.fixed | choice | shares)

    def _spread(self) -> list[list[int]]:
        """几个样本，每个滑块的每个值恰好各在一个里；没有一个是全部关掉的。"""
        count = len(self.shares[0].values)
        jumps = [jump for jump in range(1, count) if math.gcd(jump, count) == 1]
        return [[(jumps[3 * j] * k + 5 * j) % count for j in range(len(self.shares))] for k in range(count)]

    def _learn(self, own: dict[str, int | None], seen: list[tuple[list[int], Ends]]) -> None:
        """每一层出去的通道数随它的滑块怎样变：一张表，关掉了是 0。"""
        for name, j in own.items():
            if j is not None:
                table = {ticks[j]: ends[name][1] if name in ends else 0 for ticks, ends in seen}
                self.tables[j].add(tuple(table[tick] for tick in range(len(table))))

    def _variables(self, name: str, own: int | None, full: Ends, drops: list[Ends],
                   seen: list[tuple[list[int], Ends]], made: Pool) -> tuple[int, int]:
        """一层来的和出去的通道数，是第几个变量。"""
        there = [(ticks, ends[name]) for ticks, ends in seen if name in ends]
        come, out = full[name]
        parts = {j: come - drop[name][0] for j, drop in enumerate(drops) if name in drop}
        if own is not None and len({ends[0] for _, ends in there}) > 1:
            parts[own] = come - sum(parts.values())
        parts = {j: value for j, value in parts.items() if value}
        return (self._variable(parts, come - sum(parts.values()), [(ticks, ends[0]) for ticks, ends in there], made),
                self._variable({} if own is None else {own: out}, out if own is None else 0,
                               [(ticks, ends[1]) for ticks, ends in there], made))

    def _variable(self, parts: dict[int, int], plus: int, seen: list[tuple[list[int], int]], made: Pool) -> int:
        """几张表的和；表由开到头的值认出来，再与每个样本核对。"""
        tables = {}
        for j, value in sorted(parts.items()):
            fitting = [table for table in self.tables[j] if table[-1] == value]
            if len(fitting) != 1:
                raise ValueError("有一层的通道数认不出是哪条路径的。")
            tables[j] = fitting[0]
        if any(plus + sum(table[ticks[j]] for j, table in tables.items()) != value for ticks, value in seen):
            raise ValueError("有一层的通道数不是几条路径的和。")
        return made.add(["+", plus, *([self.sliders.index(self.shares[j]), self.sheet.tables.add([*table])]
                                      for j, table in tables.items())])


def _summed(top: list[dict[str, Layer]], full: Ends, variables: Ends) -> Sums:
    """把各层加成一行一行。top: 每类边长开到头时的各层；full: 那时的通道数；variables: 通道数是第几个变量。"""
    rows: dict[str, list[str]] = {}
    for name in variables:
        rows.setdefault(name.split(".")[0], []).append(name)
    params: list[dict[Mono, int]] = [{} for _ in rows]
    macs: list[list[dict[Mono, int]]] = [[{} for _ in rows] for _ in top]
    for row, names in enumerate(rows.values()):
        for name in names:
            (come, out), mono = full[name], variables[name]
            weights, biased = divmod(top[0][name].params, come * out)
            _add(params[row], mono, weights)
            _add(params[row], mono[1:], biased // out)
            for each, layers in zip(macs, top, strict=True):
                _add(each[row], mono, layers[name].macs // (come * out))
    firsts = [variables[names[0]][0] for names in rows.values()]
    return Sums(params, macs, [*firsts[1:], variables[[*variables][-1]][1]])


def _add(terms: dict[Mono, int], mono: Mono, coef: int) -> None:
    terms[mono] = terms.get(mono, 0) + coef


# ---------- 写、读、核对 ----------

def export(model: Model, ranges: Values) -> dict[str, Any]:
    """一个 Explorer 的数据，JSON 写得下，网页里由 static/tables.js 读；核对不过就抛出 ValueError。"""
    sliders = sliders_of(model, ranges)
    book = told(model, {})
    idle = [each for each in sliders if each.fractional
            and {told(model, {each.name: value}) for value in (each.values[0], each.values[-1])} == {book}]
    moving = [each for each in sliders if each not in idle]
    renamed = named_in_the_table(model, moving)
    size = next(each for each in sliders if each.name == "size")
    samples = Samples(model, size.values, renamed)
    fit = paths if any(each.fractional for each in moving) else chain if _chained(model, moving) else plain
    data = {"sliders": [each.data() for each in moving], "idle": [*(each.name for each in idle), "lr"],
            "start": {each.name: each.tick(model.start[each.name]) for each in moving},
            "renamed": [*renamed], **fit(samples, moving).data()}
    verify(data, model, moving)
    return data


def _chained(model: Model, sliders: Sequence[Slider]) -> bool:
    """有一个整数选项：别的选项只是名字和开关，或者像 VGG 的那样改不了行与行的关系。"""
    return any(each.name == "reduction" for each in sliders)


def evaluate(data: dict[str, Any], sliders: Sequence[Slider], values: Values) -> str:
    """读数据：一个位置的文字，与 `told` 应当相同。static/tables.js 做同样的事。"""
    ticks = {each.name: each.tick(values[each.name]) for each in sliders}
    by_name = {each.name: each for each in sliders}
    form, pick = (key([by_name[name] for name in data[part]], values) for part in ("form", "pick"))
    where, entries = data["places"][form]
    which = where[ticks["size"]]
    rank = where[:ticks["size"]].count(which)
    text, *slots = entries[int(which, 36)][pick]
    known = [values[name] for name in data["variables"]]
    for made in data["made"].get(pick, ()):
        known.append(_made(made, known, data, sliders, ticks))
    numbers = []
    for slot in slots:
        factor, number = (data[part][i] for part, i in zip(("scales", "polys"), data["slots"][slot], strict=True))
        numbers.append(at(factor, rank) * _polynomial(number, known))
    if any(number >= _LARGEST for number in numbers):
        raise ValueError("有一个数大得网页算不准了。")
    parts = data["texts"][text].split(SLOT)
    filled = parts[0] + "".join(f"{number}{part}" for number, part in zip(numbers, parts[1:], strict=True))
    for name in data["renamed"]:
        filled = filled.replace("{" + name + "}", values[name])
    return filled


def _made(made: Any, known: list[int], data: dict[str, Any], sliders: Sequence[Slider], ticks: dict[str, int]) -> int:
    match made:
        case ["//", number, by]:
            return known[number] // known[by]
        case ["+", plus, *parts]:
            return plus + sum(data["tables"][table][ticks[sliders[i].name]] for i, table in parts)
    return _polynomial(made, known)


def _polynomial(found: Any, known: Sequence[int]) -> int:
    if isinstance(found, int):
        return found
    by, *terms = found
    return sum(c * math.prod(known[i] for i in mono) for c, *mono in terms) // by


def verify(data: dict[str, Any], model: Model, sliders: Sequence[Slider], count: int = _CHECKS) -> None:
    """在随机的位置和最大的一角与 `trace` 对一遍；有一处不同就抛出 ValueError。"""
    dice = random.Random(1)
    corner = {each.name: each.values[-1] for each in sliders}
    for values in [corner, *({each.name: dice.choice(each.values) for each in sliders} for _ in range(count))]:
        have, want = evaluate(data, sliders, values), told(model, values)
        if have != want:
            raise ValueError(f"{model.plan.name} 在 {values} 写成了 {have!r}，应当是 {want!r}。")
