"""把训练的一步录成 CUDA graph，以后只重放。"""

import random
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.machine.device import memory_limit
from helpers.machine.team import together

Step = Callable[[Tensor, Tensor], Tensor]


def may_graph(device: torch.device) -> bool:
    """这里能不能录 CUDA graph：一块 NVIDIA GPU，一个进程。"""
    return device.type == "cuda" and not together()


def require_cuda_graph(device: torch.device) -> None:
    """这里能不能录 CUDA graph；不能就抛出 ValueError。"""
    if not may_graph(device):
        raise ValueError("录 CUDA graph 要一块 NVIDIA GPU、一个进程；"
                         + ("这次是几个进程。" if together() else f"这次的数据在 {device.type} 上。"))


class GraphedStep:
    """与 step(X, y) 一样地用，但不再逐个启动核函数，一次重放整步。

    step 里不能有等 GPU 的操作，除了 X、y 以外用到的张量每次都要是同样的几个；录不成就抛出 ValueError。
    前三次在旁边的流上照常走，cuBLAS、cuDNN 这时备好；第四次录下。形状与第一次不同的一批（最后一批）照常走。
    generator: step 里的随机数从这里抽，每次重放接着往下抽；默认是公共的。
    net: 给了，录不录就由这里决定：先照常走两次看一看（`_look`），不合算、录不成，以后都照常走。
    返回的张量在下一次重放时改写。https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    LOOKS, WARM_UP = 2, 3
    # 一步的时间里，主机启动核函数占了这么多，GPU 多半在等它。在一块 H100 上：录了快不到一成的 VGG 是 0.75，
    # 快一成以上的 AlexNet、NiN 是 0.85–0.95，快两倍的 LeNet、GoogLeNet 是 0.98 以上
    WAITING = 0.8

    def __init__(self, step: Step, generator: torch.Generator | None = None, net: nn.Module | None = None):
        self.step, self.generator, self.net = step, generator, net
        self.calls = 0 if net is not None else self.LOOKS
        self.plain = False  # 决定了照常走
        self.shape: torch.Size | None = None
        self.graph: Any = None
        self.result: Any = None
        self.X: Any = None  # 重放时从这里读
        self.y: Any = None

    def __call__(self, X: Tensor, y: Tensor) -> Tensor:
        self.shape = self.shape or X.shape
        if self.plain or X.shape != self.shape:
            return self.step(X, y)
        self.calls += 1
        if self.calls <= self.LOOKS:
            return self._look(X, y) if self.calls == self.LOOKS else self.step(X, y)
        if self.calls == self.LOOKS + 1:
            self.stream = torch.cuda.Stream()
        if self.calls <= self.LOOKS + self.WARM_UP:
            return self._aside(lambda: self.step(X, y))
        if self.graph is None:
            self._record(X, y)
        if self.graph is None:
            return self.step(X, y)
        self.X.copy_(X)
        self.y.copy_(y)
        self.graph.replay()
        return self.result

    def release(self) -> None:
        """放掉录下的一步和它占的内存；还没有录，就没有什么可放。"""
        self.graph = self.result = self.X = self.y = None

    def _look(self, X: Tensor, y: Tensor) -> Tensor:
        """照常走一步，看录下来合不合算、对不对。

        合算：GPU 在等主机启动核函数，录下的和照常的两份激活都放得下。对：这一步没有在 Python 里留下什么，
        也没有钩子要叫到，因为重放时 Python 不再运行。
        """
        assert self.net is not None
        before = _in_python(self.net)
        torch.cuda.synchronize(X.device)
        started = time.perf_counter()
        result = self.step(X, y)
        launched = time.perf_counter()
        torch.cuda.synchronize(X.device)
        waiting = launched - started > self.WAITING * (time.perf_counter() - started)
        activations = torch.cuda.max_memory_allocated(X.device) - torch.cuda.memory_allocated(X.device)
        self.plain = (not waiting or 2 * activations > memory_limit(X.device) or _hooked(self.net)
                      or _in_python(self.net) != before)
        return result

    def _record(self, X: Tensor, y: Tensor) -> None:
        """录下一步；可录可不录的，录不成以后就照常走。"""
        self.X, self.y = X.clone(), y.clone()
        try:
            self.graph, self.result = self._aside(self._capture)
        except (ValueError, torch.OutOfMemoryError):
            if self.net is None:
                raise
            self.plain = True
            self.release()  # 一批图像也不留着

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        try:
            # thread_local：另一个线程（读者的单元格）这时也可以用 GPU
            with _generators_back(self.generator), torch.cuda.graph(
                    graph, stream=self.stream, capture_error_mode="thread_local"):  # 只录，不做
                return graph, self.step(self.X, self.y)
        except RuntimeError as error:
            first = _first(error)
            if isinstance(first, torch.OutOfMemoryError) or not isinstance(first, RuntimeError):
                raise first from None  # 例如中断：结束录制时的错不该盖住它
            raise ValueError(f"这一步录不成 CUDA graph（{str(first).splitlines()[0]}）：网络的 forward 不能等 GPU，"
                             "例如 .item()，也不能看 Python 里会变的值。去掉 cuda_graph=True，就照常训练。") from error

    def _aside(self, act: Callable[[], Any]) -> Any:
        here = torch.cuda.current_stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            result = act()
        here.wait_stream(self.stream)
        return result


def _first(error: BaseException) -> BaseException:
    """最早的错误：录到一半出了错，结束录制时又会再错一次，把它盖住。"""
    while error.__context__ is not None:
        error = error.__context__
    return error


@contextmanager
def _generators_back(own: torch.Generator | None) -> Iterator[None]:
    """在这个 with 里出了错，GPU 的随机数回到原处：录到一半，PyTorch 以为还在录，以后一个随机数也抽不了。"""
    generators = [each for each in (*torch.cuda.default_generators, own) if each and each.device.type == "cuda"]
    before = [each.clone_state() for each in generators]
    try:
        yield
    except BaseException:
        for generator, state in zip(generators, before, strict=True):
            generator.graphsafe_set_state(state)
        raise


def _hooked(net: nn.Module) -> bool:
    """有没有钩子要每一步都叫到。"""
    return (any(hooks for module in net.modules() for name, hooks in vars(module).items() if name.endswith("_hooks"))
            or any(each._backward_hooks or each._post_accumulate_grad_hooks for each in net.parameters()))


def _in_python(net: nn.Module) -> tuple[Any, ...]:
    """一步也许会在 Python 里改变的：各层自己的属性，Python 和 numpy 的随机数。张量和容器只看是不是同一个、有多长。"""
    attributes = [(name, value if isinstance(value, int | float | str) else id(value),
                   len(value) if isinstance(value, Sized) and not isinstance(value, Tensor) else 0)
                  for module in net.modules() for name, value in vars(module).items()]
    drawn: Any = np.random.get_state()
    return attributes, random.getstate(), drawn[1].tobytes(), drawn[2]
