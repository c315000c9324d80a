"""gauge.py：时间加得起来，内存看得到激活；GPU 用替身，有 GPU 时另外真的量一遍。"""

import sys
import time
import tracemalloc
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers import fashion_mnist, fit, load
from helpers.machine.gauge import Gauge, reset_peak

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def clock(monkeypatch):
    """Gauge 看的钟，只有测试才拨得动。"""
    hands = SimpleNamespace(now=0)
    monkeypatch.setattr("helpers.machine.gauge.time", SimpleNamespace(perf_counter=lambda: hands.now))
    return hands


def test_a_slow_reader_is_charged_to_drawing(clock):
    gauge = Gauge(CPU)
    clock.now += 50  # 第一步之前画坐标轴
    data = fashion_mnist(64, images=320, device="cpu")
    for _ in fit(load("7.1").lenet(), *data, lr=0.1, num_epochs=1, gauge=gauge):
        clock.now += 10
    assert gauge.seconds == {"data": 0, "steps": 0, "evaluation": 0, "drawing": 50 + 5 * 10}


def test_a_thousand_laps_are_all_counted(clock):
    gauge = Gauge(CPU)
    for i in range(3_000):
        clock.now += 1 + i % 2
        gauge.lap("ab"[i % 2])
        if i == 1_499:
            assert gauge.seconds == {"a": 750, "b": 1_500}  # 问过一次，接着走
    assert gauge.seconds == {"a": 1_500, "b": 3_000} == gauge.seconds


def test_a_long_training_takes_no_more_memory():
    gauge = Gauge(CPU)
    for _ in range(2_000):
        gauge.lap("steps")
    tracemalloc.start()
    try:
        for _ in range(20_000):
            gauge.lap("steps")
        assert tracemalloc.get_traced_memory()[0] < 200_000  # 每段都留着要两百多万字节
    finally:
        tracemalloc.stop()


def test_earlier_seconds_are_carried_over():
    gauge = Gauge(CPU)
    gauge.carry({"steps": 100.0, "drawing": 5.0})
    gauge.lap("steps")
    assert 100 < gauge.seconds["steps"] < 101 and gauge.seconds["drawing"] == 5


def test_the_peak_sees_the_activations():
    net = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(64, 10))
    gauge = Gauge(CPU)
    list(fit(net, *fashion_mnist(60, size=112, images=60, device="cpu"), lr=0.1, num_epochs=1, dtype=torch.float32,
             gauge=gauge))
    assert gauge.peak > 0.9 * 60 * 64 * 112 * 112 * 4  # 一份激活就这么大


@pytest.mark.skipif(sys.platform != "linux", reason="只有 glibc 能还")
def test_used_memory_is_given_back_before_the_peak_is_measured():
    """还给系统之后，同样多的内存再用一次，看得出增加；没有还，就看不出。"""
    blocks = [torch.ones(100_000) for _ in range(500)]  # 每块 0.4 MB，一共 200 MB
    del blocks[:-1]
    reset_peak(CPU)
    gauge = Gauge(CPU)
    again = [torch.ones(100_000) for _ in range(500)]
    gauge.sample()
    assert gauge.peak > 0.9 * 4 * sum(map(len, again))


class Event:
    """CUDA 事件的替身：时刻是第几个，没有等过就不知道。"""

    count, waits = 0, []

    def __init__(self, enable_timing):
        assert enable_timing
        Event.count += 1
        self.number = Event.count

    def record(self, stream):
        assert stream == "stream of cuda"

    def synchronize(self):
        Event.waits.append(self.number)

    def elapsed_time(self, end):
        assert max(Event.waits) >= end.number > self.number
        return 1_000.0 * (end.number - self.number)  # 毫秒


@pytest.fixture
def gpu(monkeypatch):
    """torch.cuda 里 Gauge 用到的，换成替身。"""
    Event.count, Event.waits = 0, []
    memory = SimpleNamespace(allocated=100, most=100)
    for name, value in {"Event": Event, "current_stream": lambda device: f"stream of {device}",
                        "memory_allocated": lambda device: memory.allocated,
                        "max_memory_allocated": lambda device: memory.most}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return memory


def test_the_host_waits_only_for_old_events(gpu):
    gauge = Gauge(CUDA)
    for _ in range(2_000):
        gauge.lap("steps")
        assert not Event.waits or max(Event.waits) <= Event.count - gauge.WAITING // 2
    assert len(Event.waits) < 10
    assert gauge.seconds == {"steps": 2_000} == gauge.seconds


def test_the_peak_of_a_gpu_is_what_was_added(gpu):
    gauge = Gauge(CUDA)
    gauge.sample()
    gpu.allocated, gpu.most = 250, 700
    assert gauge.peak == 600


@pytest.mark.cuda
def test_on_a_gpu():
    reset_peak(CUDA)
    gauge = Gauge(CUDA)
    started, X = time.perf_counter(), torch.ones(1_000, 1_000, device="cuda")
    for _ in range(100):
        X = X @ X / 1_000
        gauge.lap("steps")
    assert 0 < gauge.seconds["steps"] <= time.perf_counter() - started and gauge.peak >= X.nbytes
