"""dice.py：从自己的骰子抽到的，就是那个种子的；别处的一个也不动。"""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from helpers.machine.dice import Dice, rolling

X = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
DRAWS = {
    "rand": lambda: torch.rand(3), "randn": lambda: torch.randn(3, dtype=torch.float64),
    "randint": lambda: torch.randint(9, (5,)), "randint_low": lambda: torch.randint(3, 9, (5,)),
    "randperm": lambda: torch.randperm(9), "normal": lambda: torch.normal(torch.zeros(3), 2.0),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)), "bernoulli_": lambda: torch.empty(9).bernoulli_(0.3),
    "uniform_": lambda: torch.empty(3).uniform_(2, 3), "exponential_": lambda: torch.empty(3).exponential_(),
    "random_": lambda: torch.empty(3).random_(9), "multinomial": lambda: torch.multinomial(torch.ones(9), 4),
    "poisson": lambda: torch.poisson(torch.full((4,), 3.0)), "dropout": lambda: F.dropout(X),
    "dropout2d": lambda: F.dropout2d(X[None]), "alpha_dropout": lambda: F.alpha_dropout(X, training=True),
    "rrelu": lambda: F.rrelu(X, training=True), "gumbel": lambda: F.gumbel_softmax(X),
    "init": lambda: nn.init.xavier_uniform_(torch.empty(3, 4)),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(3, 4)),
    "layer": lambda: nn.Conv2d(3, 4, 3).weight.detach(),
    "gamma": lambda: torch.distributions.Gamma(2.0, 1.0).sample((3,)),
}
if any("generator" in overload for overload in torch.ops.aten.rand_like.overloads()):  # 旧的 torch 没有
    DRAWS |= {"rand_like": lambda: torch.rand_like(X), "randn_like": lambda: torch.randn_like(X),
              "randint_like": lambda: torch.randint_like(X, 9), "randint_like_low": lambda: torch.randint_like(X, 3, 9)}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_numbers_are_those_of_the_seed_and_the_others_stay(draw):
    torch.manual_seed(3)
    expected = [draw(), draw()]
    torch.manual_seed(7)
    before, dice = torch.get_rng_state(), Dice(3)
    with dice:
        first = draw()
    with dice:
        second = draw()
    assert torch.equal(first, expected[0]) and torch.equal(second, expected[1]) and dice.rolls >= 2
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_of_ones_own_stays_ones_own():
    with Dice(3):
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_what_draws_nothing_is_left_alone():
    dice = Dice(3)
    with dice:
        assert torch.equal(X @ X.mT, X.matmul(X.transpose(1, 2)))
    assert dice.rolls == 0


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_the_dropout_of_gpus(p):
    """aten.native_dropout 在 CPU 上也能算：留下的放大，梯度走同样的掩码，种子定下掩码。"""
    def drop(seed):
        given = torch.full((4_000,), 2.0, requires_grad=True)
        with Dice(seed):
            result, mask = torch.native_dropout(given, p, True)
        result.sum().backward()
        return result.detach(), mask, given.grad
    result, mask, grad = drop(3)
    scale = 1 / (1 - p) if p < 1 else 0.0
    assert abs(mask.float().mean() - (1 - p)) < 0.03
    assert torch.equal(result, 2 * scale * mask) and torch.equal(grad, scale * mask)
    assert torch.equal(mask, drop(3)[1]) and (p in (0, 1) or not torch.equal(mask, drop(4)[1]))


def test_the_dropout_of_gpus_is_off_when_scoring():
    with Dice(3):
        result, mask = torch.native_dropout(X, 0.5, False)
    assert torch.equal(result, X) and result.data_ptr() != X.data_ptr() and mask.all()


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_in_the_backward_draws_the_same_again(reentrant):
    """torch.utils.checkpoint 反向时再抽一遍；两遍不同，梯度就是错的，谁也看不出来。"""
    weight = torch.ones(1_000, requires_grad=True)
    with Dice(3):
        out = checkpoint(lambda w: F.dropout(w), weight, use_reentrant=reentrant)
        other = F.dropout(torch.ones(9))
    out.sum().backward()
    assert torch.equal(weight.grad, out.detach()) and 300 < (out > 0).sum() < 700
    assert torch.equal(other, F.dropout(torch.ones(9)) if torch.manual_seed(3) else None)


def test_another_thread_draws_its_own():
    inside, done, drawn = threading.Event(), threading.Event(), []

    def other():
        inside.wait()
        torch.manual_seed(7)
        drawn.append(torch.rand(3))
        done.set()
    thread = threading.Thread(target=other)
    thread.start()
    with Dice(3):
        first = torch.rand(3)
        inside.set()
        done.wait()
        second = torch.rand(3)
    thread.join()
    torch.manual_seed(3)
    assert torch.equal(first, torch.rand(3)) and torch.equal(second, torch.rand(3))
    torch.manual_seed(7)
    assert torch.equal(drawn[0], torch.rand(3))


def test_a_device_has_one_generator_that_can_be_rewound():
    dice, cpu = Dice(3), torch.device("cpu")
    state = dice.generator(cpu).get_state()
    with dice:
        first = torch.rand(3)
    dice.generator(cpu).set_state(state)
    with dice:
        assert torch.equal(torch.rand(3), first)


def test_only_what_draws_is_watched():
    dice, calls = Dice(3), []

    def late(X, factor=1):
        """第一次不抽，以后抽。"""
        calls.append(X)
        return factor * torch.rand(1) if len(calls) > 1 else X
    watched, unwatched = rolling(lambda: torch.rand(3), dice), rolling(late, dice)
    assert rolling(late, None) is late
    torch.manual_seed(3)
    expected = [torch.rand(3), torch.rand(3)]
    assert [torch.equal(watched(), each) for each in expected] == [True, True]
    assert unwatched(5) == 5 and dice.rolls == 2
    torch.manual_seed(7)
    drawn = unwatched(5, factor=2)
    torch.manual_seed(7)
    assert torch.equal(drawn, 2 * torch.rand(1))


def test_the_card_has_one_generator_under_both_its_names(monkeypatch):
    """数据的设备写作 cuda，张量的写作 cuda:0；录 CUDA graph 时登记的要是抽的那一个。"""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch, "Generator", lambda device: torch.default_generator.clone_state())
    dice = Dice(0)
    assert dice.generator(torch.device("cuda")) is dice.generator(torch.device("cuda:1"))
    assert dice.generator(torch.device("cuda:0")) is not dice.generator(torch.device("cuda"))


@pytest.mark.cuda
def test_on_a_gpu():
    def draw():
        return torch.rand(3, device="cuda"), F.dropout(torch.ones(99, device="cuda")), torch.randperm(9, device="cuda")
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    results = []
    for _ in range(2):
        with Dice(3):
            results.append(draw())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert torch.equal(torch.cuda.get_rng_state(), before)
