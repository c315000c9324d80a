"""7.2 AlexNet：形状、感受野、输入大小、与 torchvision 的不同、缩小的网络、增强、训练循环。"""

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


def test_the_small_one_has_the_layers_of_the_real_one():
    """同样的层、同样的次序，只是窗口、步幅和宽度小。"""
    assert [type(layer) for layer in section.small_alexnet()] == [type(layer) for layer in alexnet(**SLIM)]
    table = trace(section.small_alexnet(), (1, 1, 28, 28))
    assert table[-1].out_shape == (1, 10) and all(min(layer.out_shape[2:], default=2) >= 2 for layer in table)


def test_extra_layers_and_the_activation_of_the_small_one():
    net = section.small_alexnet(nn.Sigmoid, extra=4)
    kinds = [type(layer) for layer in net]
    assert nn.ReLU not in kinds and kinds.count(nn.Sigmoid) == 7 + 4 and kinds.count(nn.Conv2d) == 5 + 4
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    rates = [layer.p for layer in section.small_alexnet(dropout=0.3) if isinstance(layer, nn.Dropout)]
    assert rates == [0.3, 0.3]


def test_the_initializations_are_as_large_as_their_names_say():
    def size(init):
        torch.manual_seed(0)
        net = section.small_alexnet().apply(section.inits[init])
        return torch.tensor([layer.weight.std().item() for layer in net if hasattr(layer, "weight")])

    assert torch.allclose(size("8 倍 Xavier"), 8 * size("Xavier"), rtol=1e-4)
    assert torch.allclose(size("标准差 0.01"), torch.tensor(0.01), rtol=0.2)


def test_augmentation_acts_on_each_image_and_in_training_only():
    torch.manual_seed(0)
    layer, X = section.Augment(section.effects(28)["翻转"]), torch.rand(40, 1, 28, 28)
    out = layer.train()(X)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(out, X, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(out, X, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True)) and 10 < sum(flipped) < 30
    assert torch.equal(layer.eval()(X), X)


def test_every_effect_keeps_shape_and_range_and_the_last_does_all_three():
    torch.manual_seed(0)
    image = fashion_mnist(images=10, device="cpu")[0]
    image = image.scale(image.X[:1])[0]
    found = section.effects(28)
    assert {*section.augmentations} <= {*found}
    for name, effect in found.items():
        out = torch.stack([effect(image) for _ in range(20)])
        assert out.shape == (20, 1, 28, 28) and out.min() >= 0 and out.max() <= 1
        assert (len(out.flatten(1).unique(dim=0)) > 1) == (name != "不增强")
    assert [type(each) for each in found["三样一起"].transforms] == [type(found[k]) for k in ("翻转", "裁剪", "变色")]


def test_dropout_of_the_dense_part_sits_after_both_hidden_layers():
    kinds = [type(layer) for layer in section.dense_part(0.5)]
    assert kinds == [type(layer) for layer in alexnet(**SLIM)[13:]]


def test_sixty_four_images_can_be_learned_by_heart():
    train, _ = fashion_mnist(batch_size=8, size=193, images=70, device="cpu")
    train.X, train.y = train.X[:64], train.y[:64]
    net = slim(h1=64, h2=64, dropout=0.0)
    for layer in net:  # Kaiming：比 Xavier 起步快，测试短一些
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    assert any(p.test_acc == 1 for p in fit(net, train, train, lr=0.02, num_epochs=100))
