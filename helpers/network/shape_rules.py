"""常用的几种层，输出的形状照公式算，不真的走：试一千多个边长时省下大半时间。"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from helpers.network.dispatch import Window, channels_last, slid
from helpers.network.layer import Shape


def follow_rules(net: nn.Module) -> None:
    """从此刻起，net 里认得的层照公式给出形状；不认得的、走不通的照旧，话由它们自己说。

    net 应当是借来的，在 meta 上，eval 模式。
    """
    for layer in net.modules():
        rule = _RULES.get(type(layer))
        if rule and "forward" not in vars(layer):
            vars(layer)["forward"] = Ruled(layer, rule)


class Plain(NamedTuple):
    """meta 上一个普通的图像张量：四维、小数、连续。只记形状和精度，要走进一层时才造出来。"""

    shape: Shape
    dtype: torch.dtype

    def made(self) -> Tensor:
        """造出来。"""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


def plain(X: Any) -> Plain | None:
    """X 是不是一个 Plain，或者说得成 Plain 的张量；不是就是 None。"""
    if isinstance(X, Plain):
        return X
    usual = type(X) is Tensor and X.dim() == 4 and X.is_meta and X.is_floating_point() and X.is_contiguous()
    return Plain(tuple(X.shape), X.dtype) if usual else None


class Ruled:
    """一层的 forward：照公式给出形状，说不准、走不通的照旧。"""

    def __init__(self, layer: nn.Module, rule: "Rule"):
        self.layer, self.rule, self.original = layer, rule, layer.forward

    def after(self, X: Any) -> Plain | None:
        """X 走过之后的；说不准、走不通就是 None。X: 张量或者 Plain。"""
        before = plain(X)
        shape = before and self.rule(self.layer, before)
        return Plain(shape, before.dtype) if before and shape else None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        after = self.after(args[0]) if len(args) == 1 and not kwargs else None
        return after.made() if after else self.original(*args, **kwargs)


def ruled(layer: nn.Module) -> Ruled | None:
    """这一层的公式；没有，或者挂着钩子、叫它不只是走一遍 forward，就是 None。"""
    found = vars(layer).get("forward")
    return found if isinstance(found, Ruled) and not (layer._forward_hooks or layer._forward_pre_hooks) else None


def _same(layer: Any, X: Plain) -> Shape:
    return X.shape


def _norm(layer: Any, X: Plain) -> Shape | None:
    own = layer.running_mean, layer.running_var, layer.weight, layer.bias
    known = not layer.training and own[0] is not None and own[1] is not None
    fits = all(each is None or (len(each) == X.shape[1] and each.dtype == X.dtype) for each in own)
    return X.shape if known and fits else None


def _conv(layer: Any, X: Plain) -> Shape | None:
    weight, bias = layer.weight, layer.bias  # 读者可能换过，in_channels 之类却还是原来的
    if (layer.padding_mode != "zeros" or X.shape[1] != weight.shape[1] * layer.groups or len(weight) % layer.groups
            or weight.dtype != X.dtype or not weight.is_contiguous() or channels_last(weight)
            or (bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != X.dtype))):
        return None
    return _slid(X, len(weight), weight.shape[2:], layer.stride, layer.padding, layer.dilation)


def _max_pool(layer: Any, X: Plain) -> Shape | None:
    if layer.ceil_mode or layer.return_indices:
        return None
    return _pooled(X, layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def _average_pool(layer: Any, X: Plain) -> Shape | None:
    if layer.ceil_mode:
        return None
    return _pooled(X, layer.kernel_size, layer.stride, layer.padding, 1)


def _pooled(X: Plain, *window: Any) -> Shape | None:
    """汇聚之后的形状；填充多于窗口的一半，PyTorch 不接受。"""
    kernel, stride, padding, dilation = map(_pair, window)
    shape = _slid(X, X.shape[1], kernel, stride, padding, dilation)
    return shape if shape and all(2 * p <= k for k, p in zip(kernel, padding, strict=True)) else None


def _slid(X: Plain, channels: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Shape | None:
    """窗口滑过之后的形状；放不下、没有通道、不是每一维一个合适的整数，就是 None。"""
    if not all(_two(sizes, low) for sizes, low in ((kernel, 1), (stride, 1), (padding, 0), (dilation, 1))):
        return None
    sides = slid(X.shape[2:], Window(kernel, stride, padding, dilation))
    return (X.shape[0], channels, *sides) if min(channels, *X.shape, *sides) > 0 else None


def _two(sizes: Any, low: int) -> bool:
    """两个整数，都不小于 low。"""
    return isinstance(sizes, tuple) and len(sizes) == 2 and all(type(each) is int and each >= low for each in sizes)


Rule = Callable[[Any, Plain], "Shape | None"]
_RULES: dict[type[nn.Module], Rule] = {
    nn.Conv2d: _conv, nn.MaxPool2d: _max_pool, nn.AvgPool2d: _average_pool, nn.BatchNorm2d: _norm,
    **dict.fromkeys((nn.ReLU, nn.Sigmoid, nn.Tanh), _same)}
