"""训练之前就知道要多少内存、多少时间。"""

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.data.fashion import fashion_mnist
from helpers.machine.device import GB, fast_dtype, megabytes, memory_limit, pick_device
from helpers.network.borrow import mode
from helpers.network.dispatch import shortcut
from helpers.training.loop import steps

_MARGIN = 16 * 2**20  # 卷积算法的临时空间，字节


@dataclass(frozen=True)
class Forecast:
    """训练一个网络要的内存，字节。

    batch_size: 批量；dtype: 卷积和矩阵乘法的精度。
    weights: 权重（和统计量）；gradients: 梯度；copies: 混合精度为每一步另存的一份权重。
    per_sample: 每个样本为反向传播存下的激活；largest: 其中最大的一个，反向时它的梯度也要占地方。
    seconds: 在这台机器上训练一轮（60,000 张，连同评估）多少秒；没有测就是 None。
    """

    batch_size: int
    dtype: torch.dtype
    weights: int
    gradients: int
    copies: int
    per_sample: float
    largest: float
    seconds: float | None = None

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
        limit = memory_limit(pick_device())
        batches = [f"{name} 放得下批量 {self.largest_batch(size):,}"
                   for name, size in (("4 GB", 4 * GB), ("8 GB", 8 * GB), (f"这台机器（{limit / GB:.1f} GB）", limit))]
        rows = [(f"批量 {self.batch_size}，{str(self.dtype).removeprefix('torch.')}", megabytes(self.total)),
                ("　权重", megabytes(self.weights)), ("　梯度", megabytes(self.gradients)),
                ("　存下的激活", megabytes(self.activations))]
        if self.copies:
            rows.append(("　混合精度的权重副本", megabytes(self.copies)))
        rows += [("　余量", megabytes(self.workspace)), ("最大的批量", "，".join(batches))]
        if self.seconds is not None:
            rows.append(("一轮（60,000 张）", f"约 {self.seconds:.0f} 秒"))
        return rows

    def __repr__(self) -> str:
        return "\n".join(f"{name}：{value}" for name, value in self.rows())


def forecast(net: nn.Module, shape: tuple[int, ...], batch_size: int, *, dtype: torch.dtype | None = None,
             timed: bool = False) -> Forecast:
    """训练 net 要多少内存，什么也不分配；timed=True 时另在这台机器上实测几步，估一轮的时间。

    net: 在哪个设备上都行，meta 也行（timed 时除外）；shape: 输入形状 (B, C, H, W)，B 不起作用。
    激活是 PyTorch 自己报的：在 meta 设备上走一次前向，用 saved_tensors_hooks 看它为反向传播存下哪些张量。
    """
    dtype = dtype or fast_dtype(pick_device())
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    twins = {name: _twin(tensor, dtype) for name, tensor in tensors.items()}
    own = {twin.untyped_storage()._cdata for twin in twins.values()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> None:
        # 不返回张量：它与计算图会互相抓着，永远放不掉；这里不走反向，用不到它
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()

    X = torch.zeros(2, *shape[1:], device="meta", dtype=dtype)  # 两个样本：批量规范化在训练时不接受一个
    with mode(net, training=True), _Shortcuts(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(net, twins, (X,))
    sizes = [storage.nbytes() / 2 for key, storage in kept.items() if key not in own]
    sizes += [X.untyped_storage().nbytes() / 2] if X.untyped_storage()._cdata not in kept else []
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    parameters = sum(p.numel() for p in net.parameters())
    return Forecast(batch_size, dtype, weights, 4 * parameters, 0 if dtype == torch.float32 else 2 * parameters,
                    sum(sizes), max(sizes), epoch_seconds(net, shape[-1], batch_size) if timed else None)


def epoch_seconds(net: nn.Module, size: int, batch_size: int, images: int = 60_000) -> float:
    """训练一轮 images 张图、再评估六分之一那么多，在这台机器上约多少秒：实测几步再按张数放大。net 会被训练几步。"""
    train, test = fashion_mnist(batch_size, size, max(10, min(images, 5 * batch_size)))
    stepper = steps(net, train, test, lr=1e-3, num_epochs=10**6)
    marks = []
    for _ in islice(stepper, 2 + len(train) + len(test)):  # 头两步要分配内存，不算
        marks.append(time.perf_counter())
    stepper.close()
    return (marks[-1] - marks[1]) / (train.images + test.images) * images * 7 / 6


def _twin(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    twin = torch.empty(tensor.shape, device="meta", dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return twin.requires_grad_(tensor.requires_grad)


class _Shortcuts(TorchDispatchMode):
    """走捷径，见 meta.py。"""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # 否则第一次运行要花一秒多导入 torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        quick = shortcut(func._overloadpacket, args)
        return quick(*args) if quick else func(*args, **kwargs or {})
