"""plan.py 与 device.py：这台机器的计划，改法，放不放得下。"""

import ctypes
import subprocess
import sys
import time
from functools import partial

import numpy as np
import psutil
import pytest
import torch
from torch import nn

import helpers.machine.device
from helpers import budget, fashion_mnist, kaiming, load, xavier
from helpers.experiments.plan import epoch_seconds
from helpers.machine.device import fast_dtype, pick_device
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
    assert plan.is_book and plan.recipe.images is None and plan.widths == {"ratio": 4} and plan.init is xavier
    device("cpu")
    plan = budget(vgg11, **recipe)
    assert not plan.is_book and plan.recipe.images == 600 and plan.widths == {"ratio": 16} and plan.init is kaiming
    assert plan.book.widths == {"ratio": 4} and plan.book.recipe.images is None and plan.book.is_book
    assert plan.name == "vgg11" and plan.shape == (1, 1, 224, 224)


def test_a_changed_plan_can_be_changed_back():
    plan = budget(lenet, lr=0.9)
    assert not plan.change(num_epochs=3).is_book and plan.change(num_epochs=3).change(num_epochs=10).is_book
    assert plan.change(c1=8).widths == {"c1": 8} and plan.change(c1=6).is_book
    assert plan.change(c1=8).settings | {"c1": 8, "c2": 16, "images": 60_000, "init": "xavier"} == \
        plan.change(c1=8).settings


@pytest.mark.parametrize("changes", [
    {"c9": 3}, {"make": 3}, {"widths": 3}, {"folder": 3}, {"name": "x"}, {"recipe": 1}, {"num_classes": 5},
    {"in_channels": 3}, {"init": "kaimin"}, {"init": 3}, {"lr": "a"}, {"lr": 0}, {"lr": float("nan")}, {"lr": True},
    {"batch_size": 2.5}, {"batch_size": None}, {"num_epochs": 0}, {"size": -1}, {"images": "all"}, {"c1": -3},
    {"c1": None}, {"c1": True}, {"c1": "x"}, {"c1": 2.5}])
def test_what_cannot_be_changed_is_refused_in_words(changes):
    plan = budget(lenet, lr=0.9)
    [name] = changes
    with pytest.raises(ValueError, match=name if name != "init" else "初始化"):
        plan.change(**changes)


def test_numbers_of_numpy_are_numbers():
    plan = budget(lenet).change(batch_size=np.int64(16), lr=np.float32(0.5), c1=np.int32(8))
    assert plan.is_book is False and type(plan.batch_size) is type(plan.widths["c1"]) is int and plan.lr == 0.5


def test_initializations_go_by_name():
    plan = budget(lenet, init="kaiming")
    assert plan.init is kaiming and plan.settings["init"] == "kaiming"
    assert plan.change(init="xavier").init is xavier and plan.change(init="default").settings["init"] == "default"


def test_widths_of_other_kinds():
    def odd(deep=True, rate=0.5, arch=((1, 64), (2, 128)), norm="batch"):
        return nn.Linear(1, 1)
    plan = budget(odd).change(deep=False, rate=1, arch=[[1, 32]], norm="layer")
    assert plan.widths == {"deep": False, "rate": 1.0, "arch": ((1, 32),), "norm": "layer"}
    for changes in ({"deep": 1}, {"rate": "x"}, {"arch": 3}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            plan.change(**changes)


def test_a_network_function_has_a_name_or_needs_one():
    assert budget(partial(lenet, c1=8)).name == "lenet" and budget(partial(lenet, c1=8)).build()[0].out_channels == 8
    assert budget(lambda: lenet(), name="mine").name == "mine"
    with pytest.raises(ValueError, match="name="):
        budget(lambda: lenet())


def test_the_plan_gives_its_data():
    train_set, test_set = budget(lenet).change(batch_size=16, size=32, images=600).data()
    assert (train_set.images, test_set.images, train_set.batch_size, train_set.size) == (600, 100, 16, 32)


def test_seconds_are_about_right():
    plan = budget(lenet, lr=0.1, images=12_000, num_epochs=1)
    plan.seconds()
    started = time.perf_counter()
    list(fit(lenet(), *plan.data(), lr=0.1, num_epochs=1))
    spent = time.perf_counter() - started
    assert spent / 5 < plan.seconds() < 5 * spent  # 繁忙的机器上只能粗略比较


def test_the_seconds_of_one_epoch_are_measured():
    assert 0.1 < epoch_seconds(lenet(), 28, 256) < 600


def test_what_does_not_fit_is_refused_before_anything_is_allocated():
    plan = budget(vgg11, size=224, batch_size=128, hidden=60_000)  # 五十多亿个参数
    before = psutil.Process().memory_info().rss
    with pytest.raises(ValueError, match=r"训练约要 .* GB 内存（批量 128），只有 .* GB，放不下；一个样本也放不下"):
        plan.build()
    with pytest.raises(ValueError, match=r"（批量 60,000），只有 .*批量至多 [\d,]+。用 plan\.change\(batch_size=\d+\)"):
        budget(vgg11, size=224, ratio=4, batch_size=60_000).build()
    assert psutil.Process().memory_info().rss - before < 50e6


def test_broken_cuda_falls_back_with_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def broken(*args, **options):
        raise RuntimeError("no kernel image is available\nmore")
    monkeypatch.setattr(helpers.machine.device.torch, "ones", broken)
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


THREADS = """
import psutil, torch
from helpers.machine.device import release_threads
torch.set_num_threads(4)
before = psutil.Process().num_threads()
torch.rand(2000, 2000).exp()
during = psutil.Process().num_threads()
release_threads()
after = psutil.Process().num_threads()
torch.rand(2000, 2000).exp()  # 再要就再起
print(during - before, after - before, psutil.Process().num_threads() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all"),
                    reason="不是 Linux，或者 torch 带的 OpenMP 太旧：什么也不做")
def test_the_openmp_threads_end_and_come_back():
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "0", "3"]
