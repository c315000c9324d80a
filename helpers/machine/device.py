"""用哪个设备、什么精度、多少内存，内存怎样写。"""

import ctypes
import sys
import warnings
from contextlib import contextmanager, suppress
from functools import cache

import psutil
import torch

GB = 1e9


@cache
def pick_device() -> torch.device:
    """可用的 GPU，没有就用 CPU；只探测一次。

    报告有 CUDA 但算不动（驱动太旧、显卡太老）时退回 CPU，并说一句。
    """
    if torch.cuda.is_available():
        try:
            probe = torch.ones(8, 8, device="cuda")
            if (probe @ probe).sum().item() == 512:
                return torch.device("cuda")
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"检测到 CUDA，但它不能工作（{reason}），改用 CPU。", stacklevel=2)
    return torch.device("cpu")


@cache
def fast_dtype(device: torch.device) -> torch.dtype:
    """卷积和矩阵乘法在这个设备上用的精度：硬件擅长 bfloat16 就用它，否则 float32。

    擅长是指：计算能力 8.0 以上的 NVIDIA GPU，或带 AMX、AVX512-BF16 指令的 CPU。
    """
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        can = getattr(torch.cpu, "get_capabilities", dict)()
        fast = can.get("amx_bf16", False) or can.get("avx512_bf16", False)
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def keep_memory():
    """训练用过的内存（每块 32 MB 以下）留给下一步，不还给系统；训练完由 `release_memory` 归还。

    每一步都要同样大小的内存。glibc 默认一放就还，下一步再要，系统又要一页页清零：
    float32 的 LeNet 有三分之一的时间花在这上面。别的系统没有这个开关，什么也不做。
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD，glibc 允许的最大值；更大的块仍然单独要，不会留下空洞
        libc.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
    yield


def release_memory(device: torch.device) -> None:
    """把用完的内存还给系统。"""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def release_threads() -> None:
    """结束这个线程的 OpenMP 线程，下次要用时再起；另一个线程要开始训练时先调用它。

    Linux 上的 OpenMP（libgomp）给每个用过它的线程各留一队。几队合起来比核多，它就不再自旋着等，
    每次并行都要先把睡着的线程叫醒：GoogLeNet 的一步慢一倍多。别的系统不是这样；旧的 torch 带的 libgomp 没有这个函数：
    那时什么也不做。
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(torch._C.__file__).omp_pause_resource_all(1)  # omp_pause_soft，OpenMP 5.0


def memory_limit(device: torch.device) -> int:
    """训练可以用的内存，字节：GPU 是整块显存，CPU 是此刻空闲的内存。"""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().available


def megabytes(size: float) -> str:
    """字节数写成 MB 或 GB（10⁶、10⁹）。"""
    return f"{size / 1e6:,.1f} MB" if size < GB else f"{size / GB:,.1f} GB"
