"""cuda_graph.py：没有 GPU 时，用 CPU 上照着 CUDA graph 的规矩录和放的替身；有 GPU 时另外真的录一遍。"""

import random
import threading
import time

import numpy as np
import pytest
import torch
from support.tape import Stream
from torch import nn

from helpers import fashion_mnist, fit, load, xavier
from helpers.machine.cuda_graph import GraphedStep
from helpers.machine.dice import Dice
from helpers.training.loop import steps


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


def test_replayed_steps_draw_from_their_own_dice(tapes):
    """骰子的生成器要登记：重放时接着往下抽，公共的一个也不动。"""
    def walk(cuda_graph):
        torch.manual_seed(0)
        net, data = dropout_and_batch_norm().apply(xavier), fashion_mnist(16, images=100, device="cpu")
        before = torch.get_rng_state()
        turns = steps(net, *data, lr=0.1, num_epochs=2, cuda_graph=cuda_graph, dice=Dice(3))
        points = [point for point in turns if point is not None]
        assert torch.equal(torch.get_rng_state(), before)
        return points
    assert walk(True) == walk(False) and tapes[0].replays == 3 + 6


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
    with pytest.raises(ValueError, match=r"capturing.*去掉 cuda_graph=True"):
        trajectory(lambda: Reading(784, 10), cuda_graph=True)
    assert not tapes[0].replays


@pytest.mark.parametrize("call", [0, 2, 3, 5], ids=["第一步", "热身", "录的时候", "另一批"])
def test_out_of_memory_at_any_step_is_a_memory_error(tapes, monkeypatch, call):
    """录的时候不够，结束录制还会再报一个别的错；最后一批形状不同，照常走的时候也会不够。"""
    calls, step = [], torch.optim.SGD.step

    def full(*arguments):
        calls.append(len(tapes))
        if len(calls) == call + 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(*arguments)
    monkeypatch.setattr(torch.optim.SGD, "step", full)
    with pytest.raises(MemoryError, match="内存不够"):
        trajectory(NETS["lenet"], cuda_graph=True)
    assert calls[-1] == (call > 2)


@pytest.mark.parametrize("several, reason", [(False, "这次的数据在 cpu 上"), (True, "这次是几个进程")])
def test_it_needs_one_gpu_and_one_process(monkeypatch, several, reason):
    monkeypatch.setattr("helpers.machine.cuda_graph.together", lambda: several)
    net, data = load("7.1").lenet(), fashion_mnist(10, images=50, device="cpu")
    with pytest.raises(ValueError, match=reason):
        next(steps(net, *data, lr=0.1, num_epochs=1, cuda_graph=True))


class Counting(nn.Module):
    """每一步都在 Python 里留下什么的网络，共同的部分。"""

    def __init__(self):
        super().__init__()
        self.linear, self.seen, self.kept = nn.Sequential(nn.Linear(784, 10), nn.Linear(10, 10)), 0, []

    def forward(self, X):
        self.note(X)
        return self.linear(X.flatten(1))

    def note(self, X):
        pass


def counting(note):
    return type("Net", (Counting,), {"note": lambda self, X: note(self, X) and None})


def hooked(register):
    def make():
        net = Counting()
        register(net)
        return net
    return make


NOT_REPLAYED = {
    "数步数": counting(lambda net, X: setattr(net, "seen", net.seen + 1)),
    "收集": counting(lambda net, X: net.kept.append(len(X))),
    "换一个张量": counting(lambda net, X: setattr(net, "last", X)),
    "Python 的随机数": counting(lambda net, X: random.random()),
    "numpy 的随机数": counting(lambda net, X: np.random.rand()),
    "前向的钩子": hooked(lambda net: net.linear.register_forward_hook(lambda *_: None)),
    "反向的钩子": hooked(lambda net: net.linear[1].register_full_backward_pre_hook(lambda *_: None)),
    "参数的钩子": hooked(lambda net: net.linear[0].weight.register_hook(lambda gradient: None)),
    "梯度加完的钩子": hooked(lambda net: net.linear[0].weight.register_post_accumulate_grad_hook(lambda weight: None)),
    "读一个数": counting(lambda net, X: X.sum().item())}


@pytest.mark.parametrize("name", ["lenet", "dropout_and_batch_norm"])
def test_left_to_itself_the_step_is_recorded_after_two_looks(tapes, name):
    expected, plain = trajectory(NETS[name], cuda_graph=False)
    points, replayed = trajectory(NETS[name], cuda_graph=None)
    assert [tape.replays for tape in tapes] == [1 + 6] and points == expected
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), replayed.parameters(), strict=True))


@pytest.mark.parametrize("net", NOT_REPLAYED.values(), ids=NOT_REPLAYED)
def test_left_to_itself_a_step_that_python_takes_part_in_is_not_replayed(tapes, net):
    """照常走：Python 里的每一步都做到，损失与不录的相同。"""
    expected, plain = trajectory(net, cuda_graph=False)
    points, same = trajectory(net, cuda_graph=None)
    assert points == expected and not sum(tape.replays for tape in tapes)
    assert (same.seen, same.kept) == (plain.seen, plain.kept)
    trajectory(Counting, cuda_graph=None)
    assert tapes[-1].replays  # 什么也不留下的同样一个网络，录得成


@pytest.mark.parametrize("name, value", [
    ("synchronize", lambda device: time.sleep(0.1)), ("max_memory_allocated", lambda device: 10**15)],
    ids=["GPU 没有在等", "放不下"])
def test_left_to_itself_a_step_that_gains_nothing_or_does_not_fit_is_not_recorded(tapes, monkeypatch, name, value):
    monkeypatch.setattr(torch.cuda, name, value)
    expected, _ = trajectory(NETS["lenet"], cuda_graph=False)
    assert trajectory(NETS["lenet"], cuda_graph=None)[0] == expected and not tapes


@pytest.mark.parametrize("free, recorded", [(200, True), (199, False)])
def test_two_lots_of_activations_must_fit(tapes, monkeypatch, free, recorded):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 130)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    monkeypatch.setattr("helpers.machine.cuda_graph.memory_limit", lambda device: free)
    trajectory(NETS["lenet"], cuda_graph=None)
    assert bool(tapes) is recorded


def test_left_to_itself_a_recording_that_does_not_fit_costs_nothing(tapes, monkeypatch):
    step = torch.optim.SGD.step

    def full(*arguments):
        if tapes and torch.utils._python_dispatch._get_current_dispatch_mode() is tapes[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(*arguments)
    expected, _ = trajectory(NETS["lenet"], cuda_graph=False)
    monkeypatch.setattr(torch.optim.SGD, "step", full)
    assert trajectory(NETS["lenet"], cuda_graph=None)[0] == expected and len(tapes) == 1


def test_an_interruption_while_recording_is_an_interruption(tapes, monkeypatch):
    """结束录制时也会出错，不该盖住它。"""
    step = torch.optim.SGD.step

    def interrupted(*arguments):
        if tapes:
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        return step(*arguments)
    monkeypatch.setattr(torch.optim.SGD, "step", interrupted)
    for cuda_graph in (True, None):
        with pytest.raises(KeyboardInterrupt):
            trajectory(NETS["lenet"], cuda_graph=cuda_graph)
        tapes.clear()


@pytest.mark.cuda
@pytest.mark.parametrize("cuda_graph", [True, None])
@pytest.mark.parametrize("section, size", [("7.1", 28), ("7.6", 32)])
def test_on_a_gpu(section, size, cuda_graph):
    """卷积用每次都相同的算法：7.6 差一个舍入就走开了。"""
    plan = load(section).plan.book
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        expected, _ = trajectory(plan.make, device="cuda", size=size, cuda_graph=False)
        points, _ = trajectory(plan.make, device="cuda", size=size, cuda_graph=cuda_graph)
    assert [p.loss for p in points] == pytest.approx([p.loss for p in expected], rel=1e-3)


@pytest.mark.cuda
@pytest.mark.parametrize("seed", [None, 3])
def test_dropout_on_a_gpu(seed):
    """随机数从公共的生成器抽，或者从自己的骰子抽：每次重放都接着往下抽。"""
    def walk(cuda_graph):
        torch.manual_seed(0)
        net, data = dropout_and_batch_norm().apply(xavier), fashion_mnist(16, images=100, device="cuda")
        turns = steps(net, *data, lr=0.1, num_epochs=2, cuda_graph=cuda_graph,
                      dice=None if seed is None else Dice(seed))
        return [point.loss for point in turns if point is not None]
    assert walk(True) == pytest.approx(walk(False), rel=1e-3)


@pytest.mark.cuda
def test_what_cannot_be_captured_on_a_gpu_is_said_and_the_card_still_works():
    with pytest.raises(ValueError, match="去掉 cuda_graph=True"):
        trajectory(NOT_REPLAYED["读一个数"], device="cuda", cuda_graph=True)
    assert torch.rand(3, device="cuda").sum().item() > 0  # 随机数也还抽得了
    assert trajectory(NETS["lenet"], device="cuda", cuda_graph=True)[0]


@pytest.mark.cuda
@pytest.mark.parametrize("net", NOT_REPLAYED.values(), ids=NOT_REPLAYED)
def test_left_to_itself_on_a_gpu_a_step_that_python_takes_part_in_goes_on_as_usual(net):
    expected, plain = trajectory(net, device="cuda", cuda_graph=False)
    points, same = trajectory(net, device="cuda", cuda_graph=None)
    assert [p.loss for p in points] == pytest.approx([p.loss for p in expected], rel=1e-4)
    assert (same.seen, same.kept) == (plain.seen, plain.kept)


@pytest.mark.cuda
def test_another_thread_may_use_the_gpu_while_a_step_is_recorded():
    """后台的训练在录，读者的单元格在算。"""
    done, went_wrong = threading.Event(), []

    def use():
        X = torch.randn(64, 64, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
        while not done.is_set():
            try:
                (X @ X.clone()).sum().item()
                torch.empty(2**22, device="cuda")
            except RuntimeError as error:
                went_wrong.append(error)
    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(5):
            assert trajectory(NETS["lenet"], device="cuda", cuda_graph=True)[0]
    finally:
        done.set()
        thread.join()
    assert not went_wrong
