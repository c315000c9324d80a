"""7.3 VGG：形状、感受野、输入边长、与 torchvision 逐位相同、记得住 64 张图；参数一样多的几个塔。"""

import pytest
import torch
import torchvision
from torch import nn

from helpers import (
    Batches,
    fashion_mnist,
    fit,
    input_sizes,
    kaiming,
    load,
    trace,
)

section = load("7.3")
vgg11, vgg_block = section.vgg11, section.vgg_block
WIDTHS = (64, 128, 256, 512, 512)


def on_meta(**options):
    with torch.device("meta"):
        return vgg11(**options)


def test_shapes_after_each_block():
    table = trace(on_meta(), (1, 1, 224, 224))
    assert [layer.out_shape[1:] for layer in table if layer.kind not in ("ReLU", "Dropout")] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7), (25088,), (4096,), (4096,), (10,)]
    assert table[4].receptive_field == (150, 150) and str(table[5].receptive_field) == "全图"


def test_the_network_the_book_trains():
    table = trace(on_meta(ratio=4), (1, 1, 224, 224))
    assert (table.params, table.macs, table[4].receptive_field) == (43_093_322, 512_155_648, (150, 150))


def test_input_sizes():
    assert input_sizes(on_meta(), (1, 1, 224, 224)) == (224, 255)


@pytest.mark.parametrize("num_convs", [1, 2, 3])
def test_a_block_keeps_its_shape_however_many_convolutions(num_convs):
    block = vgg_block(num_convs, 3, 5)
    assert block(torch.zeros(2, 3, 8, 8)).shape == (2, 5, 4, 4)
    assert sum(isinstance(m, nn.Conv2d) for m in block) == sum(isinstance(m, nn.ReLU) for m in block) == num_convs


def zoo(name: str, **options) -> nn.Module:
    """torchvision 的网络，换成单通道、十类。"""
    net = getattr(torchvision.models, name)(num_classes=10, init_weights=False, **options)
    net.features[0] = nn.Conv2d(1, 64, kernel_size=3, padding=1)
    return net


def copied(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """ours 借用 theirs 的张量，按次序对应。"""
    weights = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)), assign=True)
    return ours


def test_equals_torchvision():
    torch.manual_seed(0)
    theirs = zoo("vgg11").eval()
    ours = copied(theirs, on_meta()).eval()
    X = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        assert torch.equal(ours(X), theirs(X))


@pytest.mark.parametrize(("name", "counts"), [("vgg13", (2, 2, 2, 2, 2)), ("vgg16", (2, 2, 3, 3, 3)),
                                              ("vgg19", (2, 2, 4, 4, 4))])
def test_other_architectures_have_the_shapes_of_torchvision(name, counts):
    with torch.device("meta"):
        theirs = zoo(name)
    ours = on_meta(conv_arch=tuple(zip(counts, WIDTHS, strict=True)))
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]


def test_64_images_can_be_learned_by_heart():
    torch.manual_seed(0)
    test = fashion_mnist(batch_size=16, size=224, images=60, device="cpu")[1]
    test.X, test.y = test.X[:4], test.y[:4]
    first = fashion_mnist(images=640, device="cpu")[0]
    train = Batches(first.X[:64], first.y[:64], batch_size=16, size=224, shuffle=True)
    net = vgg11(ratio=32, hidden=64).apply(kaiming)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert any(point.epoch_acc == 1.0 for point in fit(net, train, test, lr=0.02, num_epochs=150, dtype=torch.float32))


def test_the_window_is_where_the_picture_draws_it():
    """用梯度对照：权重全为正，最大汇聚换成平均汇聚，窗口里的每一格就都有梯度。"""
    net = vgg11(ratio=32)[:3]
    for block in net:
        block[-1] = nn.AvgPool2d(2, 2)
    for p in net.parameters():
        nn.init.constant_(p, 0.1)
    X = torch.rand(1, 1, 224, 224, requires_grad=True)
    net(X)[0, 0, 9, 20].backward()
    field, step = trace(net, (1, 1, 224, 224))[-1].receptive_field.width, 224 // 28
    for dim, cell in ((1, 9), (0, 20)):
        seen = X.grad[0, 0].sum(dim=dim).nonzero().flatten()
        middle = (cell + 0.5) * step
        assert (seen.min(), seen.max() + 1) == (middle - field / 2, middle + field / 2)


def test_the_towers_have_equally_many_parameters_but_not_layers():
    nets = {name: section.tower(*arm) for name, arm in section.towers.items()}
    params = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert all(abs(count / params["两个 3×3"] - 1) < 0.015 for count in params.values())
    kernels = {name: [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)] for name, net in nets.items()}
    assert kernels == {"一个 3×3": 2 * [(3, 3)], "一个 5×5": 2 * [(5, 5)], "两个 3×3": 4 * [(3, 3)],
                       "三个 3×3": 6 * [(3, 3)]}


def test_one_5x5_sees_as_far_as_two_3x3():
    tables = {name: trace(section.tower(*arm), (1, 1, 14, 14)) for name, arm in section.towers.items()}
    fields = {name: table[1].receptive_field for name, table in tables.items()}
    assert fields["一个 5×5"] == fields["两个 3×3"] == (16, 16) and fields["三个 3×3"] == (22, 22)
    assert all(table[-1].out_shape == (1, 10) for table in tables.values())
