"""把一个 Explorer 抽样写成 Sheet：一种网络一种办法，差别只在通道数怎样连起来。"""

import random
from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from typing import Any

from polynomials import Basis, Mono, monos_to, poly
from positions import Samples, Slider, Values, layout
from sheet import Sheet, classes, combinations, divided, key, marks, scale


def plain(samples: Samples, form: list[Slider], pick: list[Slider], wide: list[Slider]) -> Sheet:
    """LeNet、AlexNet、VGG、NiN、ResNet：每个空是宽度的二次式，在宽度最小的一角取样。

    form, pick, wide: 见 `sorted_by_effect`。
    """
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
        sheet.places[key(form, shape)] = [marks(groups), entries]
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


def sorted_by_effect(samples: Samples, sliders: list[Slider]) -> tuple[list[Slider], list[Slider], list[Slider]]:
    """滑块分三种：(改变图像有多大、看得到多少的, 别的选项, 别的数)；值写在表里的和 size 不算。"""
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


def chain(samples: Samples, sliders: list[Slider]) -> Sheet:
    """DenseNet，一行一行：变量是来的通道数；出去的通道数是它的一次式，或者它除以一个选项，取整。"""
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
        sheet.places.setdefault("", [marks(groups), []])[1].append({"": sheet.entry(template, factors, polys)})
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
