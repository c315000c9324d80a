"""初始化的分布与公式相同，也认得出来。"""

import math

import pytest
import torch
from torch import nn

from helpers import fashion_mnist, fit, kaiming, load, xavier
from helpers.network.initialization import INITIALIZATIONS, Unfilled, default, recognize


def test_xavier_spreads_as_the_formula_says():
    layer = nn.Linear(300, 500)
    xavier(layer)
    assert layer.weight.abs().max() <= math.sqrt(6 / 800)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 800), rel=0.02)


def test_kaiming_keeps_the_signal_through_relus():
    torch.manual_seed(0)
    X = torch.randn(100, 500)
    for _ in range(10):
        layer = nn.Linear(500, 500, bias=False)
        kaiming(layer)
        X = layer(X).relu()
    assert 0.5 < X.pow(2).mean() < 2  # Xavier 会缩到千分之一


@pytest.mark.parametrize("init", INITIALIZATIONS.values(), ids=INITIALIZATIONS)
def test_only_weights_of_layers_with_weights_are_drawn_again(init):
    net = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    changed = {name for name, tensor in net.apply(init).state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == (set() if init is default else {"0.weight", "4.weight"})


@pytest.mark.parametrize("section", ["7.1", "7.3", "7.6"])
@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_initialization_is_recognized(section, name):
    plan = load(section).plan
    assert INITIALIZATIONS[name].__name__ == name
    assert recognize(plan.make(**plan.widths).apply(INITIALIZATIONS[name])) == name


def test_a_grouped_convolution_is_recognized():
    conv = nn.Conv2d(8, 32, (3, 5), groups=4)
    assert recognize(conv) == "default" and recognize(conv.apply(xavier)) == "xavier"


def test_one_input_and_one_output_are_enough():
    for layer in (nn.Conv2d(1, 1, 41), nn.Linear(1681, 1), nn.Linear(1, 1681)):
        assert recognize(layer.apply(xavier)) == "xavier"


def test_a_trained_network_and_one_without_weights_are_other():
    net = load("7.1").lenet().apply(xavier)
    list(fit(net, *fashion_mnist(32, images=320, device="cpu"), lr=0.9, num_epochs=1))
    assert recognize(net) == recognize(nn.ReLU()) == recognize(nn.Linear(5, 5)) == "other"


def test_nothing_is_drawn_where_nothing_is_to_be_filled():
    weight, before = torch.zeros(3, 4), torch.get_rng_state()
    with Unfilled():
        assert nn.init.uniform_(weight, 1, 2) is weight and nn.init.kaiming_uniform_(tensor=weight) is weight
        layer = nn.Conv2d(2, 6, 3)
    assert not weight.any() and torch.equal(torch.get_rng_state(), before)
    assert layer.weight.shape == (6, 2, 3, 3) and layer.bias.shape == (6,)
    nn.init.uniform_(weight, 1, 2)
    assert weight.min() >= 1
