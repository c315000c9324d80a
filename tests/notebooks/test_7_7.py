"""7.7 DenseNet：每一级的形状、感受野、输入大小、torchvision 的过渡层、能背下 64 张图；两个实验量的对着另一种算法。"""

from copy import deepcopy

import nbformat
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.densenet import _Transition

from helpers import (
    Point,
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


def defined(name, **more):
    """笔记本里定义 name 的单元格；它只用到前面带 net 标签的单元格、torch 和 more。"""
    [cell] = [c for c in nbformat.read(find("7.7"), as_version=4).cells
              if c.cell_type == "code" and f"def {name}(" in c.source]
    source = cell.source.split("\n\n")
    names = dict(vars(SECTION)) | more
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
    net, per_source = densenet(), SECTION.per_source
    asked = per_source(net[1], net[2][2], lambda user, channels: channels.start)
    assert asked.nan_to_num(-1).tolist() == [[start if j >= i else -1 for j in range(5)]
                                             for i, start in enumerate([0, 64, 96, 128, 160])]
    with torch.no_grad():
        net[1].convs[2][-1].weight[:, 64:96] = 3  # f3 给 f1 的权重
    assert per_source(net[1], net[2][2], SECTION.mean_weight)[1, 2] == 3


@pytest.mark.parametrize("function, expected", [
    (torch.exp, [1, 1, 1 / 2, 1 / 6, 1 / 24]), (torch.sin, [0, 1, 0, -1 / 6, 0]),
    (lambda x: 1 / (1 - x), [1, 1, 1, 1, 1])])
def test_taylor_coefficients(function, expected):
    assert defined("coefficients")(function, 4) == pytest.approx(expected)


def test_the_second_target_is_fitted_by_least_squares():
    x = torch.linspace(-2, 2, 101, dtype=torch.float64)
    target = torch.sin(2 * x)
    by_terms = defined("fitted")([x, 3 * x**2, x**3 / 7], target)  # 各项的系数不同，张成的还是三次多项式
    assert by_terms.numpy() == pytest.approx(np.polyval(np.polyfit(x, target, 3), x))


def test_the_stairs_are_what_every_convolution_receives():
    widths = {"num_channels": 16, "growth_rate": 8, "n1": 1, "n2": 2, "n3": 3, "n4": 1, "reduction": 4}
    heights, edges, cost = defined("stairs", trace=trace)(**widths)
    net = densenet(**widths)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)][1:]  # 不要开头的 7×7
    assert heights == [conv.in_channels for conv in convs] + [net[-1].in_features]
    assert edges == [i + 1 for i, conv in enumerate(convs) if conv.kernel_size == (1, 1)]
    assert f"{sum(p.numel() for p in net.parameters()):,}" in cost


def test_the_contestants_have_the_same_parameters_and_blocks_that_differ_in_the_joint_only():
    nets = {name: make() for name, make in SECTION.joined_nets.items()}
    counts = [sum(p.numel() for p in net.parameters()) for net in nets.values()]
    assert max(counts) < 1.02 * min(counts)
    for net in nets.values():
        assert [[type(layer).__name__ for layer in conv] for block in (net[1], net[3]) for conv in block.convs] == \
            8 * [["BatchNorm2d", "ReLU", "Conv2d"]]


def test_adding_adds_and_plain_hands_on():
    X, block = torch.randn(2, 4, 6, 6), SECTION.Adding(2, 4).eval()
    plain = SECTION.Adding(2, 4, add=False).eval()
    plain.load_state_dict(block.state_dict())
    one, two = block.convs
    assert torch.allclose(block(X), X + one(X) + two(X + one(X)), atol=1e-6)
    assert torch.equal(plain(X), nn.Sequential(one, two)(X))


def test_apart_each_block_sees_the_input_only():
    X, block = torch.randn(2, 4, 6, 6), SECTION.Apart(3, 4, 5).eval()
    Y = block(X)
    assert Y.shape[1] == 4 + 3 * 5 and torch.equal(Y[:, :4], X)
    with torch.no_grad():
        block.convs[0][-1].bias += 1
    changed = (block(X) != Y).flatten(2).any(2).any(0)
    assert changed.nonzero().flatten().tolist() == [4, 5, 6, 7, 8]


def test_the_rate_with_the_smaller_training_loss_counts(monkeypatch):
    monkeypatch.setattr(SECTION, "fit", lambda net, *halves, lr, num_epochs, dtype: [
        Point(1.0, {0.01: 0.5, 0.03: 0.4}.get(lr, 9.0), 0.5)])
    tested = iter((0.9, 0.7))  # 测试精度高的那一次，训练损失大
    monkeypatch.setattr(SECTION, "accuracy", lambda net, data: next(tested))
    assert SECTION.joins["相加"](0) == {"训练损失": 0.4, "测试精度": 0.7, "学习率": 0.3}


class Hidden(nn.Module):
    """一层，看不到 channels：换成平均值，一个通道一个通道地换。"""

    def __init__(self, layer, channels):
        super().__init__()
        self.layer, self.channels = layer, channels

    def forward(self, X):
        return self.layer(torch.stack([torch.full_like(X[:, c], X[:, c].mean()) if c in self.channels else X[:, c]
                                       for c in range(X.shape[1])], dim=1))


@pytest.mark.parametrize("k, place, user, channels, row, column", [
    (0, "1.convs.2.2", 2, range(16, 24), 1, 2),  # f1 → f3
    (1, "4.2", 4, range(24), 0, 4),  # x → 过渡层
    (3, "12", 4, range(30, 38), 1, 4)])  # f1 → 最后的全连接层
def test_harm_is_what_hiding_the_channels_costs(k, place, user, channels, row, column):
    torch.manual_seed(0)
    net = densenet(num_channels=16, growth_rate=8).apply(xavier)
    X, y = torch.rand(20, 1, 32, 32), torch.arange(20) % 10
    with torch.no_grad():
        net[-1].weight *= 20  # 输出离得开，藏起什么都看得出
        net(X)  # 运行统计量离开 0 和 1
        table, _ = SECTION.harms(net.eval(), k, X, y)
        changed = deepcopy(net)
        parent, _, name = place.rpartition(".")
        setattr(changed.get_submodule(parent), name, Hidden(net.get_submodule(place), channels))
        losses = [nn.functional.cross_entropy(one(X), y) for one in (changed, net)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert table[row, column].item() == pytest.approx((losses[0] - losses[1]).item(), abs=1e-5)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_one_part_of_x_is_as_wide_as_one_f():
    """x 恰好一份那么宽时，藏一份就是藏整个 x。"""
    torch.manual_seed(0)
    net = densenet(num_channels=8, growth_rate=8).apply(xavier)
    X, y = torch.rand(20, 1, 32, 32), torch.arange(20) % 10
    with torch.no_grad():
        net[-1].weight *= 20
        net(X)
    table, parts = SECTION.harms(net.eval(), 0, X, y)
    assert parts.tolist() == pytest.approx(table[0].tolist(), abs=1e-6) and parts.abs().max() > 1e-3


@pytest.mark.parametrize("network, low, median, high", [
    ("lenet", .774, .806, .824), ("vgg11", .911, .919, .924), ("resnet18", .857, .913, .922),
    ("densenet", .829, .869, .910)])
def test_official_test_accuracy(network, low, median, high):
    band = official_band(network, "test_acc")
    assert band.metric == "test_acc"
    assert (band.low, band.median, band.high) == pytest.approx((low, median, high), abs=6e-4)
