"""7.4 NiN：形状、感受野、边长；1×1 卷积就是逐像素的全连接层；死了的类别；大画布上的类别图；学得会、走得对。"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import accuracy, fashion_mnist, fit, input_sizes, kaiming, load, trace, xavier

section = load("7.4")
nin, nin_block = section.nin, section.nin_block


def test_shapes_by_stage_and_receptive_field():
    table = trace(nin(), (1, 1, 224, 224))
    assert [layer.out_shape[1:] for layer in table if layer.kind != "Dropout"] == [
        (96, 54, 54), (96, 26, 26), (256, 26, 26), (256, 12, 12), (384, 12, 12), (384, 5, 5), (10, 5, 5),
        (10, 1, 1), (10,)]
    assert table[-3].receptive_field == (195, 195) and str(table[-2].receptive_field) == "全图"


def test_layers_are_those_of_the_table():
    layers = [layer for layer in nin().modules() if not list(layer.children())]
    assert [type(layer).__name__ for layer in layers] == [
        *3 * [*3 * ["Conv2d", "ReLU"], "MaxPool2d"], "Dropout", *3 * ["Conv2d", "ReLU"], "AdaptiveAvgPool2d", "Flatten"]
    convs = [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0])
             for c in layers if isinstance(c, nn.Conv2d)]
    pointwise = {c: [(c, c, 1, 1, 0)] * 2 for c in (96, 256, 384, 10)}
    assert convs == [(1, 96, 11, 4, 0), *pointwise[96], (96, 256, 5, 1, 2), *pointwise[256],
                     (256, 384, 3, 1, 1), *pointwise[384], (384, 10, 3, 1, 1), *pointwise[10]]
    assert all((p.kernel_size, p.stride, p.padding) == (3, 2, 0) for p in layers if isinstance(p, nn.MaxPool2d))


def test_input_sizes_and_widths():
    assert input_sizes(nin(), (1, 1, 224, 224)) == (67, None)
    net = nin(c1=5, c2=6, c3=7, in_channels=3, num_classes=4)
    assert net.eval()(torch.zeros(2, 3, 67, 80)).shape == (2, 4)


def test_block_is_a_perceptron_at_every_pixel():
    block, X = nin_block(3, 8, kernel_size=5, padding=2).double(), torch.rand(2, 3, 9, 9, dtype=torch.double)
    out = F.conv2d(X, block[0].weight, block[0].bias, padding=2).relu()
    for conv in (block[2], block[4]):
        out = torch.einsum("nchw,oc->nohw", out, conv.weight[:, :, 0, 0]) + conv.bias[:, None, None]
        out = out.relu()
    assert torch.allclose(block(X), out, atol=1e-12)


def test_logits_are_the_means_of_the_class_maps():
    net = nin(8, 16, 32).eval()
    X = torch.rand(3, 1, 131, 131)
    assert net[:-2](X).shape == (3, 10, 3, 3)
    assert torch.allclose(net(X), net[:-2](X).mean((2, 3)), atol=1e-6)


def test_a_dead_last_relu_stops_every_gradient_and_without_it_they_flow():
    torch.manual_seed(0)
    net = nin(8, 16, 32).apply(xavier)
    nn.init.constant_(net[-3][-2].bias, -1e3)
    X, y = torch.rand(20, 1, 67, 67), torch.arange(20) % 10
    loss = F.cross_entropy(net(X), y)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(10), rel=1e-6)
    assert all(not p.grad.any() for p in net.parameters())
    open_ended = section.without_last_relu(net)
    F.cross_entropy(open_ended(X), y).backward()
    assert all(p.grad.any() for p in net[-3][-2].parameters())  # 权重还是原来的那些


def test_a_class_lives_if_one_place_of_one_image_is_positive():
    net, X = nin(8, 16, 32).apply(xavier), torch.rand(5, 1, 99, 99)
    last = net[-3][-2]
    with torch.no_grad():
        last.bias[:3], last.bias[3:] = -1e3, 1e3
    assert section.living(net, X).tolist() == [False] * 3 + [True] * 7
    with torch.no_grad():  # 只在一张图上的一格大于 0
        last.bias[0] = 0
        before = net.eval()[:-3](X)
        scores = last(net[-3][:-2](before))[:, 0]
        top = scores.flatten().topk(2).values
        last.bias[0] = -(top[0] + top[1]) / 2
    assert section.living(net, X)[0] and net.training is False


def test_a_dead_class_may_come_back_while_another_lives():
    """死了的类自己的权重没有梯度，前面各层有。"""
    torch.manual_seed(0)
    net, X, y = nin(8, 16, 32).apply(section.awake), torch.rand(20, 1, 67, 67), torch.arange(20) % 10
    last = net[-3][-2]
    with torch.no_grad():
        last.bias[0] = -1e3
    F.cross_entropy(net(X), y).backward()
    assert not last.weight.grad[0].any() and last.bias.grad[0] == 0
    assert last.weight.grad[1:].any() and all(p.grad.any() for p in net[0][0].parameters())


def test_awake_lets_every_class_start_alive():
    X = fashion_mnist(size=67, images=100, device="cpu")[0]
    for seed in range(5):
        torch.manual_seed(seed)
        net = nin(16, 32, 64).apply(section.awake)
        assert section.living(net, X.scale(X.X)).all()


def test_the_same_shuffle_for_every_image_and_channel():
    X = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    mixed = section.shuffled(X, seed=1)
    assert torch.equal(mixed, section.shuffled(X, seed=1)) and not torch.equal(mixed, section.shuffled(X, seed=2))
    assert torch.equal(mixed[0, 0].flatten().sort().values, X[0, 0].flatten())
    assert all(torch.equal(mixed[n, c] - X[n, c, 0, 0], mixed[0, 0]) for n in range(2) for c in range(3))


def test_only_the_wider_window_notices_a_shuffle():
    X = torch.rand(4, 1, 14, 14)
    one, three = section.conv_net(1), section.conv_net(3)
    assert torch.allclose(one(X), one(section.shuffled(X, 0)), atol=1e-5)
    assert not torch.allclose(three(X), three(section.shuffled(X, 0)), atol=1e-4)


def test_a_cell_of_the_class_maps_looks_around_the_pixel_that_the_text_names():
    """第 k 格以第 33 + 32k 个像素为中心：对着梯度。"""
    net, canvas = nin(4, 4, 4).eval(), torch.rand(1, 1, 396, 396, requires_grad=True)
    for p in net.parameters():
        p.data.abs_()  # 没有一个 ReLU 断开
    for pool in (net[1], net[3], net[5]):
        pool.register_forward_hook(lambda pool, args, _: F.avg_pool2d(args[0], 3, 2))  # 梯度流到窗口里的每一格
    maps = net[:-2](canvas)
    maps[0, :, 5, 6].sum().backward()
    rows, columns = canvas.grad[0, 0].nonzero().T
    assert maps.shape[-1] == 11
    assert (rows.min() + rows.max()) / 2 == 33 + 32 * 5 and (columns.min() + columns.max()) / 2 == 33 + 32 * 6
    assert rows.max() - rows.min() + 1 == 195


class Spot(nn.Module):
    """假的 NiN：类别图是输入在各格中心的值；第 answer 类加倍。"""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def __getitem__(self, part):
        return self

    def forward(self, canvas):
        maps = canvas[:, :, 33::32, 33::32][:, :, :11, :11].repeat(1, 10, 1, 1)
        maps[:, self.answer] *= 2
        return maps


def test_pointing_counts_hits_inside_the_garment():
    half = fashion_mnist(size=99, images=100, device="cpu")[1]
    half.X = torch.full_like(half.X[:1].repeat(40, 1, 1, 1), 255)
    half.y = torch.arange(40) % 2
    found = section.pointed(Spot(1), half, seed=0, count=40)
    assert found["落在衣服里"] == 1 and found["认对"] == 0.5
    assert found["衣服占的格子"] == pytest.approx(9 / 121, abs=0.02)  # 99 像素里有三格左右，一边 11 格


def test_sixty_four_images_can_be_learned_by_heart():
    train, test = fashion_mnist(batch_size=16, size=67, images=60, device="cpu")
    extra = fashion_mnist(images=100, device="cpu")[0]
    train.X, train.y = (torch.cat([train.X, extra.X[-4:]]), torch.cat([train.y, extra.y[-4:]]))
    test.X, test.y = test.X[:4], test.y[:4]
    torch.manual_seed(0)
    net = nin(32, 64, 64).apply(kaiming)
    net[6].p = 0.0  # 暂退法妨碍死记
    nn.init.constant_(net[-3][-2].bias, 5.0)  # 没有一类死在最后的 ReLU 上，步子也小
    points = fit(net, train, test, lr=0.02, num_epochs=400)
    assert len(train.y) == 64 and any(p.epoch.is_integer() and accuracy(net, train) == 1.0 for p in points)
