"""逐行与 torchinfo 1.8.0 相同，感受野与自动求导相同，边长与逐个试的结果相同；借过的网络原样归还。"""

import random
import subprocess
import sys
import threading
import unicodedata
from functools import cache

import pytest
import torch
import torchinfo
import torchvision.models as zoo
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from helpers.network.trace import Layer, ShapeError, describe_sizes, input_sizes, trace

ALL = 99  # 展开到叶子

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="没有 CUDA 显卡")
devices = pytest.mark.parametrize("device", ["meta", "cpu", pytest.param("cuda", marks=needs_cuda)])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """网络都很小；核被别人占着时，两个线程互相等比一个线程慢几十倍。"""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10))


def nin_like() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(8, 10, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Residual(nn.Module):
    """body(X) + X"""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, X):
        return self.body(X) + X


class Concat(nn.Module):
    """几条路在通道上相连。"""

    def __init__(self, left: nn.Module, right: nn.Module):
        super().__init__()
        self.left, self.right = left, right

    def forward(self, X):
        return torch.cat([self.left(X), self.right(X)], dim=1)


class Call(nn.Module):
    """forward 就是 function(self, X)。"""

    def __init__(self, function, **children):
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, X):
        return self.function(self, X)


# ---------------------------------------------------------------- 书上的数字


@devices
def test_lenet_has_the_numbers_of_the_book(device):
    table = trace(lenet().to(device), (1, 1, 28, 28))
    assert (table.params, table.macs) == (61_706, 416_520)
    assert table[3] == Layer("3", "Conv2d", (1, 6, 14, 14), (1, 16, 10, 10), 2_416, 240_000, 14)
    assert [layer.receptive_field for layer in table] == [5, 5, 6, 14, 14, 16] + [None] * 6


def test_macs_grow_with_the_batch_and_params_do_not():
    one, many = (trace(lenet(), (batch, 1, 28, 28)) for batch in (1, 7))
    assert (many.params, many.macs) == (one.params, 7 * one.macs)


def test_repr_is_aligned_when_chinese_characters_take_two_columns():
    lines = repr(trace(lenet(), (1, 1, 28, 28))).splitlines()

    def columns(text):
        return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)

    # 第四列「参数」右对齐：标题、最大的数和合计在同一列结束
    ends = {columns(line[:line.index(text) + len(text)])
            for line, text in ((lines[0], "参数"), (lines[8], "48,120"), (lines[-1], "61,706"))}
    assert len(lines) == 14 and len(ends) == 1


def test_html_escapes_and_marks_only_what_differs_from_the_book():
    class Odd(nn.Identity):
        pass

    Odd.__name__ = "<b>"
    net, wider = (nn.Sequential(Odd(), nn.Conv2d(1, width, 3)) for width in (2, 3))
    book, now = trace(net, (1, 1, 8, 8)), trace(wider, (1, 1, 8, 8))
    assert "&lt;b&gt;" in book._repr_html_() and "<b>" not in book._repr_html_()
    assert "bold" not in book.html(book)
    # 卷积一行的输出形状、参数、乘加，以及两个合计
    assert now.html(book).count("bold") == 5


# ---------------------------------------------------------------- 与 torchinfo 逐行相同


def torchinfo_rows(net, shape, depth):
    device = next(net.parameters()).device
    infos = torchinfo.summary(net, input_size=shape, device=device, depth=ALL, verbose=0, mode="eval").summary_list
    return [info for info in infos if info.depth == depth or (info.is_leaf_layer and info.depth < depth)]


def same_as_torchinfo(net, shape, depth):
    table, infos = trace(net, shape, depth), torchinfo_rows(net, shape, depth)
    assert [(row.name.split(".")[-1], row.kind, list(row.out_shape), row.params) for row in table] == [
        (info.var_name, info.class_name, info.output_size, info.num_params) for info in infos]
    for row, info in zip(table, infos, strict=True):
        if isinstance(info.module, nn.Conv2d) or (isinstance(info.module, nn.Linear) and len(row.in_shape) == 2):
            # torchinfo 把加偏置也算作乘加：每个输出一次；多于两维的 Linear 它漏算了位置
            biases = torch.Size(row.out_shape).numel() if info.module.bias is not None else 0
            assert row.macs == info.macs - biases, row
    return table


ZOO = {"alexnet": 64, "vgg11_bn": 32, "resnet18": 32, "resnext50_32x4d": 32, "wide_resnet50_2": 32,
       "densenet121": 32, "googlenet": 32, "inception_v3": 75, "squeezenet1_1": 32, "mobilenet_v2": 32,
       "mobilenet_v3_small": 32, "shufflenet_v2_x0_5": 32, "mnasnet0_5": 32, "efficientnet_b0": 32,
       "convnext_tiny": 32}


@cache
def from_zoo(name):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        return zoo.get_model(name, weights=None, **options).eval()


@pytest.mark.parametrize("name", ZOO)
def test_torchvision_network_is_the_same_as_torchinfo(name):
    net, shape = from_zoo(name), (2, 3, ZOO[name], ZOO[name])
    table = same_as_torchinfo(net, shape, ALL)
    same_as_torchinfo(net, shape, 1)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(shape, device="meta"))
    assert table.macs == counter.get_total_flops() // 2
    assert table.params == sum(p.numel() for p in net.parameters())


def random_layer(rng, channels):
    """一层，和它输出的通道数。"""
    kind = rng.choice(["conv", "conv", "norm", "relu", "pool", "nested", "residual", "concat"])
    if kind == "conv":
        groups = rng.choice([g for g in (1, 2, 4) if channels % g == 0])
        out = groups * rng.randint(1, 4)
        return nn.Conv2d(channels, out, rng.choice([1, 3, (1, 3), 5]), groups=groups, dilation=rng.randint(1, 2),
                         stride=rng.randint(1, 2), padding=rng.randint(0, 3), bias=rng.random() < 0.5), out
    if kind == "norm":
        return nn.BatchNorm2d(channels), channels
    if kind == "relu":
        return nn.ReLU(inplace=rng.random() < 0.5), channels
    if kind == "pool":
        pool = rng.choice([nn.MaxPool2d, nn.AvgPool2d])
        return pool(rng.randint(1, 3), rng.choice([None, 1, 2]), ceil_mode=rng.random() < 0.5), channels
    if kind == "nested":
        return random_layers(rng, channels, rng.randint(0, 3))
    same = [nn.Conv2d(channels, channels, k, padding=k // 2) for k in (1, 3)]
    if kind == "residual":
        return Residual(nn.Sequential(same[0], nn.ReLU())), channels
    return Concat(*same), 2 * channels


def random_layers(rng, channels, count):
    layers = []
    for _ in range(count):
        layer, channels = random_layer(rng, channels)
        layers.append(layer)
    return nn.Sequential(*layers), channels


def random_network(seed):
    """卷积部分、展平、全连接；输入 (2, 4, 20, 20)。走不通的再抽一个。"""
    rng = random.Random(seed)
    while True:
        body, _ = random_layers(rng, 4, rng.randint(1, 6))
        try:
            features = body.eval()(torch.zeros(2, 4, 20, 20)).flatten(1).shape[1]
        except RuntimeError:
            continue
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(features, 5))


@pytest.mark.parametrize("seeds", [range(start, start + 40) for start in range(0, 200, 40)], ids=str)
def test_random_networks_are_the_same_as_torchinfo(seeds):
    for seed in seeds:
        net = random_network(seed)
        for depth in (1, 2, ALL):
            same_as_torchinfo(net, (2, 4, 20, 20), depth)


def test_random_networks_are_not_trivial():
    kinds = {type(m) for seed in range(200) for m in random_network(seed).modules()}
    assert {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, Residual, Concat, nn.Linear} <= kinds


# ---------------------------------------------------------------- 共享、嵌套、空的、返回多个张量的模块


def test_a_reused_module_shows_every_call_and_counts_once():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    table = trace(nn.Sequential(conv, nn.ReLU(), conv), (1, 4, 8, 8))
    assert [(row.name, row.params) for row in table] == [("0", 148), ("1", 0), ("0", 0)]
    assert table[0].macs == table[2].macs == table.macs // 2 > 0
    assert table.params == 148


@devices
def test_tied_parameters_count_once(device):
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)).to(device)
    net[1].weight = net[0].weight
    table = trace(net, (1, 4, 8, 8))
    assert [row.params for row in table] == [148, 4] and table.params == 152


def test_depth_unfolds_nested_modules_and_leaves_the_totals():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU())), nn.Sequential(), nn.Flatten())
    tables = [trace(net, (1, 1, 8, 8), depth) for depth in (0, 1, 2, 3)]
    assert [[row.name for row in table] for table in tables] == [
        ["Sequential"], ["0", "1", "2"], ["0.0", "0.1", "1", "2"], ["0.0", "0.1.0", "1", "2"]]
    assert len({(table.params, table.macs) for table in tables}) == 1


def test_a_module_list_is_looked_through_and_a_bare_module_is_the_row():
    net = Call(lambda net, X: net.stages[1](net.stages[0](X)), stages=nn.ModuleList([nn.ReLU(), nn.ReLU()]),
               never=nn.Linear(2, 2))
    assert [row.name for row in trace(net, (1, 1, 8, 8))] == ["stages.0", "stages.1"]
    assert [row.name for row in trace(nn.ReLU(), (1, 1, 8, 8))] == ["ReLU"]


@pytest.mark.parametrize("pack", [lambda X: (X, X.flatten(1)), lambda X: {"out": X, "aux": None}, lambda X: [[X]]])
def test_the_first_tensor_of_a_tuple_or_dict_is_shown(pack):
    table = trace(nn.Sequential(nn.ReLU(), Call(lambda _, X: pack(X))), (1, 2, 3, 4))
    assert table[-1].out_shape == (1, 2, 3, 4)


def test_totals_include_what_is_on_no_row():
    def forward(net, X):
        return net.linear(X.flatten(1)) @ torch.ones(5, 3, device=X.device) * net.scale

    net = Call(forward, linear=nn.Linear(16, 5), scale=nn.Parameter(torch.ones(())))
    table = trace(net, (2, 1, 4, 4))
    assert (table.params, table.macs) == (16 * 5 + 5 + 1, 2 * (16 * 5 + 5 * 3))


@pytest.mark.parametrize("groups, macs", [(1, 8 * 6 * 3 * 3 * 25), (2, 8 * 3 * 3 * 3 * 25)])
def test_macs_of_transposed_convolution(groups, macs):
    # 每个输入元素乘以它的每一个核
    assert trace(nn.ConvTranspose2d(8, 6, 3, stride=2, groups=groups), (1, 8, 5, 5)).macs == macs


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_input_has_the_dtype_of_the_weights(dtype):
    assert trace(lenet().to(dtype), (1, 1, 28, 28)).macs == 416_520


def test_runs_inside_inference_mode():
    with torch.inference_mode():
        assert trace(lenet(), (1, 1, 28, 28)).macs == 416_520


# ---------------------------------------------------------------- 原样归还


def nosy(net, X):
    """什么都要改一改的 forward。"""
    net.calls += 1
    net.cache = X
    net.steps += 1
    net.offset = net.offset + 1
    X = F.batch_norm(X, net.norm.running_mean, net.norm.running_var, training=True)
    X = F.dropout(net.norm(X), training=True) + torch.rand(1).to(X.device)
    if net.real:
        X.sum().item()
    if net.broken:
        raise RuntimeError("坏了")
    return X


@devices
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("real", [False, True], ids=["meta", "real"])
def test_the_network_comes_back_as_it_was(device, broken, real):
    if device == "meta" and real:
        pytest.skip("没有真的权重可算")
    net = Call(nosy, norm=nn.BatchNorm2d(3), frozen=nn.BatchNorm2d(3).eval())
    net.register_buffer("steps", torch.zeros(3, 1, 1))
    net.register_buffer("offset", torch.zeros(3, 1, 1))
    net.to(device)
    net.calls, net.cache, net.real, net.broken = 0, None, real, broken
    seen = []
    net.norm.register_forward_hook(lambda *_: seen.append(1))

    def snapshot():
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._forward_pre_hooks_with_kwargs),
                  m.training) for m in net.modules()]
        tensors = [*net.parameters(), *net.buffers()]
        values = [] if device == "meta" else [t.tolist() for t in tensors]
        random_states = [torch.get_rng_state().tolist()]
        if device == "cuda":
            random_states.append(torch.cuda.get_rng_state().tolist())
        return hooks, [id(t) for t in tensors], values, random_states, net.calls, net.cache, list(vars(net))

    before = snapshot()
    if broken:
        with pytest.raises(ShapeError, match="坏了"):
            trace(net, (2, 3, 4, 4))
    else:
        trace(net, (2, 3, 4, 4))
    assert snapshot() == before
    assert seen  # 读者自己的钩子照常运行


def test_batch_norm_from_scratch_of_the_book():
    # 书上 7.5 节：不求导时用移动平均，还会把它移到输入所在的设备
    def forward(net, X):
        if net.mean.device != X.device:
            net.mean = net.mean.to(X.device)
        return X - (X.mean(dim=(0, 2, 3), keepdim=True) if torch.is_grad_enabled() else net.mean)

    net = nn.Sequential(nn.Conv2d(1, 3, 3), Call(forward))
    net[1].mean = torch.ones(1, 3, 1, 1)
    assert trace(net, (1, 1, 8, 8))[1].receptive_field == 3
    assert net[1].mean.device.type == "cpu"


def test_a_network_in_training_is_traced_as_in_use():
    # 训练时，一个数算不出批量的方差
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).train()
    assert trace(net, (1, 3, 8, 8))[-1].out_shape == (1, 3, 1, 1)
    assert net.training and net[1].training


def test_random_numbers_of_a_training_thread_are_not_rewound():
    def forward(_, X):
        X = X + 1
        thread = threading.Thread(target=torch.rand, args=(1,))
        thread.start()
        thread.join()
        return X

    torch.manual_seed(0)
    trace(Call(forward), (1, 1, 2, 2))
    once = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(1)
    assert once == torch.rand(1)


def test_gradients_are_untouched():
    net = lenet()
    net(torch.zeros(1, 1, 28, 28)).sum().backward()
    grads = [p.grad.clone() for p in net.parameters()]
    trace(net, (1, 1, 28, 28))
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True))
    assert net(torch.zeros(1, 1, 28, 28)).requires_grad


# ---------------------------------------------------------------- 不能在 meta 上运行的网络；很大的网络


def loop_until_small(_, X):
    while X.abs().sum().item() > 1e9:
        X = X / 2
    return X


@pytest.mark.parametrize("forward", [
    loop_until_small,
    lambda _, X: X if X.sum() >= 0 else -X,
    lambda _, X: X + len(X.nonzero()),
    lambda _, X: X + X[X > 0].sum(),
    lambda _, X: torch.from_numpy(X.detach().numpy()),
    lambda net, X: torch.cat([X, net.constant])[:1],
], ids=["item", "bool", "nonzero", "mask", "numpy", "constant"])
def test_falls_back_to_the_device_of_the_network(forward):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), Call(forward), nn.Flatten(), nn.Linear(72, 3))
    net[1].constant = torch.ones(1, 2, 6, 6)  # 不是缓冲区，不会随网络移动
    table = trace(net, (1, 1, 8, 8))
    assert [row.out_shape for row in table] == [(1, 2, 6, 6), (1, 2, 6, 6), (1, 72), (1, 3)]
    assert (table.params, table.macs, table[0].receptive_field) == (239, 36 * 18 + 72 * 3, 3)
    assert input_sizes(net, (1, 1, 8, 8)) == (8, 8)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_real_run_gives_the_same_rows_as_meta(device):
    def peek(_, X):
        X.sum().item()
        return X

    for seed in range(30):
        net = random_network(seed).to(device)
        last = nn.Sequential(*net, Call(peek))
        assert trace(last, (2, 4, 20, 20), ALL)[:-1] == trace(net, (2, 4, 20, 20), ALL)


def test_a_real_run_does_not_shortcut_values():
    # 真算时 ReLU 必须真的去掉负数
    net = nn.Sequential(Call(lambda _, X: X - 1), nn.ReLU(), Call(lambda _, X: X[X >= 0].view(1, 1, 4, 4)))
    assert trace(net, (1, 1, 4, 4))[-1].out_shape == (1, 1, 4, 4)


def test_a_network_that_fails_is_not_run_on_its_device():
    runs = []

    def forward(_, X):
        runs.append(X.device.type)
        return X.view(7, 7)

    with pytest.raises(ShapeError):
        trace(nn.Sequential(nn.Conv2d(1, 1, 1), Call(forward)), (1, 1, 2, 2))
    assert runs == ["meta"]


MEMORY = """
import resource, sys, torch
from torch import nn
from helpers.network.trace import trace

def net(width, **options):
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2, **options), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(1176, width, **options), nn.Sigmoid(), nn.Linear(width, width, **options))
trace(net(10), (1, 1, 28, 28))  # 第一次运行会导入 PyTorch 的一些模块
assert "torch._dynamo" not in sys.modules, "第一次运行多等一秒"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = trace(net(100_000, device="meta"), (1, 1, 28, 28))
assert table.params > 10 ** 10
trace(net(10), (100_000, 1, 28, 28))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
"""


def test_billions_of_parameters_and_a_huge_batch_take_no_memory():
    grown = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert int(grown) * (1 if sys.platform == "linux" else 1 / 1024) < 50 * 1024


# ---------------------------------------------------------------- 感受野与自动求导相同


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
    assert table[-1].receptive_field == expected[1]
    turned = trace(Call(lambda net, X: net.body(X.mT), body=net), (1, 1, 180, 192))
    assert turned[-1].receptive_field == expected[1]


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
    assert trace(net, (1, 1, 192, 192))[-1].receptive_field == expected[1]


@pytest.mark.parametrize("layer", [
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Upsample(scale_factor=2),
    nn.ConvTranspose2d(2, 2, 3), Call(lambda _, X: X.mean((2, 3))),
    Call(lambda _, X: X * X.amax((2, 3), keepdim=True))], ids=lambda layer: type(layer).__name__)
def test_receptive_field_is_none_after_the_whole_image_is_mixed(layer):
    assert [row.receptive_field for row in trace(nn.Sequential(nn.Conv2d(1, 2, 3), layer), (1, 1, 8, 8))] == [3, None]


# ---------------------------------------------------------------- 走得通的边长


def runs(net, shape):
    try:
        net(torch.zeros(shape))
    except RuntimeError:
        return False
    return True


def sizes_by_trying(net, limit):
    fits = [size for size in range(1, limit + 1) if runs(net.eval(), (1, 1, size, size))]
    return fits[0], None if fits[-1] == limit else fits[-1]


def vgg_like():
    def block(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2))

    return nn.Sequential(block(1, 2), block(2, 4), block(4, 4), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))


def even_only():
    return nn.Sequential(Concat(nn.AvgPool2d(2), nn.Conv2d(1, 1, 1, stride=2)), nn.Conv2d(2, 1, 7))


NETS = {"lenet": lenet, "nin": nin_like, "vgg": vgg_like, "even": even_only,
        "functional": lambda: Call(lambda net, X: net.linear(F.max_pool2d(F.avg_pool2d(X, 3), 2, 1).flatten(1)),
                                   linear=nn.Linear(9, 2)),
        "reflect": lambda: nn.Sequential(nn.ReflectionPad2d(40), nn.Conv2d(1, 1, 3)),
        "even_linear": lambda: nn.Sequential(*even_only(), nn.Flatten(), nn.Linear(400, 2))}


@pytest.mark.parametrize("name", NETS)
def test_input_sizes_are_those_found_by_trying_each(name):
    net = NETS[name]()
    assert input_sizes(net, (1, 1, 5, 9)) == sizes_by_trying(net, 64)


def test_input_sizes_of_lenet():
    assert input_sizes(lenet(), (1, 1, 28, 28)) == (28, 31)


def test_input_sizes_of_a_window_wider_than_32():
    assert input_sizes(nn.MaxPool2d(40), (1, 1, 28, 28)) == (40, None)


def test_no_square_fits_although_the_shape_does():
    with pytest.raises(ShapeError, match="没有任何 1 到 1024 之间的边长走得通"):
        input_sizes(nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), (1, 1, 1, 7))


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 63, 64, 65, 224, 1023, 1024])
def test_input_sizes_at_the_edges_of_the_search(size):
    only = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 1, device="meta"))
    assert input_sizes(only, (1, 1, 1, 1)) == (size, size if size < 1024 else None)


def test_a_shape_is_refused_exactly_when_the_network_refuses_it():
    rng, refused = random.Random(7), 0
    for _ in range(120):
        body, channels = random_layers(rng, 4, rng.randint(1, 5))
        net = nn.Sequential(body, nn.Flatten(), nn.Linear(channels * 4, 2)).eval()
        shape = (2, rng.choice([4, 4, 4, 3]), rng.randint(1, 12), rng.randint(1, 12))
        for part in (body, net):
            if runs(part, shape):
                assert trace(part, shape, 0)[-1].out_shape == part(torch.zeros(shape)).shape
            else:
                refused += 1
                with pytest.raises(ShapeError):
                    trace(part, shape)
    assert 40 < refused < 200


@pytest.mark.parametrize("fits, text", [((28, 31), "28 到 31"), ((5, None), "5 以上"), ((7, 7), "7")])
def test_describe_sizes(fits, text):
    assert describe_sizes(fits) == text


def test_no_size_fits_a_network_with_wrong_channels():
    with pytest.raises(ShapeError, match="in_channels"):
        input_sizes(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(3, 2, 3)), (1, 1, 8, 8))


# ---------------------------------------------------------------- 走不通时说什么


def failure(net, shape, depth=1):
    with pytest.raises(ValueError) as caught:
        trace(net, shape, depth)
    return caught.value


@pytest.mark.parametrize("size, change", [(20, "加大"), (40, "减小")])
def test_a_wrong_size_names_the_layers_the_shapes_and_the_change(size, change):
    error = failure(lenet(), (1, 1, size, size))
    text = str(error)
    assert "第 7 层 Linear" in text and "第 6 层 Flatten" in text
    features = 16 * ((size // 2 - 4) // 2) ** 2
    assert f"(1, {features})" in text and "400" in text
    assert change in text and f"in_features 改成 {features}" in text and "28 到 31" in text
    assert isinstance(error, ShapeError) and type(error.__cause__) is RuntimeError


@pytest.mark.parametrize("broken, says", [
    (nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(4, 8, 3)), "in_channels 改成 6"),
    (nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(8, 8, 3, groups=2)), "卷积要 8 个通道"),
    (nn.Sequential(nn.Conv2d(1, 6, 3), nn.ConvTranspose2d(8, 4, 3, groups=2)), "in_channels 改成 6"),
    (nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(4)), "num_features 改成 6"),
    (nn.Sequential(nn.Conv2d(1, 6, 3), nn.Linear(216, 10)), "nn.Flatten()"),
    (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)), "请把 in_features 改成 1。"),
    (nn.Sequential(nn.Conv2d(1, 6, 3), Residual(nn.Conv2d(6, 8, 1))), "(1, 8, 6, 6) 和 (1, 6, 6, 6)"),
    (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 6, 5)), "放不下 (5, 5) 的窗口"),
    (nn.Sequential(nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(5))), "放不下 (5, 5) 的窗口"),
    (nn.Sequential(nn.Flatten(), nn.Conv2d(1, 6, 5)), "Expected 3D"),
    (nn.Sequential(nn.Identity(), Call(lambda _, X: X.nothing)), "AttributeError"),
])
def test_each_kind_of_mistake_gets_its_own_remedy(broken, says):
    text = str(failure(broken, (1, 1, 8, 8)))
    assert says in text and "请" in text


def test_a_lazy_network_is_told_to_run_once():
    net = nn.Sequential(nn.LazyConv2d(6, 3), nn.Flatten(), nn.LazyLinear(10))
    assert "运行一次" in str(failure(net, (1, 1, 8, 8)))
    net(torch.zeros(1, 1, 8, 8))
    assert trace(net, (1, 1, 8, 8))[0].params == 60
