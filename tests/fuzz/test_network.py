"""随机的网络：逐层清单、感受野、走得通的边长与标准答案相同；借过的网络一点没变；不对的输入一句中文。"""

import re
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from support.networks import Op, messy_networks, networks
from support.probe import check_field, run
from support.snapshot import snapshot
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers import forecast, input_sizes, trace
from helpers.network.shape_errors import ShapeError

ALL = 99  # 展开到叶子
LIMIT = 20  # 试到多大的边长


@given(networks())
def test_receptive_field_is_right_or_unknown(case):
    check_field(*case)


@given(networks())
def test_shapes_parameters_and_macs_are_those_of_a_real_run(case):
    net, shape = case
    rows = []
    leaves = {module: name for name, module in net.named_modules() if name and not [*module.children()]}
    hooks = [module.register_forward_hook(lambda module, _, out: rows.append((leaves[module], tuple(out.shape))))
             for module in leaves]
    with torch.no_grad():
        net(torch.rand(shape))
    for hook in hooks:
        hook.remove()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # CPU 上的注意力它不认得
        deepcopy(net).to("meta")(torch.zeros(shape, device="meta"))
    table = trace(net, shape, ALL)
    assert [(row.name, row.out_shape) for row in table if row.name in leaves.values()] == rows
    assert table.params == sum(p.numel() for p in net.parameters())
    assert table.macs == counter.get_total_flops() // 2


@given(networks(count=3, largest=10))
def test_sizes_are_those_found_by_trying_each(case):
    net, shape = case
    fits = [size for size in range(1, LIMIT + 1) if run(net, torch.rand(*shape[:2], size, size)) is not None]
    if fits:
        sizes = input_sizes(net, shape, LIMIT)
        assert list(sizes.fits) == fits and [size for size in range(1, LIMIT + 1) if size in sizes] == fits
    else:
        with pytest.raises(ValueError):
            input_sizes(net, shape, LIMIT)


@given(messy_networks())
def test_a_borrowed_network_comes_back_bit_for_bit(case):
    net, shape = case
    before = snapshot(net)
    for ask in (trace, lambda *given: forecast(*given, 4, dtype=torch.float32), lambda *given: input_sizes(*given, 6)):
        try:
            ask(net, shape)
        except ValueError as error:  # 走不通也要还
            assert re.search("[一-鿿]", str(error))
        assert snapshot(net) == before


def check_accepted(net, shape):
    """真的走得通的，清单也走得通，形状相同；走不通的，清单也走不通。"""
    out = run(net, torch.zeros(shape))
    if out is not None:
        assert trace(net, shape)[-1].out_shape == out.shape
    else:
        with pytest.raises(ShapeError):
            trace(net, shape)


LAYOUTS = ["X.mT", "X.permute(0, 2, 3, 1)", "X.transpose(0, 1)", "X[:, :, ::2]", "X[:, 1:]", "X[:, :1].expand(X.shape)",
           "X.contiguous()", "X.to(memory_format=torch.channels_last)", "X.relu()", "X.sigmoid()", "X + 1",
           "X + X.contiguous()", "X * X.mean(1, keepdim=True)", "X * X.mean()", "X.mean(2, keepdim=True)",
           "torch.cat([X, X], 1)", "torch.cat([X, X.contiguous()], 2)", "F.max_pool2d(X, 2)", "F.avg_pool2d(X, 2)",
           "F.conv2d(X, X.new_ones(2, X.shape[1], 1, 1))", "F.batch_norm(X, *X.new_ones(2, X.shape[1]))",
           "F.linear(X, X.new_ones(2, X.shape[3]), X.new_ones(2))", "F.dropout(X)"]


@given(st.lists(st.sampled_from(LAYOUTS), max_size=4), st.sampled_from(["X.view(-1)", "X.view(X.shape[0], -1)"]),
       st.integers(1, 2))
@example(["X.to(memory_format=torch.channels_last)", "F.max_pool2d(X, 2)", "F.max_pool2d(X, 2)",
          "torch.cat([X, X.contiguous()], 2)"], "X.view(-1)", 1)
def test_a_view_works_exactly_where_memory_allows(texts, view, batch):
    check_accepted(nn.Sequential(*map(Op, [*texts, view])), (batch, 4, 4, 6))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=3) | st.just(nn.ReLU)
    | st.builds(np.int64, st.integers(-1, 12)) | st.builds(lambda n: torch.tensor(n), st.integers(0, 12)),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple)
    | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=6)
NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))


@given(st.sampled_from(["trace", "forecast", "input_sizes"]), ODD | st.just(NET), ODD, ODD)
@example("trace", NET, [1], 0)
@example("input_sizes", NET, (1, 1, 8), 8)
def test_odd_arguments_are_refused_in_chinese(name, net, shape, option):
    ask = {"trace": trace, "forecast": forecast, "input_sizes": input_sizes}[name]
    try:
        ask(net, shape, option)
    except (TypeError, ValueError) as error:
        assert re.search("[一-鿿]", str(error)), error


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_a_shape_works_exactly_when_the_network_runs(shape):
    for net in (NET, NET[:1], nn.ReLU(), nn.Sequential(nn.AvgPool2d(2), nn.Flatten())):
        check_accepted(net, shape)
