"""7.6 节 ResNet：形状、感受野、torchvision、学得会；实验台量的东西对着另一种算法。"""

import math
from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18 as torchvision_resnet18

from helpers import accuracy, fashion_mnist, fit, input_sizes, load, recorded, trace, xavier
from helpers.data.fashion import Batches

net_7_6 = load("7.6")
Residual, resnet18 = net_7_6.Residual, net_7_6.resnet18
SLIM = {"c1": 8, "c2": 16, "c3": 32, "c4": 64}


@pytest.mark.parametrize("size, shapes", [
    (224, [(64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]),
    (96, [(64, 24, 24), (64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)])])
def test_shapes_by_stage(size, shapes):
    table = trace(resnet18(), (1, 1, size, size))
    assert [table[i].out_shape[1:] for i in (3, 5, 7, 9, 11)] == shapes
    assert [layer.out_shape[1:] for layer in table[-3:]] == [(512, 1, 1), (512,), (10,)]


def test_receptive_field_and_input_sizes():
    assert trace(resnet18(), (1, 1, 96, 96))[11].receptive_field == (435, 435)
    assert input_sizes(resnet18(), (1, 1, 96, 96)) == (1, None)


def test_the_block_decides_about_its_shortcut():
    assert Residual(3, 6, stride=2)(torch.zeros(4, 3, 6, 6)).shape == (4, 6, 3, 3)
    for arguments, expected in (((3, 3), nn.Identity), ((3, 6), nn.Conv2d), ((3, 3, 2), nn.Conv2d)):
        assert type(Residual(*arguments).shortcut) is expected
    assert resnet18(c1=8, c2=8)[6].shortcut.weight.shape == (8, 8, 1, 1)


def test_a_block_is_relu_of_body_plus_shortcut():
    block, X = Residual(3, 6, stride=2).eval(), torch.randn(4, 3, 6, 6)
    first, norm1, _, second, norm2 = block.body
    expected = norm2(second(F.relu(norm1(first(X))))) + F.conv2d(X, block.shortcut.weight, block.shortcut.bias, 2)
    assert torch.allclose(block(X), expected.relu(), atol=1e-6)


def torchvision_names(ours):
    """我们的网络的权重，换成 torchvision 的名字；偏置并进批量规范化。"""
    state = {}

    def put(conv, norm, conv_name, norm_name):
        state[f"{conv_name}.weight"] = conv.weight
        for key, value in norm.state_dict().items():
            state[f"{norm_name}.{key}"] = value - conv.bias if key == "running_mean" else value

    put(ours[0], ours[1], "conv1", "bn1")
    for i, block in enumerate(ours[4:12]):
        name = f"layer{1 + i // 2}.{i % 2}"
        put(block.body[0], block.body[1], f"{name}.conv1", f"{name}.bn1")
        put(block.body[3], block.body[4], f"{name}.conv2", f"{name}.bn2")
        if isinstance(block.shortcut, nn.Conv2d):
            identity = nn.BatchNorm2d(block.shortcut.out_channels)
            identity.bias.data = block.shortcut.bias.data.clone()
            identity.running_var -= identity.eps
            state[f"{name}.downsample.0.weight"] = block.shortcut.weight
            state |= {f"{name}.downsample.1.{key}": value for key, value in identity.state_dict().items()}
    return state | {"fc.weight": ours[-1].weight, "fc.bias": ours[-1].bias}


def test_equal_to_torchvision():
    torch.manual_seed(0)
    ours, theirs = resnet18(), torchvision_resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        for _ in range(3):  # 让运行统计量离开 0 和 1
            ours(torch.rand(8, 1, 64, 64))
        theirs.load_state_dict(torchvision_names(ours))
        X = torch.rand(4, 1, 96, 96)
        mine, other = ours.eval()(X), theirs.eval()(X)
    assert (mine[0] - mine[1]).abs().max() > 1e-3 and (mine - other).abs().max() < 1e-5


def subset(images, batch_size, shuffle=True):
    train, _ = fashion_mnist(size=28, images=images, device="cpu")
    return Batches(train.X, train.y, batch_size, 28, shuffle)


def test_64_images_can_be_learned_by_heart():
    torch.manual_seed(0)
    some = subset(70, 70)
    some.X, some.y = some.X[:64], some.y[:64]
    points = list(fit(resnet18(**SLIM).apply(xavier), some, some, lr=0.1, num_epochs=40))
    assert points[-1].epoch_acc == 1.0


def small_tower(depth, bn, skip, seed=0):
    torch.manual_seed(seed)
    return net_7_6.tower(depth, bn, skip, channels=4)


def test_towers_differ_by_the_shortcut_only():
    plain, residual = (small_tower(3, True, skip).eval() for skip in (False, True))
    residual.load_state_dict(plain.state_dict())
    X = plain[0](torch.randn(2, 1, 14, 14))
    assert torch.equal(plain[1](X), F.relu(plain[1].body(X)))
    assert torch.equal(residual[1](X), F.relu(residual[1].body(X) + X))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small_tower(3, False, True).modules())


def test_the_training_loss_is_the_mean_over_all_images():
    net, data = small_tower(2, False, True), subset(50, 16)
    expected = F.cross_entropy(net(data.scale(data.X)), data.y)
    assert net_7_6.training_loss(net, data) == pytest.approx(expected.item(), rel=1e-5)


def test_the_best_rate_wins_and_one_that_overflows_does_not_count(monkeypatch):
    def fake(net, *data, lr, **_):
        if lr == 0.3:
            raise FloatingPointError
        return []

    left = iter((0.7, 0.5))  # 两种没有溢出的
    monkeypatch.setattr(net_7_6, "fit", fake)
    monkeypatch.setattr(net_7_6, "training_loss", lambda net, data: next(left))
    assert net_7_6.depths["残差，2 个块"](0) == {"训练损失": 0.5, "学习率": 0.1}


def test_fresh_statistics_are_the_mean_over_the_batches_and_the_net_stays():
    net, data = small_tower(2, True, True), subset(50, 16, shuffle=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fresh = net_7_6.refreshed(net, data, batches=3)
    with torch.no_grad():
        means = [net[1].body[0](net[0](X)).mean(dim=(0, 2, 3)) for X, _ in data][:3]
    assert torch.allclose(fresh[1].body[1].running_mean, torch.stack(means).mean(dim=0), atol=1e-6)
    assert not fresh.training and fresh[1].body[0] is not net[1].body[0]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("skip", [True, False])
def test_the_gradient_by_path_is_what_walking_every_path_gives(skip):
    net = net_7_6.refreshed(small_tower(3, True, skip), subset(50, 16))
    X, y = torch.rand(4, 1, 14, 14), torch.arange(4)
    inputs = [net[0](X).detach().requires_grad_()]
    for block in net[1:4]:
        inputs.append(block(inputs[-1]))
    top, = torch.autograd.grad(F.cross_entropy(net[4:](inputs[3]), y), inputs[3], retain_graph=True)
    expected = [torch.zeros_like(top) for _ in range(4)]
    for through in product((True, False), repeat=3):  # 从前到后，哪几个块走 body
        found = top
        for block, x, out, inside in list(zip(net[1:4], inputs, inputs[1:], through, strict=False))[::-1]:
            found = found * (out > 0)
            found = torch.autograd.grad(block.body(x), x, found)[0] if inside else found * skip
        expected[sum(through)] += found
    parts = net_7_6.gradient_by_path(net, X, y)
    assert len(parts) == 4 and all(torch.allclose(a, b, atol=1e-7) for a, b in zip(parts, expected, strict=True))
    assert max(part.abs().max() for part in parts) > 1e-4
    assert (parts[0].abs().max() > 0) == skip


def test_the_ratio_is_how_much_a_block_adds():
    net = small_tower(3, True, True).eval()
    nn.init.zeros_(net[2].body[-1].weight)  # 第 2 个块什么也不加
    X = torch.rand(5, 1, 14, 14)
    with torch.no_grad():
        x = net[0](X)
        expected = sum(net[1].body(one[None]).norm() / one.norm() for one in x).item() / 5
    first, second, third = net_7_6.ratios(net, X)
    assert first == pytest.approx(expected, rel=1e-5) and second == 0 < third


def test_taking_a_block_away_is_letting_it_add_nothing():
    data = subset(200, 50)
    torch.manual_seed(0)
    net = net_7_6.refreshed(net_7_6.tower(8, True, True), data)
    found, silenced = net_7_6.deletions(net, data, data), []
    for k in range(2, 9):  # 第 1 个块的输入有负数，外面的 ReLU 会改变它
        quiet = deepcopy(net)
        nn.init.zeros_(quiet[k].body[-1].weight)
        silenced.append(accuracy(quiet, data))
    assert len(found) == 17 and found["完整"] == accuracy(net, data)
    assert [found[f"去掉 {k}"] for k in range(2, 9)] == silenced and len({found["完整"], *silenced}) > 2


def test_statistics_of_the_batch_itself_see_no_running_ones_and_leave_them():
    net, data = small_tower(1, True, True).eval(), subset(40, 20, shuffle=False)
    plain = net_7_6.with_batch_statistics(net, data)
    net[1].body[1].running_mean += 100  # 用了运行统计量就会变
    assert net_7_6.with_batch_statistics(net, data) == plain and net[1].body[1].num_batches_tracked == 0
    hits = sum((net.train()(X).argmax(dim=1) == y).sum().item() for X, y in data)
    assert plain == hits / data.images


@pytest.mark.parametrize("name", ["depths", "blocks", "statistics"])
def test_the_record_belongs_to_the_experiment_in_the_notebook(name):
    record = recorded("7.6", name)
    assert record.current and len(record.seeds) >= 5 and list(record.values) == list(getattr(net_7_6, name))


def test_the_shares_of_the_paths_add_up():
    record = recorded("7.6", "blocks")
    for arm, most in (("残差", 0.5), ("朴素", 1.0)):
        shares = [record[f"{k} 个 body"][arm].values for k in range(9)]
        assert all(math.isclose(sum(seed), 1, abs_tol=1e-6) for seed in zip(*shares, strict=True))
        assert max(map(max, shares)) <= most
