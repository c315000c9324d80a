"""感受野与自动求导相同。"""

import random

import pytest
import torch
import torchvision
from support.nets import Call, Concat, Residual
from support.networks import Op
from support.probe import check_field
from torch import nn
from torch.nn import functional as F

from helpers import trace
from helpers.network.layer import WHOLE, Field


def field_by_autograd(net, size=192):
    """输出正中一格的梯度不为零的范围（高，宽）。"""
    net = net.double().eval()
    for p in net.parameters():
        nn.init.ones_(p)
    X = torch.ones(1, 1, size, size, dtype=torch.double, requires_grad=True)
    Y = net(X)
    assert min(Y.shape[-2:]) >= 3
    Y[0, :, Y.shape[2] // 2, Y.shape[3] // 2].sum().backward()
    seen = X.grad[0, 0].nonzero()
    assert seen.min() > 0 and seen.max() < size - 1, "感受野碰到了边"
    return tuple((seen.max(0).values - seen.min(0).values + 1).tolist())


def random_stack(seed):
    """要追踪的网络，和窗口相同、梯度处处为正的替身。"""
    rng = random.Random(seed)
    layers, twins = [], []
    for _ in range(rng.randint(1, 4)):
        window = {"kernel_size": rng.choice([1, 2, 3, 4, (3, 5), (5, 2)]), "stride": rng.choice([1, 2, (1, 2)]),
                  "padding": rng.choice([0, (0, 1)])}
        dilation = rng.choice([1, 2, 3])
        kind = rng.choice(["conv", "avg", "max", "norm", "wide"])
        if kind in ("avg", "max") and window["kernel_size"] == 1:
            window["padding"] = 0
        twin = nn.Conv2d(1, 1, dilation=dilation, **window)
        layer = twin
        if kind == "avg":
            layer = twin = nn.AvgPool2d(**window)
        elif kind == "max":  # 它的梯度只流向最大的一格，所以替身是同样大小的卷积
            layer = nn.MaxPool2d(dilation=dilation, **window)
        elif kind == "norm":
            layer = twin = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU())
        elif kind == "wide":
            layer = twin = Residual(nn.Conv2d(1, 1, 5, padding=2 * dilation, dilation=dilation))
        layers.append(layer)
        twins.append(twin)
    return nn.Sequential(*layers), nn.Sequential(*twins)


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_of_a_random_stack(seed):
    net, twin = random_stack(seed)
    expected = field_by_autograd(twin)
    table = trace(net.double(), (1, 1, 192, 192))
    assert table[-1].receptive_field == expected
    turned = trace(Call(lambda net, X: net.body(X.mT), body=net), (1, 1, 180, 192))
    assert turned[-1].receptive_field == (expected[1], expected[0])  # 图像的高走在宽里


def shuffle(_, X):
    return X.view(1, 2, 2, *X.shape[2:]).transpose(1, 2).reshape(X.shape)


def standardised(net, X):
    return F.conv2d(X, net.weight - net.weight.mean(dim=(1, 2, 3), keepdim=True) + 1)


def padded_shortcut(_, X):
    return torch.cat([X, torch.zeros(1, 3, *X.shape[2:], device=X.device, dtype=X.dtype)], dim=1)


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Conv2d(1, 4, 3), Call(shuffle), nn.Conv2d(4, 1, 3)),
    nn.Sequential(Call(standardised, weight=nn.Parameter(torch.ones(1, 1, 5, 5)))),
    nn.Sequential(nn.Conv2d(1, 1, 3), Call(padded_shortcut), nn.Conv2d(4, 1, 3)),
    nn.Sequential(Call(lambda _, X: F.avg_pool2d(F.avg_pool2d(X, 3), 2))),
    nn.Sequential(nn.Conv2d(1, 4, 3), nn.LocalResponseNorm(3), nn.Conv2d(4, 1, 3)),
    nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, padding="same"), nn.ReflectionPad2d(3),
                  nn.Conv2d(1, 1, 3)),
    # 两条路一偏左、一偏右，并起来比任何一条都宽
    nn.Sequential(Concat(nn.Conv2d(1, 1, 3), nn.Sequential(nn.ZeroPad2d((2, -2, 2, -2)), nn.Conv2d(1, 1, 3)))),
    nn.Sequential(Concat(nn.Sequential(nn.ZeroPad2d((2, -2, 2, -2)), nn.Conv2d(1, 1, 3)), nn.Conv2d(1, 1, 3))),
], ids=["shuffle", "standardised", "zeros", "functional", "lrn", "pads", "right", "left"])
def test_receptive_field_survives(net):
    expected = field_by_autograd(net)
    assert trace(net, (1, 1, 192, 192))[-1].receptive_field == expected


CONV = nn.Conv2d(2, 2, 3, padding=1)


def after(*layers):
    """这几层之后再一个 3×3 的卷积层。"""
    return nn.Sequential(*layers, CONV).eval()


# 网络，和它的感受野；每一个都与 NaN 对照
FIELDS = {
    # 形状不变，却不是逐格的
    "group_norm": (after(nn.GroupNorm(1, 2)), "全图"),
    "instance_norm": (after(nn.InstanceNorm2d(2)), "全图"),
    "running_instance_norm": (after(nn.InstanceNorm2d(2, track_running_stats=True)), "3×3"),
    "batch_norm": (after(nn.BatchNorm2d(2)), "3×3"),
    "batch_norm_of_this_batch": (after(nn.BatchNorm2d(2, track_running_stats=False)), "全图"),
    "layer_norm": (after(nn.LayerNorm([2, 12, 12])), "全图"),
    "layer_norm_of_rows": (after(nn.LayerNorm(12)), "3×全宽"),
    "layer_norm_of_channels": (after(Op("F.layer_norm(X.permute(0, 2, 3, 1), [2]).permute(0, 3, 1, 2)")), "3×3"),
    "softmax": (after(nn.Softmax(-1)), "3×全宽"),
    "softmax_of_channels": (after(nn.Softmax(1)), "3×3"),
    "cumsum": (after(Op("X.cumsum(2)")), "?×3"),
    "roll": (after(Op("X.roll(1, 3)")), "3×?"),
    "flip": (after(Op("X.flip(2)")), "?×3"),
    "max_pool3d": (Op("F.max_pool3d(X, (1, 3, 3), 1)"), "3×3"),
    "bicubic": (nn.Upsample(scale_factor=1, mode="bicubic"), "?"),
    "gate": (after(Op("X * X.amax((2, 3), keepdim=True).sigmoid()")), "全图"),
    # 切片有起点和步长
    "every_second": (after(Op("X[:, :, ::2, 1::3]")), "5×7"),
    "difference": (Op("X[..., 1:] - X[..., :-1]"), "1×2"),
    "crop": (Op("X[:, :, 2:5, 3:].mean((2, 3))"), "3×9"),
    "one_row": (Op("X[:, :, 4]"), "1×1"),
    "unshuffled": (nn.PixelUnshuffle(2), "2×2"),
    "part_of_unshuffled": (Op("F.pixel_unshuffle(X, 2)[:, ::4]"), "?"),
    "shuffled": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.PixelShuffle(2)), "3×3"),
    # 不是方的
    "tall": (nn.Conv2d(2, 2, (7, 1)), "7×1"),
    "tall_and_wide": (nn.Sequential(nn.Conv2d(2, 2, (5, 1)), nn.AvgPool2d((1, 2)), nn.Conv2d(2, 2, (1, 3))), "5×6"),
    # 不是全图
    "circular": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "?"),
    "adaptive": (nn.AdaptiveAvgPool2d(7), "?"),
    "adaptive_evenly": (nn.AdaptiveAvgPool2d((6, 1)), "2×全宽"),
    "adaptive_beside_windows": (Op("F.adaptive_avg_pool2d(X, 4) + F.avg_pool2d(X, 3)"), "3×3"),
    "upsample": (after(nn.Upsample(scale_factor=2)), "?"),
    "upsample_without_the_last_pixel": (nn.Sequential(nn.Upsample(scale_factor=1.05), nn.AdaptiveAvgPool2d(1)), "?"),
    "transposed": (nn.ConvTranspose2d(2, 2, 3), "?"),
    "half_pooled": (Op("X[..., :6].mean((2, 3), keepdim=True)"), "全高×6"),
    "mean_of_padding": (nn.Sequential(nn.Conv2d(2, 2, 1, padding=(2, 0)), Op("X.flip(2)"),
                                      Op("X[:, :, :2].mean((2, 3), keepdim=True) + X")), "?"),
    "strided_pooled": (nn.Sequential(nn.Conv2d(2, 2, 3, stride=3), nn.AdaptiveAvgPool2d(1)), "全图"),
    # 说不清之后合成一个数
    "pooled_after_unknown": (nn.Sequential(nn.Upsample(scale_factor=2), CONV, nn.AdaptiveAvgPool2d(1)), "全图"),
    "pooled_after_upsampling_by_one": (nn.Sequential(nn.Upsample(scale_factor=1.0), nn.AdaptiveAvgPool2d(1)), "全图"),
    "parts_exchanged": (Op("torch.cat([X[:, :, 4:], X[:, :, :4]], 2).mean((2, 3), keepdim=True)"), "全图"),
    "pooled_after_transposed": (nn.Sequential(nn.ConvTranspose2d(2, 2, 3, padding=2), nn.AdaptiveAvgPool2d(1)), "全图"),
    "window_around_a_mean": (nn.Sequential(Op("X.mean((2, 3), keepdim=True)"), nn.Conv2d(2, 2, 3, padding=1)), "全图"),
    "linear_after_circular": (nn.Sequential(nn.CircularPad2d(1), nn.Flatten(), nn.Linear(392, 3)), "?"),
    "unknown_times_gate": (Op("X.flip(2) * X.mean((2, 3), keepdim=True)"), "全图"),
    # 通道之间
    "one_path_of_two": (after(Concat(nn.Identity(), CONV), Op("X[:, :2]")), "?"),
    "half_of_the_channels": (after(CONV, nn.Conv2d(2, 4, 3, padding=1), Op("X.chunk(2, 1)[0]")), "7×7"),
    "stacked": (after(Op("torch.stack([X, X.relu()], 1).sum(1)")), "3×3"),
    "by_einsum": (after(Op("torch.einsum('bchw,cd->bdhw', X, X.new_ones(2, 2))")), "3×3"),
    "last_channels": (Op("F.linear(X.permute(0, 2, 3, 1), X.new_ones(2, 2)).permute(0, 3, 1, 2)"), "1×1"),
    "tokens": (nn.Sequential(CONV, Op("X.flatten(2).mT.unflatten(1, (12, 12)).permute(0, 3, 1, 2)"), CONV), "5×5"),
    "rows_by_matrix": (Op("X @ X.new_ones(12, 5)"), "1×全宽"),
    # 写进另一个张量的一部分
    "written_into_a_slice": (after(Op("(Y := torch.zeros_like(X))[:, :, 1:].copy_(X[:, :, :-1]) + Y[:, :, :-1]")), "?"),
    "written_over": (after(Op("X.relu().copy_(torch.ones_like(X)) + X")), "3×3"),
    "written_over_by_a_mean": (after(Op("torch.zeros_like(X).copy_(X.mean())")), "全图"),
    "filled_with_a_mean": (after(Op("torch.zeros_like(X).fill_(X.mean()) + X")), "全图"),
    "masked": (Op("X.masked_fill(X.new_ones(12, 12).tril() > 0, 0).softmax(-1)"), "?"),
    "mixed_channels_of_two_paths": (nn.Sequential(Concat(nn.Identity(), CONV), Op("X.sum(1, keepdim=True)")), "3×3"),
    "two_paths_alike": (after(Concat(CONV, nn.Conv2d(2, 2, 3, padding=1)), Op("X[:, :2]")), "5×5"),
    "some_padded_channels": (after(Op("torch.cat([X, torch.zeros_like(X)], 1)[:, 1:3]")), "?"),
    "whole_beside_a_window": (nn.Sequential(Concat(nn.GroupNorm(1, 2), CONV), nn.Conv2d(4, 2, 3)), "全图"),
    "a_row_of_zeros": (Op("torch.cat([X.mean(2), X.new_zeros(1, 1, 12)], 1)"), "?"),
    "one_of_the_expanded": (after(Op("X.expand(3, 1, 2, 12, 12)[0]")), "3×3"),
    "one_of_the_repeated": (after(Op("X.repeat(2, 1, 1, 1, 1)[0]")), "3×3"),
    "repeated_rows": (after(Op("X.repeat(1, 1, 2, 1)")), "?×3"),
    "columns_by_matrix": (Op("X.new_ones(5, 12) @ X"), "全高×1"),
    "rows_as_channels": (Op("F.conv1d(X.mean(1), X.new_ones(4, 12, 3))[:, None]"), "全高×3"),
    "beside_a_write": (after(Op("((Y := torch.zeros_like(X))[:, :, 1:].copy_(X[:, :, :-1]), X)[1]")), "3×3"),
    "whole_and_window_flattened": (
        nn.Sequential(Concat(nn.GroupNorm(1, 2), CONV), nn.Flatten(), nn.Linear(576, 3)), "全图"),
    "whole_beside_two_paths": (after(Call(lambda net, X: (
        torch.cat([X, net.conv(X)], 1) + X.mean((1, 2, 3), keepdim=True))[:, :2], conv=CONV)), "全图"),
    "mirrored_beside_itself": (nn.Sequential(Residual(nn.Sequential(
        Op("X[:, :, 2:] + X[:, :, :-2]"), nn.ReflectionPad2d((0, 0, 1, 1))))), "?×1"),
    "mirrored_block": (nn.Sequential(Residual(nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 2, 3)))), "3×3"),
    "padded_channels": (nn.Sequential(Op("F.pad(X, (0, 0, 0, 0, 1, 1))"), nn.Conv2d(4, 2, 3)), "3×3"),
    "one_padded_channel_of_two": (after(Op("F.pad(X, (0, 0, 0, 0, 1, 1))[:, :2]")), "?"),
    "one_channel_cut_away": (nn.Sequential(Op("F.pad(X, (0, 0, 0, 0, -1, 0))"), nn.Conv2d(1, 2, 3)), "3×3"),
    "padded_batch": (after(Op("F.pad(X, (0, 0, 0, 0, 0, 0, 0, 1))[:1]")), "?"),
    "rows_of_the_turned": (Op("X.mean((0, 1)).t().softmax(-1)[None, None]"), "全高×1"),
    "halves_put_back": (after(Op("torch.cat([X[:, :, :6], X[:, :, 6:]], 2)")), "?×3"),
    "mask_of_the_image": (after(Op("torch.zeros_like(X).masked_fill(X > 0, 1) + X")), "3×3"),
    "chosen_by_value": (after(Op("torch.where(X > 0, X, 0.1 * X)")), "3×3"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_field_is_right_or_unknown(name):
    net, field = FIELDS[name]
    assert str(trace(net, (1, 2, 12, 12))[-1].receptive_field) == field
    check_field(net, (1, 2, 12, 12))


def seven(net, X):
    """7×7 的卷积，通道数不变。"""
    return F.conv2d(X, torch.ones(X.shape[1], 1, 7, 7, device=X.device), padding=3, groups=X.shape[1])


def through_channels(net, X):
    Y = torch.cat([X, net.conv(X)], 1)
    Y[:, 2:] *= seven(net, X).sigmoid()
    return Y


def through_halves(net, X):
    upper, lower = (Y := X.clone()).chunk(2, 2)
    upper += lower
    return Y


def through_pairs(net, X):
    Y = X.clone()
    Y.view(1, 2, 6, 2, 12)[:, :, :, 0] += Y.view(1, 2, 6, 2, 12)[:, :, :, 1]
    return Y


def through_data(net, X):
    X.data = seven(net, X)
    return X


def through_data_of_a_weight(net, X):
    net.conv.bias.data = X.mean((0, 2, 3))
    return net.conv(X)


def through_statistics(net, X):
    net.norm.train()(X)
    return net.norm.eval()(X)


def through_a_list(net, X):
    torch._foreach_add_([Y := X.clone()], [seven(net, X)])
    return Y


# 改写了别的张量的内存，和看不到的改写
WRITES = {
    **{write.__name__: Call(write, conv=CONV, norm=nn.BatchNorm2d(2)) for write in (
        through_channels, through_halves, through_pairs, through_data, through_data_of_a_weight, through_statistics,
        through_a_list)},
    "through_an_unknown_view": Op("(Y := X.clone(), Y.flatten(2)[:, :, 1:].add_(Y.flatten(2)[:, :, :-1].clone()))[0]"),
    "a_parameter_of_the_image": Op("X * torch.nn.Parameter(X.mean())"),
    "two_branches_interleaved": Op(
        "torch.stack([F.avg_pool2d(F.pad(X, (1, 0)), (1, 2), 1), F.avg_pool2d(F.pad(X, (0, 1)), (1, 2), 1)], -1)"
        ".flatten(-2)"),
    "halves_pooled_into_rows": Op("torch.cat([X.permute(0, 2, 3, 1)[:, :6].mean(1, keepdim=True), "
                                  "X.permute(0, 2, 3, 1)[:, 6:].mean(1, keepdim=True)], 1).permute(0, 3, 1, 2)"),
    "a_cropped_transposed_window": Op(
        "F.conv_transpose2d(X[:, :, :4, :4], X.new_ones(2, 2, 3, 3), padding=5, dilation=4).mean((2, 3))"),
    "one_size_for_both": nn.Sequential(nn.MaxPool2d((3,)), nn.Conv2d(2, 2, 3, padding=(1,), dilation=(2,))),
    "one_channel_of_every_other": nn.Sequential(Concat(nn.Identity(), CONV), Op("F.max_pool3d(X, 1, (4, 1, 1))")),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_behind_the_back_is_right_or_unknown(name):
    check_field(nn.Sequential(WRITES[name]).eval(), (1, 2, 12, 12))


@pytest.mark.parametrize("layer", [
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.Flatten(), Op("X.mean((2, 3))"),
    Op("X * X.amax((2, 3), keepdim=True)")], ids=str)
def test_the_whole_image_is_seen_after_it_is_mixed(layer):
    table = trace(nn.Sequential(nn.Conv2d(1, 2, 3), layer), (1, 1, 8, 8))
    assert [str(row.receptive_field) for row in table] == ["3×3", "全图"]


def test_batch_and_channels_may_look_like_height_and_width():
    net = nn.Sequential(nn.Conv2d(1, 6, 3), Op("X.mean((2, 3))"))
    assert [str(row.receptive_field) for row in trace(net, (6, 1, 8, 8))] == ["3×3", "全图"]


@pytest.mark.parametrize(("op", "field"), [
    ("X.split(1)[0]", "5×5"), ("X.split(2, 1)[0]", "?"), ("X.sum(0, keepdim=True)", "?")])
def test_one_image_of_two_paths_keeps_both_and_some_channels_may_not(op, field):
    net = nn.Sequential(Concat(nn.Identity(), CONV), Op(op), Op("F.conv2d(X, X.new_ones(1, X.shape[1], 3, 3))"))
    assert str(trace(net, (2, 2, 12, 12))[-1].receptive_field) == field


@pytest.mark.parametrize(("field", "window"), [
    (Field(3, 5), (3, 5)), (Field(3, WHOLE), None), (Field(WHOLE, 5), None), (Field(None, 5), None)])
def test_a_window_has_two_sides(field, window):
    assert field.window == window


def test_inputs_without_height_and_width_have_no_receptive_field():
    assert [row.receptive_field for row in trace(nn.Linear(4, 2), (3, 4))] == [(None, None)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "maxvit_t"])
def test_transformers_of_torchvision_claim_nothing_wrong(name):
    """第一层是窗口；之后每一格通过注意力看得到别处，只许说全图，或者说不清。"""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None)
    first, *rest = trace(net, (1, 3, 224, 224), depth=2)
    assert first.receptive_field.window
    assert {str(row.receptive_field) for row in rest if "ttention" in row.kind or row.kind == "Linear"} <= {"?", "全图"}
