"""convolution.py：画的窗口、写的数，对着两重循环算。"""

import pytest
import torch
from support.pixels import areas, painted
from torch import nn
from torch.nn import functional as F

from helpers.pictures import chains_at, convolution_at, pointwise_at
from helpers.pictures.canvas import ORANGE, PALE_ORANGE


def by_hand(X, kernel, row, column):
    """标准答案：窗口里逐格相乘再相加，窗口伸出图像的地方是 0。"""
    pad, total = len(kernel) // 2, 0.0
    for i, line in enumerate(kernel.tolist()):
        for j, weight in enumerate(line):
            y, x = row + i - pad, column + j - pad
            if 0 <= y < X.shape[2] and 0 <= x < X.shape[3]:
                total += weight * X[0, 0, y, x].item()
    return total


@pytest.mark.parametrize("size, row, column", [(5, 4, 7), (5, 0, 0), (3, 9, 11), (1, 2, 3)])
def test_the_sum_is_the_sum_of_the_products(size, row, column):
    X, kernel = torch.rand(1, 1, 10, 12), torch.randn(size, size)
    assert f"加起来是 {by_hand(X, kernel, row, column):.2f}".replace("-0.00", "0.00") in convolution_at(
        X, kernel, row, column).title


@pytest.mark.parametrize("size, stride, padding, row, column", [(3, 2, 0, 1, 4), (11, 4, 1, 0, 0), (4, 3, 2, 2, 3)])
def test_stride_and_padding_are_those_of_the_convolution(size, stride, padding, row, column):
    X, kernel = torch.rand(1, 1, 10, 12), torch.randn(size, size)
    output = nn.functional.conv2d(X, kernel[None, None], stride=stride, padding=padding)[0, 0]
    options = {"stride": stride, "padding": padding}
    assert convolution_at(X, kernel, row, column, **options).title.endswith(
        f"是 {output[row, column].item():.2f}".replace("-0.00", "0.00"))
    with pytest.raises(ValueError, match=f"输出是 {len(output)}×{output.shape[1]}"):
        convolution_at(X, kernel, len(output), 0, **options)


def test_a_larger_stride_moves_the_window_further():
    def edge(row, stride):  # 输入上的窗口的下边
        png = convolution_at(torch.zeros(1, 1, 28, 28), torch.ones(5, 5), row, 0, stride=stride, padding=0).png
        return (painted(png, ORANGE)[:, :190].sum(axis=1) > 25).nonzero()[0].max()  # 一排点没有这么多像素

    one, three = (edge(5, stride) - edge(0, stride) for stride in (1, 3))
    assert three == pytest.approx(3 * one, abs=3) and one > 20


def frames(row, column):
    """两个橙色的框（输入上的窗口，输出上的一格）：各自的中心 (x, y)。"""
    ys, xs = painted(convolution_at(torch.zeros(1, 1, 28, 28), torch.ones(5, 5), row, column).png, ORANGE).nonzero()
    return [((xs[side].min() + xs[side].max()) / 2, (ys[side].min() + ys[side].max()) / 2)
            for side in (xs < xs.mean(), xs > xs.mean())]


def test_both_frames_follow_the_place():
    here, below, beside = frames(8, 8), frames(20, 8), frames(8, 20)
    for k in range(2):
        assert below[k][1] > here[k][1] + 50 and below[k][0] == here[k][0]
        assert beside[k][0] > here[k][0] + 50 and beside[k][1] == here[k][1]


def one_of_two(first, second):
    """标准答案：两个 3×3 接连，中间没有 ReLU，就是这一个 5×5。"""
    return F.conv_transpose2d(first[None, None], second[None, None])[0, 0]


@pytest.mark.parametrize("relu", [False, True])
def test_two_kernels_in_a_row_are_one_without_a_relu_between(relu):
    X, first, second = torch.rand(1, 1, 12, 12), torch.randn(3, 3), torch.randn(3, 3)
    chains = {"两个": [first, second], "一个": [one_of_two(first, second)]}
    inner = by_hand(X, chains["一个"][0], 5, 6)
    made = torch.tensor([[by_hand(X, first, 4 + i, 5 + j) for j in range(3)] for i in range(3)])
    chained = ((made.relu() if relu else made) * second).sum().item()
    title = chains_at(X, chains, 5, 6, relu=relu).title
    assert title.endswith(f"两个 是 {chained:.2f}，一个 是 {inner:.2f}".replace("-0.00", "0.00"))
    assert relu or chained == pytest.approx(inner, abs=1e-4)


def test_each_map_is_framed_as_far_as_the_cell_sees():
    zeros = torch.zeros(3, 3)
    png = chains_at(torch.zeros(1, 1, 28, 28), {"两个": [zeros, zeros], "一个": [torch.zeros(5, 5)]}, 14, 14).png
    sides = sorted(area.right - area.left for area in areas(png, ORANGE, least=8))
    cell = 1.6 * 100 / 28  # 一张图宽 1.6 英寸左右
    assert sides == pytest.approx([cell, cell, 3 * cell, 5 * cell, 5 * cell], abs=cell)


def test_one_pixel_times_the_matrix_is_what_the_convolution_says_there():
    conv, X = nn.Conv2d(3, 2, kernel_size=1), torch.randn(1, 3, 7, 9)
    y = conv(X)[0, :, 4, 8].tolist()
    picture = pointwise_at(X, conv.weight[:, :, 0, 0], conv.bias, 4, 8, ["a", "b", "c"])
    assert picture.title.endswith("、".join(f"{value:.2f}".replace("-0.00", "0.00") for value in y))


def test_the_numbers_of_the_pixel_stand_on_orange():
    """x 的三个和 y 的两个；W 和 b 的不是。"""
    png = pointwise_at(torch.rand(1, 3, 8, 8), torch.ones(2, 3), torch.zeros(2), 0, 0, "abc").png
    assert len(areas(png, PALE_ORANGE, least=500)) == 5


def test_the_pixel_is_framed_in_every_map():
    def ys(row):
        return painted(pointwise_at(torch.rand(1, 3, 20, 20), torch.ones(2, 3), torch.zeros(2), row, 5, "abc").png,
                       ORANGE).nonzero()[0]
    upper, lower = ys(3), ys(15)
    assert len(upper) == len(lower) and lower.min() - upper.min() == lower.max() - upper.max() > 40
