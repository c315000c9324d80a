"""网络看得到哪里的标准答案：把输入的一行变成 NaN，看哪些输出变成 NaN。"""

import re
from math import ceil

import torch
from torch import nn

from helpers import trace
from helpers.network.layer import WHOLE


def run(net, X):
    """net(X)；走不通是 None。"""
    try:
        with torch.no_grad():
            return net(X)
    except (RuntimeError, ValueError, IndexError):
        return None


def seen(net, shape):
    """高和宽各一个：输出的每个位置看得到的 (第一行, 最后一行)；什么也看不到的位置不在里面。

    (B, n) 的输出是一个位置，更多维的，各个通道合起来是一个位置。
    """
    found = []
    for dim in (2, 3):
        outputs = []
        for i in range(shape[dim]):  # 一张一张地算：有的层用一整批的统计量
            X = torch.rand(shape) + 0.5
            X.select(dim, i).fill_(torch.nan)
            outputs.append(run(net, X))
        Y = torch.cat(outputs).isnan()
        mask = Y.flatten(2).any(1) if Y.dim() > 2 else Y.any(1, keepdim=True)  # (行, 位置)
        rows = torch.arange(shape[dim])[:, None].expand_as(mask)
        firsts = rows.masked_fill(~mask, shape[dim]).amin(0)
        lasts = rows.masked_fill(~mask, -1).amax(0)
        found.append([(a, b) for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True) if a <= b])
    return found


def last_field(net, shape):
    """清单最后一行的感受野。"""
    return trace(net, shape)[-1].receptive_field


def check_field(net, shape, subject=last_field):
    """subject(net, shape) 说的感受野与标准答案相同，或者说不清；图太小，没有一格不碰到边，就换一张大的。"""
    for _ in range(2):
        field = subject(net, shape)
        sides = [*zip(field, seen(net, shape), shape[2:], strict=True)]
        if all([_agrees(*side, _lost(net)) for side in sides]):
            return
        shape = (*shape[:2], *(size if side in (None, WHOLE) else size + 12 * ceil(2 * side / 12)
                               for side, _, size in sides))
        if max(shape) > 150 or run(net, torch.zeros(shape)) is None:
            return
    # 汇聚到几格的，多大的图也格格碰到边，看得到的总少一圈填充；膨胀的窗口比图还大，两头就可以都在填充里
    inside = [any(first > 0 and last < size - 1 - _lost(net) for first, last in spans)
              for side, spans, size in sides if not _agrees(side, spans, size, _lost(net))
              and (side <= size or not _dilated(net))]
    assert not any(inside), f"{shape}：没有一格看得到 {field} 这么大，见到的是 {sides}"


def _agrees(side, spans, size, lost):
    """清单上的一个方向与标准答案不矛盾；还没有见到恰好这么大的一格，返回 False。"""
    longest = max((last - first + 1 for first, last in spans), default=0)
    if side == WHOLE:
        assert all(first == 0 and last >= size - 1 - lost for first, last in spans), (side, spans, size, lost)
    elif side is not None:
        assert longest <= side, (side, spans, size)
        return longest == side
    return True


def _dilated(net):
    """有没有膨胀的窗口。"""
    return any(module.dilation not in (1, (1, 1)) for module in net.modules() if hasattr(module, "dilation"))


def _lost(net):
    """步幅除不尽，末尾至多丢掉几个像素：比所有步幅的积少一个。"""
    total = 1
    for module in net.modules():
        stride = getattr(module, "stride", getattr(module, "downscale_factor", None)) or 1
        total *= max(stride) if isinstance(stride, tuple) else stride
        total *= max(map(int, re.findall(r":(\d)\]", getattr(module, "text", ""))), default=1)
        total *= 4 if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) else 1
    return total - 1
