"""plan.py、device.py 与 runs.py：这台机器的计划，改法，能不能与官方比。"""

import time

import pytest
import torch
from torch import nn

import helpers.device
from helpers import Plan, budget, fashion_mnist, train
from helpers.device import fast_dtype, pick_device
from helpers.notebook import load
from helpers.training import Point, fit

lenet = load("7.1").lenet


@pytest.fixture
def device(monkeypatch):
    """假装这台机器有某种设备。"""
    return lambda kind: monkeypatch.setattr("helpers.plan.pick_device", lambda: torch.device(kind))


def test_budget_is_the_book_with_a_gpu_and_smaller_without(device):
    device("cuda")
    plan = budget(lr=0.05, batch_size=128, size=224, ratio=4, without_gpu={"images": 600, "ratio": 16})
    assert plan.is_book and plan.images is None and plan.widths == {"ratio": 4}
    device("cpu")
    plan = budget(lr=0.05, batch_size=128, size=224, ratio=4, without_gpu={"images": 600, "ratio": 16})
    assert not plan.is_book and plan.images == 600 and plan.widths == {"ratio": 16}
    assert plan.book.widths == {"ratio": 4} and plan.book.images is None and plan.book.is_book


def test_a_changed_plan_is_not_compared_and_can_be_changed_back():
    plan = budget(lr=0.9)
    assert plan.band("lenet") is not None
    assert plan.change(num_epochs=3).band("lenet") is None
    assert plan.change(num_epochs=3).change(num_epochs=10).is_book
    assert plan.change(c1=8).widths == {"c1": 8}


def test_the_plan_gives_its_data():
    train_set, test_set = Plan(batch_size=16, size=32, images=600).data()
    assert (train_set.images, test_set.images, train_set.batch_size, train_set.size) == (600, 100, 16, 32)


def test_seconds_are_about_right():
    plan = budget(lr=0.1, images=12_000, num_epochs=1)
    plan.seconds(lenet)
    started = time.perf_counter()
    list(fit(lenet(), *plan.data(), lr=0.1, num_epochs=1))
    spent = time.perf_counter() - started
    assert spent / 5 < plan.seconds(lenet) < 5 * spent  # 繁忙的机器上只能粗略比较


def test_broken_cuda_falls_back_with_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def broken(*args, **options):
        raise RuntimeError("no kernel image is available\nmore")
    monkeypatch.setattr(helpers.device.torch, "ones", broken)
    pick_device.cache_clear()
    with pytest.warns(UserWarning, match="no kernel image is available.*改用 CPU"):
        assert pick_device().type == "cpu"
    pick_device.cache_clear()


def test_dtype_follows_the_hardware(monkeypatch):
    for capabilities, dtype in (({}, torch.float32), ({"amx_bf16": True}, torch.bfloat16)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        fast_dtype.cache_clear()
        assert fast_dtype(torch.device("cpu")) == dtype
    fast_dtype.cache_clear()


def test_bfloat16_learns_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    points = list(fit(net, *fashion_mnist(32, images=3_000), lr=0.1, num_epochs=3, dtype=torch.bfloat16))
    assert points[-1].test_acc > 0.7 and next(net.parameters()).dtype == torch.float32


def test_train_returns_a_run():
    run = train(lenet(), *fashion_mnist(32, images=320), lr=0.1, num_epochs=2)
    assert [p.epoch for p in run.points][-1] == 2 and run.seconds > 0 and run.note == ""
    assert "2/2 轮" in repr(run) and isinstance(run.points[0], Point)


def test_a_run_that_overflows_keeps_what_it_had(capsys):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Linear(50, 10))
    run = train(net, *fashion_mnist(32, images=320), lr=1e30, num_epochs=1)
    assert "学习率 1e+30 太大" in run.note and capsys.readouterr().out.count("\n") == 1
