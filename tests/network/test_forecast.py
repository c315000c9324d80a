"""预计的内存与 autograd 真正存下的比，与真的训练几步的峰值比。"""

import gc
from dataclasses import replace

import pytest
import torch
from support.nets import SIZES, Call
from support.rows import python
from torch import nn

from helpers import NETWORKS, forecast, load
from helpers.machine.device import GB, megabytes
from helpers.network.dispatch import storage_id


def really_saved(net, X, dtype):
    """真的走一次前向，数 autograd 存下的字节；权重和统计量不算。"""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast(
            "cpu", dtype, enabled=dtype != torch.float32):
        nn.functional.cross_entropy(net(X), torch.zeros(len(X), dtype=torch.long))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    return sum(size for key, size in kept.items() if key not in own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("section", NETWORKS)
def test_activations_are_what_autograd_saves(section, dtype):
    widths = {"ratio": 4} if section == "7.3" else {}
    net, size = getattr(load(section), NETWORKS[section])(**widths).train(), SIZES[section]
    X = torch.rand(4, 1, size, size).to(memory_format=torch.channels_last)
    need = forecast(net, (1, 1, size, size), 4, dtype=dtype)
    net.to(memory_format=torch.channels_last)
    assert need.activations + need.copies == pytest.approx(really_saved(net, X, dtype), rel=0.1)


def scaled(net, X):
    return net.after(torch.relu(net.before(X) * net.own))


def placed(net, X):
    return net.after(nn.functional.gelu(net.before(X)) + net.own)


def normalized(net, X):
    Y = net.before(X)
    centred = Y - Y.mean((0, 2, 3), keepdim=True)
    return net.after(torch.relu(net.own * centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()))


def attentive(net, X):
    Y = net.before(X).flatten(2).transpose(1, 2) * net.own.flatten()
    return net.after((Y @ Y.transpose(1, 2) @ Y).transpose(1, 2).unflatten(2, X.shape[2:]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("forward", [scaled, placed, normalized, attentive, None])
def test_a_parameter_of_ones_own_keeps_its_precision(forward, dtype):
    """autocast 只换卷积和矩阵乘法的精度：读者自己的参数与激活逐格相乘，得到的是单精度。"""
    own = (nn.LocalResponseNorm(5) if forward is None else
           nn.Parameter(torch.ones(1, 32, *(16, 16) if forward is placed else (1, 1))))
    net = Call(forward or (lambda net, X: net.after(net.own(net.before(X)))), before=nn.Conv2d(1, 32, 3, padding=1),
               after=nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(32 * 256, 10)), own=own)
    X = torch.rand(16, 1, 16, 16)
    need = forecast(net, (1, 1, 16, 16), 16, dtype=dtype)
    ratio = (need.activations + need.copies) / really_saved(net, X, dtype)
    assert ratio == pytest.approx(1, abs=1e-3 if dtype == torch.float32 else 0.3 if forward is None else 0.08)


def late_layer(net, X):
    if not hasattr(net, "late"):
        net.late = nn.Conv2d(1, 2, 3)
    return net.late(X)


def ramp(net, X):
    return net.conv(X + torch.linspace(0, 1, 12, device=X.device))


@pytest.mark.parametrize("forward", [late_layer, ramp])
def test_what_forward_makes_in_single_precision_does_not_hinder_half_precision(forward):
    net = Call(forward, conv=nn.Conv2d(1, 2, 3))
    single, half = (forecast(net, (1, 1, 12, 12), 4, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half == replace(single, dtype=torch.bfloat16, copies=half.copies) and half.copies > 0
    with torch.autocast("cpu", torch.bfloat16):  # 训练时走得通
        assert net(torch.rand(4, 1, 12, 12)).shape == (4, 2, 10, 10)


def test_a_mean_in_double_precision_is_counted_in_double_precision():
    def forward(net, X):
        Y = net.conv(X)
        return Y * Y.mean((2, 3), keepdim=True, dtype=torch.float64)

    net, kept = Call(forward, conv=nn.Conv2d(1, 2, 3)), {}

    def keep(tensor):
        kept[storage_id(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.rand(4, 1, 28, 28))
    own = {storage_id(parameter) for parameter in net.parameters()}
    really = sum(size for key, size in kept.items() if key not in own)
    assert forecast(net, (1, 1, 28, 28), 4, dtype=torch.float32).activations == really


def test_the_input_is_counted_once_whether_or_not_a_layer_keeps_it():
    for first, kept in ((nn.Sigmoid(), 16 + 16), (nn.Identity(), 16)):  # 输入 4 个 float32，sigmoid 存下的是输出
        net = nn.Sequential(first, nn.Flatten(), nn.Linear(4, 2))
        assert forecast(net, (1, 1, 2, 2), 1, dtype=torch.float32).per_sample == kept


def test_weights_and_gradients():
    need = forecast(load("7.2").alexnet(), (1, 1, 224, 224), 1)
    assert need.weights == need.gradients == 4 * 46_764_746


def test_the_network_is_left_alone_and_nothing_is_allocated():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(2704, 10)).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    forecast(net, (1, 1, 28, 28), 1024)
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    with torch.device("meta"):
        huge = load("7.3").vgg11(hidden=100_000)
    assert forecast(huge, (1, 1, 224, 224), 1).weights > 40 * GB


@pytest.mark.filterwarnings("ignore::FutureWarning")  # 挨个看对象时，torch 会说它们过时了
def test_no_tensor_stays_behind():
    """滑块每动一次就预计一次：计算图里的张量都要放掉。"""
    def alive():
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    plan = load("7.1").plan.book
    net = plan.meta()
    before = alive()
    forecast(net, plan.shape, 64)
    assert alive() == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_batch_is_the_largest(dtype):
    def need(batch):
        return forecast(load("7.6").resnet18(), (1, 1, 96, 96), batch, dtype=dtype)

    batch = need(1).largest_batch(4 * GB)
    assert need(batch).total <= 4 * GB < need(batch + 1).total
    assert need(1).largest_batch(1e6) == 0


def test_the_table_names_the_parts_and_the_batches_that_fit():
    need = forecast(load("7.1").lenet(), (1, 1, 28, 28), 256, dtype=torch.float32)
    names = [name.strip("　") for name, _ in need.rows()]
    assert names == ["批量 256，float32", "权重", "梯度", "存下的激活", "余量", "最大的批量"]
    assert f"4 GB 放得下批量 {need.largest_batch(4 * GB):,}" in repr(need) and megabytes(need.total) in repr(need)
    assert f"{need.largest_batch(8 * GB):,}" not in repr(need)  # 十万多，比图片还多
    half = forecast(load("7.1").lenet(), (1, 1, 28, 28), 256, dtype=torch.bfloat16)
    assert ("　混合精度的权重副本", megabytes(2 * 61_706)) in half.rows()


def test_a_batch_is_never_larger_than_the_data():
    need = forecast(load("7.1").lenet(), (1, 1, 28, 28), 256, dtype=torch.float32)
    batch = need.largest_batch(GB)
    assert need.fitting(GB) == need.fitting(GB, batch + 1) == f"放得下批量 {batch:,}"
    assert need.fitting(GB, batch) == need.fitting(GB, 100) == "全部一批也放得下"
    assert need.fitting(1e6) == need.fitting(0, 1) == "一个样本也放不下"


# 在一个新的进程里：前面的测试用过、没有还给系统的内存，会让进程看起来没有变大。
# 先用很小的批量走一遍，把 PyTorch 的库都装进来
TWO_BATCHES = """
import torch
from helpers import fashion_mnist, forecast, load, xavier
from helpers.machine.gauge import Gauge, reset_peak
from helpers.training.loop import steps

net, cpu = load("7.4").nin().apply(xavier), torch.device("cpu")


def peak(batch_size):
    train, test = fashion_mnist(batch_size, 224, 96, device="cpu")
    reset_peak(cpu)
    gauge = Gauge(cpu)
    training = steps(net, train, test, lr=0.01, num_epochs=1, dtype=torch.float32, gauge=gauge)
    for _ in range(2):
        next(training)
    training.close()
    return gauge.peak


peak(1)
need = forecast(net, (1, 1, 224, 224), 32, dtype=torch.float32)
print(need.total, peak(32) + need.weights)
"""


@pytest.mark.slow
def test_the_real_peak_is_near():
    """一个激活占大头的网络，真的训练几步，进程增加的内存与预计差不到四成。"""
    said, real = map(int, python(TWO_BATCHES).stdout.split())
    assert said == pytest.approx(real, rel=0.4)
