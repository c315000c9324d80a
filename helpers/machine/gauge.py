"""训练时，时间花在哪里，内存用了多少。"""

import time

import psutil
import torch

from helpers.machine.memory import release_memory


class Gauge:
    """跟着一次训练走：每次 `lap(name)` 把上一次以来的时间记给 name，所以各项之和就是总时间。

    GPU 上按 CUDA 事件记时，不等 GPU；内存是这次训练增加的：GPU 上是 PyTorch 分配的，CPU 上是进程占用的。
    """

    def __init__(self, device: torch.device):
        self.device, self.cuda = device, device.type == "cuda"
        self._laps: list[tuple[str, torch.cuda.Event | float]] = []
        self._totals: dict[str, float] = {}
        if self.cuda:
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._process = psutil.Process()
            self._before = self._peak = self._process.memory_info().rss
        self.lap("")

    def lap(self, name: str) -> None:
        """把上一次以来的时间记给 name。"""
        if self.cuda:
            mark = torch.cuda.Event(enable_timing=True)
            mark.record(torch.cuda.current_stream(self.device))
        else:
            mark = time.perf_counter()
        self._laps.append((name, mark))
        if len(self._laps) > 512:
            self._fold(256)  # 几百步以前的事件早已完成，不用等

    def carry(self, seconds: dict[str, float]) -> None:
        """接着训练时，以前花的时间也算进来。"""
        for name, spent in seconds.items():
            self._totals[name] = self._totals.get(name, 0.0) + spent

    def sample(self) -> None:
        """看一眼内存，在前向之后、反向之前：那时存着的激活最多。GPU 自己记着最大值，不用看。"""
        if not self.cuda:
            self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def seconds(self) -> dict[str, float]:
        """每个名目多少秒。"""
        self._fold(len(self._laps) - 1)
        return dict(self._totals)

    @property
    def peak(self) -> int:
        """这次训练最多增加了多少字节。"""
        return (torch.cuda.max_memory_allocated(self.device) if self.cuda else self._peak) - self._before

    def _fold(self, count: int) -> None:
        """把最早的几段加进总数。"""
        if self.cuda:
            self._laps[count][1].synchronize()
        for (_, before), (name, after) in zip(self._laps[:count], self._laps[1:count + 1], strict=True):
            spent = before.elapsed_time(after) / 1000 if self.cuda else after - before
            self._totals[name] = self._totals.get(name, 0.0) + spent
        del self._laps[:count]


def start_over(device: torch.device) -> None:
    """从这里开始量内存的最大值。

    先把用完的还给系统，否则会先用它，进程看起来没有变大；CPU 上只有 glibc（Linux）能这样做。
    不放在 Gauge 里：训练途中量一次测试精度，不该把这次训练的最大值清掉。
    """
    release_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
