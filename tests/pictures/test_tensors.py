"""tensors.py：画在哪里、多大、什么颜色，对着张量和清单算。"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from support.pixels import areas, painted, pixels, shade
from torch import nn

from helpers import (
    Mistakes,
    Trace,
    confusion_matrix,
    data_flow,
    feature_maps,
    filter_grid,
    gallery,
    image_grid,
    load,
    map_grid,
    mistake_grid,
    receptive_fields,
    trace,
    windows,
)
from helpers.pictures.canvas import BLUE, GREEN, GREY, MAPS, ORANGE, PATH_COLORS, RED, SIGNED
from helpers.pictures.png import PAGE


def test_one_stage_for_each_change_of_shape():
    net = load("7.1").lenet()
    table = trace(net, (1, 1, 28, 28))
    changes = sum(layer.in_shape != layer.out_shape for layer in table)
    assert pixels(data_flow(net, torch.rand(1, 1, 28, 28)).png).shape[1] == 150 * (1 + changes)


def stage(weights):
    """一级：1×1 卷积把全是 1 的输入变成这些数，一个通道一张；返回它那 150 像素宽的一块。"""
    layer = nn.Conv2d(1, len(weights), 1, bias=False)
    layer.weight.data = torch.tensor(weights).reshape(-1, 1, 1, 1)
    image = pixels(data_flow(nn.Sequential(layer), torch.ones(1, 1, 8, 8)).png)
    return image[30:image.shape[0] - 100, image.shape[1] // 2 + 5:]


def test_more_channels_make_a_thicker_pile():
    widths = [(stage([1.0] * count).min(2) < 250).any(0).nonzero()[0].max() for count in (2, 6, 16, 40)]
    assert widths[0] + 10 < widths[1] < widths[2] - 20 and widths[2] == widths[3]


def test_the_sheets_of_a_stage_share_one_scale():
    """前面一张是 0，后面一张是 1：深蓝和黄。各用各的刻度，两张就一样。"""
    colors = {tuple(color) for color in stage([0.0, 1.0]).reshape(-1, 3).tolist()}
    blue, yellow = ({c for c in colors if near(c)} for near in (lambda c: c[0] < 90 and c[2] < 120 and c[1] < 20,
                                                             lambda c: c[0] > 240 and c[1] > 200 and c[2] < 60))
    assert blue and yellow


def test_the_data_flow_is_computed_in_eval_mode_and_the_net_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.9), nn.BatchNorm2d(2)).train()
    X, mean = torch.rand(1, 1, 8, 8), net[2].running_mean.clone()
    assert data_flow(net, X).png == data_flow(net, X).png  # 暂退法关着
    assert net.training and torch.equal(net[2].running_mean, mean)


def test_wrong_titles_are_red():
    X, titles = torch.rand(4, 1, 8, 8), ["■"] * 4
    assert not painted(image_grid(X, titles).png, RED).any()
    xs = painted(image_grid(X, titles, [False, False, False, True], columns=4).png, RED).nonzero()[1]
    assert xs.min() > 3 * 115


def test_images_fill_row_after_row():
    heights = [pixels(image_grid(torch.rand(n, 1, 4, 4), ["x"] * n, columns=3).png).shape[0] for n in (1, 3, 4, 7)]
    assert heights == [150, 150, 300, 450]


def test_confusion_matrix_puts_truth_in_rows():
    y, y_hat = torch.zeros(10, dtype=torch.long), torch.full((10,), 9)
    image = pixels(confusion_matrix(y, y_hat).png)
    rows, columns = np.nonzero((image[..., 2] - image[..., 0] > 60) & (image.sum(2) < 300))  # 深蓝的格子
    assert rows.mean() < image.shape[0] / 2 < image.shape[1] / 2 < columns.mean()  # 右上角


def test_half_a_percent_is_not_written_as_zero():
    def cell(mistakes, of=200):  # 左上角第二格：真实 0，预测 1
        y, y_hat = torch.zeros(of, dtype=torch.long), torch.zeros(of, dtype=torch.long)
        y_hat[:mistakes] = 1
        return (pixels(confusion_matrix(y, y_hat).png).sum(2) < 100).sum()

    blank, half, two = cell(0), cell(1), cell(4)
    assert half == blank < two  # 黑色的字多了一个「2」


def test_a_class_that_never_occurs_divides_by_nothing():
    assert confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 0])).png


@pytest.fixture(scope="module")
def vgg():
    """VGG-11 逐层的清单。"""
    with torch.device("meta"):
        return trace(load("7.3").vgg11(ratio=4), (1, 1, 224, 224), depth=2)


def frame(png, color, columns):
    """前 columns 列里这种颜色的最小的框：(左, 上, 右, 下)。"""
    ys, xs = painted(png, color)[:, :columns].nonzero()
    return xs.min(), ys.min(), xs.max(), ys.max()


@pytest.mark.parametrize("count", [9, 11, 13])
def test_the_orange_window_is_as_large_as_the_receptive_field(vgg, count):
    layers = [layer for layer in vgg if layer.kind in ("Conv2d", "MaxPool2d")]
    png = receptive_fields(torch.zeros(1, 1, 224, 224), vgg, count).png
    left, _, right, _ = frame(png, GREY, 350)  # 图像的边
    scale = (right - left) / 224
    x0, y0, x1, y1 = frame(png, ORANGE, 350)
    assert [(x1 - x0) / scale, (y1 - y0) / scale] == pytest.approx([*layers[count - 1].receptive_field], abs=3)
    assert (x0 + x1) / 2 == pytest.approx((left + right) / 2, abs=16 * scale)  # 正中的一格


def test_the_window_follows_its_place(vgg):
    def middle(at):
        x0, y0, x1, y1 = frame(receptive_fields(torch.zeros(1, 1, 224, 224), vgg, 8, at).png, ORANGE, 350)
        return (x0 + x1) / 2, (y0 + y1) / 2

    here, below, beside = middle((0.3, 0.3)), middle((0.7, 0.3)), middle((0.3, 0.7))
    assert below[1] > here[1] + 50 and below[0] == here[0]
    assert beside[0] > here[0] + 50 and beside[1] == here[1]


def test_one_bar_a_layer_in_the_color_of_its_kind():
    table = Trace([layer for layer in trace(load("7.1").lenet()[:6], (1, 1, 28, 28))], 0, 0)
    png = receptive_fields(torch.zeros(1, 1, 28, 28), table).png
    bars = [areas(png, color, 60) for color in (BLUE, GREEN, ORANGE)]
    assert [sum(area.left > 380 for area in found) for found in bars] == [2, 1, 1]  # 最后一个汇聚层是橙色


def test_a_layer_that_sees_everything_has_no_bar():
    table = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1)), (1, 1, 28, 28))
    png = receptive_fields(torch.zeros(1, 1, 28, 28), table).png
    assert len([area for area in areas(png, ORANGE, 60) if area.left > 380]) == 1 and not painted(png, GREEN).any()


def test_filters_share_one_scale_with_white_at_zero():
    weights = torch.zeros(3, 1, 2, 2)
    weights[0], weights[1] = 1.0, -0.5
    png = filter_grid({"甲": weights}).png
    strong, weak, none = (shade(SIGNED, each) for each in (1.0, 0.25, 0.5))
    red, blue = areas(png, strong), areas(png, weak)
    assert red[0].right < blue[0].left and red[0].width == pytest.approx(blue[0].width, abs=1)
    beside = filter_grid({"甲": weights, "乙": 4 * weights}).png  # 另一组更大，这一组就淡了
    [only] = [area for area in areas(beside, strong) if area.width > 40]
    assert only.top > len(pixels(png)) * 0.7 and painted(png, none).any()


def test_filters_wrap_and_keep_their_proportions():
    one, two = (pixels(filter_grid({"甲": torch.ones(n, 1, 2, 4)}, columns=8).png).shape for n in (8, 17))
    assert two[1] == one[1] and two[0] > one[0] + 100
    red = areas(filter_grid({"甲": torch.ones(1, 1, 2, 4)}).png, shade(SIGNED, 1.0), 500)[0]
    assert red.width == pytest.approx(2 * (red.bottom - red.top + 1), abs=2)


@pytest.mark.parametrize("shape", [(6, 3, 5, 5), (5, 5), (0, 1, 5, 5)])
def test_filters_of_several_channels_are_refused_in_words(shape):
    with pytest.raises(ValueError, match="先取出一个"):
        filter_grid({"甲": torch.zeros(shape)})


def test_feature_maps_share_one_scale_and_stand_beside_the_image():
    X = torch.ones(1, 1, 8, 8)
    png = feature_maps(X, {"训练前": torch.full((1, 2, 4, 4), 2.0), "训练后": torch.full((2, 4, 4), 5.0)}).png
    low, high = (areas(png, shade(MAPS, each), 1_000) for each in (0.0, 1.0))
    assert len(low) == len(high) == 2 and max(area.bottom for area in low) < min(area.top for area in high)
    assert min(area.left for area in low) > 1.2 * PAGE  # 左边是图像


def test_the_image_beside_is_as_bright_as_it_is():
    maps = {"甲": torch.rand(2, 4, 4)}
    dark, grey = (pixels(feature_maps(torch.full((1, 1, 8, 8), value), maps).png)[PAGE * 4 // 5, PAGE // 2].tolist()
                  for value in (0.0, 0.5))
    assert dark == [0] * 3 and grey == pytest.approx([128] * 3, abs=1)


def test_a_mistake_is_told_in_words():
    y, y_hat, p = torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([0.9, 0.8])
    few = Mistakes(torch.rand(2, 1, 8, 8), y, y_hat, p, ("甲", "乙", "丙"))
    assert pixels(mistake_grid(few).png).shape[0] == pixels(image_grid(few.X, ["x", "y"]).png).shape[0]
    others = [replace(few, **change) for change in ({"y": few.y_hat}, {"y_hat": few.y}, {"p": few.p / 2})]
    assert len({mistake_grid(each).png for each in (few, *others)}) == 4
    none = Mistakes(few.X[:0], few.y[:0], few.y[:0], few.p[:0], few.classes)
    assert mistake_grid(none).title == "没有认错的"


def test_a_gallery_shows_brightness_as_it_is():
    def middle(value):
        image = pixels(gallery({"甲": torch.full((2, 1, 8, 8), value)}).png)
        return image[image.shape[0] // 2, -50].tolist()

    assert middle(0.0) == [0] * 3 and middle(1.0) == [255] * 3
    assert middle(0.5) == pytest.approx([128] * 3, abs=1)


def test_a_gallery_has_a_row_for_each_name():
    rows = {"甲": torch.rand(3, 1, 4, 4), "乙": torch.rand(1, 1, 4, 4)}
    assert pixels(gallery(rows).png).shape[:2] == (230, 440) and gallery(rows).title == "甲、乙"


def test_windows_color_exactly_the_true_cells():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 4] = True  # 右上角
    [one] = areas(windows({"甲": mask}).png, PATH_COLORS[0])
    whole = windows({"甲": torch.ones(5, 5, dtype=torch.bool)}).png
    ys, xs = painted(whole, PATH_COLORS[0]).nonzero()
    assert one.right == xs.max() and one.top == ys.min()
    assert one.width == pytest.approx((xs.max() - xs.min()) / 5, abs=2)


def test_each_window_has_its_own_path_color():
    mask = torch.ones(2, 2, dtype=torch.bool)
    png = windows({"甲": mask, "乙": mask}).png
    lefts = [painted(png, color).nonzero()[1].min() for color in PATH_COLORS[:2]]
    assert lefts[0] < 210 < lefts[1] and not painted(png, PATH_COLORS[2]).any()


@pytest.mark.parametrize("marked", [[], [1], [0, 2]])
def test_marked_maps_are_framed(marked):
    png = map_grid(torch.rand(2, 1, 8, 8), torch.rand(2, 3, 4, 4), ["a", "b", "c"], marked).png
    frames = areas(png, ORANGE, least=60)
    assert sorted(int(area.middle[0] // 80) - 1 for area in frames) == marked


def test_all_maps_share_one_scale():
    """0 最小，4 最大，1 和 2 在其间，不管在哪一行。"""
    maps = torch.zeros(2, 2, 4, 4)
    maps[0, 1], maps[1, 0], maps[1, 1] = 1, 2, 4
    image = pixels(map_grid(torch.zeros(2, 1, 4, 4), maps, ["a", "b"]).png)
    found = np.array([image[y, x] for y in (80, 190) for x in (120, 200)])
    assert np.abs(found - 255 * np.array([to_rgb(shade(MAPS, value / 4)) for value in (0, 1, 2, 4)])).max() <= 1
