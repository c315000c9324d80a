"""用哪个设备、什么精度、多少内存。"""

import platform
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
import torch

from helpers.arguments import brief
from helpers.machine.container import free_memory

GB = 1e9
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


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
            reason = "算出来的不对"
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"检测到 CUDA，但它不能工作（{reason}），改用 CPU。", stacklevel=2)
    return torch.device("cpu")


def usable_device(device: torch.device | str | None = None) -> torch.device:
    """要用的设备，默认是 pick_device()；没有这种设备，或者这台机器上不能用，抛出 ValueError。"""
    if device is None:
        return pick_device()
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except _ABSENT as error:
        raise _unusable(device) from error
    return found


_ABSENT = RuntimeError, TypeError, ValueError, AssertionError  # 没有带 CUDA 的 torch 抛 AssertionError


def _unusable(device: object) -> ValueError:
    return ValueError(f"这台机器上不能用设备 {brief(device)}；不写就用 {pick_device()}，也可以写 'cpu'。")


def fast_dtype(device: torch.device | str | None = None) -> torch.dtype:
    """卷积和矩阵乘法在这个设备上用的精度：硬件擅长 bfloat16 就用它，否则 float32。

    擅长是指：计算能力 8.0 以上的 NVIDIA GPU，或带 AMX、AVX512-BF16 指令的 CPU。
    device: 默认是 pick_device()；没有这种设备，或者这台机器上不能用，抛出 ValueError。
    """
    if not isinstance(device, torch.device):
        device = usable_device(device)
    if device.type == "cuda":
        try:
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        except _ABSENT as error:
            raise _unusable(device) from error
    elif device.type == "cpu":
        can = getattr(torch.cpu, "get_capabilities", dict)()
        fast = can.get("amx_bf16", False) or can.get("avx512_bf16", False)
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def check_dtype(dtype: torch.dtype | None, usual: torch.dtype) -> torch.dtype:
    """训练用得了的精度，None 是 usual；别的抛出 ValueError。"""
    dtype = usual if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or dtype not in DTYPES:
        raise ValueError(f"dtype 应当是 {'、'.join(map(str, DTYPES))} 之一，收到的是 {brief(dtype)}。")
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """精度怎样写，如 "bfloat16"。"""
    return str(dtype).removeprefix("torch.")


def memory_limit(device: torch.device) -> int:
    """训练可以用的内存，字节：此刻空闲的，不是一共有的。

    GPU：别的程序（桌面也是）占着的不算；PyTorch 用过、还留着的，可以再用，算。CPU：也不超过容器的限额。
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([psutil.virtual_memory().available, *free_memory()])


def megabytes(size: float) -> str:
    """字节数写成 MB 或 GB（10⁶、10⁹）。"""
    return f"{size / 1e6:,.1f} MB" if size < GB else f"{size / GB:,.1f} GB"


def describe_machine() -> str:
    """这台机器几个字：在什么上算，什么精度。"""
    device = pick_device()
    name = (torch.cuda.get_device_name(device) if device.type == "cuda" else
            f"{processor()}，{torch.get_num_threads()} 个线程")
    return f"{name}，{dtype_name(fast_dtype(device))}"


def processor() -> str:
    """处理器的名字，如 "AMD EPYC"。"""
    with suppress(OSError):  # 只有 Linux 有这个文件，别的系统 platform 知道
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
