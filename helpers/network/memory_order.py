"""卷积的权重和图像在内存里怎样排：通道排在最后，卷积快得多，有的网络却走不通（forward 里写了 view）。"""

from collections.abc import Sequence

import torch
from torch import nn

from helpers.network.dispatch import channels_last
from helpers.network.shape_errors import ShapeError
from helpers.network.walk import walking


def order_of(net: nn.Module) -> torch.memory_format:
    """net 的权重怎样排，图像就怎样排：有卷积的权重是 channels_last，就是它。"""
    return torch.channels_last if channels_last(*net.parameters()) else torch.contiguous_format


def prefer_channels_last(net: nn.Module, shape: Sequence[int]) -> None:
    """net 的权重换成 channels_last；形状 shape 照那样排就走不通的网络不换。看不到里面的（torch.jit）也换。"""
    try:
        with walking(net, depth=1, order=torch.channels_last) as walk:
            walk(tuple(shape))
    except ShapeError:
        return
    except TypeError:
        pass
    net.to(memory_format=torch.channels_last)
