"""columns.py 和 heat_overlay：条的长短、热的地方，对着张量。"""

import pytest
import torch
from support.nets import lenet
from support.pixels import areas, painted, pixels
from torch import nn

from helpers import LABELS
from helpers.network.recording import record
from helpers.network.steps import steps
from helpers.pictures import heat_overlay
from helpers.pictures.canvas import BLUE, ORANGE
from helpers.pictures.columns import network_columns


def test_the_bars_are_as_long_as_the_probabilities():
    net, X = lenet(), torch.rand(1, 1, 28, 28)
    probabilities = torch.tensor([0.02, 0.1, 0.02, 0.3, 0.02, 0.02, 0.02, 0.46, 0.02, 0.02])
    png = network_columns(steps(net, record(net, X)), probabilities, LABELS).png
    [best] = areas(png, ORANGE, least=100)
    blue = sorted(areas(png, BLUE, least=60), key=lambda bar: bar.top)
    assert [bar.width / best.width for bar in blue] == pytest.approx([0.1 / 0.46, 0.3 / 0.46], abs=0.05)
    assert pixels(png).shape[1] == 960


def test_any_depth_and_any_number_of_classes_fit():
    relus = [nn.ReLU() for _ in range(40)]
    deep = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), *relus, nn.Flatten(), nn.Linear(48, 30))
    for net, side in ((deep, 4), (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), 3)):
        found = steps(net, record(net, torch.rand(1, 1, side, side)))
        png = network_columns(found, found[-1].value.content[0].softmax(0), LABELS).png
        assert pixels(png).shape[1] == 960


def test_heat_is_red_where_it_is_positive_and_blue_where_it_is_negative():
    heat = torch.zeros(1, 8, 8)
    heat[0, :2, :2], heat[0, 6:, 6:] = 1, -1
    png = heat_overlay(torch.zeros(1, 1, 8, 8), {"热": heat}).png
    image = pixels(png)
    red = (image[..., 0] > image[..., 2] + 40).nonzero()
    blue = (image[..., 2] > image[..., 0] + 40).nonzero()
    assert red[0].max() < blue[0].min() and red[1].max() < blue[1].min()
    assert painted(png, "black").any()
