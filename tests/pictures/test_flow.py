"""flow.py：它的语言画成什么；框对着模块数。"""

import pytest
from support.pixels import areas, pixels
from torch import nn

from helpers.pictures import PLUS, Box, Frame, Paths, flow_chart
from helpers.pictures.canvas import kind_color

CONV, LINEAR, POOL = nn.Conv2d(3, 3, 3), nn.Linear(3, 4), nn.MaxPool2d(2)


def chart(*items):
    """一张图的 PNG。"""
    return flow_chart({"甲": items}).png


def size(*items):
    """一张图的 (高, 宽)，像素。"""
    return pixels(chart(*items)).shape[:2]


def boxes(png, kind):
    """这一种的框。"""
    return areas(png, kind_color(kind), least=500)


def test_each_module_is_a_box_in_the_color_of_its_kind():
    png = chart(CONV, Paths(LINEAR, nn.Sequential(CONV, POOL)), PLUS, nn.ReLU())
    assert [len(boxes(png, kind)) for kind in ("conv", "linear", "pool", "other")] == [2, 1, 1, 1]


def test_the_order_is_from_bottom_to_top():
    png = chart(CONV, LINEAR)
    [first], [second] = boxes(png, "conv"), boxes(png, "linear")
    assert second.bottom < first.top and first.middle[0] == second.middle[0]


def test_paths_lie_side_by_side_from_left_to_right():
    png = chart(Paths(CONV, LINEAR, POOL), PLUS)
    [[a], [b], [c]] = (boxes(png, kind) for kind in ("conv", "linear", "pool"))
    assert a.right < b.left and b.right < c.left and abs(a.bottom - c.bottom) <= 1


def test_a_sequential_is_drawn_layer_by_layer_however_it_is_nested():
    flat = chart(CONV, POOL, LINEAR)
    assert flat == chart(nn.Sequential(CONV, nn.Sequential(POOL, LINEAR))) == chart([CONV, (POOL, [LINEAR])])
    assert flat == flow_chart({"甲": nn.Sequential(CONV, POOL, LINEAR)}).png


def test_an_identity_is_a_straight_line():
    assert chart(CONV, nn.Identity()) == chart(CONV)
    assert chart(Paths(CONV, nn.Identity()), PLUS) == chart(Paths(CONV, []), PLUS) != chart(CONV, PLUS)


def test_several_layers_in_one_box():
    [one], [both] = boxes(chart(CONV), "conv"), boxes(chart(Box(CONV, LINEAR)), "conv")
    assert both.bottom - both.top > one.bottom - one.top
    assert chart(Box(CONV)) == chart(CONV)


def test_a_frame_takes_room_around_and_changes_nothing_inside():
    bare, framed = size(Paths([CONV, PLUS], [])), size(Paths(Frame("f", [CONV, PLUS]), []))
    assert framed[0] > bare[0] and framed[1] > bare[1]
    assert len(boxes(chart(Frame("f", Paths(CONV, POOL))), "conv")) == 1


def above(png, area, reach):
    """一个框的正上方 reach 个像素里，每一行都有线。"""
    x = round(area.middle[0])
    return (pixels(png)[area.top - reach:area.top, x - 1:x + 2] < 255).any(axis=(1, 2)).all()


@pytest.mark.parametrize("after", [(), (PLUS,), (LINEAR,), (Paths(LINEAR, LINEAR), PLUS)],
                         ids=["the output", "a plus", "a box", "other paths"])
def test_every_path_is_joined_to_what_follows(after):
    png = chart(Paths([CONV, CONV], POOL, []), *after)
    [pool], highest = boxes(png, "pool"), min(boxes(png, "conv"), key=lambda area: area.top)
    assert above(png, pool, 40) and above(png, highest, 6)  # 矮的一条要一直接上去


def test_charts_stand_side_by_side():
    one, both = flow_chart({"甲": CONV}), flow_chart({"甲": CONV, "乙": CONV})
    assert pixels(both.png).shape[1] == pytest.approx(2 * pixels(one.png).shape[1], abs=1)
    assert both.title == "甲、乙"


@pytest.mark.parametrize("thing", ["+", {"f": CONV}, None, 3])
def test_other_things_are_refused(thing):
    with pytest.raises(TypeError, match="流程图里的一项"):
        flow_chart({"甲": [CONV, thing]})
