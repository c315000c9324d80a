"""checks.py：训练不了的，一句话说清；训练得了的，一个也不拦。"""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import accuracy, fashion_mnist, fit, saved_runs, train

DATA = fashion_mnist(16, images=160, device="cpu")


def linear(out=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, out))


class Pair(nn.Module):
    """返回两个东西的网络。"""

    def __init__(self):
        super().__init__()
        self.body = linear()

    def forward(self, X):
        return self.body(X), X


def by_fit(net, data=DATA, **options):
    return list(fit(net, *data, **{"lr": 0.1, "num_epochs": 1} | options))


def by_train(net, data=DATA, **options):
    return train(net, *data, **{"lr": 0.1, "num_epochs": 1} | options).points


trainers = pytest.mark.parametrize("door", [by_fit, by_train], ids=["fit", "train"])
FROZEN = "没有可以训练的参数"


@trainers
@pytest.mark.parametrize("net, says", [
    (nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), r"weight.*net\(X\)"), (linear().requires_grad_(False), FROZEN),
    (nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.Flatten()), FROZEN), (linear().double(), r"net\.float\(\)"),
    (linear(5), "只有 5 个"), (nn.Linear(28, 10), r"形状却是 \(16, 1, 28, 10\)"),
    (nn.Sequential(linear(), nn.Flatten(0)), r"形状却是 \(160,\)"),
    (nn.Sequential(nn.Flatten(), nn.Linear(700, 10)), "第 1 层 Linear 收到")])
def test_networks_that_cannot_be_trained(door, net, says):
    with pytest.raises(ValueError, match=says):
        door(net)


@trainers
@pytest.mark.parametrize("net, says", [(None, "net 应当是一个网络"), (linear, r"加上括号"), (Pair(), "只返回其中一个")])
def test_what_is_no_network(door, net, says):
    with pytest.raises(TypeError, match=says):
        door(net)


@pytest.mark.parametrize("net, data, error, says", [
    (None, DATA[1], TypeError, "net 应当是"), (linear(), DATA, TypeError, r"写 \*data"),
    (linear(), None, TypeError, "data 应当是"),
    (nn.Sequential(nn.Flatten(), nn.Linear(700, 10)), DATA[1], ValueError, "第 1 层 Linear 收到"),
    (linear().half(), DATA[1], ValueError, r"net\.float"), (linear(5), DATA[1], ValueError, "只有 5 个"),
    (Pair(), DATA[1], TypeError, "只返回其中一个"), (nn.LazyLinear(10), DATA[1], ValueError, r"weight.*net\(X\)")])
def test_what_cannot_be_scored(net, data, error, says):
    with pytest.raises(error, match=says):
        accuracy(net, data)


def test_a_frozen_network_and_more_outputs_than_classes_are_fine():
    assert 0 <= accuracy(linear(20).requires_grad_(False), DATA[1]) <= 1
    net = nn.Sequential(*linear(20), nn.ReLU(), nn.Linear(20, 12))
    net[1].requires_grad_(False)
    assert by_fit(net)[-1].epoch == 1


@trainers
@pytest.mark.parametrize("data", [([1], [2]), (DATA, DATA), (DATA[0], None)])
def test_what_is_no_data(door, data):
    with pytest.raises(TypeError, match="应当是训练集或测试集"):
        door(linear(), data)


@trainers
@pytest.mark.parametrize("options, says", [
    ({"lr": lr}, "学习率应当是大于 0 的数") for lr in ("0.1", None, [1], 1j, 1e300, 0, -1, True, float("nan"),
                                                        lambda: "a", lambda: None)] + [
    ({"dtype": dtype}, "dtype 应当是") for dtype in ("bfloat16", torch.float64, torch.int8, 3)] + [
    ({"num_epochs": epochs}, "num_epochs 应当是正整数") for epochs in (0, -1, 2.0, True, "3", None)])
def test_settings_that_cannot_be(door, options, says):
    with pytest.raises(ValueError, match=says):
        door(linear(), **options)


@trainers
@pytest.mark.parametrize("options", [
    {"lr": np.float32(0.5)}, {"lr": np.int64(1)}, {"lr": torch.tensor(0.5)}, {"lr": lambda: np.float64(0.5)},
    {"num_epochs": np.int64(1)}, {"num_epochs": torch.tensor(1)}, {"dtype": torch.float16}, {"dtype": torch.bfloat16}])
def test_numbers_of_numpy_are_numbers(door, options):
    points = door(linear(), **options)
    assert points[-1].epoch == 1 and type(points[-1].lr) is float


@trainers
def test_a_last_batch_of_one_is_named(door):
    """PyTorch 说的是英文，也不说是哪一批。"""
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.BatchNorm1d(20), nn.Linear(20, 10))
    with pytest.raises(ValueError, match=r"只有 1 张图.*至少有 2 张"):
        door(net, fashion_mnist(49, images=50, device="cpu"))
    assert door(net, fashion_mnist(48, images=50, device="cpu"))[-1].epoch == 1


def test_a_training_that_breaks_at_its_last_batch_is_kept():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.BatchNorm1d(20), nn.Linear(20, 10))
    with pytest.raises(ValueError, match="只有 1 张图"):
        by_train(net, fashion_mnist(7, images=50, device="cpu"))
    assert saved_runs()[0].ended == "error" and len(saved_runs()[0].points) == 4


def test_nothing_is_refused_late():
    """参数不对，调用时就说，不等到走第一步。"""
    for act in (lambda: fit(None, *DATA, lr=0.1, num_epochs=1), lambda: fit(linear(), *DATA, lr=0, num_epochs=1)):
        with pytest.raises((TypeError, ValueError)):
            act()
