"""逐层清单：书上的数字，逐行与 torchinfo 1.8.0 相同，共享、嵌套、空的模块，表格。"""

import unicodedata
from functools import cache

import pytest
import torch
import torchinfo
import torchvision.models as zoo
from support.nets import Call, Concat, Residual, devices, lenet, random_network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers import Layer, trace
from helpers.network.layer import Field
from helpers.network.trace import tried_to

ALL = 99  # 展开到叶子


@devices
def test_lenet_has_the_numbers_of_the_book(device):
    table = trace(lenet().to(device), (1, 1, 28, 28))
    assert (table.params, table.macs) == (61_706, 416_520)
    assert table[3] == Layer("3", "Conv2d", (1, 6, 14, 14), (1, 16, 10, 10), 2_416, 240_000, Field(14, 14))
    assert [str(layer.receptive_field) for layer in table] == [
        "5×5", "5×5", "6×6", "14×14", "14×14", "16×16"] + ["全图"] * 6


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


def test_a_layer_that_the_book_has_not_is_marked_whole():
    long, short = (trace(nn.Sequential(*[nn.Conv2d(2, 2, 3, padding=1)] * count), (1, 2, 8, 8)) for count in (3, 2))
    *_, second, third, total = long.html(short).split("<tr>")
    assert [row.count("bold") for row in (second, third, total)] == [0, 6, 1]


@pytest.mark.parametrize(("size", "tried"), [(28, 256), (128, 256), (200, 400), (900, 1024)])
def test_sizes_are_tried_to_twice_what_failed(size, tried):
    assert tried_to((1, 1, size // 2, size)) == tried


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
@pytest.mark.slow
def test_torchvision_network_is_the_same_as_torchinfo(name):
    net, shape = from_zoo(name), (2, 3, ZOO[name], ZOO[name])
    table = same_as_torchinfo(net, shape, ALL)
    same_as_torchinfo(net, shape, 1)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(shape, device="meta"))
    assert table.macs == counter.get_total_flops() // 2
    assert table.params == sum(p.numel() for p in net.parameters())


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
