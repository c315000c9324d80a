"""训练时，时间花在哪里，内存用了多少。"""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from helpers.machine.memory import release_memory


class Gauge:
    """跟着一次训练走：每次 `lap(name)` 把上一次以来的时间记给 name，所以各项之和就是总时间。

    GPU 上按 CUDA 事件记时，不等 GPU；内存是这次训练增加的：GPU 上是 PyTorch 分配的，CPU 上是进程占用的。
    """

    WAITING = 512  # 至多存几段还没有加进总数的

    def __init__(self, device: torch.device):
        self.device, self.cuda = device, device.type == "cuda"
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._waiting: list[tuple[str, Any, Any]] = []  # (名目, 起, 止)，时刻见 _mark
        if self.cuda:
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._process = psutil.Process()
            self._before = self._peak = self._process.memory_info().rss
        self._now = self._mark()

    def lap(self, name: str) -> None:
        """把上一次以来的时间记给 name。"""
        before, self._now = self._now, self._mark()
        self._waiting.append((name, before, self._now))
        if len(self._waiting) > self.WAITING:
            self._add_up(self.WAITING // 2)  # 几百步以前的事件早已完成，不用等

    def carry(self, seconds: Mapping[str, float]) -> None:
        """接着训练时，以前花的时间也算进来。"""
        for name, spent in seconds.items():
            self._spent[name] += spent

    def sample(self) -> None:
        """看一眼内存，在前向之后、反向之前：那时存着的激活最多。GPU 自己记着最大值，不用看。"""
        if not self.cuda:
            self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def seconds(self) -> dict[str, float]:
        """每个名目多少秒。"""
        self._add_up(len(self._waiting))
        return dict(self._spent)

    @property
    def peak(self) -> int:
        """这次训练最多增加了多少字节；GPU 上是 `reset_peak` 以来的最大值。"""
        return (torch.cuda.max_memory_allocated(self.device) if self.cuda else self._peak) - self._before

    def _mark(self) -> Any:
        """此刻：CPU 上是秒数，GPU 上是一个事件，GPU 走到那里时才知道是什么时候。"""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _add_up(self, count: int) -> None:
        """把最早的 count 段加进总数。"""
        laps, self._waiting = self._waiting[:count], self._waiting[count:]
        if self.cuda and laps:
            laps[-1][2].synchronize()
        for name, before, after in laps:
            self._spent[name] += before.elapsed_time(after) / 1000 if self.cuda else after - before


def reset_peak(device: torch.device) -> None:
    """从这里开始量内存的最大值；在 `Gauge` 之前调用。

    先把用完的还给系统，否则会先用它，进程看起来没有变大；CPU 上只有 glibc（Linux）能这样做。
    不放在 Gauge 里：训练途中量一次测试精度，不该把这次训练的最大值清掉。
    """
    release_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
