"""真的内核，真的子 shell：单元格忙着滑块也有回应，训练在主线程，再运行不留下旧的。"""

import contextlib
import time
from itertools import pairwise

import pytest
from kernel import Kernel, printed

pytestmark = pytest.mark.slow

# 不真的训练：一步一个点，五步
CELL = """
import threading, time
import ipywidgets
import numpy as np
import helpers.experiments.session as session
from helpers import Explorer, Interactive, Picture, Point, load
from helpers.pictures.png import encode
def steps(*args, **options):
    trained.append(threading.current_thread().name)
    for i in range(1, 6):
        yield Point(i / 5, 2.3, 0.1)
session.steps = steps
trained, measured = [], []
explorer = Explorer(load("7.1").plan.change(images=320, batch_size=32, num_epochs=1), c1=(1, 32), lr=(0.01, 10))
table = explorer.model.table
explorer.model.table = lambda values: measured.append((values["c1"], threading.current_thread().name)) or table(values)
picture = Interactive(lambda a=1: Picture(encode(np.full((1, 1, 4), a, np.uint8), 100), "图"), a=(0, 9))
count = lambda: len(ipywidgets.widgets.widget._instances)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    running = Kernel({"COMPANION_RUNS": str(tmp_path_factory.mktemp("runs"))})
    with contextlib.closing(running):
        yield running


def value(kernel, expression):
    return eval(kernel.run(f"print(repr({expression}))"))


def until(kernel, expression, seconds=60):
    """等到成立；运行的单元格很短，其间消息照样处理。"""
    deadline = time.monotonic() + seconds
    while not value(kernel, expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


def trained(kernel, c1):
    """等到训练完通道数是 c1 的一次；存下的也在 runs 里，所以看最后一个。"""
    until(kernel, f"explorer.runs and explorer.runs[-1].recipe['c1'] == {c1}"
                  " and not explorer.trainer.background.running")


def test_a_cell_that_runs_again_leaves_no_widget_behind(kernel):
    counts = []
    for _ in range(10):
        kernel.run(CELL, cell="a")
        counts.append(value(kernel, "count()"))
    assert len(set(counts)) == 1
    assert value(kernel, "len(__import__('comm').get_comm_manager().comms)") == counts[0]
    kernel.run(CELL.replace("explorer = ", "second = explorer\nexplorer = "), cell="b")  # 别的单元格里的不关
    assert not value(kernel, "second.closed") and value(kernel, "count()") == 2 * counts[0]
    kernel.run("explorer.close(); picture.close()")


def test_trainings_add_rows_and_nothing_else(kernel):
    kernel.run(CELL, cell="a")
    counts = []
    for _ in range(10):
        kernel.run("await explorer.train()")
        counts.append(value(kernel, "(len(explorer.runs), count())"))
    rows = [count for _, count in counts]
    assert counts[-1][0] == 8 and len(set(rows[7:])) == 1
    assert all(after - before == 6 for before, after in pairwise(rows[1:8]))
    kernel.run(CELL, cell="a")
    assert value(kernel, "count()") == rows[-1]


def test_a_slider_answers_while_a_cell_is_busy_and_the_training_waits_for_it(kernel):
    kernel.run(CELL, cell="a")
    c1, train = value(kernel, "(explorer.sliders['c1'].model_id, explorer.train_button.model_id)")
    subshell = kernel.open_subshell()
    kernel.move(c1, subshell, value=7)  # 第一条到主线程，从此才走子 shell
    kernel.click(train, subshell)
    trained(kernel, 7)
    busy = kernel.send("time.sleep(2)\nprint(repr((measured, explorer.runs[-1].recipe['c1'])))")
    kernel.move(c1, subshell, value=9)
    kernel.click(train, subshell)
    measured, last = eval(printed(kernel.messages(busy)))
    assert measured[-1][0] == 9 and measured[-1][1].startswith("subshell") and last == 7
    trained(kernel, 9)
    assert "1×9×28×28" in value(kernel, "explorer.table.value")
    kernel.close_subshell(subshell)


def test_two_threads_that_move_the_same_slider_end_where_the_slider_ends(kernel):
    kernel.run(CELL, cell="a")
    [c1] = value(kernel, "[explorer.sliders['c1'].model_id]")
    subshell = kernel.open_subshell()
    kernel.move(c1, subshell, value=2)
    time.sleep(0.3)
    busy = kernel.send("for i in range(200):\n    explorer.sliders['c1'].value = 1 + i % 32\n    time.sleep(0.005)")
    for i in range(100):
        kernel.move(c1, subshell, value=1 + (7 * i) % 32)
        time.sleep(0.005)
    kernel.messages(busy)
    time.sleep(1)
    now = value(kernel, "explorer.sliders['c1'].value")
    assert f"1×{now}×28×28" in value(kernel, "explorer.table.value")
    kernel.close_subshell(subshell)


VIEW = """
import threading, time, torch
from helpers import Inside, load
threads = []
torch.manual_seed(0)
inside = Inside(load("7.1").lenet(), torch.rand(4, 1, 28, 28))
answer = inside.answers.answer
inside.answers.answer = lambda *what: threads.append(threading.current_thread().name) or answer(*what)
"""


def test_a_question_is_answered_while_a_cell_is_busy(kernel):
    kernel.run(VIEW, cell="view")
    model = value(kernel, "inside.page.model_id")
    subshell = kernel.open_subshell()
    kernel.ask(model, {"ask": "start", "number": 1}, subshell)  # 第一条到主线程
    until(kernel, "len(threads) == 1")
    busy = kernel.send("time.sleep(3)\nprint(repr((threads, inside.answers.X.mean().item())))")
    for number in range(2, 6):
        kernel.ask(model, {"ask": "image", "image": number - 2, "number": number}, subshell)
    asked, mean = eval(printed(kernel.messages(busy)))
    assert len(asked) == 5 and all(name.startswith("subshell") for name in asked[1:])
    assert mean == pytest.approx(float(value(kernel, "inside.answers.images[3].mean().item()")))
    kernel.close_subshell(subshell)


def test_a_view_that_is_made_again_leaves_nothing_behind(kernel):
    counts = []
    for _ in range(3):
        kernel.run(VIEW, cell="view")
        counts.append(value(kernel, "len(__import__('ipywidgets').widgets.widget._instances)"))
    assert len(set(counts)) == 1
