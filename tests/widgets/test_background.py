"""background.py：训练怎样结束都留下走过的；谁叫来都在主线程的事件循环里走。"""

import asyncio
import signal
import threading
import time
from itertools import groupby

import pytest

from helpers import Explorer, budget, load, saved_runs
from helpers.experiments.session import Session
from helpers.experiments.store import save
from helpers.training.loop import steps
from helpers.widgets.background import Background


@pytest.fixture
def explorer():
    return Explorer(budget(load("7.1").lenet, lr=0.9).change(batch_size=32, images=640, num_epochs=2), c1=(1, 32))


def broken(*args, **options):
    raise RuntimeError("坏了")


def overflows(*args, **options):
    turns = steps(*args, **options)
    yield next(turn for turn in turns if turn)
    raise FloatingPointError("溢出了")


@pytest.mark.parametrize("name", ["helpers.experiments.session.diagnose", "helpers.pictures.curves.LivePlot.add",
                                  "helpers.widgets.history.History.show"])
@pytest.mark.filterwarnings("ignore:没有诊断")
def test_what_fails_after_or_beside_the_training_costs_no_run(explorer, monkeypatch, name):
    monkeypatch.setattr(name, broken)
    asyncio.run(explorer.train())
    assert saved_runs("lenet") == explorer.runs != [] and not explorer.train_button.disabled
    assert "坏了" in explorer.message.value or "完成" in explorer.message.value
    monkeypatch.undo()
    asyncio.run(explorer.train())
    assert "完成" in explorer.message.value and len(explorer.runs) == 2


@pytest.mark.filterwarnings("ignore:没有诊断")
def test_an_overflow_that_cannot_be_diagnosed_is_kept_and_said(explorer, monkeypatch):
    monkeypatch.setattr("helpers.experiments.session.steps", overflows)
    monkeypatch.setattr("helpers.experiments.session.diagnose", broken)
    asyncio.run(explorer.train())
    assert [run.ended for run in explorer.runs] == ["diverged"] and "溢出" in explorer.message.value


def test_what_stops_before_the_first_point_is_kept_only_if_it_broke(explorer, monkeypatch):
    def at_once(*args, **options):
        raise FloatingPointError("溢出了")
        yield

    def never(*args, **options):
        while True:
            yield None

    assert not explorer.trainer.background.running
    monkeypatch.setattr("helpers.experiments.session.steps", at_once)
    asyncio.run(explorer.train())
    assert [run.ended for run in explorer.runs] == [run.ended for run in saved_runs("lenet")] == ["diverged"]

    async def stopped():
        training = asyncio.ensure_future(explorer.train())
        await asyncio.sleep(0.1)
        assert explorer.trainer.background.running
        explorer.trainer.background.stop()
        await training
    monkeypatch.setattr("helpers.experiments.session.steps", never)
    asyncio.run(stopped())
    assert len(explorer.runs) == len(saved_runs("lenet")) == 1


def test_an_error_in_the_network_keeps_the_points_so_far(explorer, monkeypatch):
    def steps_then_error(*args, **options):
        yield next(turn for turn in steps(*args, **options) if turn)
        raise ZeroDivisionError("网络里的错")
    monkeypatch.setattr("helpers.experiments.session.steps", steps_then_error)
    asyncio.run(explorer.train())
    assert [run.ended for run in saved_runs("lenet")] == ["error"] and explorer.runs == saved_runs("lenet")
    assert "网络里的错" in explorer.message.value and not explorer.trainer.background.running


def test_a_network_that_cannot_be_built_leaves_nothing_and_blocks_nothing(explorer, monkeypatch):
    monkeypatch.setattr("helpers.widgets.trainer.Session", broken)
    asyncio.run(explorer.train())
    assert "坏了" in explorer.message.value and explorer.runs == []
    monkeypatch.undo()
    asyncio.run(explorer.train())
    assert len(explorer.runs) == 1


def cancelled(explorer, ready):
    """单元格里等着训练，ready() 成立时被中断。"""
    async def scene():
        training = asyncio.ensure_future(explorer.train())
        while not ready():
            await asyncio.sleep(0.005)
        training.cancel()
        await training
    asyncio.run(scene())


def test_a_session_ends_only_after_its_last_step(explorer, monkeypatch):
    inside, ends = [], []

    def slow(*args, **options):
        for turn in steps(*args, **options):
            inside.append(turn)
            time.sleep(0.05)
            inside.clear()
            yield turn

    def closing(self, *what, close=Session.__exit__):
        ends.append([*inside])
        return close(self, *what)
    monkeypatch.setattr("helpers.experiments.session.steps", slow)
    monkeypatch.setattr(Session, "__exit__", closing)
    cancelled(explorer, lambda: inside)
    assert ends == [[]]


def test_an_interrupt_while_the_run_is_diagnosed_is_too_late_to_lose_it(explorer, monkeypatch):
    diagnosing, go_on = threading.Event(), threading.Event()

    def slow(*args):
        diagnosing.set()
        go_on.wait(10)
        return []
    monkeypatch.setattr("helpers.experiments.session.diagnose", slow)
    threading.Timer(0.3, go_on.set).start()
    cancelled(explorer, diagnosing.is_set)
    assert [run.ended for run in explorer.runs] == ["done"] and explorer.runs == saved_runs("lenet")
    assert "完成" in explorer.message.value


def test_an_interrupt_is_heeded_again_after_every_message(explorer):
    """空闲的内核不理中断，每处理完一条消息又换回不理；训练时还是停得下来，训练完不理。"""
    ignored = signal.SIG_IGN

    async def scene():
        training = asyncio.ensure_future(explorer.train())
        for _ in range(3):
            signal.signal(signal.SIGINT, ignored)
            while signal.getsignal(signal.SIGINT) is ignored:
                assert not training.done()
                await asyncio.sleep(0.001)
        signal.raise_signal(signal.SIGINT)
        await training
        return signal.getsignal(signal.SIGINT)

    usual = signal.signal(signal.SIGINT, ignored)
    try:
        assert asyncio.run(scene()) is ignored
    finally:
        signal.signal(signal.SIGINT, usual)
    assert [run.ended for run in explorer.runs] in ([], ["interrupted"])  # 没有走完；一个点也没有的，不留


def test_an_interrupt_while_waiting_for_another_training_is_quiet(explorer, monkeypatch):
    go_on = threading.Event()

    def waits(*args, **options):
        go_on.wait(10)
        yield from steps(*args, **options)
    monkeypatch.setattr("helpers.experiments.session.steps", waits)

    async def scene():
        other = Explorer(explorer.plan)
        first = asyncio.ensure_future(explorer.train())
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(other.train())
        await asyncio.sleep(0.1)
        second.cancel()
        await second
        assert not other.trainer.background.running and other.runs == [] and not other.train_button.disabled
        go_on.set()
        await first
    asyncio.run(scene())


@pytest.fixture
def turns(monkeypatch):
    """走过的每一步：一个点，或者 None。"""
    walked = []

    def noted(*args, **options):
        for turn in steps(*args, **options):
            walked.append(turn)
            yield turn

    monkeypatch.setattr("helpers.experiments.session.steps", noted)
    return walked


async def begun(explorer, turns):
    """开始训练，等到有了一个点。"""
    training = asyncio.ensure_future(explorer.train())
    while not any(turns):
        await asyncio.sleep(0.001)
    return training


def test_the_next_training_waits_for_the_end_of_this_one(explorer, turns, monkeypatch):
    """连诊断和存下也等：不会两个一起走。"""
    def saved(run, **place):
        turns.append("saved")
        return save(run, **place)

    monkeypatch.setattr("helpers.experiments.session.save", saved)

    async def scene():
        other = Explorer(explorer.plan)
        first = await begun(explorer, turns)
        second = asyncio.ensure_future(other.train())
        await first
        await second
        return [explorer.runs[-1].ended, other.runs[-1].ended]

    assert asyncio.run(scene()) == ["interrupted", "done"]
    assert [kind for kind, _ in groupby(turn == "saved" for turn in turns)] == [False, True] * 2


def test_work_from_another_thread_is_done_at_home(explorer, monkeypatch):
    """子 shell 里的单元格和按钮：训练在主线程的事件循环里。"""
    threads = []

    def watched(*args, **options):
        threads.append(threading.current_thread())
        return original(*args, **options)
    import helpers.widgets.trainer as module
    original = module.Session
    monkeypatch.setattr(module, "Session", watched)

    async def main():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("helpers.widgets.background.main_loop", lambda: loop)
        await asyncio.to_thread(asyncio.run, explorer.train())
        await asyncio.to_thread(explorer.train_button.click)
        await asyncio.wrap_future(explorer.trainer.task)
    asyncio.run(main())
    assert len(explorer.runs) == 2 and set(threads) == {threading.main_thread()}


def test_at_home_gives_back_what_the_work_gives():
    async def work():
        return 7
    assert asyncio.run(Background().at_home(work)) == 7


def test_a_closed_explorer_trains_no_more(explorer):
    async def scene():
        explorer.train_button.click()
        explorer.close()
        await asyncio.wrap_future(explorer.trainer.task)
    asyncio.run(scene())
    assert explorer.runs == [] and saved_runs("lenet") == []
    with pytest.raises(ValueError, match="关掉"):
        asyncio.run(explorer.train())


def test_stopping_when_nobody_trains_is_nothing():
    Background.stop_all()
    Background().stop()


def test_closing_stops_the_training_and_keeps_what_was_walked(explorer, turns):
    async def scene():
        training = await begun(explorer, turns)
        explorer.close()
        await training

    asyncio.run(scene())
    assert [run.ended for run in saved_runs("lenet")] == ["interrupted"]
