"""G8：训练的时候，别处也在抽随机数。"""

import threading
from contextlib import contextmanager

import pytest
import torch
from support.rows import against
from torch import nn

from helpers import Session, budget, fashion_mnist
from helpers.training.loop import steps


def dropping(width=64):
    """有暂退法的网络：每一步都要抽随机数。"""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Dropout(), nn.Linear(width, 10))


PLAN = budget(dropping, lr=0.1, batch_size=16, num_epochs=2).change(images=320)


@contextmanager
def another_cell():
    """另一个单元格（另一个线程）：一直在抽，一直在重新设种子。"""
    over = threading.Event()

    def draw():
        while not over.is_set():
            torch.manual_seed(7)
            torch.rand(3)
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def by_session():
    """Explorer 那样：建网络，走一个 Session。"""
    session = Session(PLAN.build(seed=3), *PLAN.data(), lr=0.1, num_epochs=2, plan=PLAN, seed=3)
    with session:
        for _ in session:
            pass
    return session.finish().points


def by_manual_seed():
    """随处可见的写法：设好公共的种子，再训练。"""
    torch.manual_seed(3)
    return [point for point in steps(PLAN.build(), *PLAN.data(), lr=0.1, num_epochs=2) if point]


@against(by_session, by_manual_seed)
def test_G8_another_cell_draws_while_it_trains(subject):
    alone = subject()
    with another_cell():
        together = subject()
    assert together == alone


@against(by_session, by_manual_seed)
def test_G8_training_leaves_the_others_alone(subject):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    subject()
    assert torch.equal(torch.rand(3), expected)


def test_G8_the_numbers_are_those_of_the_seed():
    """与从头设好公共的种子再走一样：卡片上写的种子，读者自己的循环也能照着做。"""
    torch.manual_seed(3)
    net = PLAN.build()
    torch.manual_seed(3)
    assert by_session() == [point for point in steps(net, *PLAN.data(), lr=0.1, num_epochs=2) if point]


@pytest.mark.parametrize("resumed", [False, True])
def test_G8_a_resumed_run_goes_on_with_its_own_numbers(resumed, tmp_path):
    def walk(stop_at, resume):
        session = Session(PLAN.build(seed=3), *PLAN.data(), lr=0.1, num_epochs=2, plan=PLAN, seed=3,
                          checkpoint=tmp_path / "a.pt", resume=resume)
        with session:
            for i, _ in enumerate(session):
                if i == stop_at:
                    raise KeyboardInterrupt
        return session.points
    whole = by_session()
    if resumed:
        walk(24, False)  # 第一轮之后：20 步训练、4 步评估
        torch.manual_seed(99)
    assert walk(None, resumed) == whole


def test_G8_an_order_is_drawn_from_the_default_numbers_without_a_seed():
    """没有给种子的，照读者自己的 torch.manual_seed。"""
    def walk():
        torch.manual_seed(5)
        session = Session(PLAN.build(), *fashion_mnist(16, images=320), lr=0.1, num_epochs=1)
        with session:
            points = [point for point in session if point]
        return points
    assert walk() == walk()
