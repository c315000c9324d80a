"""照公式算的形状，与真的走一遍相同；公式说不准的照旧走。"""

from copy import deepcopy

import pytest
import torch
from torch import nn

from helpers.network.shape_rules import Ruled, follow_rules, ruled


def changed(layer, **attributes):
    """造好之后改几项。"""
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


LAYERS = [
    nn.Conv2d(2, 3, 3), nn.Conv2d(2, 4, (1, 4), (2, 3), (0, 2), groups=2),
    nn.Conv2d(2, 3, 3, dilation=(2, 3), bias=False), nn.Conv2d(2, 3, 3, padding="same"),
    nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"), nn.Conv2d(3, 3, 1),
    nn.Conv2d(2, 3, 3).double(), nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last),
    nn.MaxPool2d(3, 2), nn.MaxPool2d((2, 3), dilation=2, padding=(1, 1)), nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(2, return_indices=True), nn.AvgPool2d(2), nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, ceil_mode=True),
    nn.BatchNorm2d(2), nn.BatchNorm2d(3), nn.BatchNorm2d(2, track_running_stats=False), nn.BatchNorm2d(2, affine=False),
    nn.ReLU(), nn.Sigmoid(), nn.Tanh()]

# 造好之后改过的，和 PyTorch 不接受的
ODD = [
    changed(nn.Conv2d(2, 3, 3), stride=2), changed(nn.Conv2d(2, 3, 3), padding=1, dilation=2),
    changed(nn.Conv2d(2, 3, 3), stride=(0, 1)), changed(nn.Conv2d(2, 3, 3), padding=(-1, 0)),
    changed(nn.Conv2d(1, 3, 3), weight=nn.Parameter(torch.zeros(4, 2, 2, 1)), bias=None),
    changed(nn.Conv2d(2, 3, 3), weight=nn.Parameter(torch.zeros(4, 2, 3, 3))),
    changed(nn.Conv2d(4, 4, 3, groups=2), weight=nn.Parameter(torch.zeros(3, 1, 3, 3)), bias=None),
    nn.Conv2d(2, 3, 1).to(memory_format=torch.channels_last),
    nn.MaxPool2d((2,)), nn.AvgPool2d((2,), stride=(1,)), nn.MaxPool2d((2, 2), stride=()), nn.MaxPool2d(2, stride=0),
    nn.MaxPool2d(2, padding=2), nn.AvgPool2d(3, padding=2), nn.MaxPool2d(2, dilation=0), nn.MaxPool2d(2.0),
    changed(nn.BatchNorm2d(2), running_mean=torch.zeros(3)),
    changed(nn.BatchNorm2d(2), running_mean=None, running_var=None),
    changed(nn.BatchNorm2d(2), weight=nn.Parameter(torch.zeros(3)))]


def outcome(layer, X):
    """走得通就是形状、精度和步幅，走不通就是 None。"""
    try:
        out = layer(X)
    except Exception:
        return None
    return [(each.shape, each.dtype, each.stride()) for each in (out if isinstance(out, tuple) else (out,))]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_rule_gives_what_the_layer_gives(layer):
    layer = layer.eval()
    plain = deepcopy(layer).to("meta")
    ruled = deepcopy(plain)
    follow_rules(ruled)
    for height in range(9):
        for width in range(7):
            for shape in ((2, 2, height, width), (2, height, width)):
                X = torch.zeros(shape, device="meta")
                assert outcome(ruled, X) == outcome(plain, X), shape
    wide = torch.zeros(1, 2, 8, 8, device="meta").to(memory_format=torch.channels_last)
    assert outcome(ruled, wide) == outcome(plain, wide)


@pytest.mark.parametrize("layer", ODD, ids=range(len(ODD)))
def test_a_rule_gives_nothing_the_layer_really_refuses(layer):
    rule = deepcopy(layer).eval().to("meta")
    follow_rules(rule)
    for height in range(1, 9):
        for width in range(1, 7):
            really = outcome(layer.eval(), torch.zeros(1, 2, height, width))
            found = ruled(rule).after(torch.zeros(1, 2, height, width, device="meta"))
            assert found is None or [(found.shape, found.dtype)] == [each[:2] for each in really or []]


KNOWN = [nn.Conv2d(2, 3, 3), nn.MaxPool2d(3, 2), nn.AvgPool2d(2), nn.BatchNorm2d(2), nn.ReLU(), nn.Sigmoid(), nn.Tanh()]


@pytest.mark.parametrize("layer", KNOWN, ids=str)
def test_the_usual_layers_are_answered_without_a_walk(layer):
    X = torch.zeros(1, 2, 9, 9, device="meta")
    layer = deepcopy(layer).eval().to("meta")
    shape = layer(X).shape
    follow_rules(layer)
    assert ruled(layer).after(X).shape == shape
    follow_rules(layer)  # 再说一次，还是那一条
    assert not isinstance(ruled(layer).original, Ruled)
    layer.register_forward_hook(lambda *_: None)
    assert ruled(layer) is None


def test_a_norm_of_this_batch_is_not_answered():
    layer = nn.BatchNorm2d(2, device="meta").train()
    follow_rules(layer)
    assert ruled(layer).after(torch.zeros(1, 2, 9, 9, device="meta")) is None


def test_a_layer_of_the_readers_is_left_alone():
    class Mine(nn.ReLU):
        def forward(self, X):
            return X[..., 1:]

    net = Mine()
    follow_rules(net)
    assert "forward" not in vars(net)
