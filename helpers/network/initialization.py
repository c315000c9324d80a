"""权重怎样初始化，和怎样认出来。"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def xavier(module: nn.Module) -> None:
    """Xavier 均匀初始化全连接层和卷积层的权重，用法是 `net.apply(xavier)`。

    U(-a, a)，a = sqrt(6 / (n_in + n_out))；Glorot 与 Bengio，2010。
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)


def kaiming(module: nn.Module) -> None:
    """Kaiming 均匀初始化全连接层和卷积层的权重，为 ReLU 设计，用法同 `xavier`。

    U(-a, a)，a = sqrt(6 / n_in)：ReLU 把一半的信号变成 0，方差要加倍来补；何恺明等，2015。
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")


def default(module: nn.Module) -> None:
    """PyTorch 自己的初始化：什么也不改，用法同 `xavier`。

    全连接层和卷积层是 U(-a, a)，a = sqrt(1 / n_in)。
    """


class Unfilled(TorchFunctionMode):
    """在这个 with 里，建一层时不抽随机的权重：meta 上没有数可填，PyTorch 却照样推导，要建一个网络的四成时间。"""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {"xavier": xavier, "kaiming": kaiming, "default": default}


def recognize(net: nn.Module) -> str:
    """从权重的大小猜网络是怎样初始化的：`INITIALIZATIONS` 里的名字；都不像就是 "other"，例如已经训练过。

    三种都是 U(-a, a)：每一层的最大值不超过 a，均方根是 a/√3。只看权重，不知道真做过什么：改过一两层、
    别的分布碰巧一样大，都认不出来。太小的层不看；没有够大的层是 "other"。
    """
    layers = [m.weight for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.weight.numel() >= 100]
    for name, bound in _BOUNDS.items():
        if layers and all(_uniform(weight, bound(*_fans(weight))) for weight in layers):
            return name
    return "other"


# 名字到 a，由 n_in、n_out 算出
_BOUNDS: dict[str, Callable[[int, int], float]] = {
    "xavier": lambda n_in, n_out: (6 / (n_in + n_out)) ** 0.5,
    "kaiming": lambda n_in, n_out: (6 / n_in) ** 0.5,
    "default": lambda n_in, n_out: (1 / n_in) ** 0.5,
}


def _fans(weight: Tensor) -> tuple[int, int]:
    """(n_in, n_out)：一个输出连着几个输入，一个输入连着几个输出；weight: (输出, 输入, 窗口…)。"""
    return weight[0].numel(), weight[:, 0].numel()


def _uniform(weight: Tensor, a: float) -> bool:
    size = weight.detach().float()
    return size.abs().max().item() <= a * 1.00001 and abs(size.square().mean().sqrt().item() * 3**0.5 / a - 1) < 0.2
