"""G1–G4：读者的各种网络。朴素的实现照常见的小工具写。"""

import pytest
import torch
from support.nets import Call, runs
from support.networks import Op
from support.probe import check_field
from support.rows import against
from support.snapshot import snapshot
from torch import nn

from helpers import fashion_mnist, forecast, input_sizes, trace, train
from helpers.training.loop import steps


def by_formula(net, shape):
    """常见的小工具：逐个模块套公式，不是卷积和汇聚的都当作逐格的。"""
    field, jump = 1, 1
    for module in net:
        if hasattr(module, "kernel_size"):
            field += (module.kernel_size[0] - 1) * jump
            jump *= module.stride[0]
    return field, field


CONV = nn.Conv2d(2, 2, 3, padding=1)
NOT_POINTWISE = [
    nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False), nn.LayerNorm([2, 12, 12]),
    nn.Softmax(-1), nn.Conv2d(2, 2, (5, 1)), nn.CircularPad2d(1), nn.Upsample(scale_factor=2), Op("X[:, :, ::2, 1::3]"),
    Op("X.cumsum(2)"), Op("X.roll(1, 3)"), Op("X[..., 1:] - X[..., :-1]"), Op("X * X.mean((2, 3), keepdim=True)")]


@against(lambda net, shape: trace(net, shape)[-1].receptive_field, by_formula)
@pytest.mark.parametrize("layer", NOT_POINTWISE, ids=str)
def test_G1_receptive_field_is_right_or_unknown(subject, layer):
    """上万个随机网络在 fuzz/test_network.py。"""
    check_field(nn.Sequential(CONV, layer, CONV).eval(), (1, 2, 12, 12), subject)


def looked_at(net, shape):
    """我们的两种看法：清单，要多少内存。"""
    trace(net, shape)
    for dtype in (torch.float32, torch.bfloat16):
        forecast(net, shape, 4, dtype=dtype)


def summarized(net, shape):
    """常见的小工具：挂上钩子，送一批零进去。"""
    hooks = [module.register_forward_hook(lambda *_: None) for module in net.modules()]
    net(torch.zeros(2, *shape[1:]))
    for hook in hooks:
        hook.remove()


def late_layer(net, X):
    """第一次走到才造一层。"""
    if not hasattr(net, "late"):
        net.late = nn.Conv2d(2, 2, 1, device=X.device)
    return net.late(X)


def counting(net, X):
    net.calls.append(len(X))
    return net.first(X) * len(net.calls)


def in_place(net, X):
    net.first.weight.mul_(0.5)
    return net.first(X)


def remembering():
    net = Call(counting, first=nn.Conv2d(2, 2, 1))
    net.calls = []
    return net


CHANGING = {"造一层": lambda: Call(late_layer), "记数": remembering,
            "改权重": lambda: Call(in_place, first=nn.Conv2d(2, 2, 1)),
            "统计量": lambda: nn.BatchNorm2d(2), "随机数": lambda: nn.Dropout()}


@against(looked_at, summarized)
@pytest.mark.parametrize("name", CHANGING)
def test_G2_a_network_that_is_looked_at_stays_as_it_was(subject, name):
    """更多的在 network/test_borrow.py。"""
    net = CHANGING[name]().requires_grad_(False)
    before = snapshot(net)
    subject(net, (1, 2, 6, 6))
    assert snapshot(net) == before


def sizes_from_the_given_one(net, shape):
    """常见的写法：从走得通的一个往两边试，走不通就停。"""
    low = high = shape[2]
    while low > 1 and runs(net, (*shape[:2], low - 1, low - 1)):
        low -= 1
    while high < 64 and runs(net, (*shape[:2], high + 1, high + 1)):
        high += 1
    return range(low, high + 1)


WITH_GAPS = {"像素重排": nn.PixelUnshuffle(3), "有路要一样大": Call(lambda net, X: net.up(net.down(X)) + X,
                                                       down=nn.MaxPool2d(2), up=nn.Upsample(scale_factor=2)),
             "整除": Call(lambda _, X: X.view(len(X), -1, 12))}


@against(lambda net, shape: input_sizes(net, shape, limit=64).fits, sizes_from_the_given_one)
@pytest.mark.parametrize("name", WITH_GAPS)
def test_G3_sizes_with_gaps(subject, name):
    """上千个随机网络在 fuzz/test_network.py。"""
    net = WITH_GAPS[name]
    assert [*subject(net, (1, 1, 12, 12))] == [size for size in range(1, 65) if runs(net, (1, 1, size, size))]


class Picky(nn.Sequential):
    """看得到数才肯走，而且批量要是偶数：meta 上走不了，一张图也走不了，真的训练没有问题。"""

    def forward(self, X):
        assert bool((X >= 0).all()) and len(X) % 2 == 0
        return super().forward(X)


def listed_first(net, *data, **options):
    """先列清单，列得出才训练。"""
    trace(net, (1, *data[0].X.shape[1:]))
    return [*steps(net, *data, **options)][-1]


@against(train, listed_first)
@pytest.mark.parametrize("make", [Picky, lambda *layers: torch.jit.script(nn.Sequential(*layers))], ids=["偶数", "jit"])
def test_G4_what_can_be_trained_is_trained_though_it_cannot_be_listed(subject, make):
    data = fashion_mnist(16, images=64, device="cpu")
    assert subject(make(nn.Flatten(), nn.Linear(784, 10)), *data, lr=0.1, num_epochs=1)
