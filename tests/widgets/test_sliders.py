"""sliders.py：范围变成哪种滑块，什么范围不能用，滑块放到哪里。"""

import numpy as np
import pytest
from torch import nn

from helpers.widgets.sliders import choose, make_slider


def make(allowed, default, name="c1"):
    return make_slider(name, allowed, default, said.append)


said = []


@pytest.mark.parametrize("allowed, default, name, kind", [
    ((1, 32), 6, "c1", "IntSlider"), ((1, 33, 2), 7, "c1", "IntSlider"), ((0.0, 1), 0, "c1", "FloatSlider"),
    ((0, 1), 0.5, "c1", "FloatSlider"), ((0, 1, 0.25), 0, "c1", "FloatSlider"), ((0.1, 10), 1, "lr", "FloatLogSlider"),
    (["a", "b"], "b", "c1", "SelectionSlider"), ([("甲", 1), ("乙", 2)], 2, "c1", "SelectionSlider"),
    (True, False, "c1", "Checkbox"), (False, True, "c1", "Checkbox"), ((5, 5), 5, "c1", "IntSlider"),
    ((np.int64(1), np.int32(32)), np.int64(6), "c1", "IntSlider"),
    ((np.float32(0.5), np.float64(2)), np.float32(1), "c1", "FloatSlider")])
def test_each_kind_of_range_has_its_own_slider(allowed, default, name, kind):
    slider = make(allowed, default, name)
    assert type(slider).__name__ == kind and slider.value == default
    assert type(slider.value).__module__ == "builtins"


def test_numbers_have_their_limits_and_their_step():
    slider = make((1, 32, 3), 7)
    assert (slider.min, slider.max, slider.step) == (1, 32, 3) and make((1, 32), 6).step == 1
    assert make((0, 1.0), 0.5).step == 0.1 and make((0.01, 100), 1, "lr").min == -2
    assert make((0.01, 100), 1, "lr").step <= 0.01  # 十倍里至少一百格
    assert make((0.01, 100), 1, "lr").max == 2 and make((0.01, 100), 1, "lr").description == "学习率 lr"


@pytest.mark.parametrize("allowed, default, name, says", [
    ((32, 1), 6, "c1", "写反了"), ((10, 32), 6, "c1", "从 6 开始，不在范围"), ((1, 5), 6, "c1", "不在范围"),
    ((1, "x"), 6, "c1", "看不懂"), ((1,), 6, "c1", "看不懂"), ((1, 2, 3, 4), 1, "c1", "看不懂"), (7, 6, "c1", "看不懂"),
    ("ab", "a", "c1", "看不懂"), (None, 6, "c1", "看不懂"), ((1, float("nan")), 6, "c1", "看不懂"),
    ((1, float("inf")), 6, "c1", "看不懂"), ((True, 5), 3, "c1", "看不懂"), ((1, 32, 0), 6, "c1", "步长"),
    ((1, 32, -1), 6, "c1", "步长"), ((0, 1), 0.1, "lr", "学习率也要大于 0"), ((-1, 1), 0.1, "lr", "大于 0"),
    ((1, 32), "six", "c1", "不在范围"), ((1, 32), (1, 2), "c1", "不在范围"), (["a", "b"], "c", "c1", "不在选项"),
    ([], 6, "c1", "不在选项"), (["a", None], "a", "c1", "不能有 None"), ((1, 10**400), 6, "c1", "看不懂"),
    ((1, 32), 10**400, "c1", "不在范围"), (True, 1, "c1", "开关"), (False, "x", "c1", "开关")])
def test_a_range_that_cannot_be_is_refused_in_a_sentence(allowed, default, name, says):
    with pytest.raises(ValueError, match=says) as caught:
        make(allowed, default, name)
    assert name in str(caught.value)


def test_a_slider_goes_where_it_can():
    slider, rate, chosen = make((1, 32), 6), make((0.1, 10), 1, "lr"), make([(1, 2), (3, (4, 5))], 2)
    for value, there in ((7, 7), (100, 32), (-1, 1)):
        choose(slider, value)
        assert slider.value == there
    for value, there in ((0.3, 0.3), (100, 10), (1e-9, 0.1)):
        choose(rate, value)
        assert rate.value == pytest.approx(there)
    for value, there in (([4, 5], (4, 5)), (2, 2), (9, 2)):
        choose(chosen, value)
        assert chosen.value == there


def test_functions_are_options_and_are_known_by_their_name():
    slider = make([("sigmoid", nn.Sigmoid), ("ReLU", nn.ReLU)], nn.Sigmoid)
    choose(slider, "ReLU")  # 存进文件的是名字
    assert slider.value is nn.ReLU


@pytest.mark.parametrize("slider, sent, there", [
    (((1, 32), 6), {"value": 7}, 7), (((1, 32), 6), {"value": "abc"}, 6), (((1, 32), 6), {"value": float("nan")}, 6),
    (((1, 32), 6), {"value": "7"}, 6), (((0.0, 1.0), 0.5), {"value": "NAN"}, 0.5),
    (((1, 32), 6), {"value": 99}, 32), (((1, 32), 6), {"max": 99}, 6), (((0.0, 1.0), 0.5), {"value": 10**400}, 0.5),
    ((["a", "b"], "a"), {"index": 1}, "b"), ((["a", "b"], "a"), {"index": 5}, "a"),
    ((["a", "b"], "a"), {"index": None}, "a"),
    ((True, False), {"value": True}, True), ((True, False), {"value": 3}, False)])
def test_the_page_moves_the_value_and_nothing_else(slider, sent, there):
    said.clear()
    slider = make(*slider)
    before = slider.value
    slider.set_state(sent)
    assert slider.value == there and getattr(slider, "max", 32) in (32, 1.0)
    assert bool(said) == (there == before and "max" not in sent)
