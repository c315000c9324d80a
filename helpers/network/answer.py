"""让真的图像走过网络：网络和图像对不对得上，走不通时一句话说清楚。"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from helpers.arguments import instance
from helpers.network.borrow import parameters
from helpers.network.shape_errors import ShapeError
from helpers.network.trace import trace
from helpers.network.walk import checked_network


def with_values(net: nn.Module) -> nn.Module:
    """net 自己：一个网络，权重有数值；不是就抛出 TypeError 或 ValueError。"""
    if any(p.is_meta for p in parameters(checked_network(net))):
        raise ValueError("网络在 meta 设备上，权重没有数值；不用 torch.device(\"meta\")，再造一个。")
    return net


def home(net: nn.Module, otherwise: torch.device) -> torch.device:
    """网络在哪个设备上；没有参数也没有统计量的是 otherwise。"""
    owned = next(iter(_owned(net)), None)
    return otherwise if owned is None else owned.device


def _owned(net: nn.Module) -> list[Tensor]:
    """网络自己的张量：参数在前。"""
    return [*parameters(net), *net.buffers()]


def placed(net: nn.Module, X: Tensor) -> Tensor:
    """X 的一份副本，设备和精度都与网络的相同：就地改写输入的网络，改的是它。

    net 不是网络、没有数值，或者 X 不是小数的张量时抛出 TypeError 或 ValueError。
    """
    with_values(net)
    if not isinstance(X, Tensor) or not X.is_floating_point():
        raise ValueError(f"X 应当是小数的张量 (B, C, H, W)，收到的是 {getattr(X, 'dtype', type(X).__name__)}。")
    if X.is_meta or 0 in X.shape[1:]:
        raise ValueError(f"X 里没有数：形状是 {tuple(X.shape)}，在 {X.device} 设备上；给真的图像，一维也不是 0。")
    like = next((tensor for tensor in _owned(net) if tensor.is_floating_point()), X)
    return X.detach().to(home(net, X.device), like.dtype, copy=True)


def answered(answer: Callable[[Tensor], Any], net: nn.Module, X: Tensor) -> Any:
    """answer(X)，走的是 net；形状走不通时抛出 ShapeError。"""
    try:
        return answer(X)
    except RuntimeError as error:
        blame(error, net, X)
        raise


def blame(error: RuntimeError, net: nn.Module, X: Tensor) -> None:
    """net(X) 抛出了 error；是形状走不通，就抛出说得清楚的 ShapeError。"""
    try:
        trace(net, (1, *X.shape[1:]))
    except ShapeError as said:
        raise said from error
    except Exception:
        return


def logits_of(output: Any) -> Tensor:
    """一张图像的输出，(1, 类别数) 的对数几率；不是就抛出 TypeError 或 ValueError。"""
    wanted = "网络的输出应当是 (1, 类别数) 的对数几率"
    instance(output, Tensor, wanted, "有几个输出的话，包一层，只返回其中一个。")
    if output.dim() != 2:
        raise ValueError(f"{wanted}，形状却是 {tuple(output.shape)}；最后加上 nn.Flatten() 和 nn.Linear。")
    return output
