"""一列数是哪个多项式：从样本解出来，整数和分数，没有舍入。"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any

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
