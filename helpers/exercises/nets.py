"""练习里算数用的网络：书上的七个，只有形状。"""

from functools import cache
from typing import Any

import torch
from torch import nn

from helpers.book.sections import NETWORKS, load


@cache
def book_net(section: str, **widths: Any) -> nn.Sequential:
    """一节的网络，在 meta 上，同样的只建一次：只看，不改。widths: 网络函数的参数，默认是书上的。"""
    with torch.device("meta"):
        return getattr(load(section), NETWORKS[section])(**widths)


def params(net: nn.Module) -> int:
    """参数的个数。"""
    return sum(parameter.numel() for parameter in net.parameters())
