"""history.py：几次训练一张表，多了少了都对，一次一行。"""

from dataclasses import replace

import pytest

from helpers.experiments.run import Run
from helpers.training.loop import Point
from helpers.widgets.history import History


@pytest.fixture
def runs():
    recipe = {"params": 61_706, "macs": 416_520, "lr": 0.9, "images": 600, "batch_size": 256, "num_epochs": 1}
    first = Run(network="lenet", recipe=recipe, book_recipe=recipe, points=[], ended="interrupted",
                device="cpu", dtype="float32", seed=0, started="", seconds={}, memory={})
    done = replace(first, ended="done", points=[Point(1.0, 0.5, 0.8, 0.7654)])
    return [first, done, replace(done, points=[Point(1.0, 0.5, 0.8, 0.25)])]


def rows(history):
    """表里的字，一行一个列表。"""
    cells = [cell.description if hasattr(cell, "click") else cell.value for cell in history.children]
    return [cells[i:i + 6] for i in range(0, len(cells), 6)]


def test_a_row_a_run_whatever_was_there_before(runs):
    pressed = []
    history = History(pressed.append)
    for shown in (runs[:2], runs, runs[2:], [], runs):
        history.show(shown)
        table = rows(history)
        assert len(table) == (len(shown) + 1 if shown else 0)
        for number, (row, run) in enumerate(zip(table[1:], shown, strict=True), start=1):
            assert row[0] == str(number) and row[2] == f"{run.recipe['params']:,}" and row[5] == run.condition
            assert row[4] == ("–" if not run.points else f"{run.points[-1].test_acc:.3f}")
    # 一种格子共用一份版面和样式
    assert len({(type(cell), cell.layout.model_id, cell.style.model_id) for cell in history.children}) == 2
    for cell in history.children:
        if hasattr(cell, "click"):
            cell.click()
    assert pressed == [1, 2, 3]


def test_a_closed_table_takes_no_more(runs):
    history = History(print)
    history.show(runs[:1])
    history.close()
    before = history.children
    history.show(runs)
    assert history.children == before
