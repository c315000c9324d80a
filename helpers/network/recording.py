"""一次前向里算过的一切：每个张量是多少，由哪个运算从哪几个张量算来，在哪一层。"""

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from helpers.network.answer import answered, placed
from helpers.network.borrow import copied, hooked, rewinding
from helpers.network.dispatch import Watcher, aten, storage_id, tensors

_ALIASES = {aten.as_strided, aten.alias, aten.detach}
PASSED = "passed"  # 一层原样交出它收到的：eval 模式下的暂退法


@dataclass(frozen=True, eq=False, repr=False)
class Value:
    """前向里出现过的一个张量。

    content: 当时的数；layer: 在哪一层里出现的（named_modules 里的名字，网络自己是 ""）；是权重的话，就是权重的名字。
    kind: "image" 输入，"parameter" 权重和统计量，"constant" 别处来的，"computed" 算出来的，
        "overwritten" 别的张量改写了它的内存，查不到来路。
    op, args, kwargs: 由哪个运算、从什么算来，其中的张量换成它们的 Value；output: 是这个运算的第几个结果。
    """

    content: Tensor
    layer: str
    kind: str = "computed"
    op: Any = None
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """形状。"""
        return tuple(self.content.shape)

    def __repr__(self) -> str:
        return f"Value({self.layer!r}, {self.kind}, {'×'.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Recording:
    """一个网络对一批图像的一次前向；layers: 每一层的名字到它最后一次调用交出的 Value。"""

    layers: dict[str, Value]
    image: Value

    def __getitem__(self, layer: str) -> Value:
        """一层的输出；没有这一层、没有用到它，或者它交出的不是张量时抛出 ValueError。"""
        if not isinstance(layer, str) or layer not in self.layers:
            near = [name for name in self.layers if name.startswith(str(layer)[:1])] or list(self.layers)
            raise ValueError(f"这次前向里没有第 {layer!r} 层的输出；有的是 {'、'.join(map(repr, near[:12]))}"
                             f"{' 等' if len(near) > 12 else ''}。名字的写法同 net.named_modules()。")
        return self.layers[layer]


def record(net: nn.Module, X: Tensor, *, own: bool = False) -> Recording:
    """让 X 走过 net，记下一切；net 在 eval 模式下走，走完模式、钩子、统计量和随机数都原样归还。

    X: (B, C, H, W)，小数，会换成网络的设备和精度；形状走不通时抛出 ShapeError，别的错，网络抛出什么就是什么。
    own: net 是自己的一份，已经在 eval 模式，以后也不改：不必借了再还，模块多的网络快几倍。
    """
    X = placed(net, X)
    with ExitStack() as undo:
        for each in (torch.inference_mode(False), torch.no_grad(), nullcontext() if own else copied(net)):
            undo.enter_context(each)
        recorder = _Recorder(net, X, undo.enter_context(rewinding(X.device)))
        undo.enter_context(hooked(recorder.names, enter=recorder.enter, leave=recorder.leave))

        def watched(X: Tensor) -> None:
            with recorder:
                net(X)
        answered(watched, net, X)
    return Recording(recorder.by_layer(net), recorder.image)


class _Recorder(Watcher):
    """看着前向，一个运算记一笔。"""

    def __init__(self, net: nn.Module, X: Tensor, remember: Any):
        super().__init__()
        self.names = {module: name for name, module in net.named_modules()}
        self.image = Value(X.clone(), "", "image")
        self.done: dict[str, Value] = {}
        self._open: list[str] = []
        self._received: list[Value] = []  # 最里面的一层收到的
        self._remember = remember
        # 张量的 id 到它此刻的 Value；抓着张量不放，id 才不会给了别人
        self._known: dict[int, tuple[Tensor, Value]] = {id(X): (X, self.image)}
        self._overwritten: set[int] = set()  # 改写过的内存
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            self._known[id(tensor)] = tensor, Value(tensor.detach(), name, "parameter")

    def before_random(self) -> None:
        """下一个运算要抽随机数。"""
        self._remember()

    def before(self, op: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """下一个运算要用到的张量，此刻的内容还是记下的那样吗。"""
        for tensor in tensors((args, kwargs)):
            if storage_id(tensor) in self._overwritten and not torch.equal(self._of(tensor).content, tensor):
                self._learn(tensor, Value(tensor.detach().clone(), self._layer, "overwritten"))

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了。"""
        name = op.__name__
        if name.endswith("_") and not name.endswith("__"):  # 就地的，如 relu_：算的是同一件事
            self._overwritten.update(storage_id(tensor) for tensor in tensors(out))
            op = getattr(aten, name[:-1], op)
        sources, options = self._replaced(args), self._replaced(kwargs)
        if op in _ALIASES and sources[0].shape == tuple(out.shape) and torch.equal(sources[0].content, out):
            self._learn(out, sources[0])  # 只是换了内存的说法
            return
        for i, tensor in enumerate(tensors(out)):
            self._learn(tensor, Value(tensor.detach().clone(), self._layer, op=op, args=sources, kwargs=options,
                                      output=i))

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """一层开始了。"""
        self._open.append(name)
        self._received = [self._of(tensor) for tensor in tensors(inputs)]

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """一层返回了。"""
        self._open.pop()
        for tensor in tensors(output)[:1]:
            value = self._of(tensor)
            if value in self._received and not list(module.children()):
                value = Value(value.content, name, op=PASSED, args=(value,),
                              kwargs={"dropout": isinstance(module, nn.modules.dropout._DropoutNd)})
                self._learn(tensor, value)
            self.done[name] = value

    def by_layer(self, net: nn.Module) -> dict[str, Value]:
        """每个名字的输出；一个模块可以有几个名字。"""
        return {name: self.done[self.names[module]] for name, module in net.named_modules(remove_duplicate=False)
                if self.names[module] in self.done}

    @property
    def _layer(self) -> str:
        return self._open[-1] if self._open else ""

    def _learn(self, tensor: Tensor, value: Value) -> None:
        self._known[id(tensor)] = tensor, value

    def _of(self, tensor: Tensor) -> Value:
        if id(tensor) not in self._known:
            self._learn(tensor, Value(tensor.detach().clone(), self._layer, "constant"))
        return self._known[id(tensor)][1]

    def _replaced(self, given: Any) -> Any:
        """参数里的张量换成它们的 Value。"""
        if isinstance(given, Tensor):
            return self._of(given)
        if isinstance(given, dict):
            return {name: self._replaced(each) for name, each in given.items()}
        return tuple(map(self._replaced, given)) if isinstance(given, list | tuple) else given


def values(given: Any) -> Iterator[Value]:
    """参数里的 Value，按次序。"""
    if isinstance(given, Value):
        yield given
    elif isinstance(given, dict | list | tuple):
        for each in given.values() if isinstance(given, dict) else given:
            yield from values(each)
