"""几个进程一起训练一个网络：torchrun 起的进程，用 PyTorch 自己的 DistributedDataParallel。

没有 torchrun 时这里什么也不做：只有一个进程，号码是 0。
"""

import gc
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

    不是 torchrun 起的，什么也不做。这台主机上的进程比 GPU 多时抛出 ValueError。
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if local_rank() >= gpus:
            raise ValueError(f"这台主机有 {gpus} 块 GPU，每个进程要一块，起的进程却比它多。"
                             f"用 --nproc-per-node={gpus} 再运行。")
        torch.cuda.set_device(local_rank())
        backend = "nccl"
    store, number, size = _meet()
    dist.init_process_group(backend, store=store, rank=number, world_size=size)
    try:
        yield
    finally:
        gc.collect()  # DistributedDataParallel 还抓着进程组；留到解释器收尾才散，见过几次进程在那时 abort
        dist.destroy_process_group()


def _meet() -> "tuple[dist.Store, int, int]":
    """各个进程互相找到：(交换地址的 store, 这个进程的号码, 一共几个)。"""
    store, number, size = next(dist.rendezvous("env://"))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        # torchrun 重启进程时不换 store，里面还是死掉的进程的地址，连上去就卡住或者被拒绝（pytorch#135712）。
        # 几台主机的重启次数各自数，不能当前缀；那时靠 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1（README）。
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    elif number == 0 and may_hang(os.environ):
        warnings.warn("几台主机，有进程死了重启时可能一直等下去：每台主机都先设环境变量 "
                      "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1，再运行 torchrun（见 README）。", stacklevel=4)
    return store, number, size


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


def all_sum(tensor: Tensor) -> Tensor:
    """各个进程的 tensor 之和，各个进程都得到它；tensor 就地改写。"""
    if together():
        dist.all_reduce(tensor)
    return tensor


def broadcast(tensor: Tensor) -> Tensor:
    """0 号进程的 tensor，各个进程都得到它；tensor 就地改写。"""
    if together():
        dist.broadcast(tensor, 0)
    return tensor


def parallel(net: nn.Module, device: torch.device) -> nn.Module:
    """反向时自动求各个进程的梯度平均的网络；只有一个进程时就是 net 自己。"""
    if not together():
        return net
    return DistributedDataParallel(net, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None)
