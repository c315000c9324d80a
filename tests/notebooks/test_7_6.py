"""7.6 节 ResNet：形状、感受野、torchvision、学得会、与普通循环相同。"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18 as torchvision_resnet18

from helpers import fashion_mnist, fit, input_sizes, load, trace, xavier
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
