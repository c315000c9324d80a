"""通道数是几条路径的和（GoogLeNet）：从展开到底的清单里找出每个通道数由哪几个滑块、怎样定。"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from polynomials import Mono, poly
from positions import Ends, Samples, Slider, Values, blank, layout, told
from sheet import Pool, Sheet, at, classes, combinations, divided, key, marks, scale

from helpers.network.layer import Layer


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
        sheet.places[key(shares, there)] = [marks(groups), [
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
