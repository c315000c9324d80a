"""走一趟：借过的网络原样归还；不能在 meta 上运行的网络真算一遍；再大的网络也不占内存。"""

import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from support.nets import Call, devices, lenet, random_layers, random_network, runs
from torch import nn
from torch.nn import functional as F

from helpers import forecast, input_sizes, trace
from helpers.network.shape_errors import ShapeError

ALL = 99  # 展开到叶子


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
    assert trace(net, (1, 1, 8, 8))[1].receptive_field == (3, 3)
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


@pytest.mark.parametrize("ask", [trace, input_sizes, lambda net, shape: forecast(net, shape, 4)],
                         ids=["trace", "input_sizes", "forecast"])
@pytest.mark.parametrize("net, shape, kind, says", [
    ("x", (1, 1, 8, 8), TypeError, "应当是一个网络"), (lenet, (1, 1, 8, 8), TypeError, "加上括号"),
    (nn.Sequential(nn.LazyConv2d(2, 3)), (1, 1, 8, 8), ValueError, "运行一次"),
    (nn.Sequential(nn.Conv2d(1, 1, 1), nn.LazyBatchNorm2d(affine=False)), (1, 1, 8, 8), ValueError, "运行一次"),
    *((nn.ReLU(), shape, (TypeError, ValueError), "一串正整数") for shape in (
        28, "1188", None, (), (1, 1, 0, 8), (1, 1, -8, 8), (1, 1, 8.0, 8), (1, 1, "8", 8), (1, True, 8, 8), {1: 1},
        torch.tensor(5)))],
    ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_is_no_network_or_no_shape_is_refused_in_one_sentence(ask, net, shape, kind, says):
    with pytest.raises(kind, match=says):
        ask(net, shape)


def test_depth_is_checked():
    for depth in (-1, 1.5, "x", None):
        with pytest.raises(ValueError, match="depth 应当是不小于 0 的整数"):
            trace(nn.ReLU(), (1, 1, 8, 8), depth)


@pytest.mark.parametrize("shape", [[2, 1, 8, 8], np.array([2, 1, 8, 8]), torch.Size([2, 1, 8, 8]),
                                   (np.int64(2), np.int32(1), torch.tensor(8), 8)], ids=str)
def test_any_integers_make_a_shape(shape):
    row, = trace(nn.Identity(), shape)
    assert row.out_shape == (2, 1, 8, 8) and {type(size) for size in row.out_shape} == {int}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("whole", [True, False])
def test_what_torch_jit_has_compiled_is_refused_in_one_sentence(whole):
    compiled = torch.jit.script(nn.Conv2d(1, 1, 3))
    net, where = (compiled, "这个网络") if whole else (nn.Sequential(nn.ReLU(), compiled), "第 1 层")
    for ask in (trace, input_sizes, lambda net, shape: forecast(net, shape, 4)):
        with pytest.raises(TypeError, match=f"{where}是 torch.jit 编译过的"):
            ask(net, (1, 1, 8, 8))


def test_a_network_compiled_by_torch_compile_is_traced_as_written():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    wrapped = Call(lambda net, X: net._orig_mod(X), _orig_mod=net)  # torch.compile 包的就是这样一层
    assert trace(wrapped, (1, 1, 8, 8)) == trace(net, (1, 1, 8, 8))


def test_frozen_networks_are_traced_and_forecast():
    net = lenet().requires_grad_(False)
    assert trace(net, (1, 1, 28, 28)) == trace(lenet(), (1, 1, 28, 28))
    need, trained = (forecast(each, (1, 1, 28, 28), 4) for each in (net, lenet()))
    assert need.gradients == 0 and need.weights == trained.weights and need.activations < trained.activations


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
    assert (table.params, table.macs) == (239, 36 * 18 + 72 * 3)
    assert table[0].receptive_field == (3, 3)
    assert input_sizes(net, (1, 1, 8, 8)) == (8, 8)


def recurrent(net, X):
    """初始状态造在 CPU 上，没有写 device。"""
    state = torch.zeros(2, len(X), 6)
    return net.rnn(X.squeeze(1), (state, state))[0]


def test_what_forward_makes_without_a_device_walks_on_meta_too():
    net = nn.Sequential(Call(recurrent, rnn=nn.LSTM(8, 6, 2, batch_first=True)))
    table = trace(net, (3, 1, 5, 8))
    assert table.macs == 3 * 5 * 4 * 6 * (8 + 6 + 6 + 6) and table[0].out_shape == (3, 5, 6)


def test_a_number_may_be_printed():
    [row] = trace(Call(lambda _, X: (f"{X.mean():.3f}", X.relu())[1]), (1, 1, 4, 4))
    assert row.out_shape == (1, 1, 4, 4)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
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
    assert set(runs) == {"meta"}  # 找走得通的边长时也一样


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


@pytest.mark.slow
def test_billions_of_parameters_and_a_huge_batch_take_no_memory():
    grown = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert int(grown) * (1 if sys.platform == "linux" else 1 / 1024) < 50 * 1024


@pytest.mark.slow
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
