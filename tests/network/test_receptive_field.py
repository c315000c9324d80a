"""感受野与自动求导相同。"""

import random

import pytest
import torch
from support.nets import Call, Concat, Residual
from torch import nn
from torch.nn import functional as F

from helpers import trace


def field_by_autograd(net, size=192):
    """输出正中一格的梯度不为零的范围（高，宽）。"""
    net = net.double().eval()
    for p in net.parameters():
        nn.init.ones_(p)
    X = torch.ones(1, 1, size, size, dtype=torch.double, requires_grad=True)
    Y = net(X)
    assert min(Y.shape[-2:]) >= 3
    Y[0, :, Y.shape[2] // 2, Y.shape[3] // 2].sum().backward()
    seen = X.grad[0, 0].nonzero()
    assert seen.min() > 0 and seen.max() < size - 1, "感受野碰到了边"
    return tuple((seen.max(0).values - seen.min(0).values + 1).tolist())


def random_stack(seed):
    """要追踪的网络，和窗口相同、梯度处处为正的替身。"""
    rng = random.Random(seed)
    layers, twins = [], []
    for _ in range(rng.randint(1, 4)):
        window = {"kernel_size": rng.choice([1, 2, 3, 4, (3, 5), (5, 2)]), "stride": rng.choice([1, 2, (1, 2)]),
                  "padding": rng.choice([0, (0, 1)])}
        dilation = rng.choice([1, 2, 3])
        kind = rng.choice(["conv", "avg", "max", "norm", "wide"])
        if kind in ("avg", "max") and window["kernel_size"] == 1:
            window["padding"] = 0
        twin = nn.Conv2d(1, 1, dilation=dilation, **window)
        layer = twin
        if kind == "avg":
            layer = twin = nn.AvgPool2d(**window)
        elif kind == "max":  # 它的梯度只流向最大的一格，所以替身是同样大小的卷积
            layer = nn.MaxPool2d(dilation=dilation, **window)
        elif kind == "norm":
            layer = twin = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU())
        elif kind == "wide":
            layer = twin = Residual(nn.Conv2d(1, 1, 5, padding=2 * dilation, dilation=dilation))
        layers.append(layer)
        twins.append(twin)
    return nn.Sequential(*layers), nn.Sequential(*twins)


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_of_a_random_stack(seed):
    net, twin = random_stack(seed)
    expected = field_by_autograd(twin)
    table = trace(net.double(), (1, 1, 192, 192))
    assert table[-1].receptive_field == expected[1]
    turned = trace(Call(lambda net, X: net.body(X.mT), body=net), (1, 1, 180, 192))
    assert turned[-1].receptive_field == expected[1]


def shuffle(_, X):
    return X.view(1, 2, 2, *X.shape[2:]).transpose(1, 2).reshape(X.shape)


def standardised(net, X):
    return F.conv2d(X, net.weight - net.weight.mean(dim=(1, 2, 3), keepdim=True) + 1)


def padded_shortcut(_, X):
    return torch.cat([X, torch.zeros(1, 3, *X.shape[2:], device=X.device, dtype=X.dtype)], dim=1)


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Conv2d(1, 4, 3), Call(shuffle), nn.Conv2d(4, 1, 3)),
    nn.Sequential(Call(standardised, weight=nn.Parameter(torch.ones(1, 1, 5, 5)))),
    nn.Sequential(nn.Conv2d(1, 1, 3), Call(padded_shortcut), nn.Conv2d(4, 1, 3)),
    nn.Sequential(Call(lambda _, X: F.avg_pool2d(F.avg_pool2d(X, 3), 2))),
    nn.Sequential(nn.Conv2d(1, 4, 3), nn.LocalResponseNorm(3), nn.Conv2d(4, 1, 3)),
    nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, padding="same"), nn.ReflectionPad2d(3),
                  nn.Conv2d(1, 1, 3)),
    # 两条路一偏左、一偏右，并起来比任何一条都宽
    nn.Sequential(Concat(nn.Conv2d(1, 1, 3), nn.Sequential(nn.ZeroPad2d((2, -2, 2, -2)), nn.Conv2d(1, 1, 3)))),
    nn.Sequential(Concat(nn.Sequential(nn.ZeroPad2d((2, -2, 2, -2)), nn.Conv2d(1, 1, 3)), nn.Conv2d(1, 1, 3))),
], ids=["shuffle", "standardised", "zeros", "functional", "lrn", "pads", "right", "left"])
def test_receptive_field_survives(net):
    expected = field_by_autograd(net)
    assert trace(net, (1, 1, 192, 192))[-1].receptive_field == expected[1]


@pytest.mark.parametrize("layer", [
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Upsample(scale_factor=2),
    nn.ConvTranspose2d(2, 2, 3), Call(lambda _, X: X.mean((2, 3))),
    Call(lambda _, X: X * X.amax((2, 3), keepdim=True))], ids=lambda layer: type(layer).__name__)
def test_receptive_field_is_none_after_the_whole_image_is_mixed(layer):
    assert [row.receptive_field for row in trace(nn.Sequential(nn.Conv2d(1, 2, 3), layer), (1, 1, 8, 8))] == [3, None]


def test_receptive_field_is_none_although_batch_and_channels_look_like_height_and_width():
    net = nn.Sequential(nn.Conv2d(1, 6, 3), Call(lambda _, X: X.mean((2, 3))))
    assert [row.receptive_field for row in trace(net, (6, 1, 8, 8))] == [3, None]
