"""explorer.py：滑块、重算的次数、训练与停止，不经过浏览器。"""

import asyncio
import re
import threading
import time
from html import unescape

import ipywidgets as widgets
import pytest
from support.nets import Call
from torch import nn

from helpers import Explorer, Finding, budget, load, saved_runs
from helpers.experiments.store import save
from helpers.pictures.curves import Curves
from helpers.training.loop import steps
from helpers.widgets.background import Background

lenet = load("7.1").lenet


@pytest.fixture
def explorer():
    return Explorer(budget(lenet, lr=0.9).change(batch_size=32, images=320, num_epochs=3),
                    c1=(1, 32), c2=(1, 64), size=(16, 48), lr=(0.01, 10))


def test_the_book_is_shown_unmarked(explorer):
    assert explorer.values == {"c1": 6, "c2": 16, "size": 28, "lr": 0.9}
    assert "61,706" in explorer.table.value and "与书上的网络相同" in explorer.table.value
    assert "background" not in explorer.table.value


def test_it_starts_with_the_plan_reduced_and_nothing_to_stop(explorer):
    assert explorer.reduce.value is True
    assert explorer.stop_button.disabled and not explorer.train_button.disabled


def test_a_move_recomputes_and_marks_what_differs(explorer):
    started = time.perf_counter()
    explorer.sliders["c1"].value = 8
    assert time.perf_counter() - started < 0.1
    assert "1×8×28×28" in explorer.table.value and "background" in explorer.table.value
    explorer.reset()
    assert "background" not in explorer.table.value


def test_an_impossible_size_is_said_and_the_next_move_works(explorer):
    explorer.sliders["c1"].value = 12
    assert "参数是书上的 1.04 倍，乘加是 1.86 倍" in explorer.table.value
    explorer.reset()
    explorer.sliders["size"].value = 20
    assert "#d62728" in explorer.table.value and "28 到 31" in explorer.table.value
    explorer.sliders["size"].value = 30
    assert "1×6×30×30" in explorer.table.value


def test_what_breaks_keeps_the_table_with_the_broken_row_in_red(explorer):
    explorer.sliders["size"].value = 20
    table = explorer.table.value
    [red] = re.findall(r'<tr style="color:#d62728">(.*?)</tr>', table)
    assert "<td>7</td><td>Linear</td>" in red and "收到 1×144：" in red and table.count("<tr") == 9
    assert table.index("1×16×3×3") < table.index(red) and "合计" not in table and explorer.note.value == ""
    asyncio.run(explorer.train())
    assert "走不通" in explorer.message.value and explorer.runs == []
    explorer.reset()
    assert "合计" in explorer.table.value and "color:#d62728" not in explorer.table.value


def test_a_network_that_breaks_before_its_first_layer_has_no_row():
    net = Call(lambda net, X: net.linear(X.reshape(-1, 784)), linear=nn.Linear(784, 10))
    explorer = Explorer(budget(lambda: net, name="torn"), size=(28, 60))
    explorer.sliders["size"].value = 30
    assert "走不通" in explorer.table.value and explorer.table.value.count("<tr") == 1


def test_an_exception_in_the_network_function_is_said():
    def fragile(width=6):
        return nn.Sequential(nn.Conv2d(1, 8 // (width - 5), 3))
    explorer = Explorer(budget(fragile), width=(1, 9))
    explorer.sliders["width"].value = 5
    assert "division" in explorer.table.value and "✗" in explorer.table.value
    explorer.sliders["width"].value = 7
    assert "1×4×26×26" in explorer.table.value


def test_a_hundred_moves_at_once_are_three_computations_at_most(explorer):
    computed = []
    original = explorer.model.table
    explorer.model.table = lambda values: computed.append(1) or original(values)

    async def drag():
        for i in range(100):
            explorer.sliders["c1"].value = 1 + i % 32
        explorer.sliders["c1"].value = 13
        await asyncio.sleep(0.3)
    asyncio.run(drag())
    assert 1 <= len(computed) <= 3 and "1×13×28×28" in explorer.table.value


def test_build_gives_the_network_on_the_sliders(explorer):
    explorer.sliders["c1"].value = 9
    net = explorer.build()
    assert net[0].out_channels == 9 and not next(net.parameters()).is_meta
    explorer.sliders["size"].value = 20
    with pytest.raises(ValueError, match="走不通"):
        explorer.build()


def test_training_keeps_curves_and_frees_the_buttons(explorer):
    asyncio.run(explorer.train())
    explorer.sliders["c1"].value = 8
    asyncio.run(explorer.train())
    assert [run.recipe["c1"] for run in explorer.runs] == [6, 8] and "c1 8" in explorer.runs[1].name
    assert all(run.finished and run.last.epoch == 3 for run in explorer.runs) and len(saved_runs("lenet")) == 2
    assert not explorer.train_button.disabled and explorer.stop_button.disabled
    assert "完成" in explorer.message.value and bytes(explorer.picture.value).startswith(b"\x89PNG")


def test_sliders_live_during_training_and_stop_ends_within_a_step(explorer, monkeypatch):
    asked = []
    monkeypatch.setattr("helpers.experiments.session.steps", slow_steps(asked))

    async def scene():
        explorer.train_button.click()
        await asyncio.sleep(0.35)
        explorer.sliders["lr"].value = 0.5
        assert explorer.train_button.disabled and not explorer.stop_button.disabled
        assert "正在训练：书上的网络" in explorer.message.value
        explorer.train_button.click()  # 第二次按不起作用
        await asyncio.sleep(0.3)
        assert "正在训练，先按「停止」" in explorer.message.value
        explorer.message.value = ""
        explorer.select(1)
        assert "正在训练，先按「停止」" in explorer.message.value
        explorer.stop_button.click()
        started = time.perf_counter()
        await asyncio.wrap_future(explorer.trainer.task)
        return time.perf_counter() - started
    assert asyncio.run(scene()) < 0.25
    assert asked[0] == pytest.approx(0.9) and asked[-1] == pytest.approx(0.5, rel=0.02) and len(asked) < 10
    assert not explorer.trainer.background.running and not explorer.train_button.disabled


def test_a_cancelled_cell_is_an_interrupt(explorer, monkeypatch):
    """■ 取消的是等着 explorer.train() 的任务；走过的留下，按钮回到原样。"""
    seen = []

    def watched(*args, **options):
        for turn in steps(*args, **options):
            seen.extend([turn] if turn else [])
            yield turn
            time.sleep(0.02)
    monkeypatch.setattr("helpers.experiments.session.steps", watched)

    async def scene():
        training = asyncio.ensure_future(explorer.train())
        while not seen:
            await asyncio.sleep(0.01)
        training.cancel()
        await training
    asyncio.run(scene())
    [run] = saved_runs("lenet")
    assert run.ended == "interrupted" and explorer.runs == [run]
    assert not explorer.trainer.background.running and not explorer.train_button.disabled


def test_it_is_a_widget_and_nests(explorer):
    tab = widgets.Tab([explorer, widgets.VBox([explorer])])
    assert tab.children[0] is explorer and explorer.history in explorer.children


def test_a_new_explorer_ends_the_old_training(explorer, monkeypatch):
    monkeypatch.setattr("helpers.experiments.session.steps", slow_steps([]))

    async def scene():
        explorer.train_button.click()
        await asyncio.sleep(0.15)
        newer = Explorer(explorer.plan)
        training = asyncio.ensure_future(newer.train())
        await asyncio.wrap_future(explorer.trainer.task)
        assert "停在" in explorer.message.value
        await asyncio.sleep(0.15)
        assert newer.trainer.background.running
        newer.stop()
        await training
    asyncio.run(scene())


def test_stop_is_answered_at_once(explorer, monkeypatch):
    """走完这一步、诊断、存下要一会儿，按钮不能像没有按到。"""
    monkeypatch.setattr("helpers.experiments.session.steps", slow_steps([]))
    explorer.stop()
    before = explorer.message.value

    async def scene():
        explorer.train_button.click()
        await asyncio.sleep(0.15)
        training = explorer.message.value
        assert training != before and not explorer.stop_button.disabled
        explorer.stop_button.click()
        assert explorer.message.value not in (before, training) and explorer.stop_button.disabled
        stopping = explorer.message.value
        await asyncio.wrap_future(explorer.trainer.task)
        assert explorer.message.value != stopping and not explorer.train_button.disabled
    asyncio.run(scene())


def test_pressing_twice_while_another_stops_trains_once(explorer, monkeypatch):
    monkeypatch.setattr("helpers.experiments.session.steps", slow_steps([]))

    async def scene():
        explorer.train_button.click()
        await asyncio.sleep(0.05)
        other = Explorer(explorer.plan)
        presses = [asyncio.ensure_future(other.train()) for _ in range(2)]
        await asyncio.sleep(0)
        assert other.trainer.background.running and explorer.trainer.background.running
        await asyncio.sleep(0.3)
        assert other.trainer.background.running and presses[1].done() and not explorer.trainer.background.running
        other.stop()
        await asyncio.gather(*presses)
        assert not other.trainer.background.running
    asyncio.run(scene())


def slow_steps(asked):
    """每步 0.1 秒的训练：足够看清先后。"""
    def steps(net, train, test, *, lr, **options):
        while True:
            asked.append(lr())
            time.sleep(0.1)
            yield None
    return steps


def test_a_learning_rate_that_overflows_is_said(explorer, monkeypatch):
    def steps(*args, **options):
        raise FloatingPointError("学习率 10 太大")
        yield
    monkeypatch.setattr("helpers.experiments.session.steps", steps)
    asyncio.run(explorer.train())
    assert "溢出" in explorer.message.value and "学习率 0.9 太大" in explorer.message.value
    assert "#d62728" in explorer.message.value and explorer.runs[0].ended == "diverged"


@pytest.fixture
def reduced():
    """书上的 LeNet；这台机器的计划小得多。"""
    plan = budget(lenet, lr=0.9).change(c1=3, c2=8, size=29, lr=0.5, batch_size=32, images=320, num_epochs=1)
    return Explorer(plan, c1=(1, 32), c2=(1, 64), size=(16, 48), lr=(0.01, 10))


def test_sliders_start_at_the_book_while_the_training_is_the_plans(reduced):
    assert reduced.values == {"c1": 6, "c2": 16, "size": 28, "lr": pytest.approx(0.5)}
    assert "61,706" in reduced.table.value and "background" not in reduced.table.value
    changed = ("c1 3", "c2 8", "输入边长 29", "训练图片 320", "轮数 1", "批量 32")
    assert all(word in reduced.note.value for word in changed)
    assert reduced.training.settings == reduced.plan.settings
    reduced.sliders["c1"].value, reduced.sliders["lr"].value = 12, 1
    assert "c1 6，" in reduced.note.value and "background" in reduced.table.value
    reduced.reset()
    assert reduced.values == {"c1": 6, "c2": 16, "size": 28, "lr": pytest.approx(0.5)}


def test_a_run_says_what_was_trained_and_choosing_it_brings_back_what_was_moved(reduced):
    reduced.sliders["c1"].value = 12
    asyncio.run(reduced.train())
    [run] = reduced.runs
    assert (run.recipe["c1"], run.recipe["c2"], run.recipe["size"]) == (6, 8, 29) and "c2 8" in run.name
    reduced.reset()
    reduced.select(1)
    assert reduced.values == {"c1": 12, "c2": 16, "size": 28, "lr": pytest.approx(0.5)} and reduced.reduce.value


def test_without_the_reduction_the_network_on_the_sliders_is_trained(reduced):
    assert reduced.reduce.layout.display != "none"
    reduced.reduce.value = False
    assert "c1" not in reduced.note.value and "训练图片 320" in reduced.note.value
    asyncio.run(reduced.train())
    [run] = reduced.runs
    assert (run.recipe["c1"], run.recipe["c2"], run.recipe["size"], run.recipe["params"]) == (6, 16, 28, 61706)
    reduced.reset()
    assert reduced.reduce.value
    reduced.select(1)
    assert not reduced.reduce.value and reduced.values["c1"] == 6


def test_nothing_to_reduce_shows_no_switch(explorer):
    assert explorer.reduce.layout.display == "none" and "c1" not in explorer.note.value


def test_choosing_a_run_that_the_sliders_do_not_reach_says_so(explorer):
    explorer.sliders["c1"].value = 8
    asyncio.run(explorer.train())
    narrow = Explorer(explorer.plan, c1=(4, 7))
    narrow.select(1)
    assert narrow.values["c1"] == 7 and "放不到那时的 c1" in narrow.message.value


@pytest.mark.parametrize("ranges, says", [
    ({"c9": (1, 2)}, "没有 c9"), ({"c1": (32, 1)}, "写反了"), ({"c1": (10, 32)}, "从 6 开始"), ({"c1": "x"}, "看不懂"),
    ({"lr": (1, 10)}, "lr 从 0.9 开始"), ({"size": [27, 29]}, "size 从 28 开始")])
def test_ranges_that_cannot_be_are_refused_in_a_sentence(explorer, ranges, says):
    with pytest.raises(ValueError, match=says):
        Explorer(explorer.plan, **ranges)


def test_what_is_not_a_plan_is_refused():
    with pytest.raises(TypeError, match=r"计划.*budget"):
        Explorer(lenet, c1=(1, 2))


def switched(act="sigmoid", pool=nn.AvgPool2d, window=2):
    kinds = {"sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}
    return nn.Sequential(nn.Conv2d(1, 4, 5), kinds[act](), pool(window), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 10))


def test_names_and_functions_are_choices_and_runs_keep_them():
    plan = budget(switched).change(batch_size=32, images=320, num_epochs=1)
    explorer = Explorer(plan, act=["sigmoid", "ReLU"], window=[2, 3],
                        pool=[("平均", nn.AvgPool2d), ("最大", nn.MaxPool2d)])
    assert explorer.sliders["pool"].index == 0
    explorer.sliders["act"].set_state({"index": 1})
    explorer.sliders["pool"].set_state({"index": 1})
    assert "MaxPool2d" in explorer.table.value and "ReLU" in explorer.table.value
    asyncio.run(explorer.train())
    [run] = saved_runs("switched")
    assert (run.recipe["act"], run.recipe["pool"]) == ("ReLU", "MaxPool2d") and "act ReLU" in run.name
    assert "pool MaxPool2d" in run.name
    explorer.reset()
    assert explorer.values["pool"] is nn.AvgPool2d
    explorer.select(1)
    assert explorer.values["act"] == "ReLU" and explorer.values["pool"] is nn.MaxPool2d


def test_choices_and_switches_become_their_own_widgets():
    def chosen(kind="a", deep=True, rate=0.5):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    explorer = Explorer(budget(chosen), kind=["a", "b"], deep=True, rate=(0.0, 0.9))
    assert [type(s).__name__ for s in explorer.sliders.values()] == [
        "SelectionSlider", "Checkbox", "FloatSlider", "IntSlider", "FloatLogSlider"]


def test_without_a_kernel_the_table_is_in_the_bundle(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "61,706" in bundle["text/html"] and bundle["text/plain"] == "Explorer(lenet, (1, 1, 28, 28))"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_runs_are_listed_and_come_back_after_a_restart(explorer):
    explorer.sliders["c1"].value = 8
    asyncio.run(explorer.train())
    explorer.reset()
    asyncio.run(explorer.train())
    again = Explorer(explorer.plan, c1=(1, 32), c2=(1, 64), size=(16, 48), lr=(0.01, 10))
    assert again.runs == explorer.runs
    texts = [cell.value for cell in again.history.children if hasattr(cell, "value")]
    assert any("c1 8" in text for text in texts) and "61,706" in texts and "416,520" in texts


def test_choosing_a_run_brings_back_its_values_and_curve(explorer):
    explorer.sliders["c1"].value, explorer.sliders["lr"].value = 8, 0.5
    asyncio.run(explorer.train())
    explorer.reset()
    empty = bytes(explorer.picture.value)
    buttons = [cell for cell in explorer.history.children if hasattr(cell, "click")]
    buttons[0].click()
    assert explorer.values["c1"] == 8 and explorer.values["lr"] == pytest.approx(0.5, rel=0.02)
    assert bytes(explorer.picture.value) != empty and "第 1 次" in explorer.message.value


def test_a_saved_tuple_finds_its_option():
    plan = load("7.3").plan
    vgg = Explorer(plan, conv_arch=[("小", ((1, 64), (1, 128))), ("VGG-11", plan.settings["conv_arch"])])
    vgg.panel.move({"conv_arch": [[1, 64], [1, 128]]})
    assert vgg.values["conv_arch"] == ((1, 64), (1, 128))


def test_what_does_not_fit_is_refused(explorer, monkeypatch):
    monkeypatch.setattr("helpers.widgets.explorer.memory_limit", lambda device: 22e6)
    monkeypatch.setattr("helpers.experiments.plan.memory_limit", lambda device: 22e6)
    assert "#d62728" not in explorer.note.value
    explorer.sliders["c1"].value = 32
    assert "放不下" in explorer.note.value and "#d62728" in explorer.note.value
    asyncio.run(explorer.train())
    assert "放不下；批量至多" in explorer.message.value and "plan.change(batch_size=" in explorer.message.value
    assert explorer.runs == [] and not explorer.train_button.disabled


def test_what_the_running_training_holds_will_be_free(explorer, monkeypatch):
    """训练时移动滑块：它占着的内存，下一次开始之前会放掉。"""
    held = []
    monkeypatch.setattr("helpers.pictures.curves.LivePlot.add", lambda plot, point: held.append(Background.held))
    asyncio.run(explorer.train())
    assert {*held} == {explorer.runs[0].memory["forecast"]} and Background.held == 0
    monkeypatch.setattr("helpers.widgets.explorer.memory_limit", lambda device: 12e6)
    for running, red in ((0, True), (held[0], False)):
        monkeypatch.setattr(Background, "held", running)
        explorer.sliders["c1"].value += 1
        assert ("放不下" in explorer.note.value) == red


def test_the_table_of_runs_has_the_first_words_of_the_diagnosis(explorer, monkeypatch):
    for findings in ([], [Finding("plateau", "损失停在 1.2")]):
        monkeypatch.setattr("helpers.experiments.session.diagnose", lambda *args, findings=findings: findings)
        asyncio.run(explorer.train())
    assert [run.condition for run in explorer.runs] == ["正常", "平台期"]
    shown = [child.value for child in explorer.history.children if hasattr(child, "value")]
    assert all(run.condition in shown for run in explorer.runs)


def test_the_diagnosis_is_said(explorer):
    explorer.sliders["lr"].value = 0.1
    asyncio.run(explorer.train())
    assert "学习率 0.1 太小（书上是 0.9）" in explorer.message.value


def test_the_kernels_own_threads_end_before_the_training(explorer, monkeypatch):
    """训练在另一个线程里；两队 OpenMP 线程合起来比核多，就慢一倍。"""
    events = []

    def watched(*args, **options):
        for turn in steps(*args, **options):
            events.append(("step", threading.current_thread() is threading.main_thread()))
            yield turn
    monkeypatch.setattr("helpers.experiments.session.steps", watched)
    monkeypatch.setattr("helpers.widgets.background.release_threads",
                        lambda: events.append(("release", threading.current_thread() is threading.main_thread())))
    asyncio.run(explorer.train())
    assert events[0] == ("release", True) and set(events[1:]) == {("step", False)}


def test_what_the_training_needs_is_said_or_why_it_cannot_be_known(explorer, monkeypatch):
    assert "✗" not in explorer.note.value and "MB" in explorer.note.value
    monkeypatch.setattr(explorer.model, "need", lambda *args: 1 / 0)
    explorer.sliders["c1"].value = 8
    assert "✗ division by zero" in explorer.note.value and explorer.model.describe_training(
        explorer.values, True) in unescape(explorer.note.value)


def test_eight_runs_are_shown_and_the_older_ones_are_numbered_in_the_background(explorer, monkeypatch):
    asyncio.run(explorer.train())
    [run] = explorer.runs
    for _ in range(9):
        save(run)
    shown = []
    monkeypatch.setattr("helpers.widgets.trainer.Curves",
                        lambda *args, past, **options: shown.append([name for name, _ in past]) or
                        Curves(*args, past=past, **options))
    again = Explorer(explorer.plan, c1=(1, 32))
    assert len(again.runs) == 8 and shown == [[str(i) for i in range(1, 9)]]
    again.trainer.show(3)
    assert shown[1:] == [["1", "2", "4", "5", "6", "7", "8"]]
    asyncio.run(again.train())
    assert len(again.runs) == 8 and again.runs[:7] == [run] * 7


def test_one_that_could_not_be_made_can_be_closed(explorer, monkeypatch):
    """那一格再运行一次，就会关它。"""
    made = []

    def broken(plan, panel, prepare, select):
        made.append(prepare.__self__)
        raise ZeroDivisionError

    monkeypatch.setattr("helpers.widgets.explorer.Trainer", broken)
    with pytest.raises(ZeroDivisionError):
        Explorer(explorer.plan, c1=(1, 32))
    for _ in range(2):
        made[0].close()
        assert made[0].closed
