"""Explorer 的形状表，写成网页自己算得出的样子：从 `trace` 抽样，网页里没有第二份网络。

一个位置的表（或者走不通的那句话）是一段文字；把里面的数挖掉，剩下的是一类，每个数是一个空。
一个空里的数 = 只由边长定的一个整数 × 只由宽度定的一个多项式；两个都从样本解出来，都是整数，没有舍入。
多项式的变量是滑块的值，和由它们算出来的几个通道数：整除的（DenseNet）、四条路径加起来的（GoogLeNet）。
写好之后在没有用来解的位置上与 `trace` 对一遍，有一处不同就抛出 ValueError。
"""

import ast
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import nbformat
from branches import paths
from positions import SLOT, Samples, Slider, Values, named_in_the_table, sliders_of, told
from separable import chain, plain, sorted_by_effect
from sheet import Sheet, at, key
from slices import namespace

from helpers.widgets.model import Model

_CHECKS = 6  # 写好之后核对几个位置
_LARGEST = 2**53  # 网页里的整数到这么大都是准的
_FORMS = 100  # 一种一种列得完


def plug(section: str, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """一本笔记本里每个 Explorer 的单元格：单元格的 id 到网页要的数据，见 `export`。"""
    return {cell: export(model, ranges) for cell, model, ranges in explorers(notebook)}


def explorers(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, Model, Values]]:
    """笔记本里的每个 `Explorer(plan, **ranges)`：(单元格的 id, Model, 各个滑块的范围)。只运行它用到的语句，不训练。"""
    for cell in notebook.cells:
        for call in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Explorer":
                space = namespace(notebook, cell.id, call)
                plan = eval(ast.unparse(call.args[0]), space)
                ranges = {each.arg: eval(ast.unparse(each.value), space) for each in call.keywords if each.arg}
                ranges["size"] = ranges.pop("size", (plan.book.size, plan.book.size))  # 与 Explorer 一样排在最后
                yield cell.id, Model(plan, ranges), ranges


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
    data = {"sliders": [each.data() for each in moving], "idle": [*(each.name for each in idle), "lr"],
            "start": {each.name: each.tick(model.start[each.name]) for each in moving},
            "renamed": [*renamed], **_sheet(samples, moving).data()}
    verify(data, model, moving)
    return data


def _sheet(samples: Samples, sliders: list[Slider]) -> Sheet:
    """写成 Sheet：有小数的滑块，是几条路径的份额；形状太多，一种一种列不完，就一行一行地连。"""
    if any(each.fractional for each in sliders):
        return paths(samples, sliders)
    form, pick, wide = sorted_by_effect(samples, sliders)
    if math.prod(len(each.values) for each in form) > _FORMS:
        return chain(samples, sliders)
    return plain(samples, form, pick, wide)


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
