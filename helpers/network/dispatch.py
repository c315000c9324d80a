"""看着 PyTorch 的每个运算经过：它怎样分派运算，内部的名字叫什么，这里知道；抽随机数的那些，machine/dice.py 也知道。

张量的每个运算最后都落到 aten 的一个函数上；`aten.convolution` 这样的一包（同名的几个重载）在这里叫运算。
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from helpers.machine.device import dtype_name

aten = torch.ops.aten

PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}  # 矩阵乘法，最后两个参数相乘
AVERAGE_POOLS = {aten.avg_pool2d, aten.avg_pool3d}
_POOLS_3D = {aten.avg_pool3d, aten.max_pool3d_with_indices}
POOLS = AVERAGE_POOLS | {aten.max_pool2d_with_indices, aten.max_pool3d_with_indices}
ADAPTIVE_POOLS = {aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d}
UPSAMPLING = {aten.upsample_nearest2d, aten.upsample_bilinear2d, aten.upsample_bicubic2d}
VIEWS = {aten.view, aten._unsafe_view, aten.squeeze, aten.unsqueeze}  # 数的次序不变，只换形状
# 第一个参数原来的数不用，只取它的形状
OVERWRITES = {aten.new_empty, aten.new_zeros, aten.new_ones, aten.new_full, aten.empty_like, aten.zeros_like,
              aten.ones_like, aten.full_like, aten.rand_like, aten.randn_like, aten.zero_, aten.fill_, aten.copy_}
# 沿着几维合成一个数；值是第几个参数说沿着哪几维
REDUCTIONS = dict.fromkeys(
    (aten.sum, aten.nansum, aten.mean, aten.amax, aten.amin, aten.max, aten.min, aten.argmax, aten.argmin, aten.prod,
     aten.var, aten.std, aten.var_mean, aten.std_mean, aten.logsumexp, aten.any, aten.all), 1) | {
    aten.linalg_vector_norm: 2, aten.norm: 2}

# 逐格的运算，PyTorch 自己的标签 pointwise 里没有的
_POINTWISE = {aten._to_copy, aten.detach, aten.alias, aten.lift_fresh, aten._prelu_kernel, aten.hardswish,
              aten.hardswish_, aten.hardsigmoid_, aten.hardtanh_, aten.log_sigmoid_forward, aten.native_dropout}
_RANDOM = torch.Tag.nondeterministic_seeded  # 要抽随机数的运算
ATOMS = {int, float, bool, str, type(None)}  # 改不了，里面也没有别的：参数和属性里最多的，先认出来


class Convolution(NamedTuple):
    """aten.convolution 的参数：`Convolution(*args)`。"""

    X: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


class Window(NamedTuple):
    """滑动的窗口，每一维一个数，高在前、宽在后。"""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


def window(op: Any, args: tuple) -> Window:
    """一次卷积或汇聚（POOLS）的窗口。"""
    if op is aten.convolution:
        call = Convolution(*args)
        return _widened(len(call.weight.shape) - 2, call.weight.shape[2:], call.stride, call.padding, call.dilation)
    given = args[1:4] if op in AVERAGE_POOLS else args[1:5]  # 平均汇聚没有膨胀；等于默认值的参数不传
    kernel, (stride, padding, dilation) = given[0], (*given[1:], None, None, None)[:3]
    return _widened(3 if op in _POOLS_3D else 2, kernel, stride or kernel, padding or [0], dilation or [1])


def slid(sides: Sequence[int], sliding: Window) -> list[int]:
    """窗口滑过各边之后的边长；放不下是零或负数。"""
    return [(side + 2 * pad - apart * (kernel - 1) - 1) // step + 1 for side, kernel, step, pad, apart
            in zip(sides, *sliding, strict=True)]


def _widened(count: int, *sizes: Sequence[int]) -> Window:
    """只写了一个数的，每一维都是它。"""
    return Window(*(tuple(each) if len(each) > 1 else (*each,) * count for each in sizes))


@cache
def is_pointwise(op: Any) -> bool:
    """每个输出只由各个输入的同一个位置（形状不同就广播）算出；不认得的不算。"""
    return op in _POINTWISE or any(torch.Tag.pointwise in getattr(op, name).tags for name in op.overloads())


def tensors(value: Any) -> list[Tensor]:
    """value 里的张量，按次序；元组、列表和字典都翻开。"""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    _collect((value,), found)
    return found


def _collect(items: Iterable[Any], found: list[Tensor]) -> None:
    for item in items:
        if type(item) in ATOMS:  # 每个运算都要问几次
            continue
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, list | tuple):
            _collect(item, found)
        elif isinstance(item, dict):
            _collect(item.values(), found)


def first_tensor(value: Any) -> Tensor | None:
    """value 里的第一个张量；没有就是 None。"""
    return value if isinstance(value, Tensor) else next(iter(tensors(value)), None)


def storage_id(tensor: Tensor) -> int:
    """存储的号码：两个张量的相同，就是共用一块内存；meta 张量没有地址，但有号码。"""
    return tensor.untyped_storage()._cdata


class Watcher(TorchDispatchMode):
    """在这个 with 里，每个运算都经过 `watch`；meta 张量走捷径（见 `_SHAPES`）。

    子类改写 watch，要的话也改写 before_random。运算出错时 running 停在它上面。
    """

    running: tuple[Any, tuple] | None = None  # 正在算的运算和它的参数

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了。op: 如 aten.mm；out: 它的结果，一个张量或几个。"""

    def before(self, op: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """下一个运算要开始了。"""

    def before_random(self) -> None:
        """下一个运算要抽随机数。"""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # 否则第一次运行要花一秒多导入 torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        op, kwargs = func._overloadpacket, kwargs or {}
        if _RANDOM in func.tags:
            self.before_random()
        self.running = op, args
        self.before(op, args, kwargs)
        out = _shortcut(op, args, kwargs)
        if out is NotImplemented:
            _try_empty(func, args, kwargs)
            out = func(*args, **kwargs)
            _check(op, args, out)
            if op is aten.convolution and out.is_meta and channels_last(*args[:2]):  # 在 meta 上不管这个
                out = _meta(out.shape, out, order=torch.channels_last)
        self.watch(op, args, kwargs, out)
        self.running = None
        return out


def _check(op: Any, args: tuple, out: Any) -> None:
    """PyTorch 在 meta 上不查的：卷积的偏置，转置卷积的通道数，相乘的数值类型，缩小之后剩不剩。

    2.6 还有输入是不是比卷积核小。
    """
    if op is aten.convolution:
        call = Convolution(*args)
        if call.bias is not None and len(call.bias) != out.shape[call.X.dim() - len(call.stride) - 1]:
            raise RuntimeError("偏置的个数应当是输出的通道数")
        empty = call.X.numel() and not out.numel()
        if empty or (call.transposed and call.X.shape[1] != call.weight.shape[0]):
            raise RuntimeError("输入的通道数或大小与卷积核不合")
        if call.transposed and any(extra >= max(step, apart) for extra, step, apart in zip(
                call.output_padding, call.stride, call.dilation, strict=False)):
            raise RuntimeError("output_padding 应当小于步幅或者膨胀")
    elif op in UPSAMPLING and not out.numel():
        raise RuntimeError("缩小之后一个像素也不剩")
    if len(multiplied(op, args)) > 1:
        raise RuntimeError("相乘的数值类型不同")


def multiplied(op: Any, args: tuple) -> list[str]:
    """相乘的几个张量的数值类型，如 "float32"：输入的在前，相同的只写一次；不是卷积或矩阵乘法就是空的。"""
    if op in PRODUCTS:
        args = *args[-2:], *args[:-2]  # 偏置写在最前
    elif op is not aten.convolution:
        return []
    return [*map(dtype_name, dict.fromkeys(tensor.dtype for tensor in tensors(args)))]


def _try_empty(func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """meta 上有的参数是空的：真的算一次，算不成就抛出异常。空的算起来不费事；PyTorch 在 meta 上对它们查得不全。"""
    if any(tensor.is_meta and not tensor.numel() for tensor in tensors((args, kwargs))):
        args, kwargs = tree_map_only(Tensor, lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype),
                                     (args, kwargs))
        func(*args, **kwargs)


def _shortcut(op: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """meta 张量的这次运算，不必算也知道的结果；没有这样的捷径就是 NotImplemented。

    PyTorch 用 Python 推导这些运算的形状，每次约一毫秒，头一次还要多导入一秒；形状其实一看便知。
    捷径只认平常的参数，真的算起来一定算得成；别的交给 PyTorch。带关键字参数（如 dtype）的，让 PyTorch 自己推。
    """
    shape = _SHAPES.get(op)
    if shape is None or kwargs:
        return NotImplemented
    first = first_tensor(args[0])  # cat 的第一个参数是一列张量
    return shape(*args) if first is not None and first.is_meta else NotImplemented


def _meta(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None,
          order: torch.memory_format = torch.contiguous_format) -> Tensor:
    """一个 meta 张量，在内存里照 order 排。new_empty、empty_like 在 meta 上也用 Python 推导，慢一倍多。"""
    return torch.empty(shape, dtype=dtype or like.dtype, device="meta", memory_format=order)


def _usual(*tensors: Tensor) -> bool:
    """都在 meta 上，小数，精度相同，连续：结果也就这样。不连续的，结果在内存里怎样排，PyTorch 才知道。

    高和宽都是 1 的，两种排法都算连续；原来通道排在最后的，连结起来还是那样，也交给 PyTorch。
    """
    dtype = tensors[0].dtype
    usual = dtype.is_floating_point and all(
        each.is_meta and each.dtype == dtype and each.is_contiguous() for each in tensors)
    return usual and not channels_last(*tensors)


def channels_last(*tensors: Tensor) -> bool:
    """有一个张量在内存里通道排在最后：卷积的输入或权重这样，输出也就这样。"""
    last = torch.channels_last
    return any(suggest_memory_format(each) is last for each in tensors if each.dim() == 4 and (
        not each.is_contiguous() or each.is_contiguous(memory_format=last)))  # 先问 C++ 的，快得多


def _elementwise(X: Tensor, *_: Any) -> Any:
    return _meta(X.shape, X) if _usual(X) else NotImplemented


def _in_place(X: Tensor, *others: Any) -> Any:
    return X if X.is_floating_point() and not tensors(others) else NotImplemented


def _broadcast(X: Tensor, Y: Any) -> Any:
    if not isinstance(Y, Tensor):
        return _meta(X.shape, X) if _usual(X) else NotImplemented
    if not _usual(X, Y):
        return NotImplemented
    return _meta(X.shape if X.shape == Y.shape else torch.broadcast_shapes(X.shape, Y.shape), X)


def _mean(X: Tensor, dims: Any = None, keepdim: bool = False) -> Any:
    last = X.dim()
    if not dims or not all(-last <= dim < last for dim in dims) or not _usual(X):
        return NotImplemented
    gone = {dim % last for dim in dims}
    if len(gone) < len(dims):
        return NotImplemented
    return _meta([1 if i in gone else side for i, side in enumerate(X.shape) if keepdim or i not in gone], X)


def _convolve(*args: Any) -> Any:
    """平常的卷积；有一处不合，就让 PyTorch 来说。"""
    call, sliding = Convolution(*args), window(aten.convolution, args)
    X, weight, bias = call.X, call.weight, call.bias
    if not _slides(sliding):  # PyTorch 在 meta 上有的不查，有的除以 0
        raise RuntimeError("步幅和膨胀应当是正整数，填充不能是负数")
    if (call.transposed or X.dim() != weight.dim() or X.shape[1] != weight.shape[1] * call.groups
            or len(weight) % call.groups or (bias is not None and bias.shape != weight.shape[:1])
            or not _usual(X, weight, *() if bias is None else (bias,))):
        return NotImplemented
    sides = slid(X.shape[2:], sliding)
    return _meta([len(X), len(weight), *sides], X) if X.numel() and min(len(weight), *sides) > 0 else NotImplemented


def _slides(sliding: Window) -> bool:
    """窗口、步幅、填充和膨胀都是 PyTorch 接受的。"""
    return min(*sliding.stride, *sliding.dilation) > 0 and min(sliding.padding) >= 0


def _max_pool(X: Tensor, *how: Any) -> Any:
    shape = _pooled(X, window(aten.max_pool2d_with_indices, (X, *how)), *how[4:])
    return (_meta(shape, X), _meta(shape, X, torch.int64)) if shape else NotImplemented


def _average_pool(X: Tensor, *how: Any) -> Any:
    shape = _pooled(X, window(aten.avg_pool2d, (X, *how)), *how[3:4])
    return _meta(shape, X) if shape else NotImplemented


def _pooled(X: Tensor, sliding: Window, ceil: bool = False) -> list[int] | None:
    """平常的汇聚之后的形状；有一处不合，就让 PyTorch 来说。"""
    usual = X.dim() == 4 and X.numel() and _usual(X) and not ceil
    if not usual or not _slides(sliding) or not all(
            2 * pad <= kernel for kernel, pad in zip(sliding.kernel, sliding.padding, strict=True)):
        return None
    sides = slid(X.shape[2:], sliding)
    return [*X.shape[:2], *sides] if min(sides) > 0 else None


def _linear(bias: Tensor, X: Tensor, weight: Tensor) -> Any:
    fits = X.dim() == weight.dim() == 2 and X.shape[1] == len(weight) and bias.shape == weight.shape[1:]
    same = X.is_meta and weight.is_meta and bias.dtype == X.dtype == weight.dtype  # 结果总是连续的，weight 却是转置来的
    return _meta([len(X), weight.shape[1]], X) if fits and same else NotImplemented


def _batch_norm(X: Tensor, *_: Any) -> Any:
    if not X.is_floating_point() or not X.numel():
        return NotImplemented
    statistics = torch.promote_types(X.dtype, torch.float32)  # 统计量至少是单精度
    last = X.is_contiguous(memory_format=torch.channels_last)
    order = torch.contiguous_format if X.is_contiguous() else torch.channels_last if last else suggest_memory_format(X)
    return _meta(X.shape, X, order=order), _meta(X.shape[1:2], X, statistics), _meta(X.shape[1:2], X, statistics)


def _cat(parts: list[Tensor], dim: int = 0) -> Any:
    shapes = [list(part.shape) for part in parts]
    if not _usual(*parts) or len({*map(len, shapes)}) > 1 or not -len(shapes[0]) <= dim < len(shapes[0]):
        return NotImplemented
    total = sum(shape.pop(dim) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        return NotImplemented  # 让 PyTorch 来说哪里不对
    shapes[0].insert(dim % parts[0].dim(), total)
    return _meta(shapes[0], parts[0])


_SHAPES: dict[Any, Callable[..., Any]] = dict.fromkeys(
    (aten.relu, aten.sigmoid, aten.tanh, aten.gelu, aten.leaky_relu, aten.hardtanh, aten.hardswish, aten.hardsigmoid),
    _elementwise) | {
    aten.add: _broadcast, aten.mul: _broadcast, aten.mean: _mean, aten.cat: _cat, aten.addmm: _linear,
    aten.convolution: _convolve, aten.max_pool2d_with_indices: _max_pool, aten.avg_pool2d: _average_pool,
    aten.native_batch_norm: _batch_norm,
    aten.bernoulli_: _in_place, aten.div_: _in_place}  # 后两个是暂退法
