"""由滑块控制的图，网页上的：切出来的语句够用，起点就是笔记本里的那一张，每个位置露出的是它自己的图。"""

import ast
import base64
import io
import itertools
from functools import cache

import frames
import nbformat
import numpy as np
import pytest
from PIL import Image
from slices import Trained, namespace, sliced
from support.site import chromium, page, show, until

from helpers.book.sections import NETWORKS, find
from helpers.pictures.canvas import canvas
from helpers.widgets.interactive import Interactive


@cache
def book(section):
    return nbformat.read(find(section), as_version=4)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


PICTURES = [(section, cell.id) for section in NETWORKS for cell, _ in frames.calls(book(section))]
NEED_TRAINING = [("7.4", "c74-66c"), ("7.7", "c77-maps")]


@pytest.mark.parametrize(("section", "cell_id"), PICTURES)
def test_sliced_statements_draw_the_picture_of_the_notebook(section, cell_id):
    cell, call = next((cell, call) for cell, call in frames.calls(book(section)) if cell.id == cell_id)
    if (section, cell_id) in NEED_TRAINING:
        with pytest.raises(Trained):
            frames.interactive(book(section), cell_id, call)
        return
    widget = frames.interactive(book(section), cell_id, call)
    kept = frames.controls(widget)
    assert [each.name for each in kept] == [keyword.arg for keyword in call.keywords]
    assert {each.name: each.values[each.start] for each in kept} == pytest.approx(widget.panel.values)
    assert len([*frames.positions(kept)]) <= frames.MOST
    assert all({each.values[0], each.values[each.start], each.values[-1]} <= {*each.kept} for each in kept)
    stored = base64.b64decode(next(each.data["image/png"] for each in cell.outputs if "image/png" in each.data))
    drawn, committed = pixels(widget.picture.value), pixels(stored)
    assert drawn.shape == committed.shape and np.abs(drawn - committed).mean() < 2


def names(source, wanted):
    """切出来的语句。"""
    return [ast.unparse(each) for each in sliced(ast.parse(source).body, ast.parse(wanted, mode="eval").body)]


@pytest.mark.parametrize(("source", "wanted", "kept"), [
    ("a = 1\nb = 2\nc = a", "c", ["a = 1", "c = a"]),
    ("a = 1\nb = a\na = 2", "b", ["a = 1", "b = a"]),  # 用的是前面那个 a
    ("a = 1\nf = lambda: a\na = 2", "f", ["f = lambda: a", "a = 2"]),  # 函数用的是最后那个 a
    ("a = {}\na['x'] = 1\na.y = 2\nb = 1", "a", ["a = {}", "a['x'] = 1", "a.y = 2"]),
    ("a = 1\na += 1", "a", ["a = 1", "a += 1"]),
    ("a, (b, c) = 1, (2, 3)\nd = [x for x in a]", "d", ["a, (b, c) = (1, (2, 3))", "d = [x for x in a]"]),
    ("import os.path\nfrom math import pi as p, e\nq = 1", "p + os", ["import os.path", "from math import pi as p, e"]),
    ("x = 1\ndef f(x):\n    return x", "f", ["def f(x):\n    return x"]),
    ("net = 1\nother = 2\ntrain(net)", "other", ["other = 2"])])
def test_slice_keeps_what_is_needed_and_nothing_else(source, wanted, kept):
    assert names(source, wanted) == kept


@pytest.mark.parametrize("source", ["net = 1\ntrain(net, 2)", "net = 1\nrun = book.fit(net)\nf = lambda: net",
                                    "net = 1\n[*fit(net)]\nf = net"])
def test_trained_network_cannot_be_sliced(source):
    with pytest.raises(Trained):
        names(source, "f" if "f =" in source else "net")


def test_slice_runs_on_its_own():
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in
             (("a", "import math\nraise SystemExit"), ("b", "r = 2\narea = lambda: math.pi * r ** 2"), ("c", "area()"))]
    found = namespace(nbformat.v4.new_notebook(cells=cells), "c", ast.parse("area", mode="eval").body)
    assert found["area"]() == pytest.approx(12.566370614)


def painted(**widths):
    """一张纯色的图，颜色由滑块的值定；red 是 3 时画不出来。"""
    if widths.get("red") == 3:
        raise ValueError("太红了")
    with canvas(1.5, 1, f"{widths}") as drawn:
        drawn.figure.set_facecolor([min(60 * int(value), 255) / 255 for value in [*widths.values(), 0, 0][:3]])
    return drawn


def three(red=1, green=0, blue=True):
    return painted(red=red, green=green, blue=blue)


def two(red=0, green="0"):
    return painted(red=red, green=green)


@pytest.mark.slow
def test_every_position_shows_its_own_picture(tmp_path):
    data = frames.exported(Interactive(two, red=(0, 3), green=["0", "1", "2"]))
    assert [each["kind"] for each in data["controls"]] == ["range", "select"] and not data["note"]
    with chromium() as (tab, complaints):
        show(tab, tmp_path, page({"frames": {"cell": data}}))
        seen = {}
        for red, green in itertools.product(range(4), range(3)):
            tab.get_by_label("red").fill(str(red))
            tab.get_by_label("green").select_option(str(green))
            tab.wait_for_timeout(50)
            seen[red, green] = tab.get_by_role("img").get_attribute("alt"), color(tab), tab.inner_text(".message")
        for (red, green), (alt, shown, said) in seen.items():
            if red == 3:
                assert "太红了" in said
            else:
                assert alt == f"{dict(red=red, green=str(green))}" and not said
                assert np.abs(np.array(shown) - (60 * red, 60 * green, 0)).max() <= 3
        assert not complaints


def color(tab):
    """露出来的那张图的正中是什么颜色。"""
    return Image.open(io.BytesIO(tab.locator(".frame").screenshot())).convert("RGB").getpixel((70, 50))


@pytest.mark.slow
def test_many_sliders_move_one_at_a_time(tmp_path):
    data = frames.exported(Interactive(three, red=(0, 2), green=(0, 99), blue=True))
    red, green, blue = data["controls"]
    assert (red["values"], red["start"]) == (["0", "1", "2"], 1) and blue["kind"] == "check" and data["note"]
    assert green["values"][0] == "0" and len(data["frames"]) <= frames.MOST
    with chromium(width=390, height=800) as (tab, complaints):
        show(tab, tmp_path, page({"frames": {"cell": data}}))
        image = tab.get_by_role("img")
        assert image.get_attribute("alt") == "{'red': 1, 'green': 0, 'blue': True}"
        tab.get_by_label("green").press("ArrowRight")
        assert tab.get_by_label("green").get_attribute("aria-valuetext") == green["values"][1]
        until(tab, f"document.querySelector('.frame img').alt.includes(\"'green': {green['values'][1]},\")")
        tab.get_by_label("blue").click()
        until(tab, "document.querySelector('.frame img').alt.includes(\"'blue': False\")")
        assert image.get_attribute("alt") == "{'red': 1, 'green': 0, 'blue': False}"
        assert tab.get_by_label("green").input_value() == "0"
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not complaints


def test_same_pictures_are_stored_once():
    data = frames.exported(Interactive(lambda red=0, green=0: painted(red=red), red=(0, 1), green=(0, 5)))
    assert len(data["frames"]) == 12 and data["count"] == 2
