"""几个测试文件都要用的小网络，和随机抽的网络。"""

import random

import pytest
import torch
from torch import nn

# 书上每一节的输入边长
SIZES = {"7.1": 28, "7.2": 224, "7.3": 224, "7.4": 224, "7.5": 96, "7.6": 96, "7.7": 96}

devices = pytest.mark.parametrize("device", ["meta", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)])


def lenet() -> nn.Sequential:
    """书上的 LeNet，输入 (B, 1, 28, 28)。"""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10))


class Residual(nn.Module):
    """body(X) + X"""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, X):
        return self.body(X) + X


class Concat(nn.Module):
    """几条路在通道上连结。"""

    def __init__(self, left: nn.Module, right: nn.Module):
        super().__init__()
        self.left, self.right = left, right

    def forward(self, X):
        return torch.cat([self.left(X), self.right(X)], dim=1)


class Call(nn.Module):
    """forward 就是 function(self, X)。"""

    def __init__(self, function, **children):
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, X):
        return self.function(self, X)


def random_layer(rng, channels):
    """一层，和它输出的通道数。"""
    kind = rng.choice(["conv", "conv", "norm", "relu", "pool", "nested", "residual", "concat"])
    if kind == "conv":
        groups = rng.choice([g for g in (1, 2, 4) if channels % g == 0])
        out = groups * rng.randint(1, 4)
        return nn.Conv2d(channels, out, rng.choice([1, 3, (1, 3), 5]), groups=groups, dilation=rng.randint(1, 2),
                         stride=rng.randint(1, 2), padding=rng.randint(0, 3), bias=rng.random() < 0.5), out
    if kind == "norm":
        return nn.BatchNorm2d(channels), channels
    if kind == "relu":
        return nn.ReLU(inplace=rng.random() < 0.5), channels
    if kind == "pool":
        pool = rng.choice([nn.MaxPool2d, nn.AvgPool2d])
        return pool(rng.randint(1, 3), rng.choice([None, 1, 2]), ceil_mode=rng.random() < 0.5), channels
    if kind == "nested":
        return random_layers(rng, channels, rng.randint(0, 3))
    same = [nn.Conv2d(channels, channels, k, padding=k // 2) for k in (1, 3)]
    if kind == "residual":
        return Residual(nn.Sequential(same[0], nn.ReLU())), channels
    return Concat(*same), 2 * channels


def random_layers(rng, channels, count):
    """count 层的 nn.Sequential，和它输出的通道数。"""
    layers = []
    for _ in range(count):
        layer, channels = random_layer(rng, channels)
        layers.append(layer)
    return nn.Sequential(*layers), channels


def random_network(seed):
    """卷积部分、展平、全连接；输入 (2, 4, 20, 20)。走不通的再抽一个。"""
    rng = random.Random(seed)
    while True:
        body, _ = random_layers(rng, 4, rng.randint(1, 6))
        try:
            features = body.eval()(torch.zeros(2, 4, 20, 20)).flatten(1).shape[1]
        except RuntimeError:
            continue
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(features, 5))


def runs(net, shape):
    """net 自己真的算，走不走得通。"""
    try:
        net(torch.zeros(shape))
    except Exception:
        return False
    return True
