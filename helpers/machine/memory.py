"""用过的内存和线程：训练时留着，用完了还给系统。"""

import ctypes
import sys
from contextlib import suppress

import torch


def keep_memory() -> None:
    """训练中用过的内存（每块 32 MB 以下）从此留给下一步，不再一放就还给系统；不用了由 `release_memory` 归还。

    每一步都要同样大小的内存。glibc 开头把 128 KB 以上的块单独向系统要，一放就还，下一步再要，系统又要一页页清零：
    float32 的 LeNet 有三分之一的时间花在这上面。放掉过多大的一块，glibc 就学会把那样大的留下来：块至多 32 MB，
    留在末尾的至多 64 MB。这里放掉一块最大的，它一开始就学会，与自己碰上一块这样大的时一样。
    不用 mallopt：一用，glibc 就再也不自己调整，也改不回来。没有 glibc 的系统上什么也不做。
    https://man7.org/linux/man-pages/man3/mallopt.3.html 里的 M_MMAP_THRESHOLD。
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
            ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p])
        libc.free(libc.malloc(32 * 2**20 - 2**17))  # 凑成整页（至多 64 KB）还不到 32 MB；没有写过，不占内存


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
