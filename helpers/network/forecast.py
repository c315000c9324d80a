"""训练之前就知道要多少内存；什么也不训练。"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.machine.device import GB, dtype_name, fast_dtype, megabytes, memory_limit, pick_device
from helpers.network.borrow import mode
from helpers.network.dispatch import Watcher, storage_id

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


def forecast(net: nn.Module, shape: tuple[int, ...], batch_size: int, *, dtype: torch.dtype | None = None) -> Forecast:
    """训练 net 要多少内存；什么也不分配，什么也不训练。

    net: 在哪个设备上都行，meta 也行；shape: 输入形状 (B, C, H, W)，B 不起作用。
    dtype: 卷积和矩阵乘法的精度；默认是这台机器上训练用的。
    """
    dtype = dtype or fast_dtype(pick_device())
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    saved = _saved(net, tensors, shape, dtype)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    parameters = sum(p.numel() for p in net.parameters())
    return Forecast(batch_size, dtype, weights, gradients=4 * parameters,
                    copies=0 if dtype == torch.float32 else 2 * parameters,
                    per_sample=sum(saved), largest=max(saved))


def _saved(net: nn.Module, tensors: dict[str, Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> list[float]:
    """为反向传播存下的每个张量，每个样本占多少字节；输入也算，net 的权重和统计量（tensors）不算。

    这是 PyTorch 自己报的：在 meta 设备上走一次前向，用 saved_tensors_hooks 看它存下哪些张量。
    """
    twins = {name: _twin(tensor, dtype) for name, tensor in tensors.items()}
    own = {storage_id(twin) for twin in twins.values()}
    X = torch.zeros(2, *shape[1:], device="meta", dtype=dtype)  # 两个样本：批量规范化在训练时不接受一个
    kept = {storage_id(X): X.untyped_storage()}

    def keep(tensor: Tensor) -> None:
        # 不返回张量：它与计算图会互相抓着，永远放不掉；这里不走反向，用不到它
        kept[storage_id(tensor)] = tensor.untyped_storage()

    with mode(net, training=True), Watcher(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(net, twins, (X,))
    return [storage.nbytes() / 2 for key, storage in kept.items() if key not in own]


def _twin(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """形状相同的 meta 张量；小数换成 dtype。"""
    twin = torch.empty(tensor.shape, device="meta", dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return twin.requires_grad_(tensor.requires_grad)
