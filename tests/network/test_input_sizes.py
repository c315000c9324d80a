"""走得通的边长与逐个试的结果相同。"""

from types import SimpleNamespace

import pytest
import torch
from support.nets import Call, Concat, lenet, runs
from support.networks import Op
from torch import nn
from torch.nn import functional as F

from helpers import input_sizes, trace
from helpers.network.input_sizes import alias
from helpers.network.shape_errors import ShapeError


def nin_like() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(8, 10, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten())


def sizes_by_trying(net, limit, channels=1):
    return [size for size in range(1, limit + 1) if runs(net.eval(), (1, channels, size, size))]


def vgg_like():
    def block(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2))

    return nn.Sequential(block(1, 2), block(2, 4), block(4, 4), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))


def even_only():
    return nn.Sequential(Concat(nn.AvgPool2d(2), nn.Conv2d(1, 1, 1, stride=2)), nn.Conv2d(2, 1, 7))


NETS = {"lenet": lenet, "nin": nin_like, "vgg": vgg_like, "even": even_only,
        "functional": lambda: Call(lambda net, X: net.linear(F.max_pool2d(F.avg_pool2d(X, 3), 2, 1).flatten(1)),
                                   linear=nn.Linear(9, 2)),
        "linear": lambda: nn.Linear(20, 3),
        "reflect": lambda: nn.Sequential(nn.ReflectionPad2d(40), nn.Conv2d(1, 1, 3)),
        "even_linear": lambda: nn.Sequential(*even_only(), nn.Flatten(), nn.Linear(400, 2))}


def stash(net, X):
    """U-Net 常见的写法：前一层存下来，后一层取用。"""
    net.kept.append(net.down(X))
    return net.up(net.kept[-1]) + X


class PoolAsSet(nn.Module):
    """窗口多大由另一个对象说。"""

    def forward(self, X, setting):
        return F.max_pool2d(X, setting.window)


def set_twice(net, X):
    """同一个对象，两次说的不一样。"""
    net.setting.window = 2
    net.pool(X, net.setting)
    net.setting.window = 3
    return net.linear(net.pool(X, net.setting).flatten(1))


def cropping(net):
    net.register_forward_hook(lambda module, args, out: out[..., :4, :4])
    return net


def skips_in_a_list():
    """U-Net：往下走时存进列表，往上走时取出来；取完，列表又是空的。"""
    def forward(net, X):
        for down in net.downs:
            X = down(X)
        for up in net.ups:
            X = up(X)
        return X

    def down(net, X):
        net.skips.append(X := net.conv(X))
        return F.max_pool2d(X, 2)

    def up(net, X):
        skip = net.skips.pop()
        return net.conv(torch.cat([F.interpolate(X, size=skip.shape[2:]), skip], 1))

    net = Call(forward, downs=nn.ModuleList(Call(down, conv=nn.Conv2d(1, 1, 3, padding=1)) for _ in range(2)),
               ups=nn.ModuleList(Call(up, conv=nn.Conv2d(2, 1, 3, padding=1)) for _ in range(2)))
    skips = []
    for half in (*net.downs, *net.ups):
        half.skips = skips
    return net


def stash_and_pop():
    def save(net, X):
        net.kept.append(X)
        return X

    def restore(net, X):
        kept = net.kept.pop()
        return F.interpolate(X, size=kept.shape[2:]) + kept

    first, last = Call(save), Call(restore)
    first.kept = last.kept = []
    return nn.Sequential(first, nn.Conv2d(1, 1, 3, padding=1), last, nn.Flatten(), nn.Linear(100, 2))


NETS |= {
    "boxed": lambda: nn.Sequential(Call(lambda _, X: SimpleNamespace(X=X)), Call(lambda _, box: box.X.flatten(1)),
                                   nn.Linear(16, 2)),
    "same_again": lambda: Call(lambda net, X: net.second(net.first(X)).flatten(1), first=nn.AdaptiveAvgPool2d(1),
                               second=Call(lambda _, X: X.relu())),
    "hooked": lambda: nn.Sequential(cropping(nn.Sequential(nn.Identity())), nn.Flatten(), nn.Linear(16, 2)),
    "only_24": lambda: nn.Sequential(nn.Conv2d(1, 1, 1), Call(lambda net, X: X + net.shift,
                                                              shift=nn.Parameter(torch.zeros(1, 1, 24, 24)))),
    "multiples": lambda: nn.Sequential(nn.PixelUnshuffle(3), nn.Conv2d(9, 1, 1)),
    "layer_norm": lambda: nn.LayerNorm([1, 24, 24]),
    "positions": lambda: nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), Call(
        lambda net, X: X + net.shift[..., :X.shape[2], :X.shape[3]], shift=nn.Parameter(torch.zeros(2, 5, 5)))),
    "vanishes": lambda: nn.Upsample(scale_factor=0.3, mode="bicubic"),
    "padded_back": lambda: nn.Sequential(Call(lambda _, X: X[:, :, 2:] + X[:, :, :-2]), nn.Conv2d(1, 1, 1, padding=2)),
    "gaps": lambda: Call(lambda _, X: X.view(X.shape[0], -1, 12)),
    "asserts": lambda: Call(lambda _, X: X if X.shape[2] % 5 in (1, 2) else X.nothing),
    "residual": lambda: nn.Sequential(Call(lambda net, X: net.up(net.down(X)) + X, down=nn.Conv2d(1, 1, 2, stride=2),
                                           up=nn.ConvTranspose2d(1, 1, 2, stride=2)), nn.MaxPool2d(3)),
    "remembers": lambda: nn.Sequential(keeping(Call(stash, down=nn.MaxPool2d(2), up=nn.Upsample(scale_factor=2)))),
    "set_by_an_object": lambda: Call(set_twice, pool=PoolAsSet(), linear=nn.Linear(16, 2), setting=SimpleNamespace()),
    "skips_in_a_list": skips_in_a_list, "stash_and_pop": stash_and_pop,
    "by_value": lambda: nn.Sequential(nn.MaxPool2d(2), Call(lambda _, X: X if X.sum() >= 0 else -X),
                                      nn.Conv2d(1, 1, 5)),
}


# 最小的边长剩下空的张量：PyTorch 在 meta 上对它们查得比真算时松
NETS |= {f"empty: {text}": lambda text=text: nn.Sequential(Op("X[:, :, 2:, :-1]"), Op(text)) for text in (
    "X.max(3)[0]", "X.min(2)[0]", "X.median(3)[0]", "X.mode(3)[0]", "X.max() + X", "torch.max(X, X)", "X.max(1)[0]",
    "X.amin((2, 3))", "F.interpolate(X, scale_factor=0.5)",
    "F.adaptive_avg_pool2d(X, 2)", "F.group_norm(X, 1)", "F.avg_pool2d(X, 2, padding=1)", "X.mean((2, 3))")}
NETS["empty: pixel_unshuffle"] = lambda: nn.Sequential(Op("X[:, :, 3:, :-1]"), nn.PixelUnshuffle(2))


def keeping(net):
    net.kept = []
    return net


@pytest.mark.parametrize("name", NETS)
def test_input_sizes_are_those_found_by_trying_each(name):
    net = NETS[name]()
    assert list(input_sizes(net, (1, 1, 5, 9), limit=64).fits) == sizes_by_trying(net, 64)


@pytest.mark.parametrize("shape", [(1,), (1, 28, 28), (1, 1, 1, 28, 28)])
def test_sizes_are_asked_of_images(shape):
    with pytest.raises(ValueError, match="四个正整数"):
        input_sizes(lenet(), shape)
    with pytest.raises(ShapeError) as caught:
        trace(lenet(), shape)
    assert caught.value.sizes is None


def test_input_sizes_of_lenet():
    assert input_sizes(lenet(), (1, 1, 28, 28)) == (28, 31)


def test_one_pixel_is_a_limit_too():
    assert input_sizes(nn.Conv2d(1, 1, 1), (1, 1, 5, 5), limit=1) == (1, None)


def test_input_sizes_of_a_window_wider_than_32():
    assert input_sizes(nn.MaxPool2d(40), (1, 1, 28, 28)) == (40, None)


def test_no_square_fits_although_the_shape_does():
    with pytest.raises(ValueError, match="没有任何 1 到 1024 之间的边长走得通"):
        input_sizes(nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), (1, 1, 1, 7))


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 63, 64, 65, 224, 1023, 1024])
def test_input_sizes_at_the_edges_of_the_search(size):
    only = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 1, device="meta"))
    assert input_sizes(only, (1, 1, 1, 1)) == (size, size if size < 1024 else None)


def test_no_size_fits_a_network_with_wrong_channels():
    with pytest.raises(ShapeError) as caught:
        input_sizes(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(3, 2, 3)), (1, 1, 8, 8))
    assert caught.value.place.name == "1" and caught.value.fault.kind == "channels"
    with pytest.raises(ShapeError) as caught:  # 层的名字与 trace 的表里一样
        input_sizes(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Conv2d(3, 2, 3))), (1, 1, 8, 8))
    assert caught.value.place.name == "1"


def test_on_meta_too_the_work_has_an_end(monkeypatch):
    assert input_sizes(nn.Conv2d(1, 1, 3), (1, 1, 8, 8), limit=200).limit == 200
    monkeypatch.setattr("helpers.network.input_sizes.WORK", 1)
    assert input_sizes(nn.Conv2d(1, 1, 3), (1, 1, 8, 8), limit=200).limit < 200


@pytest.mark.parametrize("last", [3, 7])
def test_what_must_be_computed_for_real_is_tried_as_far_as_the_work_allows(monkeypatch, last):
    """数乘加和输出的数；每个运算另外算的，这里不算。"""
    net = nn.Sequential(Call(lambda module, X: X * (X.sum().item() + 1)), nn.Conv2d(1, 4, 3, padding=1, bias=False))

    def work(size):
        return size**2 + 1 + size**2 + (9 + 1) * 4 * size**2  # 输入、和、积、卷积

    monkeypatch.setattr("helpers.network.input_sizes.CALL", 0)
    for short in (0, 1):  # 正好用完还接着试，超过才停
        monkeypatch.setattr("helpers.network.input_sizes.WORK", sum(map(work, range(1, last + 1))) - short)
        assert input_sizes(net, (1, 1, 1, 1)).limit == last + 1 - short


def test_what_is_remembered_of_a_layer_is_nobodys_to_change():
    X, Y = torch.zeros(2, 3), torch.zeros(4)
    again = alias((X, [Y, 3, None], {"x": X, "n": "文"}))
    assert type(again) is tuple and type(again[1]) is list and again[1][1:] == [3, None] and again[2]["n"] == "文"
    for tensor in (again[0], again[1][0], again[2]["x"]):
        tensor.unsqueeze_(0)
    assert X.shape == (2, 3) and Y.shape == (4,)
