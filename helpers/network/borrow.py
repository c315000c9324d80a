"""借用一个网络：拿来，用，还原。"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def mode(net: nn.Module, training: bool) -> Iterator[None]:
    """在这个 with 里 net 处于训练模式或 eval 模式；离开后每个模块还原。"""
    modes = [(module, module.training) for module in net.modules()]
    net.train(training)
    try:
        yield
    finally:
        for module, was in modes:
            module.training = was


def evaluating(net: nn.Module) -> AbstractContextManager[None]:
    """在这个 with 里 net 处于 eval 模式（暂退法关闭，批量规范化用运行统计量）；离开后每个模块还原。"""
    return mode(net, training=False)


@contextmanager
def hooked(modules: Mapping[nn.Module, str], *, enter: Callable[[str, nn.Module, Any], None] | None = None,
           leave: Callable[[str, nn.Module, Any], None] | None = None) -> Iterator[None]:
    """在这个 with 里，看着 modules（模块到它的名字）的每次调用；离开后取下钩子。

    调用之前是 enter(名字, 模块, 输入)，输入是 (args, kwargs)；返回之后是 leave(名字, 模块, 输出)。
    """
    with ExitStack() as undo:
        for module, name in modules.items():
            if enter is not None:
                undo.callback(module.register_forward_pre_hook(_before(name, enter), with_kwargs=True).remove)
            if leave is not None:
                undo.callback(module.register_forward_hook(_after(name, leave)).remove)
        yield


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
def rewinding(device: torch.device) -> Iterator[Callable[[], None]]:
    """给出一个函数：第一次调用它时记住随机数走到哪里，离开 with 后倒回那里；没有调用过就不倒。

    device: 除了 CPU 的随机数，还记这块 GPU 的。不在进入时就记：另一个线程可能正在训练，不该倒回它的随机数。
    """
    with ExitStack() as undo:
        remembered = False

        def remember() -> None:
            nonlocal remembered
            if not remembered:
                undo.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
                remembered = True
        yield remember


class Loan:
    """借来运行的网络；离开 with 后，每个模块的权重、统计量、模式和随手存下的属性都原样归还。"""

    def __init__(self, net: nn.Module):
        # 每个模块的 __dict__ 和其中该有的内容
        self._original = [(vars(module), dict(vars(module))) for module in net.modules()]
        self._dressed = self._original

    def dress(self, convert: Callable[[Tensor], Tensor]) -> None:
        """换装：每个参数和缓冲区换成 convert(它)，模块都是 eval 模式；下一次 `reset` 起有效。"""
        def dressed(contents: dict[str, Any], kind: str) -> dict[str, Tensor | None]:
            return {name: tensor if tensor is None else convert(tensor) for name, tensor in contents[kind].items()}

        self._dressed = [(attributes, contents | {"training": False} | {
            kind: dressed(contents, kind) for kind in ("_parameters", "_buffers")})
            for attributes, contents in self._original]

    def reset(self) -> None:
        """回到刚换好装的样子：上一次运行留下的都抹掉。"""
        _put(self._dressed)

    def __enter__(self) -> "Loan":
        return self

    def __exit__(self, *_: object) -> None:
        _put(self._original)


def _put(state: list[tuple[dict, dict]]) -> None:
    for attributes, contents in state:
        attributes.clear()
        attributes.update(contents)
