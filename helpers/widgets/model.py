"""Explorer 的滑块背后的：值怎样变成网络，怎样变成训练。没有小组件。"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from helpers.experiments.plan import Plan
from helpers.experiments.recipe import CHANGEABLE, OF_THE_DATA
from helpers.experiments.settings import describe_changes, plain
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace


class Model:
    """滑块说的是网络，从书上的开始；怎样训练由计划定，学习率也从计划的开始，那是训练真的要用的。

    计划把书上的网络缩小了，训练的就是滑块上的网络照样缩小的一份，见 `training`。
    names: 有哪些滑块；计划里没有的抛出 ValueError。
    """

    def __init__(self, plan: Plan, names: Iterable[str]):
        book, mine = plan.book.settings, plan.settings
        network = [name for name in plan.defaults if name not in OF_THE_DATA] + ["size"]
        known = [*network, *(name for name in CHANGEABLE if name not in network)]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"没有 {'、'.join(unknown)}，不能做成滑块；有的是 {'、'.join(known)}。")
        self.plan = plan
        self.start = {name: (book if name in network else mine)[name] for name in names}
        # 计划把网络的哪几项改了：名字到 (书上的, 计划的)
        self.reduced = {name: (book[name], mine[name]) for name in network if plain(book[name]) != plain(mine[name])}
        self._full = plan.change(**{name: was for name, (was, _) in self.reduced.items()})
        self._known: dict[Any, Any] = {}  # 算过的清单和内存，建好的网络：滑块来回动，同样的不再算
        self._lock = threading.RLock()  # 借同一个网络的，一次一个
        self.book_table = self.table({})

    def at(self, values: dict[str, Any]) -> Plan:
        """滑块上的网络；批量、轮数、图片和初始化是计划的。"""
        return self._full.change(**values)

    def training(self, values: dict[str, Any], reduce: bool = True) -> Plan:
        """训练的计划。reduce: 网络照计划缩小，见 `_shrink`；不缩小就是 at(values)。"""
        smaller = {name: _shrink(name, values.get(name, was), was, now) for name, (was, now) in self.reduced.items()}
        return self.at(values | smaller if reduce else values)

    def table(self, values: dict[str, Any]) -> Trace:
        """滑块上的网络的清单；走不通时抛出 ShapeError，网络函数自己抛出的是 ValueError。"""
        plan = self.at(values)
        return self._once(("table", plan.shape), plan, lambda: trace(self._net(plan), plan.shape))

    def need(self, values: dict[str, Any], reduce: bool = True) -> Forecast:
        """训练要多少内存；缩小了就走不通时抛出 ShapeError。"""
        plan = self.training(values, reduce)
        return self._once(("need", plan.shape, plan.batch_size), plan, lambda: _need(self._net(plan), plan))

    def _net(self, plan: Plan) -> nn.Module:
        """这个计划的网络，在 meta 上；只借不改，清单和内存常常借同一个。"""
        return self._once("net", plan, plan.meta)

    def _once(self, what: Any, plan: Plan, compute: Callable[[], Any]) -> Any:
        """compute() 的结果，what 和宽度都相同的只算一次。"""
        key = what, repr(sorted(plan.widths.items()))
        with self._lock:
            if key not in self._known:
                self._known[key] = compute()
                if len(self._known) > 100:
                    del self._known[next(iter(self._known))]
            return self._known[key]

    def compare(self, table: Trace) -> str:
        """这份清单与书上的网络比，一句话。"""
        book = self.book_table
        if (table.params, table.macs) == (book.params, book.macs) and list(table) == list(book):
            return "与书上的网络相同。"
        return f"参数是书上的 {table.params / book.params:.3g} 倍，乘加是 {table.macs / book.macs:.3g} 倍。"

    def describe_training(self, values: dict[str, Any], reduce: bool = True) -> str:
        """训练与滑块上的、与书上的配方不同的各项，一句话。"""
        changes = describe_changes(self.training(values, reduce).settings, self.plan.book.change(**values).settings)
        return f"训练时改用：{changes}；别的照滑块和书上的配方。" if changes else "训练照滑块和书上的配方。"

    def label(self, values: dict[str, Any]) -> str:
        """滑块移动过的几项。"""
        return describe_changes(values, self.start) or "书上的网络"

    def values_of(self, settings: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """按这些设置训练，滑块要放在哪里：(值, 网络要不要照计划缩小)。

        是计划缩小出来的，就是缩小之前的值；不是，就是设置里的，不缩小。
        """
        there = {name: each for name, each in self.reduced.items() if name in settings}
        larger = {name: _grow(name, settings[name], was, now) for name, (was, now) in there.items()}
        exact = all(_shrink(name, larger[name], was, now) == settings[name] for name, (was, now) in there.items())
        values = settings | larger if exact else settings
        return {name: values[name] for name in self.start if name in values}, exact


def _need(net: nn.Module, plan: Plan) -> Forecast:
    try:
        return forecast(net, plan.shape, plan.batch_size)
    except Exception:
        trace(net, plan.shape)  # 走不通的话，由它来说
        raise


def _shrink(name: str, value: Any, was: Any, now: Any) -> Any:
    """滑块上的一项，训练时用多少；was: 书上的，now: 计划的。

    没有移动过就是计划的。移动过的：边长至多是计划的；别的数按比例，书上的一半就是计划的一半；不是数的照滑块。
    计划加大了的是除数（如 ratio），再大网络就窄到没有通道了：比书上大的，至少是计划的，不再按比例。
    """
    if plain(value) == plain(was):
        return now
    if name == "size":
        return min(value, now)
    return max(value, now) if _divides(was, now) and value > was else _scale(value, was, now)


def _grow(name: str, value: Any, was: Any, now: Any) -> Any:
    """反过来：训练时用了这么多，滑块在哪里。"""
    if plain(value) == plain(now):
        return was
    return value if name == "size" or (_divides(was, now) and value > now) else _scale(value, now, was)


def _divides(was: Any, now: Any) -> bool:
    return _counts(was) and now > was


def _counts(value: Any) -> bool:
    """是可以按比例的数。"""
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0


def _scale(value: Any, was: Any, now: Any) -> Any:
    if not _counts(was):
        return value
    return max(1, round(value * now / was)) if isinstance(was, int) else value * now / was
