"""sliders.py：由滑块控制的图。"""

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
