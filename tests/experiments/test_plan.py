"""plan.py：这台机器的计划，改法，放不放得下。"""

import time

import psutil
import pytest
import torch
from torch import nn

from helpers import Plan, budget, fashion_mnist, kaiming, load, xavier
from helpers.training.loop import fit

lenet, vgg11 = load("7.1").lenet, load("7.3").vgg11


@pytest.fixture
def device(monkeypatch):
    """假装这台机器有某种设备。"""
    return lambda kind: monkeypatch.setattr("helpers.experiments.plan.pick_device", lambda: torch.device(kind))


def test_budget_is_the_book_with_a_gpu_and_smaller_without(device):
    recipe = dict(lr=0.05, batch_size=128, size=224, ratio=4, without_gpu={"images": 600, "ratio": 16, "init": kaiming})
    device("cuda")
    plan = budget(vgg11, **recipe)
    assert plan.is_book and plan.images is None and plan.widths == {"ratio": 4} and plan.init is xavier
    device("cpu")
    plan = budget(vgg11, **recipe)
    assert not plan.is_book and plan.images == 600 and plan.widths == {"ratio": 16} and plan.init is kaiming
    assert plan.book.widths == {"ratio": 4} and plan.book.images is None and plan.book.is_book
    assert plan.network == "vgg11" and plan.shape == (1, 1, 224, 224)


def test_a_changed_plan_can_be_changed_back():
    plan = budget(lenet, lr=0.9)
    assert not plan.change(num_epochs=3).is_book and plan.change(num_epochs=3).change(num_epochs=10).is_book
    assert plan.change(c1=8).widths == {"c1": 8} and plan.change(c1=6).is_book
    assert plan.change(c1=8).settings | {"c1": 8, "c2": 16, "images": 60_000, "init": "xavier"} == \
        plan.change(c1=8).settings
    with pytest.raises(ValueError, match="没有 c9；能改的是 batch_size"):
        plan.change(c9=3)


def test_the_plan_gives_its_data():
    train_set, test_set = Plan(lenet, batch_size=16, size=32, images=600).data()
    assert (train_set.images, test_set.images, train_set.batch_size, train_set.size) == (600, 100, 16, 32)


def test_seconds_are_about_right():
    plan = budget(lenet, lr=0.1, images=12_000, num_epochs=1)
    plan.seconds()
    started = time.perf_counter()
    list(fit(lenet(), *plan.data(), lr=0.1, num_epochs=1))
    spent = time.perf_counter() - started
    assert spent / 5 < plan.seconds() < 5 * spent  # 繁忙的机器上只能粗略比较


def test_what_does_not_fit_is_refused_before_anything_is_allocated():
    plan = budget(vgg11, size=224, batch_size=128, hidden=60_000)  # 五十多亿个参数
    before = psutil.Process().memory_info().rss
    with pytest.raises(ValueError, match=r"训练约要 .* GB 内存（批量 128），只有 .* GB，放不下；一个样本也放不下"):
        plan.build()
    with pytest.raises(ValueError, match=r"（批量 60,000），只有 .*批量至多 [\d,]+。用 plan\.change\(batch_size=\d+\)"):
        budget(vgg11, size=224, ratio=4, batch_size=60_000).build()
    assert psutil.Process().memory_info().rss - before < 50e6


def test_bfloat16_learns_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    points = list(fit(net, *fashion_mnist(32, images=3_000), lr=0.1, num_epochs=3, dtype=torch.bfloat16))
    assert points[-1].test_acc > 0.7 and next(net.parameters()).dtype == torch.float32
