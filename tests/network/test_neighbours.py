"""neighbours.py：最近的几张与逐对算距离对照。"""

import pytest
import torch
from support.nets import lenet
from torch import nn

from helpers.network.neighbours import Neighbours, last_features


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(20, 1, 28, 28)


def test_the_features_are_what_the_last_linear_layer_receives(images):
    net = lenet().train()
    with torch.no_grad():
        assert torch.allclose(last_features(net, images), net[:-1](images))
    assert net.training
    without = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        assert torch.allclose(last_features(without, images), without(images))


def test_the_nearest_are_the_nearest_of_all_pairs(images):
    net = lenet()
    found = Neighbours(net, images[:15].split(4))
    counts = []
    while not found.done:
        found.step()
        counts.append(found.count)
    assert counts == [4, 8, 12, 15, 15]
    for X in images.split(1):
        features = last_features(net, X)[0]
        away = [float((last_features(net, each)[0] - features).norm()) for each in images[:15].split(1)]
        numbers, distances = found.nearest(X, 3)
        assert distances == pytest.approx(sorted(away)[:3], abs=1e-4)
        assert [away[i] for i in numbers] == pytest.approx(sorted(away)[:3], abs=1e-4)


def test_six_unless_told(images):
    found = Neighbours(lenet(), [images])
    found.step()
    assert [*map(len, found.nearest(images[:1]))] == [6, 6]


def test_there_may_be_fewer_than_asked_for(images):
    found = Neighbours(lenet(), [images[:2]])
    found.step()
    assert len(found.nearest(images[:1], 6)[0]) == 2
