"""plan.py：这台机器的计划，改法，放不放得下。"""

import time
from dataclasses import FrozenInstanceError, replace
from functools import partial

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn

from helpers import budget, fashion_mnist, kaiming, load, xavier
from helpers.experiments.plan import epoch_seconds
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


def test_a_plan_is_changed_by_change_alone():
    plan = budget(lenet)
    for each, name in ((plan, "recipe"), (plan.recipe, "lr")):
        with pytest.raises(FrozenInstanceError):
            setattr(each, name, None)
    assert plan.batch_size == fashion_mnist(device="cpu")[0].batch_size and plan.size == fashion_mnist()[0].size


@pytest.mark.parametrize("changes", [
    {"c9": 3}, {"make": 3}, {"widths": 3}, {"folder": 3}, {"name": "x"}, {"recipe": 1}, {"num_classes": 5},
    {"in_channels": 3}, {"init": "kaimin"}, {"init": 3}, {"lr": "a"}, {"lr": 0}, {"lr": float("nan")}, {"lr": True},
    {"batch_size": 2.5}, {"batch_size": None}, {"num_epochs": 0}, {"size": -1}, {"images": "all"}, {"c1": -3},
    {"c1": None}, {"c1": True}, {"c1": "x"}, {"c1": 2.5}, {"images": 5}, {"images": 70_000}, {"size": 5_000},
    {"lr": 1e300}, {"lr": 10**400}])
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


@pytest.mark.parametrize("make", ["lenet", None, 3, nn.Flatten()])
def test_what_is_no_function_is_refused_in_words(make):
    with pytest.raises(TypeError, match=r"budget 要的是网络函数.*budget\(lenet\)"):
        budget(make, name="mine")


@pytest.mark.parametrize("odd", [3, torch.rand(3), [1], {3: 3}])
def test_odd_names_and_settings_are_refused_in_words(odd):
    with pytest.raises(TypeError, match="name 应当是网络的名字"):
        budget(lenet, name=odd)
    with pytest.raises(TypeError, match="without_gpu 应当是一个字典"):
        budget(lenet, without_gpu=odd)


def bare(width, *others, c1=6):
    return nn.Linear(width, c1)


@pytest.mark.parametrize("make, says", [(bare, "参数 width、others 没有默认值"), (dict, "看不出 dict 有哪些参数")])
def test_every_parameter_of_the_function_has_a_default(make, says):
    with pytest.raises(ValueError, match=says):
        budget(make)


@pytest.mark.parametrize("make", [lambda c1=6: None, lambda c1=6: [nn.ReLU()], lambda c1=6: nn.ReLU])
def test_a_function_that_gives_no_network_is_refused_in_words(make):
    plan = budget(make, name="mine")
    for act in (plan.build, plan.forecast, plan.preview):
        with pytest.raises(ValueError, match="mine 应当返回一个网络"):
            act()


@pytest.mark.parametrize("odd", [{"without_gpu": [1]}, {"name": 3}])
def test_odd_arguments_of_a_budget_are_refused_in_words(odd):
    with pytest.raises(TypeError, match=f"{next(iter(odd))} 应当是"):
        budget(lenet, **odd)


def test_a_seed_decides_the_weights_and_leaves_the_other_numbers_alone():
    plan = budget(lenet, init="kaiming")
    torch.manual_seed(3)
    expected = plan.build().state_dict()
    before = torch.get_rng_state()
    net = plan.build(seed=np.int64(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())
    for odd in ("a", -1, 1.5, True, 2**63):
        with pytest.raises(ValueError, match="seed 应当是"):
            plan.build(seed=odd)


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


@pytest.fixture
def table(monkeypatch):
    """计划的表，每行 {名目: 这台机器那一栏}。"""
    rows = {}
    monkeypatch.setattr("helpers.experiments.plan.table_picture",
                        lambda cells, *_, **__: rows.update({name: mine for name, _, mine in cells[1:]}))
    return rows


def test_the_preview_says_what_fits_and_how_long(table, monkeypatch):
    plan = budget(lenet, images=600, num_epochs=1)
    need = plan.forecast()
    limit = replace(need, batch_size=300).total  # 放得下 300 张，放不下 600 张
    monkeypatch.setattr("helpers.experiments.plan.memory_limit", lambda device: limit)
    plan.preview()
    assert table["4 GB"] == table["8 GB"] == "全部一批也放得下"
    assert table["此刻空闲 0.0 GB"] == need.fitting(limit, 600) != need.fitting(limit, 100)
    assert table["时间"].startswith("约 ")


def test_what_differs_from_the_book_is_marked_in_the_preview(monkeypatch):
    found = {}
    monkeypatch.setattr("helpers.experiments.plan.table_picture",
                        lambda cells, _, marked: found.update(cells=cells, marked=marked))
    budget(lenet, lr=0.9, batch_size=256).change(lr=0.5, batch_size=16, images=600, num_epochs=1).preview()
    marked = {found["cells"][i][0] for i, column in found["marked"] if column == 2}
    assert len(found["marked"]) == len(marked) and {"批量", "学习率"} <= marked
    assert marked == {name for name, was, now in found["cells"][1:] if was and was != now} < {
        name for name, *_ in found["cells"][1:]}


def test_the_preview_of_what_does_not_fit_has_no_time(table, monkeypatch):
    monkeypatch.setattr("helpers.experiments.plan.memory_limit", lambda device: 1e6)
    budget(lenet).preview()
    assert table["此刻空闲 0.0 GB"] == "一个样本也放不下" and "时间" not in table


def test_a_preview_survives_too_little_memory(table, monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(torch.optim.SGD, "step", full)
    budget(lenet).preview()
    assert "内存不够" in table["时间"]


def test_a_preview_of_a_broken_shape_names_the_layer():
    with pytest.raises(ValueError, match="AvgPool2d"):
        budget(lenet, size=10).preview()


@pytest.mark.parametrize("images", [2, 24])
def test_the_time_of_a_folder_is_measured_in_the_folder(table, images, tmp_path):
    """三个通道的图，一边读一边裁；只有一批的也量得出。"""
    for half in ("train", "val"):
        for kind in "ab":
            (tmp_path / half / kind).mkdir(parents=True)
            for i in range(images // 2):
                Image.new("RGB", (40, 40), (9 * i, 0, 0)).save(tmp_path / half / kind / f"{i}.png")
    plan = budget(lenet).on(str(tmp_path)).change(batch_size=2, num_epochs=1)
    plan.preview()
    assert table["时间"].startswith("约 ") and 0 < plan.seconds() < 600
    settings = plan.settings
    assert settings["folder"] == str(tmp_path) and settings["num_classes"] == 2 and "images" not in settings


@pytest.mark.parametrize(("seconds", "said"), [(119, "约 119 秒"), (120.6, "约 2 分钟"), (660, "约 11 分钟")])
def test_from_two_minutes_on_the_time_is_said_in_minutes(table, monkeypatch, seconds, said):
    monkeypatch.setattr("helpers.experiments.plan.epoch_seconds", lambda *_: seconds / 10)
    budget(lenet, num_epochs=10).preview()
    assert table["时间"] == said


def test_the_seconds_of_one_epoch_are_measured():
    assert 0.1 < epoch_seconds(lenet(), 28, 256) < 600


def test_what_does_not_fit_is_refused_before_anything_is_allocated():
    plan = budget(vgg11, size=224, batch_size=128, hidden=10**6)  # 一万多亿个参数
    before = psutil.Process().memory_info().rss
    with pytest.raises(ValueError, match=r"训练约要 .* GB 内存（批量 128），只有 .* GB，放不下；一个样本也放不下"):
        plan.build()
    with pytest.raises(ValueError, match=r"（批量 60,000），只有 .*批量至多 [\d,]+。用 plan\.change\(batch_size=\d+\)"):
        budget(vgg11, size=224, batch_size=60_000).build()
    assert psutil.Process().memory_info().rss - before < 50e6


def test_bfloat16_learns_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    points = list(fit(net, *fashion_mnist(32, images=3_000), lr=0.1, num_epochs=3, dtype=torch.bfloat16))
    assert points[-1].test_acc > 0.7 and next(net.parameters()).dtype == torch.float32
