"""参数对不对：什么算整数、什么算数、什么算一串，不对时怎样用一句话说。"""

import operator
from collections.abc import Callable, Iterable
from contextlib import suppress
from numbers import Real
from typing import Any, TypeVar

Wanted = TypeVar("Wanted")
_LARGEST = 3.4e38  # float32 至多这么大


def whole(value: Any) -> int | None:
    """一个整数；numpy 的和 0 维张量也算，True 和 2.0 不算。不是就是 None。"""
    value = _plain(value)
    if isinstance(value, bool) or getattr(value, "ndim", 0):
        return None
    with suppress(TypeError, RuntimeError):  # meta 张量没有值
        return operator.index(value)
    return None


def number(value: Any) -> float | None:
    """一个有限的实数，float32 写得下的；numpy 的和 0 维张量也算，True 不算。不是就是 None。"""
    value = _plain(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            found = float(value)
            return found if abs(found) < _LARGEST else None
    return None


def _plain(value: Any) -> Any:
    """0 维的 numpy 数组和张量变成 Python 的数。"""
    if getattr(value, "ndim", None) == 0:
        with suppress(AttributeError, RuntimeError):
            return value.item()
    return value


def between(name: str, value: Any, low: int, high: int | None = None) -> int:
    """low 到 high 之间的整数（high 是 None 就没有上限）；不是就抛出 ValueError。"""
    found = whole(value)
    if found is None or found < low or (high is not None and found > high):
        limits = (f" {low} 到 {high} 之间的整数" if high is not None else
                  "正整数" if low == 1 else f"不小于 {low} 的整数")
        raise ValueError(f"{name} 应当是{limits}，收到的是 {brief(value)}。")
    return found


def instance(value: Any, kind: type[Wanted] | tuple[type[Wanted], ...], wanted: str, remedy: str = "") -> Wanted:
    """value 自己；不是 kind 就抛出 TypeError。wanted: 应当是什么；remedy: 怎样改。"""
    if not isinstance(value, kind):
        raise TypeError(f"{wanted}，收到的是 {brief(value)}。{remedy}")
    return value


def listed(name: str, value: Any, check: Callable[..., Any] | None = None, *rest: Any, least: int = 1,
            count: int | None = None) -> list[Any]:
    """一串，变成列表；给了 check，每一个都过 check(名字, 值, *rest)。least: 至少几个；count: 恰好几个。"""
    if (not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0  # 0 维的张量不能一个个取
            or getattr(value, "is_meta", False)):
        raise TypeError(f"{name} 应当是一串，如一个列表，收到的是 {brief(value)}。")
    found = [*value]
    if len(found) < (least if count is None else count) or (count is not None and len(found) > count):
        wanted = f"至少有 {least} 个" if count is None else f"有 {count} 个"
        raise ValueError(f"{name} 应当{wanted}，收到 {len(found)} 个：{brief(value)}。")
    return [check(f"{name}[{k}]", each, *rest) for k, each in enumerate(found)] if check else found


def flag(name: str, value: Any) -> bool:
    """是或否。"""
    try:
        return bool(value)
    except (TypeError, ValueError, RuntimeError) as error:  # 不止一个数的数组和张量，meta 张量
        remedy = "不止一个的，写 .all() 或 .any()。"
        raise TypeError(f"{name} 应当是 True 或 False，收到的是 {brief(value)}。{remedy}") from error


def brief(value: Any) -> str:
    """收到的东西，写成至多一行。"""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:76]} ……"
