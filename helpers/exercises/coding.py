"""写一个函数：用读者看不到的输入检查，不对时把那个输入给他看。"""

import dis
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from helpers.arguments import brief, number
from helpers.exercises.exercise import Exercise
from helpers.exercises.guard import ReaderError, attempt
from helpers.exercises.verdict import Mistake, Verdict, wrong

CHANGED = Mistake("changed_input", "函数改动了收到的张量；先复制（clone），或者用不带下划线的运算。")
NOTHING = Mistake("no_return", "函数没有返回值；是不是漏了 return？")


@dataclass(kw_only=True, eq=False)
class Code(Exercise):
    """一个函数。

    inputs: 检查用的输入，一次一组参数，每次调用都是新的；misled: 想错的每一种到那样写的函数。
    signature: 笔记本里函数的第一行，如 "def side(n, k, p, s):"。
    """

    inputs: Callable[[], list[tuple[Any, ...]]]
    misled: Mapping[Mistake, Callable[..., Any]] = field(default_factory=dict)
    signature: str

    kind = "编写"

    @property
    def function(self) -> str:
        """函数的名字。"""
        return self.signature.removeprefix("def ").partition("(")[0]

    def __post_init__(self) -> None:
        self.stub = f"{self.signature}\n    ..."

    def untouched(self, answer: Any) -> bool:
        """还是笔记本里那个空的函数。"""
        return super().untouched(answer) or (hasattr(answer, "__code__") and _steps(answer) == _steps(_empty))

    def judge(self, answer: Any) -> Verdict:
        """每组输入都与参考答案的一样。"""
        if not callable(answer):
            raise ReaderError(f"答案应当是函数 {self.function} 自己（不写括号），收到的是 {brief(answer)}。")
        self._takes(answer)
        results, wrong_ones, first = [], [], ""
        for args, wanted, clean in zip(self.inputs(), self._outputs(self.truth), self.inputs(), strict=True):
            found = attempt(lambda args=args: answer(*args), f"{self.function}({_shown(clean)})")
            results.append(found)
            if not all(same(a, b) for a, b in zip(args, clean, strict=True) if isinstance(a, Tensor)):
                return wrong(f"{self.function}({_shown(clean)})：", (CHANGED,))
            wrong_ones.append(not same(found, wanted))
            if not first and wrong_ones[-1]:
                first = f"{self.function}({_shown(clean)}) {_compared(found, wanted)}"
        if not first:
            return Verdict("对", f"{len(results)} 组你没有看到的输入都对。")
        nothing = all(found is None for found in results)
        return wrong(first, (NOTHING,) if nothing else self._recognized(results, wrong_ones.index(True)))

    def _takes(self, answer: Callable[..., Any]) -> None:
        """参数的个数对得上；看不出它要几个的（如内置的函数）就先试试。"""
        try:
            taken = inspect.signature(answer)
        except (TypeError, ValueError):
            return
        wanted = self.signature.partition("(")[2].removesuffix("):")
        try:
            taken.bind(*wanted.split(", "))
        except TypeError as error:
            raise ReaderError(f"函数应当收 {wanted.count(',') + 1} 个参数：{wanted}；你的写成 {taken}。") from error

    def _outputs(self, function: Callable[..., Any]) -> list[Any]:
        """一个函数在每组输入上的结果；算不下去的是 None。"""
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 的提醒不是说给读者的
            for args in self.inputs():
                try:
                    found.append(function(*args))
                except Exception:  # 照错的想法写的函数，有的输入上走不通
                    found.append(None)
        return found

    def _recognized(self, results: Sequence[Any], first: int) -> tuple[Mistake, ...]:
        """哪几种想错的写出来的函数，在每组输入上都与读者的相同；没有，就只看第 first 组，给读者看的那一组。"""
        alike = {mistake: [*map(same, self._outputs(function), results)] for mistake, function in self.misled.items()}
        return (tuple(mistake for mistake, each in alike.items() if all(each))
                or tuple(mistake for mistake, each in alike.items() if each[first]))


def same(one: Any, other: Any) -> bool:
    """两个结果是不是一样：张量形状相同、值相近，数相近，一串就逐个比。"""
    if any(isinstance(each, Tensor) and each.dim() for each in (one, other)):
        if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape):
            return False
        return torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    a, b = number(one), number(other)
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) if a is not None and b is not None else one is other


def _compared(found: Any, wanted: Any) -> str:
    """应当是什么，得到的是什么；形状不同就先说形状。"""
    shapes = [tuple(each.shape) for each in (wanted, found) if isinstance(each, Tensor)]
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        return f"的形状应当是 {shapes[0]}，你的是 {shapes[1]}。"
    return f"应当是 {_show(wanted)}，你的是 {_show(found)}。"


def _show(value: Any) -> str:
    """一个值，写得下的写出来，写不下的说形状。"""
    if isinstance(value, list | tuple) and any(isinstance(each, Tensor) or callable(each) for each in value):
        return f"[{_shown(value)}]"
    if isinstance(value, Tensor):
        if value.numel() > 12:
            return f"{tuple(value.shape)} 的张量，开头是 {[round(x, 3) for x in value.flatten()[:4].tolist()]}"
        rounded = torch.round(value.double(), decimals=3).tolist()
        return f"{rounded}"
    name = getattr(value, "__name__", "")
    return f"函数 {name}" if name else brief(value)


def _shown(args: Sequence[Any]) -> str:
    return ", ".join(map(_show, args))


def _empty() -> None:
    ...


def _steps(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """一个函数做的每一步；文档字符串不算。"""
    return [(step.opname, step.argval) for step in dis.get_instructions(function)]
