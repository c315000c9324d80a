"""interactive.py：由滑块控制的图。"""

import pytest

from helpers import Interactive
from helpers.pictures.canvas import Picture


def draw(a=1, kind="x"):
    if a == 3:
        raise ValueError("不行")
    return Picture(f"{a}{kind}".encode(), "图")


def test_a_move_draws_again_and_an_error_is_said():
    shown = Interactive(draw, a=(0, 5), kind=["x", "y"])
    assert bytes(shown.picture.value) == b"1x"
    shown.sliders["kind"].value = "y"
    assert bytes(shown.picture.value) == b"1y"
    shown.sliders["a"].value = 3
    assert "不行" in shown.message.value and bytes(shown.picture.value) == b"1y"
    shown.sliders["a"].value = 4
    assert shown.message.value == "" and bytes(shown.picture.value) == b"4y"


def test_without_a_kernel_the_picture_is_in_the_bundle():
    bundle = Interactive(draw, a=(0, 5))._repr_mimebundle_()
    assert bundle["image/png"] == b"1x" and bundle["text/plain"] == "Interactive(draw)"


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
