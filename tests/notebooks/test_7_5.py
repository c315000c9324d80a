"""7.5 GoogLeNet：形状、感受野、路径开关、两样各省多少、与 torchvision 相同、加上规范化、能背下 64 张图。"""

import math

import pytest
import torch
from torch import nn
from torchvision.models import googlenet as torchvision_googlenet

from helpers import fashion_mnist, input_sizes, load, trace

section = load("7.5")
googlenet, Inception = section.googlenet, section.Inception
FIRST = (192, 64, (96, 128), (16, 32), 32)  # 第一个 Inception 块


def convs(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


def test_shapes_by_stage_and_receptive_field():
    net = googlenet()
    assert [layer.out_shape[1:] for layer in trace(net, (1, 1, 96, 96))] == [
        (64, 24, 24), (192, 12, 12), (480, 6, 6), (832, 3, 3), (1024,), (10,)]
    table = trace(net, (1, 1, 96, 96), depth=2)
    end = next(i for i, layer in enumerate(table) if layer.kind == "AdaptiveAvgPool2d")
    assert table[end - 1].receptive_field == (715, 715) and str(table[end].receptive_field) == "全图"
    assert input_sizes(net, (1, 1, 96, 96)) == (1, None)


def test_block_is_four_paths_side_by_side():
    block, X = Inception(*FIRST), torch.rand(2, 192, 7, 5)
    conv = [path[-2] for path in block.paths.values()]
    a, b, c, d = block.paths.values()
    expected = torch.cat([
        conv[0](X).relu(), conv[1](b[0](X).relu()).relu(), conv[2](c[0](X).relu()).relu(),
        conv[3](torch.max_pool2d(X, 3, stride=1, padding=1)).relu()], dim=1)
    assert torch.equal(block(X), expected) and expected.shape == (2, 256, 7, 5) and block.out_channels == 256
    assert [(m.kernel_size[0], m.padding[0]) for m in (a[0], b[0], b[2], c[0], c[2], d[1])] == [
        (1, 0), (1, 0), (3, 1), (1, 0), (5, 2), (1, 0)]
    fields = [trace(path, (1, 192, 12, 12))[-1].receptive_field for path in block.paths.values()]
    assert fields == [(side, side) for side in (1, 3, 5, 3)]


def test_both_ways_of_writing_the_block_agree():
    """书上的写法和带开关的写法，参数的次序相同，抄过去输出就相同。"""
    plain, general = section.FourPaths(*FIRST), Inception(*FIRST)
    for theirs, ours in zip(plain.parameters(), general.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    X = torch.rand(2, 192, 7, 5)
    assert torch.equal(plain(X), general(X))


def test_splitting_and_reducing_each_save_a_share():
    def params(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert [params(nn.Conv2d(192, 256, 5)), params(Inception(*FIRST, reduce=False)), params(Inception(*FIRST))] == [
        1_229_056, 393_472, 163_696]


@pytest.mark.parametrize(("paths", "channels"), [((1, 2, 3, 4), 256), ((2,), 128), ((1, 4), 96), ((3, 4), 64)])
@pytest.mark.parametrize("reduce", [True, False])
def test_paths_can_be_switched_off(paths, channels, reduce):
    block = Inception(*FIRST, paths=paths, reduce=reduce)
    assert block(torch.rand(1, 192, 4, 4)).shape == (1, channels, 4, 4) and block.out_channels == channels
    assert [*block.paths] == [str(i) for i in paths]
    assert len(convs(block)) == sum(2 if reduce and i in (2, 3) else 1 for i in paths)


def test_widths_scale_and_switch():
    assert trace(googlenet(reduce=False), (1, 1, 96, 96)).params == 24_284_922
    slim = googlenet(ratio=4)
    assert [c.out_channels for c in convs(slim)] == [c.out_channels // 4 for c in convs(googlenet())]
    block = googlenet(p1=0.5, p2=2.0, p3=0.0, p4=1.0)[2][0]
    assert [*block.paths] == ["1", "2", "4"]
    assert [c.out_channels for c in convs(block)] == [32, 192, 256, 32]
    assert googlenet(ratio=8, in_channels=3, num_classes=4)(torch.rand(2, 3, 33, 20)).shape == (2, 4)
    with pytest.raises(ValueError, match="至少要留一条"):
        googlenet(p1=0.0, p2=0.0, p3=0.0, p4=0.0)


def test_equal_to_torchvision_without_its_five_differences():
    """torchvision 的前向，只换掉 5×5、汇聚层、暂退法和批量规范化。"""
    ours = googlenet(in_channels=3, num_classes=10).double()
    theirs = torchvision_googlenet(num_classes=10, aux_logits=False, init_weights=False).double().eval()
    for module in theirs.modules():
        if hasattr(module, "branch3"):
            conv = module.branch3[1].conv
            module.branch3[1].conv = nn.Conv2d(conv.in_channels, conv.out_channels, 5, padding=2, bias=False).double()
    for i in (1, 2, 3, 4):
        setattr(theirs, f"maxpool{i}", nn.MaxPool2d(3, stride=2, padding=1))
    units = [module for module in theirs.modules() if hasattr(module, "bn")]
    with torch.no_grad():
        for unit, conv in zip(units, convs(ours), strict=True):
            unit.conv.weight.copy_(conv.weight)  # 形状不同会报错
            unit.bn.weight.fill_(math.sqrt(1 + unit.bn.eps))
            unit.bn.bias.copy_(conv.bias)
        theirs.fc.load_state_dict(ours[-1].state_dict())
        X = torch.rand(2, 3, 64, 64, dtype=torch.double)
        assert (ours(X) - theirs(X)).abs().max() < 1e-12


def test_normalized_puts_a_normalization_behind_each_convolution():
    net = googlenet(ratio=8)
    count, X = len(convs(net)), torch.rand(8, 1, 32, 32)
    assert section.normalized(net) is net and len(convs(net)) == count == 57
    follow = [pair for pair in (list(module) for module in net.modules() if isinstance(module, nn.Sequential))
              if [type(layer) for layer in pair] == [nn.Conv2d, nn.BatchNorm2d]]
    assert len(follow) == count == sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    seen = []
    for _, norm in follow:
        norm.register_forward_hook(lambda _module, _inputs, Y: seen.append(Y.detach()))
    net(X)
    assert len(seen) == count and all(Y.mean(dim=(0, 2, 3)).abs().max() < 1e-4 for Y in seen)


def test_the_small_network_is_the_first_four_blocks():
    """少一条路径就少这些通道；只有路径 2 的那一组，参数与四条路径的相差不到百分之一。"""
    book = [module for module in googlenet(ratio=8).modules() if isinstance(module, Inception)][:4]
    small = [module for module in section.four_blocks().modules() if isinstance(module, Inception)]
    assert [[c.weight.shape for c in convs(block)] for block in small] == [
        [c.weight.shape for c in convs(block)] for block in book]
    costs = {name: trace(section.normalized(section.four_blocks(**options)), (1, 1, 14, 14)).params
             for name, options in (section.switches | section.others).items()}
    whole = costs.pop("四条路径")
    assert abs(costs.pop("只有路径 2，参数一样多") / whole - 1) < 0.01
    assert costs.pop("四条路径，不降维") > 3 * whole and all(params < whole for params in costs.values())


def test_sixty_four_images_can_be_learned_by_heart():
    """用 Kaiming 和 Adam：Xavier 和普通 SGD 光是走出平台就要几百步。"""
    train, _ = fashion_mnist(batch_size=64, images=70, size=32, device="cpu")
    X, y = train.scale(train.X[:64]), train.y[:64]
    torch.manual_seed(0)
    net = googlenet(ratio=4)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(150):
        logits = net(X)
        if (logits.argmax(1) == y).all():
            return
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
    pytest.fail("150 步还背不下 64 张图")
