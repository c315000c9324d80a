"""axis.py：一个方向上的窗口，与一格一格数出来的对照。"""

from itertools import product

import pytest

from helpers.network.axis import Axis, Place

WINDOWS = [each for each in product(range(4, 11), (1, 2, 3), (1, 2, 3, 4), (0, 1), (1, 2))
           if (each[1] - 1) * each[4] < each[0] + 2 * each[3] and each[3] <= each[1] // 2]


def windows(cells, kernel, stride, padding, dilation):
    """每个窗口看得到的像素；cells: 每一格看得到的。"""
    count = (len(cells) + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return [set().union(*(cells[k] for i in range(kernel)
                          if 0 <= (k := j * stride - padding + i * dilation) < len(cells))) for j in range(count)]


def pixels(bits):
    return {i for i in range(bits.bit_length()) if bits >> i & 1}


@pytest.mark.parametrize("size, kernel, stride, padding, dilation", WINDOWS)
def test_windows_see_what_is_counted(size, kernel, stride, padding, dilation):
    image = Axis.of_image(2, size)
    expected = windows([{i} for i in range(size)], kernel, stride, padding, dilation)
    slid = image.slid(Place(2, 1, len(expected)), kernel, stride, padding, dilation)
    assert [pixels(cell) for cell in slid.cells] == expected and pixels(slid.seen) == set().union(*expected)
    for j, seen in enumerate(expected):
        if len(seen) == kernel:  # 不碰图像的边
            assert (slid.span.start + j * slid.span.jump, slid.span.end + j * slid.span.jump) == (min(seen), max(seen))
    # 末尾不够一个窗口、谁也看不到的，不算看漏
    reached = (len(expected) - 1) * stride - padding + (kernel - 1) * dilation
    beyond = set(range(max(reached + 1, 0), size))
    seen = set().union(*expected)
    assert beyond <= pixels(slid.lost) and not pixels(slid.lost) & seen
    assert slid.gathered().whole == (0 in seen and set(range(max(seen) + 1, size)) <= beyond)
    assert not slid.whole  # 还分着格子


def test_two_pools_leave_what_neither_reaches():
    first = Axis.of_image(2, 11).slid(Place(2, 1, 5), 2, 2, 0)
    second = first.slid(Place(2, 1, 2), 2, 2, 0)
    assert pixels(first.lost) == {10} and pixels(second.lost) == {8, 9, 10} and second.gathered().whole


@pytest.mark.parametrize("first, count", [(0, 4), (1, 3), (0, 2), (-1, 6), (-2, 5), (2, 1), (-1, 3)])
def test_a_cut_takes_the_cells_and_padding_sees_nothing(first, count):
    axis = Axis.of_image(2, 9).slid(Place(2, 1, 4), 2, 2, 0)  # 第 9 个像素谁也看不到
    cells = [{0, 1}, {2, 3}, {4, 5}, {6, 7}]
    expected = [cells[i] if 0 <= i < 4 else set() for i in range(first, first + count)]
    cut = axis.cut(Place(2, 1, count), first)
    assert [pixels(cell) for cell in cut.cells] == expected
    inside = [(j, seen) for j, seen in enumerate(expected) if seen]
    assert all((cut.span.start + 2 * j, cut.span.end + 2 * j) == (min(seen), max(seen)) for j, seen in inside)
    assert cut.gathered().whole == (set().union(*expected) == set(range(8)))


def test_a_reflecting_edge_sees_what_it_reflects():
    axis = Axis.of_image(2, 4)
    cut = axis.cut(Place(2, 1, 8), -2, edge=lambda i, count: -i if i < 0 else min(i, 2 * count - 2 - i))
    assert [pixels(cell) for cell in cut.cells] == [{2}, {1}, {0}, {1}, {2}, {3}, {2}, {1}]


def test_cells_that_are_not_told_apart_stay_so_while_all_are_used():
    mixed = Axis.of_image(2, 8).gathered().scattered(2, 8)
    assert mixed.slid(Place(2, 1, 7), 2, 1, 0).seen == mixed.seen
    assert mixed.slid(Place(2, 1, 4), 2, 2, 0).cells is None
    for kernel, stride, count, dilation in ((1, 2, 4, 1), (2, 2, 3, 1), (2, 1, 6, 2)):
        assert mixed.slid(Place(2, 1, count), kernel, stride, 0, dilation) is None
    assert mixed.cut(Place(2, 1, 10), -1).seen == mixed.seen and mixed.cut(Place(2, 1, 7), 0) is None
