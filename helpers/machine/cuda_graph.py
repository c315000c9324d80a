"""把训练的一步录成 CUDA graph，以后只重放。"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from helpers.machine.team import together

Step = Callable[[Tensor, Tensor], Tensor]


def require_cuda_graph(device: torch.device) -> None:
    """这里能不能录 CUDA graph；不能就抛出 ValueError。"""
    if device.type != "cuda" or together():
        raise ValueError("录 CUDA graph 要一块 NVIDIA GPU、一个进程；"
                         + ("这次是几个进程。" if together() else f"这次的数据在 {device.type} 上。"))


def _first(error: BaseException) -> BaseException:
    """最早的错误：录到一半出了错，结束录制时又会再错一次，把它盖住。"""
    while error.__context__ is not None:
        error = error.__context__
    return error


class GraphedStep:
    """与 step(X, y) 一样地用，但从第四次起不再逐个启动核函数，一次重放整步。

    step 里不能有等 GPU 的操作，除了 X、y 以外用到的张量每次都要是同样的几个；录不成就抛出 ValueError。
    前三次在旁边的流上照常走，cuBLAS、cuDNN 这时备好；第四次录下。形状与第一次不同的一批（最后一批）照常走。
    generator: step 里的随机数从这里抽，每次重放接着往下抽；默认是公共的。
    返回的张量在下一次重放时改写。https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    WARM_UP = 3

    def __init__(self, step: Step, generator: torch.Generator | None = None):
        self.step, self.generator, self.calls = step, generator, 0
        self.graph: Any = None
        self.result: Any = None
        self.stream = torch.cuda.Stream()

    def __call__(self, X: Tensor, y: Tensor) -> Tensor:
        if self.calls == 0:
            self.X, self.y = X.clone(), y.clone()
        if X.shape != self.X.shape:
            return self.step(X, y)
        self.calls += 1
        if self.calls <= self.WARM_UP:
            return self._aside(lambda: self.step(X, y))
        if self.graph is None:
            self.graph, self.result = self._aside(self._capture)
        self.X.copy_(X)
        self.y.copy_(y)
        self.graph.replay()
        return self.result

    def release(self) -> None:
        """放掉录下的一步和它占的内存；还没有录，就没有什么可放。"""
        self.graph = self.result = None

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph, stream=self.stream):  # 只录，不做
                return graph, self.step(self.X, self.y)
        except RuntimeError as error:
            first = _first(error)
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            raise ValueError(f"这一步录不成 CUDA graph（{str(first).splitlines()[0]}）：网络的 forward 不能等 GPU，"
                             "例如 .item()，也不能看 Python 里会变的值。去掉 cuda_graph=True，就照常训练。") from error

    def _aside(self, act: Callable[[], Any]) -> Any:
        here = torch.cuda.current_stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            result = act()
        here.wait_stream(self.stream)
        return result
