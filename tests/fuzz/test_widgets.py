"""小组件：网页送来什么都不出错，值总在范围里；范围不对就一句话；训练过的总能回到滑块上。"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers import Explorer, budget
from helpers.experiments.settings import plain
from helpers.widgets.model import Model
from helpers.widgets.panel import Panel
from helpers.widgets.sliders import make_slider

SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-3, 40) | st.floats() | st.floats(-3, 40) | st.text(
    max_size=5) | st.sampled_from([10**400, -10**400, "7", "0.5", "a", "nan", "NAN", "inf"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                                         max_size=3), max_leaves=5)
RANGES = {"whole": (1, 32), "odd": (1, 31, 2), "real": (0.0, 1.0), "lr": (0.01, 10), "kind": ["a", "b", "c"],
          "arch": [("小", (1, 2)), ("大", ((1, 2), 3))], "deep": True}
START = {"whole": 6, "odd": 7, "real": 0.5, "lr": 0.9, "kind": "a", "arch": (1, 2), "deep": False}
KEYS = st.sampled_from(["value", "value", "value", "index", "index", "min", "max", "step", "base", "options", "label",
                        "_options_labels", "disabled", "description", "layout", "style", "orientation", "nothing"])
MESSAGES = st.lists(st.tuples(st.sampled_from([*RANGES]), st.dictionaries(KEYS, JSON, max_size=3)), max_size=8)


def state(slider):
    """网页上看得到的，除了值。"""
    return {name: value for name, value in slider.get_state().items() if name not in ("value", "index")}


class Watched:
    """几种滑块，和它们开始时的样子；造一次，每一例从头放好。"""

    def __init__(self):
        self.moved = []
        self.panel = Panel(RANGES, START, lambda: self.moved.append(self.panel.values))
        self.states = {name: state(slider) for name, slider in self.panel.sliders.items()}


WATCHED = Watched()


def in_range(values):
    """每个值都是它那一种，也在范围里。"""
    assert type(values["whole"]) is type(values["odd"]) is int and type(values["real"]) is float
    assert 1 <= values["whole"] <= 32 and 1 <= values["odd"] <= 31 and 0 <= values["real"] <= 1
    assert 0.01 * (1 - 1e-9) <= values["lr"] <= 10 * (1 + 1e-9) and values["kind"] in RANGES["kind"]
    assert values["arch"] in [(1, 2), ((1, 2), 3)] and type(values["deep"]) is bool


@given(MESSAGES)
def test_the_page_sends_anything_and_the_values_stay_in_range(messages):
    panel, states = WATCHED.panel, WATCHED.states
    panel.move(START)
    for name, message in messages:
        before = panel.values
        panel.sliders[name].set_state(message)
        after = panel.values
        in_range(after)
        assert all(after[other] == before[other] for other in RANGES if other != name)
        assert not WATCHED.moved or WATCHED.moved[-1] == after
        assert {each: state(slider) for each, slider in panel.sliders.items()} == states
        json.dumps([slider.get_state(["value"]) for slider in panel.sliders.values() if "value" in slider.keys],
                   allow_nan=False)


NUMBERS = st.integers(-5, 50) | st.floats(-5, 50) | SCALARS
ALLOWED = st.tuples(NUMBERS, NUMBERS) | st.tuples(NUMBERS, NUMBERS, NUMBERS) | st.lists(
    JSON, max_size=3) | st.booleans() | JSON | st.lists(st.tuples(st.text(max_size=2), NUMBERS), max_size=3)


@given(st.sampled_from(["c1", "lr"]), ALLOWED, NUMBERS)
def test_a_range_becomes_a_slider_that_holds_the_default_or_one_sentence(name, allowed, default):
    try:
        slider = make_slider(name, allowed, default, print)
    except ValueError as error:
        assert name in str(error) and str(error)[-1] in "。；" and "\n" not in str(error)
        return
    assert plain(slider.value) == plain(default) or slider.value == pytest.approx(default, rel=1e-9)
    if isinstance(allowed, tuple):
        assert allowed[0] <= allowed[1] and all(map(math.isfinite, allowed))


def narrow(c1=8, c2=16, kind="a", bias=True):
    return nn.Sequential(nn.Conv2d(1, c1, 3, bias=bias), nn.Conv2d(c1, c2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(c2, 10))


PLAN = budget(narrow, size=12, lr=0.1)
EXPLORER = Explorer(PLAN.change(c1=2, size=9, batch_size=4, images=320), c1=(1, 32), c2=(1, 64), kind=["a", "b"],
                    bias=True, size=(1, 16), lr=(0.01, 10))


@given(st.lists(st.tuples(st.sampled_from([*EXPLORER.sliders, "reduce"]), JSON | st.integers(0, 40)), max_size=4))
def test_an_explorer_always_has_a_table_or_a_sentence(moves):
    EXPLORER.reset()
    for name, value in moves:
        slider = EXPLORER.reduce if name == "reduce" else EXPLORER.sliders[name]
        slider.set_state({"index" if name == "kind" else "value": value})
    table, size = EXPLORER.table.value, EXPLORER.values["size"]
    assert ("合计" in table) == (size >= 5) == (EXPLORER.note.value != "") and ("走不通" in table) == (size < 5)


WIDTHS = st.integers(1, 40)


@given(WIDTHS, WIDTHS, st.integers(5, 40), WIDTHS, WIDTHS, st.integers(5, 40), st.sampled_from("ab"))
def test_a_run_finds_back_to_sliders_that_train_it_again(c1, c2, size, slider1, slider2, slider_size, kind):
    model = Model(PLAN.change(c1=c1, c2=c2, size=size), ["c1", "c2", "size", "kind", "lr"])
    values = model.start | {"c1": slider1, "c2": slider2, "size": slider_size, "kind": kind}
    for reduce in (True, False):
        settings = model.training(values, reduce).settings
        again = model.training(*model.values_of(settings)).settings
        assert again == settings
