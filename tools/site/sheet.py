"""一个 Explorer 的数据，一部分一部分写进来；同样的只存一份。"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from positions import Slider, Values


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


def marks(groups: dict[str, list[int]]) -> str:
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
