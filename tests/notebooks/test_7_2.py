"""7.2 AlexNet：形状、感受野、输入大小、与 torchvision 的不同、训练循环。"""

import pytest
import torch
import torchvision
from torch import nn

from helpers import fashion_mnist, fit, input_sizes, load, trace, xavier

section = load("7.2")
alexnet = section.alexnet
SLIM = {"c1": 8, "c2": 16, "c3": 16, "c4": 16, "c5": 16, "h1": 128, "h2": 128}


def slim(seed=0, **widths):
    torch.manual_seed(seed)
    return alexnet(**SLIM | widths).apply(xavier)


def test_shapes_and_receptive_field():
    table = trace(alexnet(), (1, 1, 224, 224))
    assert [layer.out_shape[1:] for layer in table if layer.kind not in ("ReLU", "Dropout")] == [
        (96, 54, 54), (96, 26, 26), (256, 26, 26), (256, 12, 12), (384, 12, 12), (384, 12, 12), (256, 12, 12),
        (256, 5, 5), (6400,), (4096,), (4096,), (10,)]
    assert table[12].receptive_field == (195, 195) and str(table[13].receptive_field) == "全图"


def test_which_sizes_fit_and_which_layer_breaks():
    assert input_sizes(alexnet(), (1, 1, 224, 224)) == (193, 224)
    for size, features in ((192, 256 * 4 * 4), (225, 256 * 6 * 6)):
        with pytest.raises(ValueError, match=rf"第 14 层 Linear 收到 \(1, {features}\)，它要最后一维是 6400"):
            trace(alexnet(), (1, 1, size, size))


def test_equal_to_torchvision_after_the_known_differences_are_undone():
    """通道数、第一层的填充、自适应汇聚和暂退层的位置改成 torchvision 的，就是同一个函数。"""
    theirs = torchvision.models.alexnet(num_classes=10, dropout=0.5).eval()
    ours = alexnet(64, 192, 384, 256, 256, in_channels=3).eval()
    ours[0].padding = (2, 2)
    ours[14] = nn.Linear(256 * 6 * 6, 4096)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    X = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert (ours(X) - theirs(X)).abs().max() == 0


def test_dropout_is_a_parameter():
    rates = [layer.p for layer in alexnet(dropout=0.2, **SLIM) if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.2]
    assert [layer.p for layer in alexnet(**SLIM) if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_deeper_adds_layers_in_the_middle_and_swaps_the_activation():
    shapes = [layer.out_shape for layer in trace(section.deeper(4, nn.Sigmoid, **SLIM), (1, 1, 193, 193))]
    assert shapes[-1] == (1, 10) and len(shapes) == 21 + 2 * 4
    kinds = [type(layer) for layer in section.deeper(4, nn.Sigmoid, **SLIM)]
    assert nn.ReLU not in kinds and kinds.count(nn.Sigmoid) == 11 and kinds.count(nn.Conv2d) == 9
    assert [type(layer) for layer in section.deeper(**SLIM)] == [type(layer) for layer in alexnet(**SLIM)]


def test_sixty_four_images_can_be_learned_by_heart():
    train, _ = fashion_mnist(batch_size=8, size=193, images=70, device="cpu")
    train.X, train.y = train.X[:64], train.y[:64]
    net = slim(h1=64, h2=64, dropout=0.0)
    for layer in net:  # Kaiming：比 Xavier 起步快，测试短一些
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    assert any(p.test_acc == 1 for p in fit(net, train, train, lr=0.02, num_epochs=100))
