"""7.4 NiN：形状、感受野、边长；1×1 卷积就是逐像素的全连接层；塌缩时梯度为零；学得会、走得对。"""

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
    net[-3] = net[-3][:-1]
    F.cross_entropy(net(X), y).backward()
    assert all(p.grad.any() for p in net[-3][-1].parameters())


def test_sixty_four_images_can_be_learned_by_heart():
    train, test = fashion_mnist(batch_size=16, size=67, images=60, device="cpu")
    extra = fashion_mnist(images=100, device="cpu")[0]
    train.X, train.y = (torch.cat([train.X, extra.X[-4:]]), torch.cat([train.y, extra.y[-4:]]))
    torch.manual_seed(0)
    net = nin(32, 64, 64).apply(kaiming)
    net[6].p = 0.0  # 暂退法妨碍死记
    nn.init.constant_(net[-3][-2].bias, 5.0)  # 没有一类死在最后的 ReLU 上，步子也小
    points = fit(net, train, test, lr=0.01, num_epochs=600)
    assert len(train.y) == 64 and any(p.epoch.is_integer() and accuracy(net, train) == 1.0 for p in points)
