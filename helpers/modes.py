"""借用一个网络，用完还原。"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """在这个 with 里 net 处于 eval 模式（暂退法关闭，批量规范化用运行统计量）；离开后每个模块还原。"""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
