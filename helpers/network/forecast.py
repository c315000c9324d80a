"""训练之前就知道要多少内存；什么也不训练。"""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from helpers.arguments import between
from helpers.machine.device import GB, check_dtype, dtype_name, fast_dtype, megabytes, memory_limit, pick_device
from helpers.network.borrow import submodules
from helpers.network.dispatch import storage_id
from helpers.network.layer import Shape
from helpers.network.shape_errors import ShapeError
from helpers.network.walk import checked_network, checked_shape, is_torchs_own, walking

_MARGIN = 16 * 2**20  # 卷积算法的临时空间，字节


@dataclass(frozen=True)
class Forecast:
    """训练一个网络要的内存，字节。

    batch_size: 批量；dtype: 卷积和矩阵乘法的精度。
    weights: 权重（和统计量）；gradients: 梯度；copies: 混合精度为每一步另存的一份权重。
    per_sample: 每个样本为反向传播存下的激活；largest: 其中最大的一个，反向时它的梯度也要占地方。
    """

    batch_size: int
    dtype: torch.dtype
    weights: int
    gradients: int
    copies: int
    per_sample: float
    largest: float

    @property
    def activations(self) -> int:
        """一批的激活。"""
        return round(self.batch_size * self.per_sample)

    @property
    def workspace(self) -> int:
        """余量：反向时正在算的两个梯度，卷积算法的临时空间。"""
        return round(2 * self.batch_size * self.largest) + _MARGIN

    @property
    def total(self) -> int:
        """合计。"""
        return self.weights + self.gradients + self.copies + self.activations + self.workspace

    def largest_batch(self, limit: float) -> int:
        """limit 字节放得下的最大批量；一个样本也放不下就是 0。"""
        fixed = self.weights + self.gradients + self.copies + _MARGIN
        return max(0, int((limit - fixed) // (self.per_sample + 2 * self.largest)))

    def fitting(self, limit: float, images: int = 60_000) -> str:
        """limit 字节放得下多大的批量，几个字。images: 训练图片张数，批量不会更大。"""
        batch = self.largest_batch(limit)
        return "一个样本也放不下" if batch == 0 else f"放得下批量 {batch:,}" if batch < images else "全部一批也放得下"

    def sentence(self, limit: float) -> str:
        """一句话：要多少内存；limit 字节放不下时，只有多少，批量至多多少。"""
        need = f"训练约要 {megabytes(self.total)} 内存（批量 {self.batch_size:,}）"
        if self.total <= limit:
            return f"{need}。"
        batch = self.largest_batch(limit)
        return f"{need}，只有 {megabytes(limit)}，放不下；" + (
            f"批量至多 {batch:,}。" if batch else "一个样本也放不下，请减小宽度或输入边长。")

    def rows(self) -> list[tuple[str, str]]:
        """表格的各行：(名目, 数)。"""
        parts = {"权重": self.weights, "梯度": self.gradients, "存下的激活": self.activations,
                 "混合精度的权重副本": self.copies, "余量": self.workspace}
        limit = memory_limit(pick_device())
        limits = {"4 GB": 4 * GB, "8 GB": 8 * GB, f"这台机器此刻空闲的 {limit / GB:.1f} GB": limit}
        return [(f"批量 {self.batch_size}，{dtype_name(self.dtype)}", megabytes(self.total)),
                *((f"　{name}", megabytes(size)) for name, size in parts.items() if size),
                ("最大的批量", "，".join(f"{name} {self.fitting(size)}" for name, size in limits.items()))]

    def __repr__(self) -> str:
        return "\n".join(f"{name}：{value}" for name, value in self.rows())


def forecast(net: nn.Module, shape: Sequence[int], batch_size: int, *, dtype: torch.dtype | None = None) -> Forecast:
    """训练 net 要多少内存；什么也不训练，用完 net 一点没变。

    net: 在哪个设备上都行，meta 也行；shape: 输入形状 (B, C, H, W)，B 不起作用。
    dtype: 卷积和矩阵乘法的精度；默认是这台机器上训练用的。
    形状走不通时抛出 ShapeError，别的同 `trace`。
    """
    dtype = check_dtype(dtype, fast_dtype(pick_device()))
    batch_size = between("batch_size", batch_size, 1)
    saved = _saved_in(net, (2, *checked_shape(shape)[1:]), dtype)  # 两个样本：批量规范化在训练时不接受一个
    parameters = [*net.parameters()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*parameters, *net.buffers()))
    count = sum(p.numel() for p in parameters)
    return Forecast(batch_size, dtype, weights, gradients=4 * sum(p.numel() for p in parameters if p.requires_grad),
                    copies=0 if dtype == torch.float32 else 2 * count, per_sample=sum(saved), largest=max(saved))


def _saved_in(net: nn.Module, shape: Shape, dtype: torch.dtype) -> list[float]:
    """同 `_saved`；换了精度走不通的，按 float32 算，只会多算。

    forward 里自己造了 float32 的张量或层的网络就是这样，训练时（autocast）却走得通。
    """
    if dtype != torch.float32:
        with suppress(ShapeError):
            return _saved(net, shape, dtype)
    return _saved(net, shape, torch.float32)


def _saved(net: nn.Module, shape: Shape, dtype: torch.dtype) -> list[float]:
    """为反向传播存下的每个张量，每个样本占多少字节；输入也算，net 自己的张量不算。

    这是 PyTorch 自己报的：走一次前向，用 saved_tensors_hooks 看它存下哪些张量。
    """
    kept = {}

    def keep(tensor: Tensor) -> None:
        # 不返回张量：它与计算图会互相抓着，永远放不掉；这里不走反向，用不到它
        kept[storage_id(tensor)] = tensor.untyped_storage()

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    whole = dtype == torch.float32 or all(map(_lowers_whole, submodules(checked_network(net))))
    lowered = None if whole else _Lowered(dtype)
    with walking(net, depth=1, training=True, dtype=dtype if whole else None) as walk, hooks, (
            lowered or nullcontext()):
        walk(shape)
        kept[storage_id(walk.image)] = walk.image.untyped_storage()
        own = walk.own | {storage_id(copy) for copy in (lowered.copies.values() if lowered else ())}
        return [storage.nbytes() / shape[0] for key, storage in kept.items() if key not in own]


def _lowers_whole(module: nn.Module) -> bool:
    """混合精度时，这一层的参数和输入可以都换成低精度：PyTorch 自己的层可以，除了局部响应规范化，它升回单精度。"""
    return not isinstance(module, nn.LocalResponseNorm) and (
        not module._parameters or is_torchs_own(module))


class _Lowered(TorchFunctionMode):
    """在这个 with 里，卷积和矩阵乘法像 autocast 那样用 dtype 算，别的运算照输入的精度；autocast 自己不管 meta 张量。

    读者自己的层里，单精度的参数与低精度的激活逐格相乘，得到的是单精度。比把参数都换成 dtype 慢一半多。
    copies: 参数的 id 到它换了精度的一份，一个参数只换一次。
    """

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype, self.copies = dtype, dict[int, Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _LOWERED:
            args = tree_map_only(Tensor, self._lower, args)
            kwargs = {key: tree_map_only(Tensor, self._lower, value) for key, value in kwargs.items()}
        elif name == "local_response_norm":  # 里面的 pow 升回单精度
            args = args[0].float(), *args[1:]
        return func(*args, **kwargs)

    def _lower(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        if not isinstance(tensor, nn.Parameter):
            return tensor.to(self.dtype)
        if id(tensor) not in self.copies:
            self.copies[id(tensor)] = tensor.to(self.dtype)
        return self.copies[id(tensor)]


# https://docs.pytorch.org/docs/stable/amp.html 里换成低精度的；注意力里面的看不到，整个换
_LOWERED = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
            "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "addbmm", "baddbmm", "einsum",
            "multi_head_attention_forward", "scaled_dot_product_attention", "lstm", "gru", "rnn_tanh", "rnn_relu",
            "prelu"}
