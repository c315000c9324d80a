"""几个进程一起训练一个网络：torchrun 起的进程，用 PyTorch 自己的 DistributedDataParallel。

没有 torchrun 时这里什么也不做：只有一个进程，号码是 0。
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def team() -> Iterator[None]:
    """torchrun 起的进程在这个 with 里连成一队：有 CUDA 时每个进程一块 GPU，用 NCCL；没有就用 gloo。

    不是 torchrun 起的，什么也不做。
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    store, number, size = next(dist.rendezvous("env://"))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        # torchrun 重启进程时不换 store，里面还是死掉的进程的地址，连上去就卡住或者被拒绝（pytorch#135712）。
        # 几台主机的重启次数各自数，不能当前缀；那时靠 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1（README）。
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    elif number == 0 and may_hang(os.environ):
        warnings.warn("几台主机，有进程死了重启时可能一直等下去：每台主机都先设环境变量 "
                      "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1，再运行 torchrun（见 README）。", stacklevel=3)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo",
                            store=store, rank=number, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def may_hang(environment: Mapping[str, str]) -> bool:
    """torchrun 要重启，又会把旧的 store 留给新的进程。"""
    return (int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
            and environment.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "0") != "1")


def together() -> bool:
    """是不是几个进程在一起训练。"""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """这个进程的号码，从 0 起。"""
    return dist.get_rank() if together() else 0


def world_size() -> int:
    """一共几个进程。"""
    return dist.get_world_size() if together() else 1


def local_rank() -> int:
    """这个进程在这台主机上的号码。"""
    return int(os.environ.get("LOCAL_RANK", 0))


def total(tensor: Tensor) -> Tensor:
    """各个进程的 tensor 之和。"""
    if together():
        dist.all_reduce(tensor)
    return tensor


def shared(tensor: Tensor) -> Tensor:
    """0 号进程的 tensor，各个进程都得到它。"""
    if together():
        dist.broadcast(tensor, 0)
    return tensor


def parallel(net: nn.Module, device: torch.device) -> nn.Module:
    """反向时自动求各个进程的梯度平均的网络；只有一个进程时就是 net 自己。"""
    if not together():
        return net
    return DistributedDataParallel(net, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None)


def shares(order: Tensor, batch_size: int, *, even: bool) -> Iterator[Tensor]:
    """order 里的图片，一批一批，这个进程该取的那一份；没有一张取两次。

    各个进程合起来的一批，是 order 里接着的 world_size × batch_size 个，轮流分，所以 2 个进程、批量 64 与 1 个进程、
    批量 128 走过同样的图片。even: 训练时各个进程必须一样多（梯度是平均的），最后分不匀的不到 world_size 个这一遍不用。
    """
    for rows in order.split(batch_size * world_size()):
        if even:
            rows = rows[:len(rows) // world_size() * world_size()]
        if len(part := rows[rank()::world_size()]):
            yield part


def share_count(images: int, batch_size: int, *, even: bool) -> int:
    """`shares` 给出几批。"""
    full, rest = divmod(images, batch_size * world_size())
    return full + (rest >= world_size() if even else rest > rank())
