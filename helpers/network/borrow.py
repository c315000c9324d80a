"""借用一个网络，用完还原。"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from torch import nn


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
