"""借用：每个模块的模式、钩子、属性和随机数，用完都还原，出错也一样。"""

import random
from collections import deque
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from support.nets import Call
from support.snapshot import snapshot
from torch import nn

from helpers import accuracy, fashion_mnist, forecast, input_sizes, trace
from helpers.network.borrow import Loan, copied, evaluating, hooked, rewinding, submodules
from helpers.network.recording import record
from helpers.network.shape_errors import ShapeError

CPU = torch.device("cpu")
DATA = fashion_mnist(batch_size=8, images=20, device="cpu")[1]


class Oops(Exception):
    """里面出的错。"""


def small():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()), nn.Dropout())
    net[1].eval()
    return net


def modes(net):
    return [module.training for module in net.modules()]


@pytest.mark.parametrize("borrow", [evaluating, copied])
def test_every_module_gets_its_mode_back(borrow):
    net = small()
    before = modes(net)
    with pytest.raises(Oops), borrow(net):
        assert set(modes(net)) == {False}
        raise Oops
    assert modes(net) == before == [True, True, False, False, False, True]


def test_a_compiled_network_is_evaluated_too():
    net = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Dropout())).train()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.modules())


def test_hooks_see_every_call_by_name_and_are_taken_off():
    net, seen = small(), []
    relu = net[1][1]
    names = {net[0]: "first", relu: "last"}
    with hooked(names, enter=lambda name, module, inputs: seen.append((name, module, inputs[0][0].shape)),
                leave=lambda name, module, output: seen.append((name, module, output.shape))):
        net(torch.zeros(1, 1, 5, 5))
        relu(torch.zeros(1, 2, 2))
    assert seen == [("first", net[0], (1, 1, 5, 5)), ("first", net[0], (1, 2, 3, 3)), ("last", relu, (1, 2, 3, 3)),
                    ("last", relu, (1, 2, 3, 3)), ("last", relu, (1, 2, 2)), ("last", relu, (1, 2, 2))]
    net(torch.zeros(1, 1, 5, 5))
    assert len(seen) == 6


def test_hooks_see_keyword_arguments_and_change_nothing():
    net, seen = Call(lambda _, X: X + 1), []
    with hooked({net: "net"}, enter=lambda *call: seen.append(call) or "不是输入",
                leave=lambda *call: seen.append(call) or "不是输出"):
        assert net(X=torch.zeros(())) == 1
    assert [call[0] for call in seen] == ["net", "net"] and seen[0][2] == ((), {"X": torch.zeros(())})


def test_hooks_are_taken_off_after_an_error_and_those_of_the_reader_stay():
    net, mine = small(), []
    net[0].register_forward_hook(lambda *_: mine.append(1))

    def fail(*_):
        raise Oops

    with pytest.raises(Oops), hooked({module: "" for module in net.modules()}, leave=fail):
        net(torch.zeros(1, 1, 5, 5))
    net(torch.zeros(1, 1, 5, 5))
    assert len(mine) == 2


def test_random_numbers_go_back_to_where_they_were_remembered():
    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    with rewinding(CPU) as remember:
        first = torch.rand(1).item()
        remember()
        torch.rand(1)
        remember()  # 只有第一次算
        torch.rand(5)
    assert [first, *torch.rand(2).tolist()] == expected


def test_random_numbers_are_not_rewound_unasked():
    torch.manual_seed(0)
    with rewinding(CPU):
        used = torch.rand(1)
    assert torch.rand(1) != used


def greedy(net, X):
    """借了不还的 forward：什么都改。"""
    if not hasattr(net, "late"):
        net.late = nn.Conv2d(1, 1, 1, device=X.device)
        net.register_buffer("seen", torch.zeros(1, device=X.device))
        net.register_forward_hook(lambda *_: None)
    for tensor in (net.first.weight, net.norm.running_mean, net.plain, net.kept["one"], net.nested[0][0]):
        tensor.mul_(2).add_(1)
    net.calls += 1
    net.log.append(X)
    net.nested[0].append(X)
    net.kept["two"] = X
    net.ring.append(X)
    net.names.add("new")
    net.counts[0] += 1
    net.first.training = True
    del net.spare
    net.hidden[0].bias.fill_(7)
    net.loop[0].append(1)
    for layer in net.group:
        layer.bias.fill_(7)
    net.handle.remove()
    torch.rand(1, generator=net.dice)
    random.random()
    np.random.rand()
    return net.hidden[0](net.late(net.first(X)) + torch.rand(1, device=X.device))


def everything():
    """一个网络，属性里什么都有。"""
    net = Call(greedy, first=nn.Conv2d(1, 1, 3), norm=nn.BatchNorm2d(1), frozen=nn.BatchNorm2d(1).eval())
    net.plain, net.kept, net.nested = torch.ones(2), {"one": torch.ones(2)}, ([torch.ones(2)], 3)
    net.calls, net.log, net.ring, net.names = 0, [], deque(maxlen=2), {"old"}
    net.counts, net.spare, net.hidden, net.loop = np.zeros(2), 1, [nn.Conv2d(1, 1, 1)], []
    net.loop.append(net.loop)
    net.group, net.dice = {nn.Conv2d(1, 1, 1)}, torch.Generator()
    net.handle = net.frozen.register_forward_hook(lambda *_: None)
    net.tied = net.first.weight
    net.first.weight.grad = torch.ones_like(net.first.weight)
    return net


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("borrow", [
    copied, *(lambda net, ask=ask: nullcontext(ask(net)) for ask in (
        lambda net: trace(net, (1, 1, 5, 5)), lambda net: forecast(net, (1, 1, 5, 5), 4),
        lambda net: input_sizes(net, (1, 1, 5, 5)), lambda net: record(net, torch.zeros(1, 1, 5, 5))))],
    ids=["copied", "trace", "forecast", "input_sizes", "record"])
def test_a_network_that_changes_everything_comes_back_bit_for_bit(borrow, broken):
    net = everything()
    before = snapshot(net)
    with suppress(Oops, ShapeError), borrow(net), torch.no_grad():
        if borrow is copied:
            net(torch.zeros(1, 1, 5, 5))
        if broken:
            raise Oops
    after = snapshot(net)
    assert after[0] == before[0]
    assert borrow is copied or after == before  # 随机数由 rewinding 还


class Trainer(nn.Linear):
    def train(self, loader, epochs=1):
        raise AssertionError


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: nn.Sequential(nn.Flatten(), net)])
@pytest.mark.parametrize("ask", [lambda net: trace(net, (1, 3)), submodules, Loan,
                                 lambda net: accuracy(net, fashion_mnist(8, images=16, device="cpu")[1])],
                         ids=["trace", "submodules", "Loan", "accuracy"])
def test_a_train_method_that_takes_data_is_told_apart(ask, wrap):
    with pytest.raises(TypeError, match=r"Trainer .*train\(mode=True\)"):
        ask(wrap(Trainer(3, 2)))


def draw(*_):
    random.random()
    np.random.rand()


def drawing_in_a_hook():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    net[1].register_forward_hook(draw)
    return net


def drawing_instead_of_forward():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    net[1].forward = lambda X: draw() or X
    return net


def drawing_in_a_parametrization():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    nn.utils.parametrize.register_parametrization(net[0], "weight", Call(lambda self, W: draw() or W))
    return net


def drawing_itself():
    return Call(lambda net, X: draw() or net.first(X), first=nn.Conv2d(1, 1, 3))


@pytest.mark.parametrize("make", [drawing_in_a_hook, drawing_instead_of_forward, drawing_in_a_parametrization,
                                  drawing_itself])
def test_wherever_python_draws_a_walk_gives_its_random_numbers_back(make):
    net = make()
    before = random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2]
    with torch.no_grad():
        net(torch.zeros(1, 1, 5, 5))
    assert random.getstate() != before[0]  # 真的抽了
    before = random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2]
    trace(net, (1, 1, 5, 5))
    forecast(net, (1, 1, 5, 5), 4)
    assert (random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2]) == before


def test_what_forward_puts_into_an_empty_dictionary_of_the_module_is_taken_out():
    def forward(net, X):
        net.inner._parameters["late"] = nn.Parameter(torch.zeros(1, device=X.device))
        net.inner._buffers["seen"] = torch.zeros(1, device=X.device)
        net.inner._modules["more"] = nn.ReLU()
        net.inner._forward_hooks[0] = lambda *_: None
        return net.inner(X)
    net = Call(forward, inner=nn.Identity())
    held = [getattr(net.inner, name) for name in ("_parameters", "_buffers", "_modules", "_forward_hooks")]
    trace(net, (1, 1, 5, 5))
    assert not any(held) and all(getattr(net.inner, name) is own for name, own in zip(
        ("_parameters", "_buffers", "_modules", "_forward_hooks"), held, strict=True))


def test_a_module_saved_by_an_older_torch_lacks_some_hooks():
    net = everything()
    del net.first._state_dict_pre_hooks, net.first._load_state_dict_post_hooks
    before = snapshot(net)
    trace(net, (1, 1, 5, 5))
    assert snapshot(net) == before


def test_evaluating_keeps_the_parameters_and_gives_the_rest_back():
    net = everything()
    net.norm.running_mean.fill_(3)
    weight, before = net.first.weight, snapshot(net.norm)
    with evaluating(net), torch.no_grad():
        assert net.first.weight is weight
        net(torch.zeros(1, 1, 5, 5))
    assert snapshot(net.norm)[0] == before[0]
    assert (net.calls, net.log, net.kept.keys(), list(net.ring)) == (0, [], {"one"}, [])
    assert not hasattr(net, "late") and net.spare == 1 and net.counts.tolist() == [0, 0]


def test_twins_keep_what_belongs_together():
    net = everything()
    net.first.register_buffer("empty", None)
    with Loan(net) as loan:
        loan.dress(lambda tensor: tensor.detach().to("meta"), training=True)
        loan.reset()
        assert net.tied is net.first.weight and isinstance(net.tied, nn.Parameter) and net.tied.is_meta
        assert net.loop[0] is net.loop and net.kept["one"].is_meta and net.nested[0][0].is_meta
        assert net.ring.maxlen == 2 and net.first.empty is None and all(modes(net))
        net.left, twin = 1, net.tied
        loan.reset()  # 上一次留下的都抹掉
        assert not hasattr(net, "left") and net.tied is not twin


def frozen(net):
    """net.train 不管用的，写在对象上。"""
    net.train = lambda mode=True: net
    return net


class Frozen(nn.BatchNorm2d):
    """train() 不管用的类。"""

    def train(self, mode=True):
        return super().train(False)


@pytest.mark.parametrize("layer", [lambda: frozen(nn.Dropout()), lambda: Frozen(2)])
def test_a_layer_decides_about_its_mode_itself(layer):
    net = nn.Sequential(layer(), nn.Dropout())
    for training in (False, True):
        before = modes(net)
        with Loan(net) as loan:
            loan.dress(lambda tensor: tensor, training)
            loan.reset()
            borrowed = modes(net)
        twin = nn.Sequential(layer(), nn.Dropout()).train(training)
        assert borrowed == modes(twin) and modes(net) == before


def test_a_weight_that_is_no_parameter_is_forecast_as_one():
    weights = [torch.ones(4, 1, 3, 3), torch.ones(4, 4, 3, 3)]

    def forward(net, X):
        for weight in net.weights:
            X = torch.conv2d(X, weight, padding=1).sigmoid()
        return X

    def needs(weights):
        net = Call(forward)
        net.weights = weights
        return forecast(net, (1, 1, 9, 9), 4, dtype=torch.float32).activations

    assert needs([weight.requires_grad_() for weight in weights]) == needs(nn.ParameterList(weights)) > 0


@pytest.mark.parametrize("ask", [evaluating, lambda net: trace(net, (1, 1, 5, 5)), lambda net: accuracy(net, DATA)])
def test_a_forgotten_init_is_told_in_one_sentence(ask):
    class Forgot(nn.Module):
        def __init__(self, k):
            self.k = k

    with pytest.raises(TypeError, match="super"), nullcontext(ask(nn.Sequential(Forgot(3)))) as borrowed, borrowed:
        pass


def test_a_lazy_network_cannot_be_borrowed():
    for net in (nn.LazyLinear(3), nn.LazyBatchNorm2d(affine=False)):
        with pytest.raises(ValueError, match="运行一次"), evaluating(net):
            pass
        assert net.training and net.has_uninitialized_params()
