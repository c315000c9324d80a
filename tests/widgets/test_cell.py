"""cell.py：单元格再运行，旧的关掉。真的内核里的在故障表 G20。"""

import ipywidgets as widgets
import pytest

from helpers import Explorer, Interactive, load
from helpers.pictures.canvas import Picture
from helpers.widgets.cell import Shown

registry = widgets.widgets.widget._instances


@pytest.fixture
def run(monkeypatch):
    """假装在某个单元格的某次运行里。"""
    def run(cell, execution):
        monkeypatch.setattr("helpers.widgets.cell.current_cell", lambda: cell and (cell, execution))
    return run


def test_a_cell_that_runs_again_closes_what_it_made_before(run):
    run("a", "1")
    first, second = Shown(), Shown()
    run("b", "2")
    other = Shown()
    run("a", "3")
    third = Shown()
    assert [each.closed for each in (first, second, other, third)] == [True, True, False, False]
    run("a", "4")
    Shown()
    assert third.closed and not other.closed


def test_without_a_cell_nothing_is_closed(run):
    run(None, None)
    first = Shown()
    Shown()
    assert not first.closed


def test_everything_inside_is_closed_too():
    before = set(registry)
    shown = Interactive(lambda a=1: Picture(b"", "图"), a=(0, 5))
    box = widgets.HBox([shown.sliders["a"]], layout=shown.layout)
    shown.children = [*shown.children, box]
    shown.close()
    shown.close()
    assert set(registry) == before and shown.closed and "Interactive" in repr(shown)


def test_a_closed_explorer_is_still_there_in_python():
    before = set(registry)
    explorer = Explorer(load("7.1").plan.change(images=320), c1=(1, 32))
    explorer.close()
    explorer.sliders["c1"].value = 8
    explorer.history.show([])
    assert explorer.build()[0].out_channels == 8 and set(registry) == before
