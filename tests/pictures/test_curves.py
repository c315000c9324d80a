"""plotting.py 与 figures.py：帧数、字节、中文、中断。"""

import io
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import (
    LivePlot,
    budget,
    compare_curves,
    confusion_matrix,
    data_flow,
    image_grid,
    layer_stacks,
    line_chart,
    load,
    official_band,
    trade_offs,
)
from helpers.pictures.canvas import grid_picture
from helpers.pictures.curves import Curves
from helpers.training.loop import Point


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


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


def test_every_figure_draws_without_a_warning():
    net_function = load("7.1").lenet
    net, X, y = net_function(), torch.rand(20, 1, 28, 28), torch.arange(20) % 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = [data_flow(net, X[:1]), layer_stacks({"甲": net, "乙": net}),
                    image_grid(X, ["短靴"] * 20, [True] * 20), confusion_matrix(y, y),
                    compare_curves({"甲": points(10), "乙": []}),
                    budget(net_function, images=600, num_epochs=1).preview(),
                    grid_picture([("", "甲"), ("乙", "丙" * 60)], "表", notes=["丁" * 200], marked={(1, 1)})]
    for made in pictures:
        assert pixels(made._repr_png_()).std() > 5 and repr(made).startswith("〔图：")


def test_confusion_matrix_puts_truth_in_rows():
    y, y_hat = torch.zeros(10, dtype=torch.long), torch.full((10,), 9)
    image = pixels(confusion_matrix(y, y_hat).png)
    rows, columns = np.nonzero((image[..., 2] - image[..., 0] > 60) & (image.sum(2) < 300))  # 深蓝的格子
    assert rows.mean() < image.shape[0] / 2 < image.shape[1] / 2 < columns.mean()  # 右上角


def test_logarithmic_axes_below_one_need_no_missing_glyph(caplog):
    line_chart({"a": [1e-3, 1e-6, 0.1]}, [1, 2, 3], "x", "y", log=True)
    trade_offs({"秒": {"lenet": 0.05}}, {"lenet": official_band("lenet")}, {}, {})
    assert not caplog.records
