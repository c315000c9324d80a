"""cuda_graph.py：没有 GPU 时，用 CPU 上照着 CUDA graph 的规矩录和放的替身；有 GPU 时另外真的录一遍。"""

import contextlib

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from helpers import fashion_mnist, fit, load, xavier
from helpers.machine.cuda_graph import GraphedStep
from helpers.training import loop
from helpers.training.loop import steps

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="没有 CUDA 显卡")


class Tape(TorchDispatchMode):
    """像 CUDA graph 那样：录下每个算子和它用的张量，录的时候什么也不改变；重放时在同样的内存上再做一遍。"""

    def __init__(self):
        super().__init__()
        self.calls, self.before, self.replays = [], {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
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


@pytest.fixture
def tapes(monkeypatch):
    """把 torch.cuda 里录 graph 的几个名字换成替身，返回录下的。"""
    made = []

    @contextlib.contextmanager
    def capture(tape, stream):
        random = torch.get_rng_state()
        with tape:
            yield
        tape.rewind()
        torch.set_rng_state(random)

    def new_tape():
        made.append(Tape())
        return made[-1]

    Stream.main, Stream.waits = Stream(), []
    for name, value in {"CUDAGraph": new_tape, "graph": capture, "Stream": Stream,
                        "current_stream": lambda: Stream.main,
                        "stream": lambda stream: contextlib.nullcontext()}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(loop, "require_cuda_graph", lambda device: None)
    return made


def trajectory(net, *, device="cpu", images=100, size=28, cuda_graph, lr=0.1, dtype=torch.float32):
    torch.manual_seed(0)
    data = fashion_mnist(16, size, images, device=device)
    net = net().apply(xavier)
    return list(fit(net, *data, lr=lr, num_epochs=2, dtype=dtype, cuda_graph=cuda_graph)), net


def dropout_and_batch_norm():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(),
                         nn.Linear(8 * 26 * 26, 10))


NETS = {"lenet": load("7.1").lenet, "dropout_and_batch_norm": dropout_and_batch_norm}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_replayed_steps_equal_the_steps(tapes, net, dtype):
    """100 张、批量 16：每轮六批满的，一批 4 张；第二轮全是重放。学习率每一步都在变。"""
    def falling():
        rates = iter(0.1 / (1 + i) for i in range(14))
        return lambda: next(rates)
    expected, plain = trajectory(net, cuda_graph=False, lr=falling(), dtype=dtype)
    points, replayed = trajectory(net, cuda_graph=True, lr=falling(), dtype=dtype)
    assert [tape.replays for tape in tapes] == [3 + 6]
    assert points == expected
    for name, value in plain.state_dict().items():
        assert torch.equal(value, replayed.state_dict()[name]), name


def test_the_batches_are_left_alone(tapes):
    first, total = torch.ones(1), torch.zeros(1)
    step = GraphedStep(lambda X, y: total.add_(X).clone())
    for X in (first, *torch.arange(2.0, 7.0).split(1)):
        step(X, X)
    assert Stream.waits == 4 * [("side", "main"), ("main", "side")]  # 热身三次，录一次
    assert tapes and (first.item(), total.item()) == (1, 1 + 2 + 3 + 4 + 5 + 6)


def test_a_network_that_reads_a_number_cannot_be_captured(tapes):
    class Reading(nn.Linear):
        def forward(self, X):
            return super().forward(X.flatten(1)) * (1.0 if X.sum().item() > 0 else 2.0)
    with pytest.raises(RuntimeError, match="capturing"):
        trajectory(lambda: Reading(784, 10), cuda_graph=True)
    assert not tapes[0].replays


@pytest.mark.parametrize("several, reason", [(False, "这次的数据在 cpu 上"), (True, "这次是几个进程")])
def test_it_needs_one_gpu_and_one_process(monkeypatch, several, reason):
    monkeypatch.setattr("helpers.machine.cuda_graph.together", lambda: several)
    net, data = load("7.1").lenet(), fashion_mnist(10, images=50, device="cpu")
    with pytest.raises(ValueError, match=reason):
        next(steps(net, *data, lr=0.1, num_epochs=1, cuda_graph=True))


@needs_cuda
@pytest.mark.parametrize("section, size", [("7.1", 28), ("7.6", 32)])
def test_on_a_gpu(section, size):
    plan = load(section).plan.book
    expected, _ = trajectory(plan.make, device="cuda", size=size, cuda_graph=False)
    points, _ = trajectory(plan.make, device="cuda", size=size, cuda_graph=True)
    assert [p.loss for p in points] == pytest.approx([p.loss for p in expected], rel=1e-3)
