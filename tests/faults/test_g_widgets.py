"""G19–G22：小组件和网页。真的内核，真的中断，真的子 shell。"""

import asyncio
import contextlib
import json
import time
from dataclasses import replace

import nbformat
import pytest
from support.recorded import HEALTHY
from support.rows import against

import helpers.experiments.session as session
from helpers import Explorer, LivePlot, budget, fit, load, saved_runs
from helpers.book.sections import NETWORKS, find
from helpers.experiments.store import save

# 不真的训练：每步 0.05 秒，一步一个点，停不下来就一直走
STEPS = """
import asyncio, time
import helpers.experiments.session as session
from helpers import Explorer, Point, load, saved_runs
walked = []
def steps(*args, walked=walked, **options):  # 前面的例子里停不下来的，数进它自己的
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
    pressed = kernel.click(model, subshell)
    if subshell is None:
        kernel.messages(pressed)  # 等到处理完：这以后走的步才算是按了以后的
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


def walks(kernel):
    """等到又走了五步。"""
    before, deadline = value(kernel, "len(walked)"), time.monotonic() + 30
    while value(kernel, "len(walked)") < before + 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@against(OURS, NAIVE)
def test_G20_training_outlives_the_subshell_that_started_it(subject, kernel, subshell):
    """JupyterLab 让小组件的消息走子 shell；网页里最后一个小组件没有了，子 shell 就关掉。"""
    kernel.run(subject)
    kernel.move(value(kernel, "explorer.sliders['c1'].model_id"), subshell, value=7)
    press(kernel, "train", subshell)
    walks(kernel)  # 开始了才关：关在前面的话，按的那一下就丢了
    kernel.close_subshell(subshell)
    walks(kernel)
    press(kernel, "stop")
    assert ends(kernel, 2)


def explored(plan):
    """按一次「训练」，留下的几次。"""
    explorer = Explorer(plan)
    asyncio.run(explorer.train())
    assert explorer.runs == saved_runs() and not explorer.train_button.disabled
    return explorer.runs


def trained_then_kept(plan):
    """训练，画，诊断，最后才存；出了错，回调里没有人看见。"""
    kept = []
    with contextlib.suppress(Exception):
        net, data = plan.build(), plan.data()
        with LivePlot(plan.num_epochs, show=lambda png: None) as plot:
            for point in fit(net, *data, lr=plan.lr, num_epochs=plan.num_epochs):
                plot.add(point)
        session.diagnose(None, net, data[0])
        kept.append(plot.points)
    return kept


@against(explored, trained_then_kept)
@pytest.mark.parametrize("broken", ["helpers.experiments.session.diagnose", "helpers.pictures.curves.LivePlot.add",
                                    "helpers.pictures.curves.encode"])
@pytest.mark.filterwarnings("ignore:没有诊断")
def test_G21_what_fails_beside_the_training_costs_no_run(subject, broken, monkeypatch):
    plan = budget(load("7.1").lenet, lr=0.9).change(batch_size=32, images=320, num_epochs=1)
    with monkeypatch.context() as patch:
        if broken.endswith("encode"):
            patch.setattr(LivePlot, "__enter__", lambda plot: patch.setattr(broken, explode) or plot)
        else:
            patch.setattr(broken, explode)
        assert len(subject(plan)) == 1


def explode(*args, **options):
    raise RuntimeError("坏了")


READS_RUNS = [cell.source for section in NETWORKS for cell in nbformat.read(find(section), as_version=4).cells
              if cell.cell_type == "code" and "saved_runs(" in cell.source and "import" not in cell.source]
OURS_CELLS = [source for source in READS_RUNS if source.startswith("compare(")] + [
    'Explorer(load("7.1").plan, c1=(1, 32))', 'saved_runs("lenet") and None']
# 书外常见的写法：列出来
NAIVE_CELLS = ['[run.test_acc for run in saved_runs("lenet")]', 'print(len(saved_runs("lenet")), "次")']


def fill(folder, runs):
    """一个读者的 runs/：这些次训练，和一些读不出来的。"""
    folder.mkdir()
    for i, run in enumerate(runs):
        save(replace(run, started=f"2026-01-01T00:00:{i:02}"), folder)
    if len(runs) > 7:
        good = json.loads(next(folder.glob("*lenet*.json")).read_text(encoding="utf-8"))
        (folder / "folder.json").mkdir()
        for i, change in enumerate([{"macs": "很多"}, {"batch_size": 0}, {"init": None}, {"lr": 1e300}]):
            odd = good | {"started": "2027", "recipe": good["recipe"] | change}
            (folder / f"odd{i}.json").write_text(json.dumps(odd), encoding="utf-8")


def texts(kernel, cell):
    """这一格的文字输出，nbval 比的那些。"""
    found = []
    for message in kernel.messages(kernel.send(cell)):
        content = message["content"]
        data = content.get("data", {}) if message["msg_type"] in ("display_data", "execute_result") else {}
        found += [content.get("name"), content.get("text"), content.get("evalue"), data.get("text/plain"),
                  data.get("text/html")]
    return [text for text in found if text]


@against(OURS_CELLS, NAIVE_CELLS)
def test_G22_no_text_depends_on_the_readers_runs(subject, kernel, tmp_path):
    run = HEALTHY[0]
    every = [replace(run, network=name) for name in NETWORKS.values()]
    fill(tmp_path / "one", every)
    fill(tmp_path / "many", [*every * 4, replace(run, network="lenet", ended="diverged", points=[], findings=()),
                             replace(run, network="lenet", recipe=run.recipe | {"num_epochs": 50})])
    kernel.run("import os\nfrom helpers import *")
    assert len(subject) > 1
    for cell in subject:
        found = []
        for folder in ("one", "many"):
            kernel.run(f"os.environ['COMPANION_RUNS'] = {str(tmp_path / folder)!r}")
            found.append(texts(kernel, cell))
        assert found[0] == found[1], cell
