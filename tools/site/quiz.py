"""练习和先猜，网页上的：问什么、每一种答案说哪一句，都由真的检查说出来。"""

import ast
import base64
import io
import re
from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any

import nbformat
from PIL import Image

from helpers.exercises.exercise import Exercise
from helpers.exercises.guard import ReaderError
from helpers.exercises.guesses import Guess, written
from helpers.exercises.judging import Claims
from helpers.exercises.predicting import Number, Shape
from helpers.exercises.shelf import exercises, guesses
from helpers.exercises.verdict import Verdict, wrong
from helpers.pictures.canvas import Picture
from helpers.pictures.png import page_width, squeeze

_NONSENSE = "〔答案〕"


def plug(section: str, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """每一格练习和先猜的数据：单元格的 id 到它要的东西；没有就是 {}。"""
    return {cell.id: described(each) for cell, each in asked(notebook)}


def asked(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, Exercise | Guess]]:
    """笔记本里的练习和先猜：(单元格, 哪一个)；练习按 `q1, q2 = exercises("7.1")` 认名字。"""
    named: dict[str, Exercise] = {}
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            match node:
                case ast.Assign(targets=[ast.Tuple(elts=names)],
                                value=ast.Call(func=ast.Name("exercises"), args=[ast.Constant(section)])):
                    named |= {name.id: each for name, each in zip(names, exercises(section), strict=True)}
                case ast.Call(func=ast.Attribute(ast.Name(name), "check")) if name in named:
                    yield cell, named[name]
                case ast.Call(func=ast.Name("guess"), args=[ast.Constant(section), ast.Constant(name)]):
                    yield cell, next(each for each in guesses(section) if each.name == name)


def described(each: Exercise | Guess) -> dict[str, Any]:
    """一道练习或一次先猜的数据。"""
    if isinstance(each, Guess):
        return _guess(each)
    found = each.solution()
    text = found.text.removesuffix(f"\n\n```python\n{each.code}\n```")
    about = {"key": each.key, "label": each.kind, "hints": each.hints, "solution": text, "code": each.code}
    return about | _check(each)


@singledispatch
def _check(each: Exercise) -> dict[str, Any]:
    """怎样检查；要运行读者的代码的，网页不检查。"""
    return {"kind": "notebook"}


@_check.register
def _number(each: Number) -> dict[str, Any]:
    """一个数：想错的每一种得到的数和那一句，别的数说偏大偏小，差多少。"""
    truth = float(each.truth)
    return {"kind": "number", "truth": truth, "within": max(each.within, 1e-9), "right": repr(each.judge(truth)),
            "misled": [[float(value), wrong("", (mistake,)).text] for mistake, value in each.misled.items()],
            "distance": {name: _slots(_first_line(each.judge(truth * ratio)), ("value", "gap", "part"))
                         for name, ratio in (("larger near", 1.25), ("smaller near", 0.75),
                                             ("larger far", 4), ("smaller far", 0.25))},
            "unreadable": _unreadable(each.judge)}


@_check.register
def _shape(each: Shape) -> dict[str, Any]:
    """一个形状：想错的每一种得到的形状和那几句，别的说有几维，或者哪个数偏大偏小了多少。"""
    truth, long = (*each.truth,), (*each.truth, 1)
    larger, smaller = (_slots(repr(each.judge((truth[0] + by, truth[1] + by, *truth[2:]))), _AXES) for by in (999, -1))
    return {"kind": "shape", "truth": truth, "right": repr(each.judge(truth)),
            "misled": [[shape, repr(each.judge(shape))] for shape in each.misled.values()],
            "axes": {"larger": _cut(larger), "smaller": _cut(smaller)},
            "dims": repr(each.judge(long)).replace(repr(long), "{value}").replace(str(len(long)), "{count}", 1),
            "unreadable": _unreadable(each.judge)}


_AXES = ("axis", "value", "gap", "axis", "value", "gap")


@_check.register
def _claims(each: Claims) -> dict[str, Any]:
    """几句话：每一句判断错了说什么；都判断错时，每一句都说到了。"""
    letters = [letter for letter, _ in each.lettered()]
    wrong_all = {*letters} - {*each.truth}
    head, *lines = repr(each.judge("".join(wrong_all))).split("\n")
    return {"kind": "choice", "truth": each.truth, "right": repr(each.judge(each.truth)), "letters": letters,
            "wrong": head.replace(str(len(letters)), "{count}"), "lines": lines}


def _guess(each: Guess) -> dict[str, Any]:
    """一次先猜：每一种猜法说哪一句；看的是图时图也在里面，是逐层的清单时它在笔记本的输出里。"""
    values = each.options or [each.answer, *(written([*shape]) for shape in each.mistakes().values())]
    shown = each.shows()
    return {"kind": "guess", "key": each.key, "question": each.question, "options": each.options,
            "truth": each.answer, "replies": [[value, each.reply(value)] for value in values], "skip": each.reply(),
            "other": "" if each.options else each.reply(_ODD).replace(_ODD, "{value}"),
            "unreadable": _unreadable(each.reply),
            "picture": _picture(shown) if isinstance(shown, Picture) else None}


_ODD = "987654321"  # 没有哪一种想错的会猜它


def _first_line(verdict: Verdict) -> str:
    return repr(verdict).partition("\n")[0]


def _slots(text: str, names: tuple[str, ...]) -> str:
    """话里的数依次换成 {名字}；数不多不少。"""
    found = re.split(r"\d[\d,.]*(?:e[+-]\d+)?%?", text)
    return "".join(part + slot for part, slot in zip(found, [*(f"{{{name}}}" for name in names), ""], strict=True))


def _cut(text: str) -> list[str]:
    """[第一个数的话, 后面的数的话, 结尾]；text 说了两个数。"""
    first, second, end = text.split("{gap}")
    return [first + "{gap}", second + "{gap}", end]


def _unreadable(judge: Callable[[Any], object]) -> str:
    """看不懂的答案说哪一句；{answer} 是那个答案。"""
    try:
        judge(_NONSENSE)
    except (ReaderError, ValueError) as error:
        return str(error).replace(_NONSENSE, "{answer}")
    raise AssertionError("看得懂")


def _picture(shown: Picture) -> dict[str, Any]:
    """一张图：网页上多宽，写成 data: 的地址。"""
    file = io.BytesIO()
    Image.open(io.BytesIO(squeeze(shown.png))).save(file, "WEBP", lossless=True)
    return {"src": f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", "alt": shown.title,
            "width": page_width(shown.png)}
