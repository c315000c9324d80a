"""没有 GPU 时 CUDA graph 的替身：在 CPU 上照着它的规矩录和放。"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from helpers.training import loop


class Tape(TorchDispatchMode):
    """像 CUDA graph 那样：录下每个算子和它用的张量，录的时候什么也不改变；重放时在同样的内存上再做一遍。"""

    def __init__(self):
        super().__init__()
        self.calls, self.before, self.replays, self.generators = [], {}, 0, []

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        generator = (kwargs or {}).get("generator")  # 是另一个 Python 对象，状态才认得出是哪一个
        if generator is not None and not any(torch.equal(generator.get_state(), each.get_state())
                                             for each in self.generators):
            raise RuntimeError("The generator is not registered to a CUDA graph that is capturing")
        for memory in (tensor.untyped_storage() for tensor in tensors((args, kwargs))):
            self.before.setdefault(memory.data_ptr(), (memory, memory.clone()))
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    def rewind(self):
        for memory, content in self.before.values():
            memory.copy_(content)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, args, kwargs, result in self.calls:
            for old, new in zip(tensors(result), tensors(function(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def tensors(tree):
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


class Stream:
    main, waits = None, []

    def wait_stream(self, other):
        Stream.waits.append(("main" if self is Stream.main else "side", "main" if other is Stream.main else "side"))


def record_on_tapes(monkeypatch):
    """把 torch.cuda 里录 graph 的几个名字换成替身，返回录下的。"""
    made = []

    @contextlib.contextmanager
    def capture(tape, stream, capture_error_mode):
        generators = [torch.default_generator, *tape.generators]
        states = [generator.get_state() for generator in generators]
        try:
            with tape:
                yield
        except RuntimeError as error:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from error
        finally:
            tape.rewind()
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)

    def new_tape():
        made.append(Tape())
        return made[-1]

    Stream.main, Stream.waits = Stream(), []
    for name, value in {"CUDAGraph": new_tape, "graph": capture, "Stream": Stream,
                        "current_stream": lambda: Stream.main, "synchronize": lambda device: None,
                        "max_memory_allocated": lambda device: 0, "memory_allocated": lambda device: 0,
                        "stream": lambda stream: contextlib.nullcontext()}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(loop, "require_cuda_graph", lambda device: None)
    monkeypatch.setattr(loop, "may_graph", lambda device: True)
    return made
