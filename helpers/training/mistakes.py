"""认错的图，最有把握的在前。"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.arguments import between
from helpers.data.split import Split
from helpers.machine.device import fast_dtype
from helpers.network.answer import answered, home
from helpers.network.borrow import evaluating
from helpers.network.memory_order import order_of
from helpers.training.checks import check_output, check_scoring


@dataclass(frozen=True)
class Mistakes:
    """认错的几张图，预测的概率大的在前。

    X: (N, C, H, W)，0–1；y, y_hat: (N,) int64，真实的和预测的类别；p: (N,)，预测的那一类的概率，0–1。
    classes: 类别的名字。
    """

    X: Tensor
    y: Tensor
    y_hat: Tensor
    p: Tensor
    classes: tuple[str, ...]


def confident_mistakes(net: nn.Module, data: Split, count: int = 12) -> Mistakes:
    """net 在 data 上认错的图里，最有把握的 count 张，不够就是全部；在 eval 模式下计算，之后各层回到原来的模式。"""
    check_scoring(net, data)
    count = between("count", count, 1)
    device, kept, order = home(net, data.device), [], order_of(net)
    dtype = fast_dtype(device)
    with torch.no_grad(), evaluating(net), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for X, y in data:
            X, y = X.to(device, memory_format=order), y.to(device)
            logits = answered(net, net, X)
            check_output(logits, y, len(data.classes))
            p, y_hat = logits.float().softmax(1).max(1)
            wrong = y_hat != y
            found = [each[wrong] for each in (X, y, y_hat, p)]
            if kept:
                found = [torch.cat(pair) for pair in zip(kept, found, strict=True)]
            best = found[-1].argsort(descending=True, stable=True)[:count]
            kept = [each[best] for each in found]
    X, y, y_hat, p = kept
    return Mistakes(X, y, y_hat, p, data.classes)
