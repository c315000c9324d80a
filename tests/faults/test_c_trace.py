"""C：逐层清单。朴素的清单照书上的样子，一层一层真的算过去。"""

import os
import sys

import pytest
import torch
import torchinfo
import torchvision
from support.nets import SIZES
from support.rows import against, python
from torch import nn

from helpers import NETWORKS, input_sizes, load, trace
from helpers.network.shape_errors import ShapeError


def ours(net, shape):
    """(种类, 输出形状, 参数) 的清单。"""
    return [(layer.kind, layer.out_shape, layer.params) for layer in trace(net, shape)]


def layer_by_layer(net, shape):
    """书上的写法：for layer in net: X = layer(X)。"""
    X, rows = torch.zeros(shape), []
    for layer in net.children():
        X = layer(X)
        rows.append((type(layer).__name__, tuple(X.shape), sum(p.numel() for p in layer.parameters())))
    return rows


def by_torchinfo(net, shape):
    """标准答案：torchinfo 1.8.0 的第一层。"""
    rows = torchinfo.summary(net, input_size=shape, depth=1, verbose=0, mode="eval", device="cpu").summary_list
    return [(row.class_name, tuple(row.output_size), row.num_params) for row in rows if row.depth == 1]


NETS = {**{section: (lambda section=section: getattr(load(section), NETWORKS[section])(), size)
           for section, size in SIZES.items()},
        **{name: (lambda name=name: getattr(torchvision.models, name)(weights=None), 224)
           for name in ("resnet18", "densenet121", "mobilenet_v3_small")}}


@against(ours, layer_by_layer)
def test_C1_rows_equal_torchinfo(subject):
    """torchvision 的更多网络和 200 个随机网络在 network/test_trace.py。"""
    for make, size in NETS.values():
        net, channels = make().eval(), 1
        channels = next(p for p in net.parameters() if p.dim() == 4).shape[1]
        assert subject(net, (1, channels, size, size)) == by_torchinfo(net, (1, channels, size, size))


class Both(nn.Module):
    """返回元组，里面什么都有：共享、绑定、空的模块。"""

    def __init__(self):
        super().__init__()
        self.shared, self.empty = nn.Linear(4, 4), nn.Sequential()
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.shared.weight

    def forward(self, X):
        return self.empty(self.tied(self.shared(self.shared(X)))), {"aux": X}


@against(trace, lambda net, shape: layer_by_layer(net, shape))
def test_C2_shared_tied_empty_modules_and_tuples(subject):
    rows = subject(Both(), (2, 4))
    assert [row.name for row in rows] == ["shared", "shared", "tied", "empty"]
    assert [row.params for row in rows] == [20, 0, 4, 0] and rows.params == 24


class Broken(nn.Module):
    """第三层出错。"""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 5)

    def forward(self, X):
        return self.third(self.second(self.first(X)))


def hooked(net, shape):
    """挂上钩子，真的算一遍，再取下来；出错时没有取。"""
    hooks = [module.register_forward_hook(lambda *_: None) for module in net.children()]
    net(torch.rand(shape))
    for hook in hooks:
        hook.remove()


@against(trace, hooked)
def test_C3_exception_inside_forward(subject):
    net = Broken().train()
    net.second.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(RuntimeError if subject is hooked else ShapeError) as caught:
        subject(net, (2, 1, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.training and not net.second.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert caught.value.place.name == "third" and caught.value.last.name == "second"


@against(lambda net, shape: trace(net, shape), layer_by_layer)
@pytest.mark.parametrize("section", ["7.1", "7.2", "7.3", "7.4", "7.7"])
def test_C4_input_too_small(subject, section):
    net = getattr(load(section), NETWORKS[section])(**({"ratio": 16, "hidden": 64} if section == "7.3" else {}))
    smallest = input_sizes(net, (1, 1, 1, 1))[0]
    for size in (size for size in (1, 28, 64, 96) if size < smallest):
        with pytest.raises(ShapeError) as caught:
            subject(net, (1, 1, size, size))
        assert caught.value.place.name and caught.value.sizes[0] == smallest


def test_C4_any_size_for_the_others():
    for section in ("7.5", "7.6"):
        for size in (1, 28, 64, 96):
            trace(getattr(load(section), NETWORKS[section])(), (1, 1, size, size))


HUGE = """
import resource, sys, psutil, torch
from helpers import load, trace
make = load("7.2").alexnet
trace(make(), (1, 1, 224, 224))
before = psutil.Process().memory_info()
resource.setrlimit(resource.RLIMIT_AS, (before.vms + 2 * 2**30,) * 2)
wide = {name: 16 * width for name, width in dict(c1=96, c2=256, c3=384, c4=384, c5=256, h1=4096, h2=4096).items()}
CODE
assert psutil.Process().memory_info().rss - before.rss < 50e6
"""
META = """
with torch.device("meta"):
    net = make(**wide)
assert trace(net, (1, 1, 224, 224)).params > 10**10
"""
REAL = """
net = make(**wide)
X = torch.zeros(1, 1, 224, 224)
for layer in net:
    X = layer(X)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="要限制进程的地址空间")
@against(META, REAL)
def test_C5_network_too_large_for_memory(subject):
    done = python(HUGE.replace("CODE", subject), env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-1000:]
