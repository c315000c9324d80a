"""networks.py：框的个数、颜色和比例对着模块本身数。"""

import itertools

import pytest
import torch
from support.pixels import areas, painted, pixels, shade
from torch import nn

from helpers import block_stacks, branches, dense_arcs, layer_stacks, load, skip_paths, stage_columns
from helpers.pictures.canvas import BLUE, MAPS, ORANGE, PATH_COLORS, PURPLE, kind_color

SHAPE = (1, 1, 28, 28)
CHANNELS = (4, 8, 2, 6)  # 四条路径的输出通道数


@pytest.fixture
def lenet():
    """一个网络。"""
    return load("7.1").lenet()


@pytest.fixture
def inception():
    """输出 CHANNELS 的块，输入 8 个通道。"""
    c1, c2, c3, c4 = CHANNELS
    return load("7.5").Inception(8, c1, (3, c2), (3, c3), c4)


def boxes(picture, *kinds):
    """图里有几个这些种类的框。"""
    return [len(areas(picture.png, kind_color(kind), least=500)) for kind in kinds]


def count(net, *kinds):
    """网络里有几个这些种类的模块。"""
    return [sum(isinstance(module, kind) for module in net.modules()) for kind in kinds]


@pytest.mark.parametrize("draw", [layer_stacks, lambda nets: block_stacks(nets, SHAPE)])
def test_one_box_a_layer_colored_by_its_kind(draw, lenet):
    wanted = count(lenet, nn.Conv2d, nn.AvgPool2d, nn.Linear)
    assert boxes(draw({"甲": lenet}), "conv", "pool", "linear") == wanted
    assert boxes(draw({"甲": lenet, "乙": lenet}), "conv", "pool", "linear") == [2 * n for n in wanted]


@pytest.mark.parametrize("draw", [layer_stacks, lambda nets: block_stacks(nets, SHAPE)])
def test_activations_and_dropout_join_the_box_before_them(draw):
    bare = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))
    more = nn.Sequential(*bare[:2], bare[2], nn.ReLU(), nn.Dropout(0.5))
    one, other = draw({"甲": bare}), draw({"甲": more})
    assert pixels(one.png).shape == pixels(other.png).shape and one.png != other.png
    assert boxes(one, "conv", "linear", "other") == boxes(other, "conv", "linear", "other")


def test_blocks_end_with_a_pooling_layer_or_a_flattening():
    def height(*layers):
        return len(pixels(block_stacks({"甲": nn.Sequential(*layers)}, SHAPE).png))

    conv, pool = nn.Conv2d(1, 1, 1), nn.MaxPool2d(2)
    split, joined = height(conv, pool, conv), height(conv, conv, conv)
    assert split > joined  # 多一块，多一段空隙
    assert height(conv, conv, nn.Flatten(), nn.Linear(784, 2)) == split
    assert height(conv, pool, nn.Flatten(), nn.Linear(196, 2)) == split


def test_a_nested_network_is_drawn_as_its_layers(lenet):
    nested = nn.Sequential(nn.Sequential(*lenet[:6]), nn.Sequential(*lenet[6:]))
    assert block_stacks({"甲": nested}, SHAPE).png == block_stacks({"甲": lenet}, SHAPE).png


def test_a_module_that_is_used_twice_is_drawn_twice():
    conv = nn.Conv2d(1, 1, 1)
    assert boxes(block_stacks({"甲": nn.Sequential(conv, nn.MaxPool2d(2), conv)}, SHAPE), "conv", "pool") == [2, 1]


def test_a_path_may_be_a_single_layer():
    alone, wrapped = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
    assert branches({"甲": alone}, SHAPE).png == branches({"甲": nn.Sequential(wrapped)}, SHAPE).png


def test_stages_stand_side_by_side(lenet):
    stages = nn.Sequential(lenet[:6], lenet[6:])
    assert pixels(stage_columns(stages, SHAPE).png).shape[1] == 2 * 200
    assert boxes(stage_columns(stages, SHAPE), "conv", "pool", "linear") == [2, 2, 3]


def segments(png):
    """从左到右，各种路径颜色的一段有多宽；每种颜色只取最靠上的一段。"""
    found = [min(areas(png, color), key=lambda area: area.top) for color in PATH_COLORS if painted(png, color).any()]
    return [area.width for area in found]


def test_the_parts_of_a_block_with_paths_are_as_wide_as_their_channels(inception):
    widths = segments(stage_columns(nn.Sequential(inception, nn.Identity()), (1, 8, 12, 12)).png)
    assert [width / sum(widths) for width in widths] == pytest.approx([c / sum(CHANNELS) for c in CHANNELS], abs=0.03)


def test_the_paths_of_a_block_meet_in_proportion_to_their_channels(inception):
    widths = segments(branches(inception.paths, (1, 8, 12, 12)).png)
    assert [width / sum(widths) for width in widths] == pytest.approx([c / sum(CHANNELS) for c in CHANNELS], abs=0.01)


def test_a_path_that_is_off_keeps_its_place_and_its_color(inception):
    off = branches({**inception.paths, "2": None}, (1, 8, 12, 12))
    on = branches(inception.paths, (1, 8, 12, 12))
    assert pixels(off.png).shape[1] == pixels(on.png).shape[1]
    assert [painted(off.png, color).any() for color in PATH_COLORS] == [True, False, True, True]
    low = slice(-230, -130)  # 最下面一排框；顶上的各段让出了位置，这里没有
    assert (painted(off.png, PATH_COLORS[2])[low] == painted(on.png, PATH_COLORS[2])[low]).all()


def test_each_arc_is_there():
    nodes, arcs = ["x", "f1", "f2", "f3"], [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    pictures = {dense_arcs(nodes, chosen).png for n in range(3) for chosen in itertools.combinations(arcs, n)}
    assert len(pictures) == 1 + 6 + 15


@pytest.mark.parametrize("make, joined", [
    (lambda: load("7.7").DenseBlock(1, 3, 3), True), (lambda: load("7.6").Residual(3, 3), False)])
def test_new_channels_are_orange_when_joined_and_sums_are_purple(make, joined):
    png = skip_paths({"块": make()}, torch.rand(1, 3, 8, 8)).png
    assert painted(png, BLUE).any()
    assert painted(png, ORANGE).any() == joined and painted(png, PURPLE).any() != joined


def test_the_channels_of_a_block_share_one_scale():
    """输入全是 0，相加的结果大得多：输入是刻度的下端，不会各画各的。"""
    block = Twice()
    X = torch.zeros(1, 2, 8, 8)
    X[0, 1] = 1
    png = skip_paths({"块": block}, X).png
    assert [len(areas(png, shade(MAPS, value), 200)) for value in (0.0, 0.5, 1.0)] == [2, 1, 1]


class Twice(nn.Module):
    """X + X"""

    def __init__(self):
        super().__init__()
        self.body = nn.Upsample(scale_factor=1)  # 原样交出

    def forward(self, X):
        return self.body(X) + X


def test_the_block_that_is_drawn_stays_as_it_is():
    block = load("7.7").DenseBlock(1, 3, 3).eval()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    skip_paths({"块": block}, torch.rand(1, 3, 8, 8))
    assert not block.training and not any(module._forward_hooks for module in block.modules())
    assert all(torch.equal(before[name], value) for name, value in block.state_dict().items())
