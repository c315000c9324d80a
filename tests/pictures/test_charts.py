"""charts.py：点、线、条画在哪里，对着数字算。"""

import numpy as np
import pytest
import torch
from support.pixels import areas, painted, pixels, shade

from helpers import (
    Trials,
    cost_shares,
    dots,
    heat_maps,
    line_chart,
    load,
    official_band,
    partial_sum,
    staircase,
    trace,
    trade_offs,
    trial_lines,
)
from helpers.pictures import changes, distributions
from helpers.pictures.canvas import BLUE, FAINT, GREEN, GREY, ORANGE, SERIES, SIGNED, kind_color

FIRST, SECOND, *_ = SERIES


def test_the_line_through_the_dots_stands_at_their_mean():
    one, other = sorted(areas(dots({"甲": Trials((4.0, 4.0)), "乙": Trials((4.0,))}, "秒").png, ORANGE, 20),
                        key=lambda area: area.top)
    assert one.middle[0] == other.middle[0] and one.bottom < other.top


def test_the_interval_is_as_long_as_it_is():
    wide, narrow = Trials((1.0, 3.0, 8.0)), Trials((3.0, 4.0, 5.0))
    one, other = sorted(areas(dots({"甲": wide, "乙": narrow}, "秒").png, ORANGE, 20), key=lambda area: area.top)
    assert one.width / other.width == pytest.approx((wide.high - wide.low) / (narrow.high - narrow.low), rel=0.03)


def test_trial_lines_join_the_means_and_mark_the_intervals():
    def marks(*groups):  # 这张图里最高的几处：线的颜色从上到下占了哪些行
        return painted(trial_lines({"甲": groups}, ["一", "二"], "x", "y").png, FIRST)

    wide, narrow = Trials((1.0, 5.0, 6.0)), Trials((3.9, 4.0, 4.1))
    heights = [np.ptp(marks(wide, narrow)[:, side].nonzero()[0]) for side in (np.s_[:400], np.s_[500:])]
    assert heights[0] > 10 * heights[1]  # 区间宽的那一边，竖线长
    level = marks(Trials((4.0, 4.0)), Trials((4.0,)))  # 平均数相同，连线是平的；只有一次的没有区间
    assert np.ptp(level.nonzero()[0]) < 5 < np.ptp(level.nonzero()[1])


@pytest.mark.parametrize("log", [False, True])
def test_ten_times_as_much_is_one_step_on_a_logarithmic_axis(log):
    png = trial_lines({"甲": [Trials((value,)) for value in (1.0, 10.0, 100.0)]}, "abc", "x", "y", log=log).png
    line = painted(png, FIRST)
    columns = line.any(0).nonzero()[0]
    places = columns[2], (columns[0] + columns[-1]) // 2, columns[-3]
    low, middle, high = (line[:, x].nonzero()[0].mean() for x in places)
    assert (abs((low - middle) - (middle - high)) < 6) == log


def test_every_trial_goes_from_its_start_to_its_end():
    """线从开始画到结束，实心点在结束；不变的没有线。"""
    png = changes({"甲": (Trials((2.0, 5.0)), Trials((8.0, 5.0)))}, "几类").png
    same, moved = areas(png, BLUE, least=40)  # 空心的一圈没有这么多
    line = painted(png, GREY).nonzero()[1]
    assert abs(line.max() - moved.left) < 6 and moved.top < same.top
    assert (same.middle[0] - line.min()) / (moved.middle[0] - line.min()) == pytest.approx(0.5, abs=0.02)


def test_nine_equal_values_are_as_high_as_nine():
    """柱高是次数，中位数不是平均数。"""
    png = distributions({"甲": [0.11] * 9 + [0.51] * 3}, "精度", 0.02).png
    high, *_, low = areas(png, GREEN)  # 中位数的竖线把高的一柱分成两片
    assert (high.bottom - high.top + 1) / (low.bottom - low.top + 1) == pytest.approx(3, abs=0.25)
    assert high.left < painted(png, ORANGE).nonzero()[1].mean() < high.left + low.width


def test_distributions_share_their_axis():
    ys, xs = painted(distributions({"甲": [0.1, 0.9], "乙": [0.9] * 3}, "精度", 0.1).png, GREEN).nonzero()
    upper = ys < ys.mean()
    assert xs[upper].max() == xs[~upper].max() and xs[~upper].min() - xs[upper].min() > 400


def test_logarithmic_axes_below_one_need_no_missing_glyph(caplog):
    line_chart({"a": [1e-3, 1e-6, 0.1, 0.0]}, [1, 2, 3, 4], "x", "y", log=True)  # 0 不画
    trade_offs({"秒": {"lenet": 0.05}}, {"lenet": official_band("lenet")}, {}, {})
    assert not caplog.records  # 缺字时 matplotlib 在这里说


def test_a_logarithmic_axis_spreads_powers_evenly():
    def heights(log):
        ys = painted(line_chart({"a": [1.0, 10.0, 100.0]}, [1, 2, 3], "x", "y", log=log).png, FIRST).nonzero()
        order = np.argsort(ys[1])
        low, middle, high = (ys[0][order][k] for k in (0, len(order) // 2, -1))
        return (low - middle) / (low - high)

    assert heights(True) == pytest.approx(0.5, abs=0.06) and heights(False) < 0.3


def test_whole_numbers_are_drawn_as_stairs():
    def longest(values):  # 一行里最多有几个像素是线
        return painted(line_chart({"a": values}, range(3), "x", "y").png, FIRST).sum(axis=1).max()

    assert longest([0, 5, 9]) > 150 > 50 > longest([0.0, 5.0, 9.0])


def test_the_span_is_green():
    image = pixels(line_chart({"a": [1.0, 2.0]}, [0, 10], "x", "y", span=(5, 10)).png)
    mixed = [round(0.2 * int(GREEN[k:k + 2], 16) + 0.8 * 255) for k in (1, 3, 5)]
    xs = (np.abs(image - mixed).sum(2) <= 3).nonzero()[1]
    assert len(xs) > 1000 and xs.min() > image.shape[1] / 2


def test_the_middle_of_the_heat_map_is_white_and_what_is_missing_too():
    def cell(value):
        image = pixels(heat_maps({"块": torch.tensor([[value, 2.0], [0.0, 1.0]])}, "ab", "cd", "谁用了谁").png)
        return image[80:120, 60:90].reshape(-1, 3)  # 第一格的左上方

    assert (cell(float("nan")) == 255).all()
    red, blue = (cell(value).mean(0) for value in (2.0, 0.0))
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert np.median(cell(1.0), 0).min() > 240


def test_a_heat_map_says_which_color_is_how_much():
    png = heat_maps({"块": torch.tensor([[1.0, 3.0]])}, "a", "cd", "x").png
    colors = len(np.unique(pixels(png).reshape(-1, 3), axis=0))
    assert colors > 150 and painted(png, shade(SIGNED, 1.0)).any()  # 格子里只有两种


def test_heat_maps_share_one_scale():
    one = torch.tensor([[1.5]])
    alone, beside = (heat_maps(tables, "a", "b", "x").png for tables in ({"甲": one}, {"甲": one, "乙": 5 * one}))
    strong, weak = (pixels(png)[:, :200].min(axis=2).min(axis=0).tolist() for png in (alone, beside))
    assert strong != weak


def test_the_last_stair_is_the_main_one():
    def height(*stairs):  # 蓝线在哪里；图例里也有一小段
        ys = painted(staircase(dict(zip("甲乙丙", stairs, strict=False))).png, BLUE).nonzero()[0]
        return np.median(ys)

    low, high = [1, 1, 1, 1], [9, 9, 9, 9]
    assert height(low, high) == height(high, low, high) < 100 < 200 < height(high, low)


def test_edges_stand_before_their_layers():
    png, bare = staircase({"现在": [5, 5, 5, 5]}, [2]).png, staircase({"现在": [5, 5, 5, 5]}).png
    xs = (pixels(png) != pixels(bare)).any(2).nonzero()[1]
    assert len(set(xs)) <= 3 and xs.mean() == pytest.approx(pixels(png).shape[1] / 2, abs=30)  # 四层的正中


def test_what_the_sum_misses_is_shaded():
    x = np.linspace(0, 1, 50)

    def shaded(**terms):
        image = pixels(partial_sum(x, x + x**2, terms, {"目标": x}, "和").png)[:, :340]
        return (image[..., 0] - image[..., 2] > 20).sum()

    assert shaded(x=x) > 2 * shaded(x=x, x2=x**2)


def test_every_term_and_both_fits_are_drawn():
    """每一项一条，颜色各不相同；第二个目标旁边的两条拟合，画在它们的值上。"""
    x = np.linspace(-2, 2, 50)

    def right(second):
        return pixels(partial_sum(x, x + 1, {"1": x**0, "x": x}, second, "和").png)[40:280, 720:]

    far, near = (right({"目标": x, "由各项拟合": x, "由和拟合": other}) for other in (-x, x))
    middle = pixels(partial_sum(x, x + 1, {"1": x**0, "x": x}, {"目标": x}, "和").png)[:, 370:700]
    assert all((np.abs(middle - shade_of(color)).sum(2) <= 3).any() for color in (FIRST, SECOND))
    assert (far != near).any(2).sum() > 100


def shade_of(color):
    return [int(color[k:k + 2], 16) for k in (1, 3, 5)]


def test_small_differences_stay_pale_and_unclear_numbers_grey():
    table = {"块": torch.tensor([[1.05]])}
    strong, pale = (pixels(heat_maps(table, "a", "b", "x", reach=reach).png)[80:120, 60:90].min()
                    for reach in (0.1, 1.0))
    assert strong < pale - 40
    clear, unclear = (heat_maps(table, "a", "b", "x", reach=1.0, pale={"块": torch.tensor([[grey]])}).png
                      for grey in (False, True))
    assert painted(unclear, FAINT).sum() > painted(clear, FAINT).sum()


def test_bars_are_as_long_as_their_share():
    table = trace(load("7.1").lenet(), (1, 1, 28, 28))
    bars = areas(cost_shares({"LeNet": table}).png, kind_color("linear"), 100)
    left = [area.width for area in bars if area.left < 440]
    params = [layer.params for layer in table if layer.kind == "Linear"]
    assert left[0] / left[1] == pytest.approx(params[0] / params[1], rel=0.06)


def test_equal_shares_are_equally_long_in_every_panel():
    lenet, alexnet = (trace(load(section).__dict__[name](), (1, 1, size, size))
                      for section, name, size in (("7.1", "lenet", 28), ("7.2", "alexnet", 224)))
    bars = areas(cost_shares({"LeNet": lenet, "AlexNet": alexnet}).png, kind_color("linear"), 100)
    longest = sorted(area.width for area in bars if area.left < 440)[-2:]
    shares = sorted(max(layer.params for layer in table) / table.params for table in (lenet, alexnet))
    assert longest[1] / longest[0] == pytest.approx(shares[1] / shares[0], rel=0.05)


def test_a_line_has_the_style_that_was_asked_for():
    def inked(**styles):
        return painted(line_chart({"a": [0.0, 1.0], "b": [1.0, 0.0]}, [0, 1], "x", "y", **styles).png, SECOND).sum()

    both = inked(styles={"a": ("C1", "-"), "b": ("C1", "-")})
    assert both > 1.7 * inked() and both > 1.3 * inked(styles={"a": ("C1", ":"), "b": ("C1", ":")})


def test_layers_have_the_color_of_their_kind():
    png = cost_shares({"LeNet": trace(load("7.1").lenet(), (1, 1, 28, 28))}).png
    conv, linear = (sum(area.width for area in areas(png, kind_color(kind), 60) if area.left > 440)
                    for kind in ("conv", "linear"))
    assert conv > 4 * linear  # 乘加多在卷积层


BANDS = {name: official_band(name, "test_acc") for name in ("lenet", "vgg11")}


def test_trade_offs_puts_cheap_left_and_accurate_above():
    png = trade_offs({"参数": {"lenet": 1e3, "vgg11": 1e6}}, BANDS, {}, {}).png
    [cheap, _], [dear, _] = areas(png, FIRST, 15), areas(png, SECOND, 15)  # 最下面是图例
    assert cheap.right < dear.left and cheap.top > dear.bottom


def test_trade_offs_has_a_cell_for_each_cost_and_a_cross_for_each_own_run():
    costs = {name: {"lenet": 1e3, "vgg11": 1e6} for name in "甲乙丙"}
    assert pixels(trade_offs(costs, BANDS, {}, {}).png).shape[:2] == (660, 840)
    bare, own = trade_offs(costs, BANDS, {}, {}).png, trade_offs(costs, BANDS, {}, {"lenet": 0.9}).png
    crosses = (pixels(bare) != pixels(own)).any(2)
    assert crosses.any() and (pixels(own)[crosses] < pixels(bare)[crosses] + 1).all()


def test_lines_are_drawn_where_they_are():
    bare, lined = (pixels(trade_offs({"参数": {"lenet": 1e3, "vgg11": 1e6}}, BANDS, lines, {}).png)
                   for lines in ({}, {"人": 0.85}))
    changed = (bare != lined).any(2).sum(1)
    assert np.argmax(changed) == pytest.approx(bare.shape[0] / 2, abs=40)  # 0.76 到 0.94 的正中
