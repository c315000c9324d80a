"""一格怎样算出来的：与 torch 的前向、自动求导对照，随机的格，七个网络和 torchvision 的。"""

import copy
import math
import random
import re

import pytest
import torch
from support.nets import SIZES, Call, Concat, Residual, lenet
from torch import nn

from helpers import load
from helpers.network.inside import explain
from helpers.network.recording import record

CELLS = 1_000


def planned(section):
    """没有 GPU 的机器上训练的那个网络，和它的一张图。"""
    plan = load(section).plan
    torch.manual_seed(0)
    return plan.make(**plan.widths), torch.rand(1, 1, plan.size, plan.size)


def vision(name):
    """torchvision 的网络，统计量不是 0 和 1；和它的一张图。"""
    import torchvision
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None, **({"init_weights": True} if name == "googlenet" else {}))
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return net, torch.randn(1, 3, 64, 64)


def outputs(net, X):
    """每一层最后一次调用的输出；不经过要测的代码。"""
    found, hooks = {}, []
    for name, module in net.named_modules():
        hooks.append(module.register_forward_hook(
            lambda m, a, out, name=name: found.update({name: out.clone() if isinstance(out, torch.Tensor) else out})))
    with torch.no_grad():
        net.eval()(X)
    for hook in hooks:
        hook.remove()
    return {name: out for name, out in found.items() if isinstance(out, torch.Tensor)}


def agrees(explanation, value):
    """各项加起来是 torch 的值；float32 的误差与最大的一项相比。"""
    total = math.fsum(term.contribution for term in explanation.terms)
    scale = max(abs(value), *(abs(term.contribution) for term in explanation.terms))
    return explanation.value == value and abs(total - value) <= 1e-5 * scale


@pytest.mark.parametrize("section", SIZES)
def test_the_terms_of_a_random_cell_give_torch_s_value(section):
    net, X = planned(section)
    compare(net, X)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "convnext_tiny",
                                  "squeezenet1_1"])
def test_torchvision_too(name):
    compare(*vision(name))


def compare(net, X):
    theirs, recording, dice = outputs(net, X), record(net, X), random.Random(0)
    names = list(theirs)
    for _ in range(CELLS):
        name = dice.choice(names)
        index = tuple(map(dice.randrange, theirs[name].shape))
        found = explain(recording, None, name, index)
        assert found.terms, (name, index, found)
        assert agrees(found, theirs[name][index].item()), (name, index, found)


@pytest.mark.parametrize("section", SIZES)
def test_the_way_back_ends_at_a_pixel_of_the_image(section):
    net, X = planned(section)
    cell = explain(net, X, "", (0, 3)).cell
    for _ in range(400):
        found = cell.explain()
        if found.kind == "pixel":
            break
        cell = max((term for term in found.terms if term.role == "input"), key=lambda term: abs(term.contribution)).cell
    assert found.kind == "pixel" and found.value == X[found.index].item()


LAYERS = {
    "conv": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), "weighted_sum"),
    "conv without bias": (nn.Conv2d(4, 6, 3, bias=False), "weighted_sum"),
    "linear": (nn.Sequential(nn.Flatten(2), nn.Linear(81, 5)), None),
    "max": (nn.MaxPool2d(3, 2, padding=1), "maximum"),
    "max, dilated": (nn.MaxPool2d(2, 1, dilation=3), "maximum"),
    "average": (nn.AvgPool2d(3, 2, padding=1), "mean"),
    "average, ceil": (nn.AvgPool2d(2, 2, ceil_mode=True), "mean"),
    "average of what is there": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), "mean"),
    "average over 5": (nn.AvgPool2d(3, divisor_override=5), "mean"),
    "global": (nn.AdaptiveAvgPool2d(1), "mean"),
    "adaptive": (nn.AdaptiveAvgPool2d((2, 4)), "mean"),
    "adaptive max": (nn.AdaptiveMaxPool2d((2, 4)), "maximum"),
    "flatten": (nn.Flatten(), "flatten"),
    "pad": (nn.ZeroPad2d(2), "movement"),
    "reflection": (nn.ReflectionPad2d(2), "movement"),
    "nearest": (nn.Upsample(scale_factor=2), "movement"),
    "shuffle": (nn.PixelShuffle(2), "movement"),
    "relu": (nn.ReLU(), "activation"),
    "times": (Call(lambda self, X: 3 * X), "product"),
    "divided": (Call(lambda self, X: X / 4), "product"),
    "minus": (Call(lambda self, X: X - X.flip(-1)), "addition"),
    "rows": (Call(lambda self, X: X.sum((1, 3))), "sum"),
    "cat": (Concat(nn.Conv2d(4, 2, 1), nn.Flatten(0, 0)), "concatenation"),
    "residual": (Residual(nn.Conv2d(4, 4, 3, padding=1)), "addition"),
    "slices": (Call(lambda self, X: X[:, 1:, ::2, 3:]), "movement"),
    "einsum": (Call(lambda self, X: torch.einsum("bchw,bcij->bhi", X, X.detach())), None),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", LAYERS)
def test_weights_and_places_are_the_derivatives(case, layout):
    layer, kind = LAYERS[case]
    torch.manual_seed(1)
    X = torch.randn(2, 4, 9, 9).to(memory_format=layout)
    recording = record(nn.Sequential(layer), X)
    shape, dice = recording["0"].shape, random.Random(2)
    for _ in range(20):
        index = tuple(map(dice.randrange, shape))
        found = explain(recording, None, "0", index)
        assert kind in (None, found.kind)
        source = X.clone().requires_grad_()
        layer.eval()(source)[index].backward()
        assert torch.allclose(flow(found, X), source.grad, atol=1e-6), (index, found)


def flow(found, X):
    """沿着各项走回图像，累计每个像素的权重。"""
    total, waiting = torch.zeros(X.shape), [(found, 1.0)]
    while waiting:
        here, weight = waiting.pop()
        if here.kind == "pixel":
            total[here.index] += weight
        for term in here.terms:
            if term.role == "input" and term.weight:
                waiting.append((term.cell.explain(), weight * term.weight))
    return total


def test_normalizations_say_their_numbers():
    torch.manual_seed(3)
    X = torch.randn(3, 4, 5, 5)
    norms = {"batch": nn.BatchNorm2d(4), "fresh": nn.BatchNorm2d(4, track_running_stats=False),
             "layer": nn.LayerNorm([4, 5, 5]), "group": nn.GroupNorm(2, 4), "plain": nn.BatchNorm2d(4, affine=False),
             "instance": nn.InstanceNorm2d(4, affine=True)}
    for norm in norms.values():
        for tensor in (*norm.parameters(), *norm.buffers()):
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 2)
    for name, norm in norms.items():
        net, Y = nn.Sequential(norm), norm.eval()(X)
        found = explain(net, X, "0", (1, 2, 3, 4))
        assert found.kind == "normalization" and agrees(found, Y[1, 2, 3, 4].item()), name
    found = explain(nn.Sequential(norms["batch"]), X, "0", (1, 2, 3, 4))
    batch = norms["batch"]
    assert found.constants == pytest.approx({"μ": batch.running_mean[2].item(), "γ": batch.weight[2].item(),
                                             "σ": (batch.running_var[2] + batch.eps).sqrt().item(),
                                             "β": batch.bias[2].item()})


def test_a_relu_says_what_it_did():
    net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(2, 2)).eval()
    X = torch.tensor([[[[0.5, -0.5]]]])
    kept, lost = (explain(net, X, "0", (0, 0, 0, column)) for column in (0, 1))
    assert "照旧" in kept.note and kept.value == 0.5 and kept.terms[0].weight == 1
    assert "变成 0" in lost.note and lost.value == 0 and lost.terms[0].weight == 0


@pytest.mark.parametrize("inputs, rest", [(11, 0), (12, 1), (40, 29)])
def test_the_many_terms_are_added_up_in_one_line(inputs, rest):
    """偏置也是一项；印出来的几项和「另外」的合计，加起来就是它的值。"""
    torch.manual_seed(0)
    found = explain(nn.Sequential(nn.Linear(inputs, 2)), torch.rand(1, inputs), "0", (0, 1))
    lines = repr(found).splitlines()
    assert lines[0].endswith(f"：{found.name}") and not found.name.isascii()
    for term, line in zip(found.terms[:11], lines[1:12], strict=True):
        assert f"{term.value:.6g} × {term.weight:.6g} = " in line
    assert rest or ("偏置 0.bias (1,)" in lines[12] and "×" not in lines[12])
    assert len(found.terms) == inputs + 1 and sum("另外" in line for line in lines) == (rest > 0)
    if rest:
        [(count, total)] = re.findall(r"另外 (\d+) 项，合计 (\S+)", repr(found))
        shown = sum(term.contribution for term in found.terms[:12])
        assert int(count) == rest and shown + float(total) == pytest.approx(found.value, abs=1e-5)


def test_every_term_names_the_places_of_its_numbers():
    net, X = lenet(), torch.rand(2, 1, 28, 28)
    found = explain(net, X, "3", (1, 5, 0, 9))
    assert len(found.terms) == 6 * 25 + 1
    for term in found.terms[:-1]:
        assert term.cell.number == term.value and term.weight_cell.number == term.weight
        assert term.weight_cell.value.layer == "3.weight" and net[3].weight[term.weight_cell.index] == term.weight
    assert found.terms[-1].role == "bias" and found.terms[-1].value == net[3].bias[5].item()
    assert len(explain(net, X, "0", (0, 0, 0, 0)).terms) == 3 * 3 + 1  # 角上，填充里的不算


class Reuser(nn.Module):
    """一个 ReLU 用三次，就地的加法，暂退法，列表里的连结。"""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.drop = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(0.9)

    def forward(self, X):
        Y = self.relu(self.conv(X))
        Z = self.drop(Y)
        Z = Z + self.relu(-X)
        Z += 1
        return self.relu(torch.cat([Z, Y[:, :1] * Y[:, 1:2]], 1))


def test_a_forward_of_one_s_own():
    torch.manual_seed(4)
    net, X = Reuser(), torch.randn(2, 1, 6, 6)
    compare_cells(net, X, ("", "drop", "conv", "relu"))
    assert explain(net, X, "drop", (0, 0, 0, 0)).kind == "dropout"
    relu = explain(net, X, "relu", (0, 0, 2, 2))  # 说的是最后一次
    joined = relu.terms[0].cell.explain()
    added = joined.terms[0].cell.explain()
    assert [relu.kind, joined.kind, added.kind] == ["activation", "concatenation", "addition"]
    assert added.terms[1].role == "constant" and added.terms[1].value == 1


def compare_cells(net, X, names):
    theirs, recording = outputs(net, X), record(net, X)
    for name in names:
        for index in torch.cartesian_prod(*map(torch.arange, theirs[name].shape)).tolist():
            assert agrees(explain(recording, None, name, index), theirs[name][tuple(index)].item()), (name, index)


def test_what_was_overwritten_is_not_made_up():
    def forward(self, X):
        Y = X * 2
        Y[:, :, 0] = 7
        return Y + 0

    net, X = Call(forward), torch.rand(1, 1, 3, 3)
    found = explain(net, X, "", (0, 0, 0, 1)).terms[0].cell.explain()
    assert found.kind == "other" and found.note and found.value == 7


def test_what_is_not_a_sum_says_so():
    net, X = nn.Sequential(nn.Softmax(1)), torch.rand(1, 4, 2, 2)
    found = explain(net, X, "0", (0, 1, 0, 0))
    assert found.kind == "other" and "softmax" in found.note and found.value == net(X)[0, 1, 0, 0].item()


def test_the_network_comes_back_as_it_was():
    net, X = planned("7.6")[0].train(), torch.rand(1, 1, 64, 64)
    net[0].eval()
    before, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    hooks = [len(module._forward_hooks) for module in net.modules()]
    image, random_state = X.clone(), torch.get_rng_state()
    explain(net, X, "0", (0, 0, 0, 0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]
    assert hooks == [len(module._forward_hooks) for module in net.modules()]
    assert torch.equal(X, image) and torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("layer, index", [("7x", (0, 0)), ("11", (0, 10)), ("11", (0,)), ("11", (0, -1)),
                                          ("11", (0, 1.5)), ("11", "ab"), ("0", 3)])
def test_bad_questions_are_refused_in_words(layer, index):
    with pytest.raises(ValueError, match="。"):
        explain(lenet(), torch.rand(1, 1, 28, 28), layer, index)


def test_bad_images_are_refused_in_words():
    for X in (None, torch.zeros(1, 1, 28, 28, dtype=torch.uint8), [[0.0]]):
        with pytest.raises(ValueError, match="。"):
            explain(lenet(), X, "0", (0, 0, 0, 0))


def test_a_network_of_one_s_own_is_recorded_without_borrowing():
    net, X = planned("7.6")
    borrowed, own = record(net, X), record(net.eval(), X, own=True)
    assert list(borrowed.layers) == list(own.layers)
    for name, value in borrowed.layers.items():
        assert torch.equal(value.content, own[name].content)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
