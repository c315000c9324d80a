"""真的图像走不过去，或者不是网络、不是图像：每扇门一句中文，网络和随机数都还原。"""

import re

import numpy as np
import pytest
import torch
from support.nets import Call, lenet
from support.snapshot import snapshot
from torch import nn
from torch.nn import functional as F

from helpers import (
    accuracy,
    confident_mistakes,
    dead_relus,
    describe,
    explain,
    fashion_mnist,
    forecast,
    grad_cam,
    input_sizes,
    occlusion,
    record,
    trace,
    where_it_looks,
)
from helpers.network.shape_errors import ShapeError

DATA = fashion_mnist(batch_size=8, images=20, device="cpu")[1]
X = torch.rand(1, 1, 28, 28)
IMAGES = {  # 要一个网络和一张图像
    "record": record, "explain": lambda net, X: explain(net, X, "0", (0, 0, 0, 0)), "grad_cam": grad_cam,
    "occlusion": lambda net, X: occlusion(net, X, window=14, stride=14), "where_it_looks": where_it_looks}
SCORES = {"accuracy": lambda net: accuracy(net, DATA), "confident_mistakes": lambda net: confident_mistakes(net, DATA),
          "dead_relus": lambda net: dead_relus(net, DATA)}


def refused(ask, *kinds):
    """拒绝了，说的是中文。"""
    with pytest.raises(kinds or (TypeError, ValueError)) as caught:
        ask()
    assert re.search("[一-鿿]", str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("net", [None, "lenet", lenet, nn.Linear, 3, lenet().to("meta")],
                         ids=["none", "text", "function", "class", "number", "meta"])
@pytest.mark.parametrize("name", [*IMAGES, *SCORES])
def test_what_is_no_network_with_values_is_refused(name, net):
    refused(lambda: IMAGES[name](net, X) if name in IMAGES else SCORES[name](net))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("image", [None, 1, "X", [X], X.long(), X.numpy(), X.to("meta"), X[:, :, :0]], ids=range(8))
def test_what_is_no_image_is_refused(name, image):
    refused(lambda: IMAGES[name](lenet(), image))


@pytest.mark.parametrize("name", [*IMAGES, *SCORES])
def test_an_image_that_cannot_walk_through_is_told_where(name):
    for net in (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(9, 10), nn.ReLU())):
        refused(lambda: IMAGES[name](net, X) if name in IMAGES else SCORES[name](net), ShapeError)  # noqa: B023


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", IMAGES)
def test_the_image_takes_the_precision_of_the_network(name, dtype):
    assert IMAGES[name](lenet().to(dtype), X) is not None


@pytest.mark.parametrize("net", [
    nn.Conv2d(1, 3, 3), nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(0)),
    Call(lambda net, X: {"out": net.conv(X)}, conv=nn.Conv2d(1, 3, 3)),
    Call(lambda net, X: net.linear(net.conv(X).detach().flatten(1)), conv=nn.Conv2d(1, 1, 3),
         linear=nn.Linear(676, 3))],
    ids=["image", "vector", "dict", "detached"])
@pytest.mark.parametrize("name", ["grad_cam", "where_it_looks"])
def test_where_it_looks_asks_for_one_row_of_classes(name, net):
    refused(lambda: IMAGES[name](nn.Sequential(net), X))


@pytest.mark.parametrize("ask", [
    lambda: explain(lenet(), X, None, (0, 0, 0, 0)), lambda: explain(lenet(), X, [1], (0, 0, 0, 0)),
    lambda: explain(lenet(), X, "0", (0, False, 0, 0)), lambda: explain(lenet(), X, "0", "0000"),
    lambda: grad_cam(lenet(), X, layer=[1]), lambda: grad_cam(lenet(), X, label=True),
    lambda: forecast(lenet(), X.shape, 4, dtype="float32"), lambda: forecast(lenet(), X.shape, 4, dtype=0),
    lambda: accuracy(lenet(), DATA, dtype=0), lambda: confident_mistakes(lenet(), None),
    lambda: confident_mistakes(nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), DATA),
    lambda: trace(lenet(), (10**30, 1, 8, 8)), lambda: input_sizes(lenet(), (10**30, 1, 8, 8)),
    lambda: describe(None), lambda: describe("conv"),
    lambda: explain(lenet(), X, "0", torch.empty(4, device="meta")), lambda: trace(lenet(), (10**400, 1, 8, 8))],
    ids=range(17))
def test_other_arguments_are_refused_too(ask):
    refused(ask)


def test_numbers_of_numpy_are_numbers():
    net = lenet()
    assert explain(net, X, "0", list(np.array([0, 1, 2, 3]))).value == explain(net, X, "0", (0, 1, 2, 3)).value


@pytest.mark.parametrize("name", ["grad_cam", "occlusion", "where_it_looks", "record"])
def test_random_numbers_drawn_on_the_way_are_given_back(name):
    net = Call(lambda net, X: net.linear(F.adaptive_avg_pool2d(F.dropout(net.conv(X), 0.5), 2).flatten(1)),
               conv=nn.Conv2d(1, 2, 3), linear=nn.Linear(8, 3))
    before = snapshot(net)
    IMAGES[name](net, X)
    assert snapshot(net) == before
