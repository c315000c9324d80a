"""G19、G20：小组件和网页。真的内核，真的中断，真的子 shell。"""

import time

import pytest
from support.rows import against

# 不真的训练：每步 0.05 秒，一步一个点，停不下来就一直走
STEPS = """
import asyncio, time
import helpers.experiments.session as session
from helpers import Explorer, Point, load, saved_runs
walked = []
def steps(*args, **options):
    while True:
        time.sleep(0.05)
        walked.append(1)
        yield Point(len(walked) / 1000, 2.3, 0.1)
session.steps = steps
plan = load("7.1").plan.change(images=320, batch_size=32, num_epochs=1000)
"""
OURS = STEPS + """
explorer = Explorer(plan, c1=(1, 32))
running = lambda: explorer.trainer.background.running
"""
# 书外常见的写法：按钮起一个任务，每步在线程里走，走完了才存
NAIVE = STEPS + """
import ipywidgets as widgets
from helpers import budget
class explorer:
    train_button, stop_button = widgets.Button(), widgets.Button()
    sliders, table, now, kept = {"c1": widgets.IntSlider(6, 1, 32)}, widgets.HTML(), False, []
    async def train(*_):
        explorer.now, points = True, []
        turns = steps()
        while True:
            points.append(await asyncio.to_thread(next, turns))
        explorer.kept.append(points)
running = lambda: explorer.now
saved_runs = lambda name: explorer.kept
def start(_):
    explorer.task = asyncio.ensure_future(explorer.train())
explorer.train_button.on_click(start)
"""


def value(kernel, expression):
    return eval(kernel.run(f"print(repr({expression}))"))


def press(kernel, button, subshell=None):
    """按一下，等到训练走起来。"""
    model, before = value(kernel, f"(explorer.{button}_button.model_id, len(walked))")
    kernel.click(model, subshell)
    while button == "train" and value(kernel, "len(walked)") < before + 3:
        time.sleep(0.05)


def ends(kernel, steps):
    """训练在 steps 步之内停下。"""
    before = value(kernel, "len(walked)")
    while value(kernel, "running()"):
        if value(kernel, "len(walked)") > before + steps:
            return False
        time.sleep(0.05)
    return True


@against(OURS, NAIVE)
def test_G19_interrupt_of_a_training_from_the_button(subject, kernel):
    kernel.run(subject)
    before = value(kernel, "len(saved_runs('lenet'))")
    press(kernel, "train")
    kernel.interrupt()
    assert ends(kernel, 2)
    assert value(kernel, "[run.ended for run in saved_runs('lenet')]")[before:] == ["interrupted"]
    press(kernel, "train")  # 还能再来一次
    kernel.interrupt()
    assert ends(kernel, 2) and value(kernel, "len(saved_runs('lenet'))") == before + 2


@against(OURS, NAIVE)
def test_G19_interrupt_of_a_cell_that_waits_for_the_training(subject, kernel):
    kernel.run(subject)
    before = value(kernel, "len(saved_runs('lenet'))")
    cell = kernel.send("await explorer.train()\nprint(len(walked))")
    time.sleep(1)
    kernel.interrupt()
    messages = kernel.messages(cell)
    assert not [message for message in messages if message["msg_type"] == "error"]
    assert value(kernel, "len(saved_runs('lenet'))") == before + 1
    assert not value(kernel, "running() or explorer.train_button.disabled")


@pytest.fixture
def subshell(kernel):
    return kernel.open_subshell()


@against(OURS, NAIVE)
def test_G20_training_outlives_the_subshell_that_started_it(subject, kernel, subshell):
    """JupyterLab 让小组件的消息走子 shell；网页里最后一个小组件没有了，子 shell 就关掉。"""
    kernel.run(subject)
    kernel.move(value(kernel, "explorer.sliders['c1'].model_id"), subshell, value=7)
    press(kernel, "train", subshell)
    kernel.close_subshell(subshell)
    before = value(kernel, "len(walked)")
    deadline = time.monotonic() + 20
    while value(kernel, "len(walked)") < before + 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    press(kernel, "stop")
    assert ends(kernel, 2)
