"""借用：每个模块的模式、钩子、属性和随机数，用完都还原，出错也一样。"""

import pytest
import torch
from support.nets import Call
from torch import nn

from helpers.network.borrow import Loan, evaluating, hooked, mode, rewinding

CPU = torch.device("cpu")


class Oops(Exception):
    """里面出的错。"""


def small():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()), nn.Dropout())
    net[1].eval()
    return net


def modes(net):
    return [module.training for module in net.modules()]


@pytest.mark.parametrize("borrow, training", [
    (evaluating, False), (lambda net: mode(net, True), True), (lambda net: mode(net, False), False)])
def test_every_module_gets_its_mode_back(borrow, training):
    net = small()
    before = modes(net)
    with pytest.raises(Oops), borrow(net):
        assert set(modes(net)) == {training}
        raise Oops
    assert modes(net) == before == [True, True, False, False, False, True]


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


def test_a_loan_dresses_the_network_and_gives_it_back():
    net = small()
    net[1].register_buffer("empty", None)
    weight, before = net[0].weight, {name: id(tensor) for name, tensor in net.state_dict(keep_vars=True).items()}
    kept = modes(net)
    with pytest.raises(Oops), Loan(net) as loan:
        assert net[0].weight is weight
        loan.dress(lambda tensor: tensor.detach().to("meta"))
        for _ in range(2):
            loan.reset()
            assert all(tensor.is_meta for tensor in net.state_dict().values()) and not any(modes(net))
            assert not hasattr(net, "left") and net[1].empty is None
            net.left, net[0].weight, net[1].training = 1, None, True
        raise Oops
    assert {name: id(tensor) for name, tensor in net.state_dict(keep_vars=True).items()} == before
    assert modes(net) == kept and not hasattr(net, "left")
