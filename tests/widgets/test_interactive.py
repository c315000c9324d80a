"""interactive.py：由滑块控制的图。"""

import numpy as np
import pytest
from support.pixels import pixels

from helpers import Interactive
from helpers.pictures.canvas import Picture
from helpers.pictures.png import DPI, encode


def png(a, kind):
    """一张小图，值不同图就不同。"""
    return encode(np.full((2, 40, 4), (a, ord(kind), 0, 255), np.uint8), DPI)


def draw(a=1, kind="x"):
    if a == 3:
        raise ValueError("不行")
    return Picture(png(a, kind), "图")


def test_a_move_draws_again_and_an_error_is_said():
    shown = Interactive(draw, a=(0, 5), kind=["x", "y"])
    assert bytes(shown.picture.value) == png(1, "x")
    shown.sliders["kind"].value = "y"
    assert bytes(shown.picture.value) == png(1, "y")
    shown.sliders["a"].value = 3
    assert "不行" in shown.message.value and bytes(shown.picture.value) == png(1, "y")
    shown.sliders["a"].value = 4
    assert shown.message.value == "" and bytes(shown.picture.value) == png(4, "y")


def test_without_a_kernel_the_picture_is_in_the_bundle():
    data, metadata = Interactive(draw, a=(0, 5))._repr_mimebundle_()
    assert pixels(data["image/png"]).tolist() == pixels(png(1, "x")).tolist()
    assert metadata == {"image/png": {"width": 20}} and data["text/plain"] == "Interactive(draw)"
    assert any("widget-view" in kind for kind in data)


def test_a_picture_that_cannot_be_drawn_at_first_is_left_out():
    def never(a=3):
        return draw(a)

    data, metadata = Interactive(never, a=[3, 4])._repr_mimebundle_()
    assert "image/png" not in data and metadata == {}


def test_more_pixels_are_as_wide_on_the_page():
    assert Interactive(draw, a=(0, 5)).picture.layout.width == "20px"


def bare(a, b=1):
    return Picture(b"", "图")


@pytest.mark.parametrize("function, ranges, says", [
    (draw, {"c": (0, 1)}, "没有参数 c.*a、kind"),
    (bare, {"a": (0, 1)}, "a 没有默认值"), (draw, {"a": (5, 0)}, "写反了")])
def test_a_range_that_does_not_fit_the_function_is_refused_in_a_sentence(function, ranges, says):
    with pytest.raises(ValueError, match=says):
        Interactive(function, **ranges)


def test_what_is_not_a_function_is_refused():
    with pytest.raises(TypeError, match="函数"):
        Interactive("draw", a=(0, 1))
