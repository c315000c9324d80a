"""pen.py：框、箭头、字和形状的写法。"""

import pytest
import torch
from support.pixels import areas, painted, pixels

from helpers.pictures import ORANGE, canvas
from helpers.pictures.pen import OPEN, arrow, box, channels_at, paint, sheet, times, write


def drawn(stroke):
    """在一张 2×1 英寸、坐标是 0–2 和 0–1 的白纸上画一笔。"""
    with canvas(2, 1, "") as made:
        stroke(sheet(made.figure, (0, 2), (0, 1)))
    return made.png


def test_a_sheet_is_white_and_whole():
    assert (pixels(drawn(lambda axes: None)) == 255).all()


def test_a_box_lies_where_it_is_told():
    [area] = areas(drawn(lambda axes: box(axes, 0.5, 0.25, 1, 0.5, color=ORANGE)), ORANGE)
    assert (area.left, area.top, area.right, area.bottom) == pytest.approx((50, 25, 150, 75), abs=2)


def test_text_stands_in_the_middle_of_its_box_or_at_its_level():
    def middle(**options):
        ys, xs = painted(drawn(lambda axes: box(axes, 0.5, 0, 1, 1, "■", "white", **options)), "black").nonzero()
        return xs.mean(), ys.mean()

    assert middle() == pytest.approx((100, 50), abs=3)
    assert middle(level=0.75) == pytest.approx((100, 25), abs=3)


def test_an_arrow_points_from_start_to_end():
    def head(start, end, **style):
        xs = painted(drawn(lambda axes: arrow(axes, start, end, color=ORANGE, **style)), ORANGE).nonzero()[1]
        return xs.mean()  # 箭头的尖比杆子重

    for style in ({}, OPEN):
        assert head((0.5, 0.5), (1.5, 0.5), **style) > 100 > head((1.5, 0.5), (0.5, 0.5), **style)


def test_text_may_be_placed_by_its_left_edge():
    def left(**style):
        return painted(drawn(lambda axes: write(axes, 1, 0.5, "■■■", **style)), "black").nonzero()[1].min()

    assert left(ha="left") > 100 > left()


def test_zero_is_black_and_one_is_white():
    image = pixels(drawn(lambda axes: paint(axes, torch.tensor([[0.0, 1.0]]), extent=(0, 2, 0, 1), aspect="auto")))
    assert (image[50, 20] == 0).all() and (image[50, 180] == 255).all()


@pytest.mark.parametrize("shape, long, short", [((6, 28, 28), "6×28×28", "6 @ 28×28"), ((120,), "120", "120")])
def test_shapes_are_written_in_two_ways(shape, long, short):
    assert (times(shape), channels_at(shape)) == (long, short)
