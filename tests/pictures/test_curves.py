"""curves.py：帧数、字节、中文、中断。"""

import time
import warnings

import numpy as np
import pytest
from matplotlib.text import Text
from support.pixels import painted, pixels

from helpers import LivePlot, compare_curves, official_band
from helpers.pictures.canvas import GREEN, table_picture
from helpers.pictures.curves import Curves
from helpers.training.loop import Point


def points(count, loss=2.0):
    return [Point(i / 5, loss / i, 1 - 1 / i, 1 - 1 / i if i % 5 == 0 else None) for i in range(1, count + 1)]


def test_frames_are_bounded_in_number_and_time():
    frames = []
    with LivePlot(10, show=frames.append) as plot:
        started = time.perf_counter()
        for point in points(2_000):
            plot.add(point)
        spent = time.perf_counter() - started
    assert len(frames) <= 3 + 10 * spent  # 第一帧、最后一帧，其间每秒至多十帧
    assert len(plot.points) == 2_000 and all(len(png) < 60_000 for png in frames)


def test_the_curve_moves_and_the_axes_stay():
    curves = Curves(10)
    empty, some, more = (pixels(curves.draw(points(n), "标题")) for n in (0, 20, 50))
    assert empty.shape == some.shape == (320, 840, 3)
    blue = [(np.abs(image - (31, 119, 180)).sum(2) < 60).sum() for image in (empty, some, more)]
    assert blue[0] < blue[1] < blue[2]
    assert np.array_equal(empty[60:250, 40], some[60:250, 40])


def test_the_legend_leaves_the_title_free_in_a_narrow_picture():
    axes = Curves(3, median=0.919, width=4.8).figure.axes[1]
    title = next(text for text in axes.findobj(Text) if text.get_text() == "精度")
    assert axes.get_legend().get_window_extent().x0 > title.get_window_extent().x1


def test_the_official_median_is_a_line_at_its_height():
    def height(median):
        ys, xs = painted(Curves(10, median=median).draw([], ""), GREEN)[60:].nonzero()  # 上面是图例
        return 60 + np.median(ys), np.ptp(xs)

    (low, wide), (high, _) = height(0.25), height(0.75)
    axis = 3.2 * 100 * (0.82 - 0.18)
    assert low - high == pytest.approx(axis / 2, abs=2) and wide > 300


def test_the_loss_axis_grows_when_needed():
    curves = Curves(10)
    curves.draw([Point(1, 40.0, 0.1)], "")
    assert curves.top >= 40


@pytest.mark.parametrize("history", [[], [Point(0.2, 2.3, 0.1)], [Point(1, float("nan"), 0.1, 0.1)],
                                     [Point(1, float("inf"), 0.1, 0.1), Point(2, 1.0, 0.5, None)]])
def test_odd_histories_are_drawn(history):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(Curves(3, past=[("旧", history)], band=official_band("lenet")).draw(history, "")).size


def test_chinese_is_drawn_and_glyphs_differ():
    curves = Curves(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 缺字时 matplotlib 会警告
        images = [pixels(curves.draw([], text * 3)) for text in "损失精度轮官方训练测试学习率✓✗→×"]
    distinct = {image[:30].tobytes() for image in images}
    assert len(distinct) == len("损失精度轮官方训练测试学习率✓✗→×")  # 空方框会彼此相同


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_it_only_draws_and_swallows_nothing(error):
    frames = []
    with pytest.raises(error), LivePlot(10, show=frames.append) as plot:
        plot.add(Point(0.2, 2.3, 0.1))
        raise error
    assert plot.points and len(frames) == 2  # 最后一帧照样画


@pytest.mark.parametrize("show, aloud, printed", [
    (None, False, "完了\n"), (None, True, "完了\n"), (lambda png: None, True, "")], ids=["终端", "终端，出声", "回调"])
def test_the_last_words(show, aloud, printed, capsys):
    with LivePlot(10, show=show) as plot:
        plot.conclude("完了", aloud)
    assert capsys.readouterr().out == printed


def test_the_last_words_are_on_the_picture():
    frames = []
    with LivePlot(10, show=frames.append) as plot:
        plot.conclude("完了")
    assert frames[-1] != frames[0]


def test_plain_python_prints_one_line_an_epoch(capsys):
    with LivePlot(4) as plot:
        for point in points(20):
            plot.add(point)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("第 1/4 轮") and "测试精度" in lines[0]


def test_a_long_legend_takes_more_rows_below():
    def height(names):
        return len(pixels(compare_curves({name: points(10) for name in names}).png))

    one, three, long = height("甲乙丙"), height("甲乙丙丁戊己庚"), height(["长" * 45, "短" * 45, "也" * 45])
    assert (one, three, long) == (340, 380, 380)


def test_trainings_are_compared_in_one_picture():
    one, both = compare_curves({"甲": points(10)}), compare_curves({"甲": points(10), "乙": []})
    assert both.title == "甲、乙" and one.png != both.png and pixels(both.png).shape == (340, 840, 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", [1e30, 1e300, 1.7e308, -1e308, float("nan"), float("inf"), 0.0])
def test_any_loss_can_be_drawn(loss):
    odd = [Point(0.5, loss, 0.1), Point(1.0, 2.0, 0.1, 0.1), Point(2.0, loss, 0.1, 0.1)]
    assert pixels(Curves(3, past=[("1", odd)]).draw(odd, "标题")).shape == (320, 840, 3)
    assert compare_curves({"甲": odd, "乙": points(20)}).png


@pytest.mark.parametrize("name", [r"$\frac$", "$$", "$", "坏\udcff名", "x" * 300])
def test_any_name_is_drawn_as_it_is(name):
    assert compare_curves({name: points(10)}).png and table_picture([("", name)], "", notes=[name]).png
    curves = Curves(3, past=[(name, points(5))])
    assert curves.draw(points(10), name)


def test_dollars_are_no_formula():
    plain, dollars = (pixels(table_picture([(text,)], "").png) for text in ("a_2", "$a_2$"))
    assert (dollars < 128).sum() > (plain < 128).sum()  # 两个 $ 也画出来了
