"""7.7 DenseNet：每一级的形状、感受野、输入大小、torchvision 的过渡层、能背下 64 张图、训练循环。"""

import nbformat
import pytest
import torch
from torch import nn
from torchvision.models.densenet import _Transition

from helpers import (
    fashion_mnist,
    fit,
    forecast,
    input_sizes,
    official_band,
    trace,
    xavier,
)
from helpers.book.sections import find, load

SECTION = load("7.7")
densenet, DenseBlock, transition_block = SECTION.densenet, SECTION.DenseBlock, SECTION.transition_block
SLIM = {"num_channels": 16, "growth_rate": 8, "n1": 2, "n2": 2, "n3": 2, "n4": 2}


def defined(name):
    """笔记本里定义 name 的单元格；它只用到前面带 net 标签的单元格和 torch。"""
    [cell] = [c for c in nbformat.read(find("7.7"), as_version=4).cells
              if c.cell_type == "code" and f"def {name}(" in c.source]
    source = cell.source.split("\n\n")
    names = dict(vars(SECTION))
    exec("\n\n".join(part for part in source if not part[0].isalpha() or part.startswith("def ")), names)
    return names[name]


def test_shapes_stage_by_stage():
    table = trace(densenet(), (1, 1, 96, 96))
    assert [layer.out_shape[1:] for layer in table] == [
        (64, 24, 24), (192, 24, 24), (96, 12, 12), (224, 12, 12), (112, 6, 6), (240, 6, 6), (120, 3, 3), (248, 3, 3),
        (248, 3, 3), (248, 3, 3), (248, 1, 1), (248,), (10,)]
    assert table[9].receptive_field == (519, 519) and str(table[10].receptive_field) == "全图"
    assert input_sizes(densenet(), (1, 1, 96, 96)) == (29, None)


def test_units():
    X = torch.randn(4, 3, 8, 8)
    Y = DenseBlock(2, 3, 10)(X)
    assert Y.shape == (4, 23, 8, 8) and torch.equal(Y[:, :3], X)
    assert transition_block(23, 10)(Y).shape == (4, 10, 4, 4)
    assert densenet(in_channels=3, num_classes=7, reduction=1, n2=1, n3=3)(torch.randn(2, 3, 64, 64)).shape == (2, 7)


def test_the_transition_is_torchvisions():
    mine, theirs = transition_block(12, 6), _Transition(12, 6)
    nn.init.normal_(mine[0].weight)
    nn.init.zeros_(mine[2].bias)
    theirs.load_state_dict({name: value for (name, _), (key, value) in zip(
        theirs.state_dict().items(), ((k, v) for k, v in mine.state_dict().items() if k != "2.bias"), strict=True)})
    X = torch.randn(4, 12, 8, 8)
    assert torch.equal(mine(X), theirs(X))


def test_sixty_four_images_are_learned_by_heart():
    torch.manual_seed(0)
    data, _ = fashion_mnist(batch_size=64, size=32, images=64, device="cpu")
    points = list(fit(densenet(**SLIM).apply(xavier), data, data, lr=0.1, num_epochs=80, dtype=torch.float32))
    assert points[-1].test_acc == 1.0


@pytest.mark.parametrize("section, name, size, widths, megabytes", [
    ("7.1", "lenet", 28, {}, 0.036), ("7.2", "alexnet", 224, {}, 4.00), ("7.3", "vgg11", 224, {"ratio": 4}, 12.32),
    ("7.4", "nin", 224, {}, 7.68), ("7.5", "googlenet", 96, {}, 6.41), ("7.6", "resnet18", 96, {}, 3.89),
    ("7.7", "densenet", 96, {}, 6.02)])
def test_saved_activations(section, name, size, widths, megabytes):
    net = getattr(load(section), name)(**widths)
    saved = forecast(net, (1, 1, size, size), 1, dtype=torch.float32).per_sample
    assert saved / 1e6 == pytest.approx(megabytes, rel=0.03)


def test_every_layer_uses_all_earlier_ones():
    net, per_source = densenet(), defined("per_source")
    asked = per_source(net[1], net[2][2], lambda user, channels: channels.start)
    assert asked.nan_to_num(-1).tolist() == [[start if j >= i else -1 for j in range(5)]
                                             for i, start in enumerate([0, 64, 96, 128, 160])]
    with torch.no_grad():
        net[1].convs[2][-1].weight[:, 64:96] = 3  # f3 给 f1 的权重
    assert per_source(net[1], net[2][2], defined("mean_weight"))[1, 2] == 3


@pytest.mark.parametrize("function, expected", [
    (torch.exp, [1, 1, 1 / 2, 1 / 6, 1 / 24]), (torch.sin, [0, 1, 0, -1 / 6, 0]),
    (lambda x: 1 / (1 - x), [1, 1, 1, 1, 1])])
def test_taylor_coefficients(function, expected):
    assert defined("coefficients")(function, 4) == pytest.approx(expected)


@pytest.mark.parametrize("network, low, median, high", [
    ("lenet", .774, .806, .824), ("vgg11", .911, .919, .924), ("resnet18", .857, .913, .922),
    ("densenet", .829, .869, .910)])
def test_official_test_accuracy(network, low, median, high):
    band = official_band(network, "test_acc")
    assert band.metric == "test_acc"
    assert (band.low, band.median, band.high) == pytest.approx((low, median, high), abs=6e-4)
