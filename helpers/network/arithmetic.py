"""每一种运算的一格怎样拆成一项一项；`inside.explain` 的算术都在这里。"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.network.dispatch import Convolution, aten, window
from helpers.network.recording import PASSED, Value, values

Index = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """来路相同的几项，一项一个数。

    role: 见 `inside.Term`；source 的 places 这些格，数是 numbers，各乘以 weights（没有就是 1）。
    contributions: 不是相乘的，算出来是多少；weight_source, weight_places: weights 在哪里。
    """

    role: str
    numbers: Sequence[float]
    source: Value | None = None
    places: Sequence[Index] = ()
    weights: Sequence[float] | None = None
    weight_source: Value | None = None
    weight_places: Sequence[Index] = ()
    contributions: Sequence[float] | None = None


@dataclass(frozen=True)
class Split:
    """一格拆成的样子：kind、constants、note 见 `inside.Explanation`。"""

    kind: str
    parts: Sequence[Part] = ()
    constants: dict[str, float] = field(default_factory=dict)
    note: str = ""


def split(value: Value, index: Index) -> Split:
    """value 的第 index 格怎样算出来的。"""
    if value.kind == "image":
        return Split("pixel")
    if value.kind in ("parameter", "constant"):
        return Split(value.kind)
    if value.kind == "overwritten":
        return Split("other", note="它的内存被别的张量改写过，查不到来路。")
    rule = _RULES.get(value.op)
    found = rule(value, index) if rule else None
    return found or Split("other", note=f"{_spelled(value.op)} 不是几项之和，或者这里不认得，没有拆开；"
                                        f"它用到 {'、'.join(map(repr, values(value.args))) or '的都是常数'}。")


def _spelled(op: Any) -> str:
    return f"PyTorch 的运算 {getattr(op, '__name__', op)}"


# 加权和

def _convolution(value: Value, index: Index) -> Split | None:
    call = Convolution(*value.args)
    X, weight, groups = call.X, call.weight, call.groups
    if call.transposed or len(X.shape) != len(index):
        return None
    sample, channel, *place = index
    slide = window(value.op, value.args)
    rows = [_inside(i, *each) for i, *each in zip(place, slide.kernel, slide.stride, slide.padding, slide.dilation,
                                                  X.shape[2:], strict=True)]
    width = weight.shape[1]
    first = channel // (weight.shape[0] // groups) * width
    steps = list(product(*rows))  # 每一项：每一维的 (核里第几行, 图里第几行)
    places = [(sample, first + c, *(at for _, at in step)) for c in range(width) for step in steps]
    weight_places = [(channel, c, *(k for k, _ in step)) for c in range(width) for step in steps]
    padded = width * (math.prod(slide.kernel) - len(steps))
    return Split("weighted_sum", [_products(X, places, weight, weight_places), *_bias(call.bias, (channel,))],
                 note=f"窗口里另有 {padded} 个数在填充里，是 0。" if padded else "")


def _inside(i: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> list[tuple[int, int]]:
    """输出第 i 行的窗口里，(核的第几行, 输入的第几行)；填充里的不算。"""
    start = i * stride - padding
    return [(k, start + k * dilation) for k in range(kernel) if 0 <= start + k * dilation < size]


def _products(X: Any, places: Sequence[Index], weight: Any, weight_places: Sequence[Index]) -> Part:
    return Part("input", _numbers(X, places), X, places, _numbers(weight, weight_places), weight, weight_places)


def _bias(bias: Any, place: Index, scale: float = 1) -> Iterator[Part]:
    if bias is not None:
        yield Part("bias", _numbers(bias, [place]), bias, [place], [float(scale)] if scale != 1 else None)


def _matrix_product(value: Value, index: Index) -> Split:
    left, right = value.args[-2:]
    bias = value.args[0] if len(value.args) == 3 else None
    alpha, beta = value.kwargs.get("alpha", 1), value.kwargs.get("beta", 1)
    *batch, row, column = index
    inner = range(left.shape[-1])
    part = _products(left, [(*batch, row, k) for k in inner], right, [(*batch, k, column) for k in inner])
    if alpha != 1:
        part = Part(part.role, part.numbers, left, part.places, [alpha * w for w in part.weights or ()])
    extra = _bias(bias, _broadcast(bias, index), beta) if bias is not None else ()
    return Split("weighted_sum", [part, *extra])


# 窗口

def _max_pool(value: Value, index: Index) -> Split | None:
    return _largest(value.args[0], _windowed(value, index)) if value.output == 0 else None


def _average_pool(value: Value, index: Index) -> Split:
    X = value.args[0]
    cells = _windowed(value, index)
    slide = window(value.op, value.args)
    _, _, _, _, _, counts_padding, divisor = (*value.args, *(None,) * 7)[:7]
    area = divisor or len(cells)
    if divisor is None and counts_padding is not False:
        area = math.prod(min(i * s - p + k, size + p) - (i * s - p) for i, k, s, p, size in zip(
            index[-2:], slide.kernel, slide.stride, slide.padding, X.shape[-2:], strict=True))
    return _average(X, cells, 1 / area)


def _windowed(value: Value, index: Index) -> list[Index]:
    """窗口里的格，填充里的不算。"""
    X, slide = value.args[0], window(value.op, value.args)
    rows = [[at for _, at in _inside(i, *each)] for i, *each in zip(
        index[-2:], slide.kernel, slide.stride, slide.padding, slide.dilation, X.shape[-2:], strict=True)]
    return [(*index[:-2], *place) for place in product(*rows)]


def _adaptive(value: Value, index: Index) -> list[Index]:
    X, sizes = value.args[0], value.shape[-2:]
    rows = [range(i * size // out, -(-(i + 1) * size // out)) for i, size, out in zip(
        index[-2:], X.shape[-2:], sizes, strict=True)]
    return [(*index[:-2], *place) for place in product(*rows)]


def _adaptive_average(value: Value, index: Index) -> Split:
    cells = _adaptive(value, index)
    return _average(value.args[0], cells, 1 / len(cells))


def _adaptive_max(value: Value, index: Index) -> Split | None:
    return _largest(value.args[0], _adaptive(value, index)) if value.output == 0 else None


def _average(X: Value, cells: Sequence[Index], weight: float, kind: str = "mean") -> Split:
    return Split(kind, [Part("input", _numbers(X, cells), X, cells, [weight] * len(cells))])


def _largest(X: Value, cells: Sequence[Index]) -> Split:
    """最大的一格的权重是 1，别的是 0。"""
    numbers = _numbers(X, cells)
    winner = max(range(len(numbers)), key=lambda i: numbers[i])
    return Split("maximum", [Part("input", numbers, X, cells, [float(i == winner) for i in range(len(cells))])])


def _mean(value: Value, index: Index) -> Split:
    cells = _reduced(value, index)
    return _average(value.args[0], cells, 1 / len(cells))


def _sum(value: Value, index: Index) -> Split:
    return _average(value.args[0], _reduced(value, index), 1.0, "sum")


def _max(value: Value, index: Index) -> Split | None:
    return _largest(value.args[0], _reduced(value, index)) if value.output == 0 else None


def _reduced(value: Value, index: Index) -> list[Index]:
    """沿着几维合并成一格的那些格。"""
    X, dims = value.args[0], value.args[1] if len(value.args) > 1 else None
    count = len(X.shape)
    dims = range(count) if dims is None or dims == () else [dims] if isinstance(dims, int) else dims
    merged = {dim % count for dim in dims}
    kept = iter(index if len(index) < count else [i for dim, i in enumerate(index) if dim not in merged])
    return list(product(*(range(size) if dim in merged else [next(kept)] for dim, size in enumerate(X.shape))))


# 规范化：γ (x - μ) / σ + β

def _batch_norm(value: Value, index: Index) -> Split | None:
    X, gamma, beta, mean, var, *rest = value.args
    training, eps = (False, rest[-1]) if len(rest) < 3 else (rest[0], rest[2])
    if value.output:
        return None
    channel = (index[1],)
    if training or mean is None:
        return _normalized(X, index, _moments(X.content[:, channel[0]]), gamma, beta, channel, eps)
    return _normalized(X, index, (_numbers(mean, [channel])[0], _numbers(var, [channel])[0]), gamma, beta, channel, eps)


def _layer_norm(value: Value, index: Index) -> Split | None:
    X, shape, gamma, beta, eps = value.args
    place = index[len(index) - len(shape):]
    return None if value.output else _normalized(
        X, index, _moments(X.content[index[:len(index) - len(shape)]]), gamma, beta, place, eps)


def _group_norm(value: Value, index: Index) -> Split | None:
    X, gamma, beta, _, channels, _, groups, eps = value.args
    size = channels // groups
    first = index[1] // size * size
    return None if value.output else _normalized(
        X, index, _moments(X.content[index[0], first:first + size]), gamma, beta, (index[1],), eps)


def _moments(group: Tensor) -> tuple[float, float]:
    exact = group.double()
    return exact.mean().item(), exact.var(correction=0).item()


def _normalized(X: Value, index: Index, moments: tuple[float, float], gamma: Value | None, beta: Value | None,
                place: Index, eps: float) -> Split:
    mean, deviation = moments[0], math.sqrt(moments[1] + eps)
    scale = _numbers(gamma, [place])[0] if gamma is not None else 1.0
    shift = _numbers(beta, [place])[0] if beta is not None else 0.0
    weight = scale / deviation
    parts = [Part("input", _numbers(X, [index]), X, [index], [weight]),
             Part("shift", [mean], weights=[-weight]), *_bias(beta, place)]
    return Split("normalization", parts, {"μ": mean, "σ": deviation, "γ": scale, "β": shift})


# 逐格的

def _activation(value: Value, index: Index) -> Split:
    X = value.args[0]
    return Split("activation", [Part("input", _numbers(X, [index]), X, [index],
                                     contributions=[value.content[index].item()])], note=_spelled(value.op))


def _relu(value: Value, index: Index) -> Split:
    X = value.args[0]
    number = _numbers(X, [index])
    return Split("activation", [Part("input", number, X, [index], [float(number[0] > 0)])],
                 note="ReLU：" + ("正数照旧。" if number[0] > 0 else "不是正数的变成 0。"))


def _add(value: Value, index: Index) -> Split:
    left, right = value.args[:2]
    scale = value.args[2] if len(value.args) > 2 else value.kwargs.get("alpha", 1)
    sign = -1 if value.op is aten.sub else 1
    return Split("addition", [_operand(left, index), _operand(right, index, sign * scale)])


def _multiply(value: Value, index: Index) -> Split:
    left, right = value.args
    if not isinstance(left, Value) or left.kind == "parameter":
        left, right = right, left
    place = _broadcast(left, index)
    factor = _operand(right, index)
    return Split("product", [Part("input", _numbers(left, [place]), left, [place], factor.numbers, factor.source,
                                  factor.places)])


def _divide(value: Value, index: Index) -> Split | None:
    left, right = value.args
    if value.kwargs or not isinstance(left, Value):
        return None
    return Split("product", [_operand(left, index, 1 / _operand(right, index).numbers[0])])


def _operand(operand: Any, index: Index, weight: float = 1) -> Part:
    """相加、相乘的一边：一个张量，或者写在代码里的一个数。"""
    weights = [float(weight)]
    if not isinstance(operand, Value):
        return Part("constant", [float(operand)], weights=weights)
    place = _broadcast(operand, index)
    return Part("input", _numbers(operand, [place]), operand, [place], weights)


def _broadcast(value: Value, index: Index) -> Index:
    """广播：从后往前对齐，长度是 1 的那一维总是第 0 格。"""
    tail = index[len(index) - len(value.shape):]
    return tuple(0 if size == 1 else i for i, size in zip(tail, value.shape, strict=True))


# 照搬的：同样的运算对「第几格」做一遍，就知道每一格从哪里来

def _move(value: Value, index: Index) -> Split | None:
    kind = ("concatenation" if value.op in (aten.cat, aten.stack)
            else "flatten" if value.op in (aten.view, aten._unsafe_view) and len(index) < len(value.args[0].shape)
            else "movement")
    number = int(_origins(value)[index].item())
    if number < 0:
        return Split("movement", [Part("constant", [value.content[index].item()])], note="在填充里。")
    for source in _moved(value):
        if number < source.content.numel():
            place = tuple(map(int, np.unravel_index(number, source.shape)))  # torch 的要先花两秒导入
            return Split(kind, [Part("input", _numbers(source, [place]), source, [place], [1.0])])
        number -= source.content.numel()
    return None


@lru_cache(maxsize=64)
def _origins(value: Value) -> Tensor:
    """形状同 value，每一格是它来自第几个数：几个来源的格接着数；填充是 -1。float64，装得下到 2⁵³ 的整数。"""
    start = 0

    def numbered(given: Any) -> Any:
        nonlocal start
        if isinstance(given, Value):
            if not given.content.is_floating_point():
                return given.content  # 下标
            start += given.content.numel()
            return torch.arange(start - given.content.numel(), start, dtype=torch.float64,
                                device=given.content.device).reshape(given.shape)
        return type(given)(map(numbered, given)) if isinstance(given, list | tuple) else given

    args = [numbered(each) for each in value.args]
    if value.op is aten.constant_pad_nd:
        args = [*args[:2], -1.0]
    options = {name: each for name, each in value.kwargs.items() if name not in ("dtype", "device", "layout")}
    out = value.op(*args, **options)
    return out if isinstance(out, Tensor) else out[value.output]


def _moved(value: Value) -> Iterator[Value]:
    return (each for each in values(value.args) if each.content.is_floating_point())


def _copy(value: Value, index: Index) -> Split:
    X = value.args[0]
    kind = "movement" if value.op is not PASSED else "dropout" if value.kwargs["dropout"] else "identity"
    return Split(kind, [Part("input", _numbers(X, [index]), X, [index], [1.0])])


def _numbers(value: Value, places: Sequence[Index]) -> list[float]:
    """这些格的数；一次取出，一个一个地取要慢几十倍。"""
    if len(places) == 1:
        return [value.content[places[0]].item()]
    return value.content[tuple(torch.tensor(places).T.unbind())].tolist() if places else []


_RULES: dict[Any, Callable[[Value, Index], Split | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool, aten.avg_pool2d: _average_pool,
    aten._adaptive_avg_pool2d: _adaptive_average, aten.adaptive_max_pool2d: _adaptive_max,
    aten.mean: _mean, aten.sum: _sum, aten.amax: _max, aten.max: _max,
    aten.native_batch_norm: _batch_norm, aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.native_layer_norm: _layer_norm, aten.native_group_norm: _group_norm,
    aten.relu: _relu, aten.add: _add, aten.sub: _add, aten.mul: _multiply, aten.div: _divide, PASSED: _copy,
} | dict.fromkeys((aten.mm, aten.addmm, aten.bmm, aten.baddbmm), _matrix_product) | dict.fromkeys(
    (aten.sigmoid, aten.tanh, aten.gelu, aten.silu, aten.mish, aten.elu, aten.leaky_relu, aten.hardtanh,
     aten.hardswish, aten.hardsigmoid, aten.softplus, aten.clamp, aten.clamp_min, aten.exp, aten.log, aten.sqrt,
     aten.rsqrt, aten.abs, aten.neg, aten.pow), _activation) | dict.fromkeys(
    (aten.cat, aten.stack, aten.view, aten._unsafe_view, aten.permute, aten.transpose, aten.t, aten.unsqueeze,
     aten.squeeze, aten.slice, aten.select, aten.expand, aten.split, aten.split_with_sizes, aten.unbind, aten.flip,
     aten.roll, aten.repeat, aten.index, aten.index_select, aten.pixel_shuffle, aten.pixel_unshuffle,
     aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d, aten.upsample_nearest2d,
     aten.channel_shuffle), _move) | dict.fromkeys((aten.clone, aten._to_copy), _copy)
