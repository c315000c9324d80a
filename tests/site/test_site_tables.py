"""网页里的滑块：7 个网络随机的位置，网页里算的与 trace 逐格相同；地址、键盘、走不通的一行。

SITE_POSITIONS: 每个网络核对几个位置，默认 30；10000 是全部核对。
"""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
import tables
from support import site

from helpers import Explorer
from helpers.book.sections import NETWORKS, find
from helpers.network.shape_errors import ShapeError

pytestmark = pytest.mark.slow

POSITIONS = int(os.environ.get("SITE_POSITIONS", 30))
LARGEST = {"7.5": 300_000}  # 字节；别的 60,000


@pytest.fixture(scope="module", params=NETWORKS)
def section(request):
    return request.param


@pytest.fixture(scope="module")
def made(section, page_data):
    """(单元格的 id, Model, 滑块, 网页的数据)。"""
    [(cell, model, ranges)] = tables.explorers(nbformat.read(find(section), 4))
    return cell, model, ranges, page_data[section]["explorer"][cell]


@pytest.fixture(scope="module")
def browser():
    with site.chromium() as (window, complaints):
        yield window
        assert not complaints


@pytest.fixture
def opened(made, section, browser, tmp_path):
    """这一节的页面，打开了；再次打开用 opened(地址里 # 后面的)。"""
    cell, _, _, data = made
    html = site.page({"explorer": {cell: data}}, section=section)

    def open_with(hash=""):
        site.show(browser, tmp_path, html, hash)
        return browser
    open_with()
    return open_with


def random_positions(sliders, count):
    """网页说的滑块上随机的位置，每次都一样。sliders: companion.sliders。"""
    dice = random.Random(20)

    def value(options=None, low=0, high=0, step=1):
        return dice.choice(options) if options else round(low + step * dice.randint(0, round((high - low) / step)), 10)
    for _ in range(count):
        yield {name: value(**each) for name, each in sliders.items()}


def python_values(model, ranges, values):
    """网页的位置变成 Model 的：选项的名字变成值。"""
    named = {name: dict(each) for name, each in ranges.items()
             if isinstance(each, list) and isinstance(each[0], tuple)}
    return {name: named[name][value] if name in named else
            float(value) if isinstance(model.start[name], float) else value for name, value in values.items()}


def traced(model, values):
    """trace 说的：各层，或者那句话。"""
    try:
        table = model.table(values)
    except ShapeError as error:
        return str(error)
    except ValueError as error:
        return str(error).split("\n")[0]
    return [{"name": row.name, "kind": row.kind, "out_shape": [*row.out_shape], "params": row.params,
             "macs": row.macs} for row in table]


@pytest.mark.timeout(100_000)
def test_the_page_computes_the_rows_of_trace(made, opened):
    _, model, ranges, _ = made
    page = opened()
    sliders = page.evaluate("companion.sliders")
    assert sliders.keys() == ranges.keys() - {"lr", "dropout"}
    wrong = []
    for start in range(0, POSITIONS, 500):
        there = [*random_positions(sliders, min(POSITIONS, start + 500))][start:]
        for values, found in zip(there, page.evaluate("all => all.map(companion.rows)", there), strict=True):
            if found != traced(model, python_values(model, ranges, values)):
                wrong.append(values)
    assert not wrong, f"{len(wrong)} / {POSITIONS}: {wrong[:3]}"


CELLS = """html => {
    const root = html == null ? document.querySelector(".explorer .result") :
        new DOMParser().parseFromString(html, "text/html").body;
    return [root.querySelector("p").textContent, [...root.querySelectorAll("tr")].map((row) =>
        [...row.children].map((cell) => [cell.textContent, cell.className === "differs"
            || (cell.getAttribute("style") ?? "").includes("background")]))];
}"""


def move(page, name, value):
    """像读者那样动一个滑块。"""
    control = page.locator(f".explorer [name={name}]")
    if control.evaluate("node => node.tagName") == "SELECT":
        control.select_option(label=str(value))
    elif isinstance(value, bool):
        control.set_checked(value)
    else:
        control.fill(str(value))


def explorers_tables(model, ranges, positions):
    """笔记本里的 Explorer 在这些位置显示的 HTML。"""
    explorer = Explorer(model.plan, **ranges)
    for values in positions:
        there = python_values(model, ranges, values)
        explorer.panel.move(there)
        assert {name: explorer.values[name] for name in there} == there
        yield explorer.table.value
    explorer.close()


def test_the_table_shown_is_the_explorers(made, opened):
    _, model, ranges, _ = made
    page = opened()
    sliders = page.evaluate("companion.sliders")  # 最小的一角：GoogLeNet 的四条路径都关掉
    lowest = {name: each["options"][0] if "options" in each else each["low"] for name, each in sliders.items()}
    positions = [lowest, *random_positions(sliders, 1)]
    with ThreadPoolExecutor(1) as apart:  # 这个线程里有 playwright 的事件循环，Settle 会等它
        wanted = apart.submit(lambda: [*explorers_tables(model, ranges, positions)]).result()
    for values, html in zip(positions, wanted, strict=True):
        for name, value in values.items():
            move(page, name, value)
        assert page.evaluate(CELLS, None) == page.evaluate(CELLS, html)
    page.get_by_role("button", name="回到书上的网络").click()
    [first] = explorers_tables(model, ranges, [{}])
    assert page.evaluate(CELLS, None) == page.evaluate(CELLS, first)


def test_an_address_keeps_the_position(opened):
    page = opened()
    [values] = random_positions(page.evaluate("companion.sliders"), 1)
    for name, value in values.items():
        move(page, name, value)
    shown, hash = page.evaluate(CELLS, None), page.evaluate("location.hash")
    page = opened(hash)
    assert page.evaluate(CELLS, None) == shown
    assert page.locator("#broken").inner_text() == ""


def test_a_damaged_address_says_so_and_stays_at_the_book(opened):
    shown = opened().evaluate(CELLS, None)
    for text in ("abc", "", "-1", "100000", "1e999", "NaN", "0x10", "16.5"):
        page = opened(f"#size={text}")
        assert page.locator("#broken").inner_text(), text
        assert page.evaluate(CELLS, None) == shown, text


def test_the_export_is_small(made, section):
    assert len(json.dumps(made[3], ensure_ascii=False).encode()) < LARGEST.get(section, 60_000)


def test_a_wrong_number_is_found_when_it_is_written(made):
    _, model, ranges, data = made
    sliders = [each for each in tables.sliders_of(model, ranges) if each.name not in data["idle"]]
    polys = [each if isinstance(each, int) else [each[0], [each[1][0] + 1, *each[1][1:]], *each[2:]]
             for each in data["polys"]]
    with pytest.raises(ValueError):
        tables.verify(data | {"polys": polys}, model, sliders)


@pytest.mark.parametrize("section", ["7.1"], indirect=True)
def test_keys_move_the_sliders_and_a_phone_does_not_scroll_sideways(made, opened, browser):
    page = opened()
    page.get_by_label("c1", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("location.hash") == "#c1=7"
    assert page.evaluate(CELLS, None)[1][1][2] == ["1×7×28×28", True]
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
