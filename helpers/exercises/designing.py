"""设计一个网络，在限度之内：由 trace 检查，许多答案都对。"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from helpers.arguments import brief
from helpers.exercises.exercise import Exercise
from helpers.exercises.guard import ReaderError, attempt
from helpers.exercises.verdict import Mistake, Verdict, wrong
from helpers.network.input_sizes import input_sizes
from helpers.network.shape_errors import ShapeError
from helpers.network.trace import Trace, trace


@dataclass(frozen=True)
class Limit:
    """一条限度。

    key: 测试认的名字；excess: 由网络和它的清单说超出了多少，一句话，没有超出就是空的。
    """

    key: str
    excess: Callable[[nn.Module, Trace], str]


def params_at_most(most: int) -> Limit:
    """参数不超过 most。"""
    return Limit("params", lambda net, rows: _above("参数", rows.params, most))


def macs_at_most(most: int) -> Limit:
    """乘加不超过 most。"""
    return Limit("macs", lambda net, rows: _above("乘加", rows.macs, most))


def field_at_least(least: int) -> Limit:
    """展平或汇聚成一个数之前，一个位置至少看得到 least×least。"""
    return Limit("field", lambda net, rows: _field(rows, least))


def gives(*shape: int) -> Limit:
    """一张图的输出形状。"""
    return Limit("output", lambda net, rows: "" if rows[-1].out_shape[1:] == shape else
                 f"输出是 {rows[-1].out_shape[1:]}，应当是 {shape}。")


def convs_at_least(least: int) -> Limit:
    """至少这么多卷积层。"""
    def excess(net: nn.Module, rows: Trace) -> str:
        found = sum(isinstance(module, nn.Conv2d) for module in net.modules())
        return f"只有 {found} 个卷积层，至少要 {least} 个。" if found < least else ""
    return Limit("convs", excess)


def sizes_include(*wanted: int, channels: int = 1) -> Limit:
    """这些边长都走得通。"""
    def excess(net: nn.Module, rows: Trace) -> str:
        sizes = input_sizes(net, (1, channels, wanted[0], wanted[0]), limit=max(wanted))
        missing = [size for size in wanted if size not in sizes]
        return f"边长 {'、'.join(map(str, missing))} 走不通；走得通的是 {sizes.describe()}。" if missing else ""
    return Limit("sizes", excess)


def without(kind: type[nn.Module], name: str) -> Limit:
    """没有这一种层。"""
    return Limit("forbidden", lambda net, rows: f"里面还有{name}。"
                 if any(isinstance(module, kind) for module in net.modules()) else "")


@dataclass(kw_only=True, eq=False)
class Design(Exercise):
    """一个网络，或者造出它的函数。shape: 检查用的输入形状；others: 另外几个对的，代码同 code。"""

    shape: tuple[int, ...]
    limits: Sequence[Limit]
    others: tuple[str, ...] = ()

    kind = "设计"
    stub = "design = ..."

    def judge(self, answer: Any) -> Verdict:
        """走得通，而且每条限度都满足。"""
        net = answer
        if not isinstance(net, nn.Module):
            if not callable(answer):
                raise ReaderError(f"答案应当是一个网络（nn.Module），收到的是 {brief(answer)}。")
            net = attempt(answer, "造这个网络时")
            if not isinstance(net, nn.Module):
                raise ReaderError(f"函数应当返回一个网络（nn.Module），返回的是 {brief(net)}。")
        return self._measured(net)

    def _measured(self, net: nn.Module) -> Verdict:
        broken = []

        def walk() -> Trace | None:
            try:
                return trace(net, self.shape)
            except ShapeError as error:
                if not isinstance(error.__cause__, RuntimeError | ValueError | None):  # 拼错的名字之类，不是形状
                    raise error.__cause__ from None
                broken.append(Mistake("does_not_run", str(error)))
                return None
        rows = attempt(walk, f"{self.shape} 走过网络时")
        if rows is None:
            return wrong("网络走不通。", tuple(broken))
        if not rows:
            raise ReaderError("网络是空的，一层也没有。")
        for limit in self.limits:
            text = attempt(lambda limit=limit: limit.excess(net, rows), "再走一遍这个网络时")
            broken += [Mistake(limit.key, text)] if text else []
        said = f"参数 {rows.params:,}，乘加 {rows.macs:,}。"
        return wrong(said, tuple(broken)) if broken else Verdict("对", said)

    def solution(self) -> Any:
        """答案，和它的清单。"""
        found = super().solution()
        found.picture = trace(self.answer(), self.shape)
        return found


def _above(name: str, value: int, most: int) -> str:
    return f"{name} {value:,}，比 {most:,} 多 {value - most:,}。" if value > most else ""


def _field(rows: Trace, least: int) -> str:
    """最后一个还有高和宽、没有看到全图的位置看得到多大。"""
    windows = [layer.receptive_field.window for layer in rows if len(layer.out_shape) == 4]
    seen = max((min(window) for window in windows if window), default=0)
    return f"感受野只有 {seen}×{seen}，至少要 {least}×{least}。" if seen < least else ""
