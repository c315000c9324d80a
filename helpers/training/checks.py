"""训练之前查什么，每一步查什么：网络、数据和设置对不对得上，不对时一句话。"""

import torch
from torch import Tensor, nn

from helpers.arguments import between, instance
from helpers.data.split import Split
from helpers.network.answer import with_values


def check_training(net: nn.Module, train: Split, test: Split, num_epochs: int) -> int:
    """训练之前：网络训练得了，数据是数据；返回轮数，Python 的整数。不行就抛出 TypeError 或 ValueError。"""
    check_network(net)
    for name, split in (("train", train), ("test", test)):
        _check_split(name, split)
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError("网络没有可以训练的参数：要么一个也没有，要么全冻结了；解冻用 net.requires_grad_(True)。")
    return between("num_epochs", num_epochs, 1)


def check_scoring(net: nn.Module, data: Split) -> None:
    """评估之前：与 `check_training` 相同，但不必有可以训练的参数。"""
    check_network(net)
    _check_split("data", data)


def check_network(net: nn.Module) -> None:
    """是一个网络，参数的形状都定了，有数值，是 float32。"""
    with_values(net)
    for name, parameter in net.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ValueError(f"网络里有 Lazy 层，{name} 的形状还没有定；先用 net(X) 运行一次，X 是一批图片。")
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ValueError(f"网络的 {name} 是 {parameter.dtype}，图片是 float32；先写 net.float()。"
                             "要混合精度，用参数 dtype=torch.bfloat16。")


def _check_split(name: str, split: Split) -> None:
    instance(split, Split, f"{name} 应当是训练集或测试集，如 train, test = fashion_mnist()",
             "一次给了两个的话，写 *data。" if isinstance(split, tuple | list) else "")


def check_output(logits: Tensor, y: Tensor, classes: int) -> None:
    """网络的输出是 (B, 类别数) 的对数几率，类别不少于 classes；不是就抛出 TypeError 或 ValueError。

    只看形状，不等设备。
    """
    wanted = f"网络的输出应当是 (批量, {classes}) 的对数几率"
    instance(logits, Tensor, wanted, "有几个输出的话，包一层，只返回其中一个。")
    if logits.dim() != 2 or len(logits) != len(y):
        raise ValueError(f"{wanted}，这里批量 {len(y)}，形状却是 {tuple(logits.shape)}；"
                         f"最后加上 nn.Flatten() 和 nn.Linear(…, {classes})。")
    if logits.shape[1] < classes:
        raise ValueError(f"{wanted}，只有 {logits.shape[1]} 个；把最后一层改成 {classes} 个输出。")
