"""借用一个网络：拿来，用，还原。"""

import copy
import inspect
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from helpers.network.dispatch import ATOMS, Watcher

_MAPS = {dict, OrderedDict, defaultdict, Counter}
_LISTS = {list, deque, set}
_STATES = {bytearray, np.ndarray, np.random.Generator, np.random.RandomState, random.Random, torch.Generator}
# 一个模块的 __dict__，其中该有的内容，和里面运行时要换上替身的
_Attributes = tuple[dict[str, Any], dict[str, Any], list[tuple[str, Any]]]


class Loan(AbstractContextManager):
    """借来运行的网络：运行时用的是替身，离开 with 后每个模块的每个属性都是原来的，一个也没有动过。

    替身是张量（参数、缓冲区、随手存下的）和列表、字典、数组的副本，模块还是原来的模块，它的钩子之类用后复原；forward
    里新建的层、追加的记录，都落在替身上。别的对象不另存。
    Lazy 层运行一次就变成别的类，还不了原：抛出 ValueError。
    """

    def __init__(self, net: nn.Module):
        self.net, self.training = net, False
        self.twins, self.modules = dict[int, Any](), submodules(net)  # twins: 原来的对象的 id 到它的替身
        self._modes = [module.training for module in self.modules]
        self._usual = all(map(_switches_as_usual, self.modules))
        self._original: list[_Attributes] = []
        self.hooks = _Hooks()
        self._convert: Callable[[Tensor], Tensor] = _unchanged
        self._survey([net], set())

    def _survey(self, values: Iterable[Any], met: set[int]) -> None:
        """记下 values 里的模块，连同只放在列表、字典里的；torch.jit 的模块除外，它们没有 Python 的属性可还。"""
        for value in values:
            kind = type(value)
            if kind in ATOMS or id(value) in met:
                continue
            met.add(id(value))
            if isinstance(value, nn.Module):
                if not isinstance(value, torch.jit.ScriptModule):
                    self._survey(self._record(value), met)
            elif kind in _HOLDERS:
                self._survey(value.values() if kind in _MAPS else value, met)
            elif is_lazy(value):
                raise ValueError("网络里有 Lazy 层，参数的形状还没有定。请先用 net(torch.zeros(形状)) 运行一次。")

    def _record(self, module: nn.Module) -> list[Any]:
        """记下一个模块的属性；交出里面还可能有模块的。"""
        contents, lent, inside = dict(vars(module)), [], []
        self.hooks.keep(contents)
        for name, value in contents.items():
            if type(value) in ATOMS or name in _HOOKS or (name in _HOLDING and not value):
                continue
            if _changes(value):
                lent.append((name, value))
                inside.append(value)
            elif isinstance(value, nn.Module):
                inside.append(value)
        self._original.append((vars(module), contents, lent))
        return inside

    def dress(self, convert: Callable[[Tensor], Tensor], training: bool = False) -> None:
        """张量的替身由 convert 造，参数的替身也会是参数；网络是 training 或 eval 模式。下一次 `reset` 起有效。"""
        self._convert, self.training = convert, training

    def reset(self) -> None:
        """换上新的替身：上一次运行留下的都抹掉。"""
        self.twins = {}
        for attributes, contents, lent in self._original:
            attributes.clear()
            attributes.update(contents)
            for name, value in lent:
                attributes[name] = self._copy(value)
        self.hooks.restore()
        if self._usual:  # 同 net.train，不经过每个模块的 __setattr__
            for module in self.modules:
                vars(module)["training"] = self.training
        else:
            self.net.train(self.training)

    def signature(self) -> list[Any]:
        """此刻每个模块有哪些属性，列表和字典里有什么；前后相同，就是没有人改过它们。"""
        attributes = [[(name, id(value)) for name, value in worn.items()] for worn, *_ in self._original]
        holders = [*self.twins.values(), *self.hooks.all()]
        return attributes + [[(*map(id, holder.values()),) if isinstance(holder, dict) else (*map(id, holder),)]
                             for holder in holders if isinstance(holder, dict | list | deque | set)]

    def _twin(self, value: Any) -> Any:
        """一个值的替身；不会变的，就是它自己。"""
        return self._copy(value) if _changes(value) else value

    def _copy(self, value: Any) -> Any:
        """会变的，它的替身；同一个对象的替身也是同一个。"""
        if id(value) in self.twins:
            return self.twins[id(value)]
        kind: Any = type(value)
        self.twins[id(value)] = twin = self._empty_twin(value, kind)  # 先记下再填里面的：列表可以装着自己
        if kind in _MAPS:
            for name, item in value.items():
                twin[name] = self._copy(item) if _changes(item) else item
        elif kind in _LISTS:
            (twin.update if kind is set else twin.extend)(map(self._twin, value))
        return twin

    def _empty_twin(self, value: Any, kind: type) -> Any:
        if isinstance(value, Tensor):
            return _like(value, self._convert(value))
        if kind is tuple:
            items = tuple(map(self._twin, value))
            return value if all(map(lambda a, b: a is b, items, value)) else items
        if kind is dict:  # 每个模块好几个，copy.copy 慢
            return {}
        if kind in _MAPS or kind in _LISTS:
            twin = copy.copy(value)
            twin.clear()
            return twin
        if kind is torch.Generator:
            return value.clone_state()
        return copy.deepcopy(value)

    def __exit__(self, *_: object) -> None:
        for attributes, contents, _lent in self._original:
            attributes.clear()
            attributes.update(contents)
        self.hooks.restore()
        self.twins, self._convert = {}, _unchanged  # 借的人抓着这里、这里又抓着它：网络不等到垃圾回收才放掉
        for module, was in zip(self.modules, self._modes, strict=True):
            if module.training != was:  # torch.jit 的模块，模式不在 __dict__ 里
                module.training = was


class _Hooks:
    """每个模块的钩子之类，和空着的参数、缓冲区：不换（取下钩子的把手，认得的是这一个），用后复原。

    filled: 装着东西的，(它, 原来的内容)；empty: 空的，多半都是，一个模块的放在一起。
    """

    def __init__(self) -> None:
        self.filled, self.empty = list[tuple[Any, Any]](), list[tuple[Any, ...]]()

    def keep(self, contents: dict[str, Any]) -> None:
        """记下一个模块的。contents: 它的 __dict__。"""
        try:
            empty = _all_hooks(contents)
        except KeyError:  # 旧版 torch 存下的整个网络，少几样
            empty = tuple(contents[name] for name in _HOOKS & contents.keys())
        if any(empty):
            self.filled += [(own, copy.copy(own)) for own in empty if own]
            empty = tuple(own for own in empty if not own)
        for name in _HOLDING:
            if contents[name] == {}:
                empty += contents[name],
        self.empty.append(empty)

    def restore(self) -> None:
        """都回到原来的内容。"""
        for own, contents in self.filled:
            own.clear()
            own.update(contents)
        for group in self.empty:
            if any(group):  # 多半还是空的
                for own in group:
                    own.clear()

    def all(self) -> Iterator[Any]:
        """每一个。"""
        yield from (own for own, _ in self.filled)
        for group in self.empty:
            yield from group


_HOLDERS = _MAPS | _LISTS | {tuple}
_CONTAINERS = _HOLDERS | _STATES
# 每个模块都有的十几个字典和集合；装参数、缓冲区和子模块的要换，多半是空的，空的不换
_HOLDING = {"_parameters", "_buffers", "_modules"}
_HOOKS = {name for name, value in vars(nn.Module()).items() if isinstance(value, dict | set)} - _HOLDING
_all_hooks = itemgetter(*_HOOKS)


def _changes(value: Any) -> bool:
    """运行时可能变的：张量、容器；数、字符串和只装着它们的元组不会。"""
    kind = type(value)
    if kind is tuple:
        return not ATOMS.issuperset(map(type, value))
    return kind not in ATOMS and (isinstance(value, Tensor) or kind in _CONTAINERS)


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _like(tensor: Tensor, twin: Tensor) -> Tensor:
    """参数的替身也是参数。"""
    if twin is tensor:
        return twin
    if type(tensor) is nn.Parameter or isinstance(tensor, nn.Parameter):  # 前一半快得多
        return nn.Parameter(twin, requires_grad=tensor.requires_grad)
    return twin.requires_grad_(tensor.requires_grad)  # 忘了写 nn.Parameter 的，求导时也要存下输入


def _switches_as_usual(module: nn.Module) -> bool:
    """train() 和 eval() 只改 training 这一项。"""
    kind = type(module)
    return "train" not in vars(module) and kind.train is nn.Module.train and kind.__setattr__ is nn.Module.__setattr__


def _require_switch(module: nn.Module) -> None:
    try:
        inspect.signature(module.train).bind()
        inspect.signature(module.train).bind(True)
    except TypeError as error:
        raise TypeError(f"{type(module).__name__} 自己的 train 顶替了 PyTorch 切换模式的 train(mode=True)；"
                        "换个名字，如 train_on。") from error


def submodules(net: nn.Module) -> list[nn.Module]:
    """net 和它里面的模块，各一次。次序同 `net.modules()`，那个一层层地递交名字，慢几倍。"""
    found: dict[int, nn.Module] = {}
    _visit(net, found)
    return [*found.values()]


def _visit(module: nn.Module, found: dict[int, nn.Module]) -> None:  # 写在里面，就自己抓着自己，网络等到垃圾回收才放掉
    if "_modules" not in vars(module):
        raise TypeError(f"{type(module).__name__} 的 __init__ 里没有 super().__init__()；把它写在第一行。")
    if type(module).train is not nn.Module.train:
        _require_switch(module)
    found[id(module)] = module
    for child in module._modules.values():
        if child is not None and id(child) not in found:
            _visit(child, found)


def parameters(net: nn.Module) -> list[nn.Parameter]:
    """net 的参数，各一次。次序同 `net.parameters()`，慢在同一处。"""
    return [*{id(p): p for module in submodules(net) for p in module._parameters.values() if p is not None}.values()]


@contextmanager
def _evaluating(net: nn.Module, convert: Callable[[Tensor], Tensor]) -> Iterator[None]:
    with Loan(net) as loan:
        loan.dress(convert)
        loan.reset()
        yield


def evaluating(net: nn.Module) -> AbstractContextManager[None]:
    """在这个 with 里 net 处于 eval 模式（暂退法关闭，批量规范化用运行统计量）；离开后还原，见 `Loan`。

    参数是它自己的，数值不另存（大的网络要占一倍内存）；随机数走到哪里就是哪里。
    """
    return _evaluating(net, lambda tensor: tensor if isinstance(tensor, nn.Parameter) else tensor.detach().clone())


def copied(net: nn.Module) -> AbstractContextManager[None]:
    """同 `evaluating`，参数也是副本。"""
    return _evaluating(net, lambda tensor: tensor.detach().clone())


@contextmanager
def hooked(modules: Mapping[nn.Module, str], *, enter: Callable[[str, nn.Module, Any], None] | None = None,
           leave: Callable[[str, nn.Module, Any], None] | None = None) -> Iterator[None]:
    """在这个 with 里，看着 modules（模块到它的名字）的每次调用；离开后取下钩子。

    调用之前是 enter(名字, 模块, 输入)，输入是 (args, kwargs)；返回之后是 leave(名字, 模块, 输出)。
    """
    hooks = []
    try:
        for module, name in modules.items():
            if enter is not None:
                hooks.append(module.register_forward_pre_hook(_before(name, enter), with_kwargs=True))
            if leave is not None:
                hooks.append(module.register_forward_hook(_after(name, leave)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


# 钩子什么也不返回：返回的东西会顶替输入或输出
def _before(name: str, enter: Callable[[str, nn.Module, Any], Any]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        enter(name, module, (args, kwargs))
    return hook


def _after(name: str, leave: Callable[[str, nn.Module, Any], Any]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        leave(name, module, output)
    return hook


@contextmanager
def rewinding(device: torch.device, *, python: bool = True) -> Iterator[Callable[[], None]]:
    """给出一个函数：第一次调用它时记住随机数走到哪里，离开 with 后倒回那里；没有调用过就不倒。

    device: 除了 CPU 的随机数，还记这块 GPU 的。不在进入时就记：另一个线程可能正在训练，不该倒回它的随机数。
    python: 也记 Python 和 NumPy 的随机数；进入时就记，训练用不到它们。要十分之一毫秒。
    """
    numbers = (random.getstate(), np.random.get_state()) if python else None
    remembered = False
    try:
        with ExitStack() as undo:
            def remember() -> None:
                nonlocal remembered
                if not remembered:
                    undo.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
                    remembered = True
            yield remember
    finally:
        if numbers is not None:
            random.setstate(numbers[0])
            np.random.set_state(numbers[1])


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """在这个 with 里抽的随机数，离开后都倒回去。device: 见 `rewinding`。"""
    with rewinding(device) as remember, Watcher() as watcher:
        watcher.before_random = remember
        yield
