"""D：滑块。朴素的滑块是 ipywidgets 的 observe 或 interact：来一个值算一次。"""

import asyncio
import gc
import threading
import time

import ipywidgets as widgets
import psutil
import pytest
import torch
from support.rows import against
from torch import nn

from helpers import Explorer, budget, fashion_mnist, fit, load

lenet = load("7.1").lenet

OURS = """
from helpers import Explorer, load
explorer = Explorer(load("7.1").plan, c1=(1, 32), lr=(0.01, 10))
slider, computed, table = explorer.sliders["c1"], [], explorer.model.table
explorer.model.table = lambda values: computed.append(slider.value) or table(values)
explorer
"""
# 书外常见的写法：每个消息都重画
NAIVE = """
import time
import ipywidgets as widgets
slider, table, computed = widgets.IntText(value=6), widgets.HTML(), []
def redraw(change):
    table.value = "1×%d×28×28" % (1 * change["new"])
    computed.append(change["new"])
    time.sleep(0.053)
slider.observe(redraw, "value")
class explorer: pass
explorer.table = table
"""


def dragged(kernel):
    """一口气送来 100 个值。"""
    model = kernel.run("print(slider.model_id)").strip()
    for i in range(100):
        kernel.move(model, value=1 + i % 32)
    return kernel.move(model, value=13)


@against(OURS, NAIVE)
def test_D1_hundred_messages_at_once(subject, kernel):
    kernel.run(subject)
    dragged(kernel)
    started = time.monotonic()
    kernel.run("1")
    assert time.monotonic() - started < 1
    time.sleep(0.5)
    count, last, shown = kernel.run("print(len(computed), computed[-1], '1×13×28×28' in explorer.table.value)").split()
    assert int(count) <= 3 and last == "13" and shown == "True"


@against(OURS, NAIVE)
def test_D2_interrupt_during_the_drag(subject, kernel):
    kernel.run(subject)
    dragged(kernel)
    time.sleep(0.1)
    kernel.manager.interrupt_kernel()
    started = time.monotonic()
    kernel.run("1")
    assert time.monotonic() - started < 1


@against(OURS, NAIVE)
def test_D3_values_that_cannot_be(subject, kernel):
    kernel.run(subject)
    model = kernel.run("print(slider.model_id)").strip()
    for value in (0, -1, 10**9, 2.5, "abc", None):
        before = kernel.run("print(slider.value)")
        kinds = [message["msg_type"] for message in kernel.messages(kernel.move(model, value=value), timeout=10)]
        now = kernel.run("print(slider.value)")
        assert "error" not in kinds and 1 <= int(now) <= 32
        if value in ("abc", None):
            assert now == before and "不能是" in kernel.run("print(explorer.message.value)")


def unchecked(net, data, test, *, lr, num_epochs):
    """优化器收下什么就用什么。"""
    optimizer = torch.optim.SGD(net.parameters())
    for group in optimizer.param_groups:
        group["lr"] = lr
    for X, y in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()


@against(lambda *args, **options: list(fit(*args, **options)), unchecked)
@pytest.mark.parametrize("lr", [float("nan"), float("inf"), 0, -1, 1e20])
def test_D4_learning_rates_that_cannot_be(subject, lr):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    with pytest.raises((ValueError, FloatingPointError), match="学习率"):
        subject(net, *fashion_mnist(32, images=320, device="cpu"), lr=lr, num_epochs=1)


@against(lambda plan: plan.build(), lambda plan: plan.make(**plan.widths))
def test_D5_over_the_memory_budget(subject, monkeypatch):
    monkeypatch.setattr("helpers.experiments.plan.memory_limit", lambda device: 100e6)
    before = psutil.Process().memory_info().rss
    with pytest.raises(ValueError, match=r"训练约要 .*，只有 100\.0 MB，放不下"):
        net = subject(budget(load("7.3").vgg11, size=224))
        assert psutil.Process().memory_info().rss - before < 50e6, net
    gc.collect()


class Observed:
    """observe 一个回调，回调里的异常没有人看。"""

    def __init__(self, make):
        self.slider, self.message, self.make = widgets.IntSlider(6, 1, 9), widgets.HTML(), make
        self.slider.observe(self.redraw, "value")

    def redraw(self, change):
        self.message.value = repr(self.make(change["new"]))

    @property
    def said(self):
        return self.message.value


class Explored:
    """同样的网络函数交给 Explorer。"""

    def __init__(self, make):
        self.explorer = Explorer(budget(make), width=(1, 9))
        self.slider = self.explorer.sliders["width"]

    @property
    def said(self):
        return self.explorer.table.value


@against(Explored, Observed)
def test_D6_exception_in_a_callback(subject):
    def fragile(width=6):
        if width == 5:
            raise RuntimeError("五不行")
        return nn.Sequential(nn.Flatten(), nn.Linear(784, width))
    shown = subject(fragile)
    shown.slider.value = 5
    assert "五不行" in shown.said
    shown.slider.value = 7
    assert "五不行" not in shown.said and "7" in shown.said


class Presses:
    """数一数同时有几个训练在走。"""

    def __init__(self):
        self.running, self.most, self.lock = 0, 0, threading.Lock()

    def steps(self, *args, **options):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            while True:
                time.sleep(0.05)
                yield None
        finally:
            with self.lock:
                self.running -= 1


class NaiveTrainer:
    """按一次起一个线程，没有停。"""

    def __init__(self, presses):
        self.presses = presses
        self.train_button, self.stop_button = widgets.Button(), widgets.Button()
        self.train_button.on_click(lambda _: threading.Thread(target=self.train, daemon=True).start())
        self.stop_button.on_click(lambda _: None)

    def train(self):
        for i, _ in enumerate(self.presses.steps()):
            if i == 20:
                break


def explorer_of(presses):
    """真的 Explorer。"""
    return Explorer(budget(lenet, lr=0.9).change(images=320, batch_size=32), c1=(1, 32))


@against(explorer_of, NaiveTrainer)
def test_D7_pressed_twice_stopped_and_run_again(subject, monkeypatch):
    presses = Presses()
    monkeypatch.setattr("helpers.experiments.session.steps", presses.steps)

    async def scene():
        first = subject(presses)
        first.train_button.click()
        await asyncio.sleep(0.2)
        first.train_button.click()
        await asyncio.sleep(0.2)
        assert presses.most == 1
        second = subject(presses)  # 单元格重新运行
        await asyncio.sleep(0.3)
        assert presses.running == 0
        second.train_button.click()
        await asyncio.sleep(0.3)
        assert presses.running == 1
        second.stop_button.click()
        await asyncio.sleep(0.3)
        assert presses.running == 0
    asyncio.run(scene())
