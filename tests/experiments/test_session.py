"""session.py：一次训练怎样结束，谁来走都一样；没有屏幕。"""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers import Session, budget, fashion_mnist, forecast, load, saved_runs, train
from helpers.machine.dice import Dice
from helpers.network.shape_errors import ShapeError
from helpers.training.loop import Point, steps

lenet = load("7.1").lenet


def session(net=None, **options):
    """三轮、每轮十批的训练。"""
    data = fashion_mnist(32, images=320, device="cpu")
    return Session(net or lenet(), *data, **{"lr": 0.1, "num_epochs": 3} | options)


def walk(running, visit=lambda point: None):
    """像笔记本那样走完，返回留下的 Run。"""
    with running:
        for point in running:
            visit(point)
    return running.finish()


def interrupt(*_):
    raise KeyboardInterrupt


def full(*_):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_every_step_gives_control_back_and_nothing_is_shown(capsys):
    turns = []
    run = walk(session(seed=4), turns.append)
    assert len(turns) == 3 * (10 + 2) and turns.count(None) == len(turns) - 3 * 5  # 每轮 10 批训练、2 批评估、5 个点
    assert [turn for turn in turns if turn] == run.points and run.ended == "done" and run.seed == 4
    assert saved_runs() == [run] and capsys.readouterr() == ("", "")


def loop(net, train, test, lr, num_epochs):
    yield Point(0.5, 2.0, 0.3)
    interrupt()


@pytest.mark.parametrize("ended, options, visit, points", [
    ("interrupted", {}, interrupt, 0), ("interrupted", {"loop": loop}, lambda point: None, 1),
    ("diverged", {"lr": 1e38}, lambda point: None, None)], ids=["读者按了中断", "自己的循环里中断", "溢出"])
def test_how_it_ended(ended, options, visit, points):
    running = session(**options)
    run = walk(running, visit)
    assert run.ended == running.ended == ended and running.note and saved_runs() == [run]
    assert points is None or len(run.points) == points


def test_what_the_network_already_holds_is_not_needed_again(monkeypatch):
    """权重和梯度已经在设备上：空闲的内存加上它们，才是放得下的。"""
    monkeypatch.setattr("helpers.experiments.session.memory_limit", lambda device: 100e6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10_000), nn.ReLU(), nn.Linear(10_000, 10))
    weights = sum(4 * p.numel() for p in net.parameters())
    data = fashion_mnist(64, images=640, device="cpu")
    need = forecast(net, (1, 1, 28, 28), 64)

    def largest():
        return Session(net, *data, lr=0.1, num_epochs=1).memory["largest_batch"]
    assert largest() == need.largest_batch(100e6 + weights) > need.largest_batch(100e6)
    nn.functional.cross_entropy(net(torch.rand(1, 1, 28, 28)), torch.tensor([0])).backward()
    assert largest() == need.largest_batch(100e6 + 2 * weights)


def test_out_of_memory_without_a_word():
    """Python 自己的 MemoryError 一个字也没有。"""
    def hungry(*_):
        raise MemoryError
        yield
    running = session(loop=hungry)
    assert walk(running).ended == "memory" and "减小批量" in running.note


def test_out_of_memory(monkeypatch):
    monkeypatch.setattr(torch.optim.SGD, "step", full)
    assert walk(session()).ended == "memory"


def test_leaving_early_is_an_interrupt_and_gives_the_network_back():
    net = lenet()
    with session(net) as running:
        for i, _ in enumerate(running):
            if i == 10:  # 正在评估
                assert not net.training
                break
    assert running.finish().ended == "interrupted" and net.training


@pytest.mark.parametrize("own", [False, True], ids=["自带的循环", "读者的循环"])
def test_leaving_early_closes_every_generator_now(monkeypatch, tmp_path, own):
    """Python 3.12 关掉一个生成器，不一定放掉它里面的。"""
    inner = []

    def held(*arguments, **options):
        inner.append(steps(*arguments, **options))
        return inner[-1]

    def loop(net, train, test, lr, num_epochs):
        inner.append(Point(epoch, 1.0, 0.5, 0.5) for epoch in range(1, 3))
        return inner[-1]
    monkeypatch.setattr("helpers.experiments.session.steps", held)
    with session(**({"loop": loop} if own else {"checkpoint": tmp_path / "a.pt"})) as running:
        next(iter(running))
    assert inner[0].gi_frame is None


def test_other_exceptions_are_not_swallowed():
    running = session()
    with pytest.raises(ZeroDivisionError):
        walk(running, lambda point: 1 / 0)
    assert running.ended == "error"


def failing(net, train, test, lr, num_epochs):
    """读者的循环，第二轮出错。"""
    yield Point(1.0, 2.0, 0.3, 0.3)
    raise ZeroDivisionError


@pytest.mark.parametrize("options", [{"loop": failing, "lr": 0.1}, {"lr": lambda rates=[0.1] * 11: rates.pop()}],
                         ids=["自己的循环", "学习率的函数"])
def test_an_error_of_the_readers_keeps_the_points_so_far(options):
    with pytest.raises((ZeroDivisionError, IndexError)):
        train(lenet(), *fashion_mnist(32, images=320, device="cpu"), num_epochs=3, **options)
    [run] = saved_runs()
    assert run.ended == "error" and run.last.epoch == 1 and "出错" in repr(run)


def test_an_interrupt_after_the_last_step_costs_nothing(monkeypatch):
    def slow(*args):
        signal.raise_signal(signal.SIGINT)
        return []
    monkeypatch.setattr("helpers.experiments.session.diagnose", slow)
    run = train(lenet(), *fashion_mnist(32, images=320, device="cpu"), lr=0.1, num_epochs=1)
    assert run.finished and saved_runs() == [run]


def test_a_callable_learning_rate_is_asked_at_every_step():
    asked = []
    walk(session(lr=lambda: asked.append(1) or 0.1, num_epochs=1))
    assert len(asked) == 10 + 1  # 开始时记进设置，再加每一步


def test_only_a_run_of_the_book_is_compared():
    plan = budget(lenet, lr=0.9)
    book = Session(lenet().apply(plan.init), *plan.book.data(), lr=0.9, num_epochs=10, plan=plan)
    assert book.band is not None and session(plan=plan).band is None and session().band is None


def test_sigmoids_are_seen_in_the_network_not_in_its_name():
    relu = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.ReLU())
    assert walk(session(num_epochs=1)).saturating and not walk(session(relu, num_epochs=1)).saturating


class Picky(nn.Sequential):
    """看得到数才肯走的网络：meta 上走不了，真的训练没有问题。"""

    def forward(self, X):
        assert bool((X >= 0).all())
        return super().forward(X)


class Even(Picky):
    """批量是偶数才走得通：一张图的清单列不出来。"""

    def forward(self, X):
        assert len(X) % 2 == 0
        return super().forward(X)


@pytest.mark.parametrize("make, foreseen", [
    (Even, True), (lambda *layers: torch.jit.script(nn.Sequential(*layers)), False)], ids=["偶数", "jit"])
def test_what_can_be_trained_is_trained_though_it_cannot_be_traced(make, foreseen):
    run = walk(session(make(nn.Flatten(), nn.Linear(784, 10)), num_epochs=1))
    assert run.finished and run.recipe["params"] == 7850 and repr(run)
    assert [run.memory[name] > 0 for name in ("forecast", "largest_batch")] == [foreseen] * 2


def test_what_cannot_run_is_explained_by_its_trace():
    with pytest.raises(ShapeError, match="Linear"):
        session(nn.Sequential(nn.Flatten(), nn.Linear(700, 10)))


@pytest.mark.parametrize("options, error, says", [
    ({"plan": "x"}, TypeError, "plan 应当是"), ({"checkpoint": "a.pt"}, TypeError, "checkpoint 应当是"),
    ({"checkpoint": Path()}, ValueError, "是文件夹"), ({"resume": True}, ValueError, "要有存档"),
    ({"loop": loop, "checkpoint": Path("a.pt")}, ValueError, "存不了档"), ({"loop": "x"}, TypeError, "loop 应当是"),
    ({"loop": lambda net: []}, TypeError, "loop 应当是"),
    ({"seed": "a"}, ValueError, "seed"), ({"seed": 1.5}, ValueError, "seed"), ({"seed": -1}, ValueError, "seed"),
    ({"seed": 2**63}, ValueError, "seed"), ({"seed": True}, ValueError, "seed")])
def test_odd_options_are_refused_in_words(options, error, says):
    with pytest.raises(error, match=says):
        session(**options)


def test_a_loop_gives_points():
    for given in ([1], None, 3):
        with pytest.raises(TypeError, match=r"loop 应当是一个函数.*给出一个个 Point"):
            walk(session(loop=lambda *_, given=given: given))
    assert walk(session(loop=lambda *_: [])).points == []


def test_the_readers_loop_is_no_mixed_precision_unless_asked(monkeypatch):
    monkeypatch.setattr("helpers.experiments.session.fast_dtype", lambda device: torch.bfloat16)
    assert session().dtype == torch.bfloat16 and session(loop=loop).dtype == torch.float32
    assert session(loop=loop, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_each_process_of_a_team_draws_its_own_numbers(monkeypatch):
    monkeypatch.setattr("helpers.experiments.session.rank", lambda: 2)
    assert session(seed=3).dice.generator(torch.device("cpu")).initial_seed() == Dice(5).generator(
        torch.device("cpu")).initial_seed()
    walk(session(seed=3, loop=lambda *_: []))
    assert torch.initial_seed() == 5


def test_numbers_of_numpy_are_written_down_as_numbers():
    run = walk(session(lr=np.float32(0.5), num_epochs=np.int64(1), seed=np.int64(3)))
    assert (run.recipe["lr"], run.recipe["num_epochs"], run.seed) == (0.5, 1, 3) and saved_runs() == [run]


def test_a_training_of_the_book_without_a_point_is_not_compared():
    plan = budget(lenet, lr=0.9)
    running = Session(plan.build(), *plan.book.data(), lr=0.9, num_epochs=10, plan=plan, loop=lambda *_: [])
    assert walk(running).ended == "done" and "没有完成" in running.note


def test_what_can_only_run_for_real_is_forecast_too():
    layers = nn.Flatten(), nn.Linear(784, 10)
    run, plain = (walk(session(net, num_epochs=1)) for net in (Picky(*layers), nn.Sequential(*layers)))
    assert run.finished and run.memory["forecast"] == plain.memory["forecast"] > 0
