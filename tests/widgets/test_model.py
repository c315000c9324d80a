"""model.py：滑块的值怎样变成网络和训练，没有小组件。"""

from dataclasses import replace

import pytest
from torch import nn

from helpers import budget, load, trace
from helpers.network.shape_errors import ShapeError
from helpers.widgets.model import Model

lenet = load("7.1").lenet


def narrow(kind="plain", c1=64, c2=128, keep=0.5, wide=False, blocks=((1, 8), (1, 16))):
    """什么样的参数都有；随 c1、c2 变宽。"""
    return nn.Sequential(nn.Conv2d(1, c1, 3), nn.ReLU(), nn.Conv2d(c1, c2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(c2, 10))


PLAN = budget(narrow, size=96, lr=0.1).change(c1=8, c2=16, size=28, lr=0.03, batch_size=16, images=320, num_epochs=1)
NAMES = ("kind", "c1", "c2", "keep", "wide", "blocks", "size", "lr")


@pytest.fixture
def model():
    return Model(PLAN, NAMES)


def trained(model, **moved):
    plan = model.training(model.start | moved)
    return {name: plan.settings[name] for name in ("c1", "c2", "size", "lr")}


def test_sliders_start_at_the_book_and_the_training_at_the_plan(model):
    assert model.start == {name: PLAN.book.settings[name] for name in NAMES} | {"lr": 0.03}
    assert model.table(model.start) == trace(narrow(), (1, 1, 96, 96)) == model.book_table
    assert model.training(model.start).settings == PLAN.settings
    assert model.at(model.start).settings == PLAN.change(c1=64, c2=128, size=96).settings


@pytest.mark.parametrize("moved, expected", [
    ({"c2": 64}, {"c2": 8}), ({"c2": 256}, {"c2": 32}), ({"c1": 1}, {"c1": 1}), ({"c1": 100}, {"c1": 12}),
    ({"size": 64}, {"size": 28}), ({"size": 20}, {"size": 20}), ({"size": 200}, {"size": 28}),
    ({"lr": 0.5}, {"lr": 0.5}), ({"keep": 0.1, "kind": "x", "wide": True}, {})])
def test_what_was_moved_is_reduced_in_proportion_and_the_size_at_most_to_the_plans(model, moved, expected):
    assert trained(model, **moved) == {"c1": 8, "c2": 16, "size": 28, "lr": 0.03} | expected
    settings = model.training(model.start | moved).settings
    assert all(settings[name] == value for name, value in moved.items() if name not in model.reduced)


def divided(ratio=4):
    """像 VGG 那样，通道数除以 ratio。"""
    return nn.Sequential(nn.Conv2d(1, 64 // ratio, 3))


@pytest.mark.parametrize("ratio, trained", [(1, 8), (2, 16), (3, 24), (4, 32), (8, 32), (32, 32), (64, 64)])
def test_a_divisor_is_never_scaled_past_the_plans(ratio, trained):
    model = Model(budget(divided).change(ratio=32), ["ratio"])
    settings = model.training({"ratio": ratio}).settings
    assert settings["ratio"] == trained
    assert model.training(*model.values_of(settings)).settings == settings


def test_nothing_is_reduced_when_asked_not_to(model):
    assert model.training(model.start | {"c2": 64}, reduce=False) == model.at(model.start | {"c2": 64})


def test_a_width_without_a_slider_is_reduced_too():
    model = Model(PLAN, ["c1"])
    assert model.table({"c1": 64}) == model.book_table
    assert model.training({"c1": 32}).settings == PLAN.change(c1=4).settings


def test_a_choice_that_the_plan_changes_stays_what_the_reader_chose():
    plan = PLAN.change(kind="small", blocks=((1, 2),))
    model = Model(plan, NAMES)
    assert model.training(model.start).settings == plan.settings
    chosen = model.training(model.start | {"kind": "other", "blocks": ((2, 2),)}).settings
    assert chosen["kind"] == "other" and chosen["blocks"] == ((2, 2),)


@pytest.mark.parametrize("moved", [{}, {"c1": 32}, {"c1": 3, "c2": 500}, {"size": 20}, {"keep": 0.1, "lr": 1.0}])
def test_a_run_finds_back_to_the_sliders_that_train_it_again(model, moved):
    plan = model.training(model.start | moved)
    values, reduce = model.values_of(plan.settings | {"params": 1})
    assert reduce and model.training(values, reduce).settings == plan.settings and values.keys() == {*NAMES}


@pytest.mark.parametrize("settings", [PLAN.book.settings, PLAN.change(size=64).settings, PLAN.change(c1=100).settings,
                                      PLAN.change(c1=64, c2=3).settings])
def test_a_run_that_the_plan_does_not_make_is_shown_as_it_was(model, settings):
    values, reduce = model.values_of(settings)
    plan = model.training(values, reduce)
    assert all(plan.settings[name] == settings[name] for name in NAMES)
    assert reduce == (settings["size"] == 28)  # 同样的边长：是更宽的网络缩小的


def test_a_run_of_a_lost_setting_leaves_its_slider(model):
    assert "c2" not in model.values_of({"c1": 8, "size": 28, "lr": 0.1})[0]


def test_words_name_what_the_training_changes(model):
    assert model.describe_training(model.start) == (
        "训练时改用：批量 16，输入边长 28，训练图片 320，轮数 1，c1 8，c2 16；别的照滑块和书上的配方。")
    assert "c1" not in model.describe_training(model.start, reduce=False)
    book = Model(replace(PLAN, recipe=PLAN.book_recipe), NAMES)
    assert "改用" not in book.describe_training(book.start) and not book.reduced


def test_only_settings_can_be_sliders():
    with pytest.raises(ValueError, match=r"没有 c9.*kind、c1、c2.*size.*lr"):
        Model(PLAN, ["c1", "c9"])
    assert Model(PLAN, ["batch_size"]).start == {"batch_size": 16}


def test_a_network_that_only_the_reduction_breaks_is_told_as_a_shape():
    model = Model(budget(lenet, size=28).change(c1=3, size=10), ["c1", "size"])
    assert model.table(model.start).params == 61706
    with pytest.raises(ShapeError):
        model.need(model.start)


def test_what_was_computed_is_not_computed_again():
    built = []

    def counted(c1=4, act=None):
        built.append(c1)
        return nn.Sequential(nn.Conv2d(1, c1, 3), *([act()] if act else []), nn.Flatten(), nn.Linear(c1 * 36, 10))
    model = Model(budget(counted, size=8, lr=0.1), ("c1", "act", "size", "lr"))
    values, before = model.start | {"c1": 5}, len(built)
    first, need = model.table(values), model.need(values)
    assert len(built) == before + 1
    assert model.table(values | {"lr": 0.2}) is first and model.need(values | {"lr": 0.2}) is need
    assert len(built) == before + 1 and model.table(model.start | {"c1": 6}) != first
    # 名字一样的两个函数，是两个网络
    tables = [model.table(values | {"act": each}) for each in ((lambda: nn.ReLU()), (lambda: nn.Conv2d(5, 5, 1)))]
    assert tables[0][1].kind == "ReLU" and tables[1][1].kind == "Conv2d"
    for _ in range(2):  # 走不通的，每次都说
        with pytest.raises(ShapeError):
            model.table(values | {"size": 9})


def test_what_is_remembered_has_an_end():
    built = []

    def counted(c1=4):
        built.append(c1)
        return nn.Sequential(nn.Conv2d(1, c1, 3), nn.Flatten(), nn.Linear(c1 * 36, 10))
    model = Model(budget(counted, size=8, lr=0.1), ("c1", "size", "lr"))
    for c1 in range(10, 150):
        model.table(model.start | {"c1": c1})
    del built[:]
    model.table(model.start | {"c1": 149})
    model.table(model.start | {"c1": 130})
    assert built == []
    model.table(model.start | {"c1": 10})
    assert built == [10]
