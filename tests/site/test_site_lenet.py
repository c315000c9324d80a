"""lenet.py、lenet.js、forward.js、sketch.js、where.js：网页里的 LeNet，与 torch 和笔记本里的 Answers 对照。"""

import base64
import os
from itertools import pairwise

import lenet
import nbformat
import numpy as np
import page as site_page
import pytest
import torch
from PIL import Image, ImageDraw
from support.browser import SCREENSHOTS, draw
from support.site import chromium, new_window, page, show, until
from torch import nn
from vendor import AXE

from helpers import fashion_mnist
from helpers.data.sketch import prepare
from helpers.network.inside import Cell
from helpers.paths import NOTEBOOKS
from helpers.widgets.answers import Answers

IMAGES = min(10_000, int(os.environ.get("SITE_POSITIONS", 2_000)))  # make site-check 核对全部
NEXT = "[data-what=products] button, [data-what=window] button, .terms button"  # 退回一层的
SHIRT = [(0.2, 0.15), (0.8, 0.15), (0.8, 0.4), (0.65, 0.4), (0.65, 0.85), (0.35, 0.85), (0.35, 0.4), (0.2, 0.4),
         (0.2, 0.15)]
AS_WIDE = """() => [...document.querySelectorAll(".inside .sheet")].every((sheet) =>
    [sheet, sheet.firstChild].every((part) => Math.abs(part.offsetWidth - parseFloat(sheet.style.width)) < 1))"""
HELPERS = """async () => {
    const { asking } = await import("lenet.js");
    window.asked = asking(JSON.parse(document.querySelector("#data").textContent).inside.a);
    window.packed = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    window.unpacked = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}"""


@pytest.fixture(scope="module")
def answers():
    train, test = fashion_mnist(device="cpu")
    return Answers(lenet.trained(), lenet.first(test, lenet.TEST), lenet.first(train, lenet.TRAIN))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def window(browser, tmp_path_factory):
    """一页，在它里面问。"""
    window, complaints = browser
    show(window, tmp_path_factory.mktemp("page"), page({"inside": {"a": lenet.data()}}))
    window.evaluate(HELPERS)
    yield window
    assert complaints == []


@pytest.fixture
def opened(browser, tmp_path):
    """opened(宽, 主题, 数据)：新的一页，读者看见的那样。"""
    windows, (first, complaints) = [], browser

    def open(width=1280, theme="light", data=None):
        windows.append(window := new_window(first.context, complaints))
        window.set_viewport_size({"width": width, "height": 900})
        window.emulate_media(color_scheme=theme)
        show(window, tmp_path, page({"inside": {"a": data or lenet.data()}}))
        window.locator("[data-class]").first.wait_for()
        return window

    yield open
    for window in windows:
        window.close()
    assert complaints == []


def packed(pixels):
    return base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode()


def ask(window, question, *buffers, **more):
    """问网页里的，回答与 Answers.answer 的一样：(JSON, 几段字节)。"""
    answer, data = window.evaluate("""async ([question, buffers]) => {
        const [answer, data] = await asked(question, buffers.map(unpacked));
        return [answer, data.map(packed)];
    }""", [{"ask": question, **more}, [packed(each) for each in buffers]])
    return answer, [base64.b64decode(each) for each in data]


def ask_both(window, answers, question, *buffers, **more):
    """两边都问：网页的，笔记本的。"""
    return ask(window, question, *buffers, **more), answers.answer({"ask": question, **more}, [*buffers])


def assert_near(mine, other):
    """同样的名字、文字和整数，小数差不多。"""
    if isinstance(other, dict):
        assert mine.keys() == other.keys()
        for name in other:
            assert_near(mine[name], other[name])
    elif isinstance(other, list | tuple):
        assert len(mine) == len(other)
        for one, two in zip(mine, other, strict=True):
            assert_near(one, two)
    else:
        assert mine == (pytest.approx(other, rel=1e-4, abs=2e-5) if isinstance(other, float) else other)


def assert_alike(mine, other, apart=1):
    """几段深浅，一个字节至多差 apart。"""
    assert [len(each) for each in mine] == [len(each) for each in other]
    for one, two in zip(mine, other, strict=True):
        assert np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(two, np.uint8)).max() <= apart


def assert_same(mine, other):
    """两个回答一样：(JSON, 几段深浅)。"""
    assert "error" not in other[0]
    assert_near(mine[0], other[0])
    assert_alike(mine[1], other[1])


# ---------- 做网页时 ----------

@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("7.*.ipynb")), ids=lambda path: path.stem)
def test_only_the_recorded_network_is_served(path):
    notebook = nbformat.read(path, as_version=4)
    opening = [cell.id for cell in notebook.cells if cell.cell_type == "code" and "Inside(" in cell.source]
    found = lenet.plug(path.stem[:3], notebook)
    assert opening and [*found] == (opening if path.stem == "7.1-lenet" else [])


def test_the_record_says_how_it_was_made_and_is_of_today_s_network():
    found, net = lenet.recorded(), lenet.trained()
    assert {"seed", "settings", "recorded", "machine", "versions", "command", "commit"} <= found.keys()
    _, test = fashion_mnist(device="cpu")
    right = (net(test.scale(test.X)).argmax(1) == test.y).float().mean().item()
    assert right == pytest.approx(found["test_acc"], abs=2e-4) and right > 0.75
    assert found["changed_answers"] < 10


def test_another_network_is_refused(monkeypatch):
    found = lenet.recorded()
    for change in ({"code": found["code"].replace("c1=6", "c1=7")}, {"weights": found["weights"][:-8]}):
        monkeypatch.setattr(lenet, "recorded", lambda change=change: found | change)
        with pytest.raises(ValueError, match=r"record_lenet\.py"):
            lenet.trained()


@pytest.mark.parametrize("module", [nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 1, 3, dilation=2), nn.ReLU(),
                                    nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, bias=False),
                                    nn.AvgPool2d(2, padding=1), nn.AvgPool2d(3, ceil_mode=True), nn.Flatten(2)])
def test_a_layer_that_the_page_cannot_compute_is_refused(module):
    with pytest.raises(ValueError, match=r"forward\.js"):
        lenet.layer(module)


# ---------- 算得与 torch 一样 ----------

@pytest.mark.slow
def test_the_logits_are_torch_s(window):
    _, test = fashion_mnist(device="cpu")
    X, found = test.X[:IMAGES], []
    for some in X.split(1_000):
        found += window.evaluate("""async (text) => {
            const { look, opened } = await import("lenet.js"), pixels = unpacked(text);
            window.lenet ??= opened(JSON.parse(document.querySelector("#data").textContent).inside.a);
            return Array.from({ length: pixels.length / 784 }, (_, n) => {
                look(lenet, pixels.subarray(784 * n, 784 * (n + 1)));
                return Array.from(lenet.values.at(-1).content);
            });
        }""", packed(some))
    found, expected = torch.tensor(found), lenet.trained()(test.scale(X))
    changed = (found.argmax(1) != expected.argmax(1)).sum().item()
    print(f"{len(X)} 张里 {changed} 张的答案不同，对数几率至多差 {(found - expected).abs().max():.1e}")
    assert found.shape == expected.shape and changed == 0 and (found - expected).abs().max() < 1e-4


@pytest.mark.slow
def test_the_images_and_the_maps_are_the_notebook_s(window, answers):
    assert_same(*ask_both(window, answers, "start"))
    for number in (3, 57, lenet.TEST - 1, lenet.TEST, -1):
        assert_same(*ask_both(window, answers, "image", image=number))
        looking = [[k, first, 3] for k, first in ((1, 0), (2, 4), (3, 3), (6, 15), (7, 0), (9, 0), (12, 0))]
        assert_same(*ask_both(window, answers, "maps", looking=looking))


@pytest.mark.slow
def test_the_terms_of_a_cell_are_those_of_explain(window, answers):
    dice = np.random.default_rng(0)
    for i in range(200):
        if i % 20 == 0:
            ask_both(window, answers, "image", image=int(dice.integers(lenet.TEST)))
        step = answers.steps[i % 13]
        index = (0, *(int(dice.integers(size)) for size in step.value.shape[1:]))
        cell, first = [step.number, *step.place(index)], 12 * int(dice.integers(2))
        mine, shades = ask(window, "cell", cell=cell, first=first)
        # 一样大的两个通道，哪一个在前说不准：笔记本的也看网页选的那一个
        other = answers.answer({"ask": "cell", "cell": cell, "first": first} |
                               ({"channel": mine["grid"]["channel"]} if "grid" in mine else {}), [])
        assert_same((in_order(mine), shades), (in_order(other[0]), other[1]))
        assert_explained(mine, answers, step, index)


def in_order(answer):
    """核对过从大到小，再按来处排：差不多大的，两边的次序可以不同。"""
    for name, size, place in (("sums", lambda each: each[1], lambda each: each[0]),
                              ("terms", lambda each: each["contribution"], lambda each: each["to"])):
        sizes = [abs(size(each)) for each in answer.get(name, ())]
        assert all(one >= two - 1e-6 for one, two in pairwise(sizes))
        if name in answer:
            answer = answer | {name: sorted(answer[name], key=place)}
    return answer


def assert_explained(mine, answers, step, index):
    """一项一项都是 explain 的，加起来是这一格的数。"""
    found = Cell(step.value, index).explain()
    terms = {term.cell.index: term for term in found.terms if term.role == "input"}
    shown = mine["grid"]["cells"] if "grid" in mine else mine["terms"]
    for each in shown:
        k, *place = each["to"]
        term = terms[answers.steps[k].index(*place)]
        assert_near([each["value"], each["weight"], each["contribution"]], [term.value, term.weight, term.contribution])
    rest = sum(each["contribution"] for each in mine["others"]) + mine["unseen"]
    whole = rest + sum(each[1] for each in mine["sums"]) if "grid" in mine else rest + sum(
        each["contribution"] for each in shown)
    if terms:
        assert [whole, mine["total"], mine["value"]] == pytest.approx([found.value] * 3, abs=2e-5)


@pytest.mark.slow
def test_a_channel_and_a_page_can_be_chosen(window, answers):
    for channel in (0, 3, 5):
        mine, other = ask_both(window, answers, "cell", cell=[4, 7, 2, 9], channel=channel)
        assert mine[0]["grid"]["channel"] == channel
        assert_same((in_order(mine[0]), mine[1]), (in_order(other[0]), other[1]))
    seen = [term["to"] for first in range(0, 400, 12)
            for term in ask(window, "cell", cell=[8, 0, 3, 2], first=first)[0]["terms"]]
    assert len({*map(tuple, seen)}) == len(seen) == 400


@pytest.mark.slow
def test_the_trail_follows_the_largest_term_to_a_pixel(window, answers):
    cells = [[12, 0, 0, 4], [12, 0, 1, 1], [5, 3, 0, 0], [1, 2, 14, 14], [0, 0, 3, 3]]
    for number, cell in enumerate(cells):
        ask_both(window, answers, "image", image=number)
        (mine, _), (other, _) = ask_both(window, answers, "trail", cell=cell)
        assert mine.keys() == other.keys() and mine["cell"] == cell
        assert [each[0] for each in mine["trail"]] == [*range(cell[0] - 1, -1, -1)]
        for k, *place, value in mine["trail"]:
            step = answers.steps[cell[0]]
            terms = [term for term in Cell(step.value, step.index(*cell[1:])).explain().terms if term.role == "input"]
            [taken] = [term for term in terms if term.cell.index == answers.steps[k].index(*place)]
            assert abs(taken.contribution) >= max(abs(term.contribution) for term in terms) - 1e-6
            assert value == pytest.approx(taken.value, abs=1e-5)
            cell = [k, *place]


@pytest.mark.slow
def test_a_cell_that_is_not_there_is_an_error_in_both(window, answers):
    for cell in ([99, 0, 0, 0], [10, 0, 10, 7], [1, 6, 0, 0], [4, 0, 0, 10]):
        for question in ("cell", "trail"):
            (mine, shades), (other, _) = ask_both(window, answers, question, cell=cell)
            assert mine["error"] and mine.keys() == other.keys() and shades == []


@pytest.mark.slow
def test_the_heat_is_that_of_grad_cam_and_of_occlusion(window, answers):
    for number in (0, 12, 40):
        ask_both(window, answers, "image", image=number)
        for how in ({"method": "cam"}, {"method": "cam", "label": 6}, {"method": "occlusion"},
                    {"method": "occlusion", "label": 2}):
            assert_same(*ask_both(window, answers, "where", **how))


@pytest.mark.slow
def test_the_nearest_training_images_are_the_notebook_s(window, answers):
    for number in (0, 31):
        ask_both(window, answers, "image", image=number)
        mine, counts = ask(window, "nearest"), []
        while "progress" in mine[0]:
            counts.append(mine[0]["progress"])
            mine = ask(window, "nearest")
        assert counts == ([*range(64, 500, 64), 500] if number == 0 else [])
        while "progress" in (other := answers.answer({"ask": "nearest"}, []))[0]:
            pass
        assert_same(mine, other)


# ---------- 画的和拍的 ----------

def drawings(count):
    """随便画的：几笔，有的闭合；和拍的：各种大小，底色深浅不一，有噪声。"""
    dice = np.random.default_rng(0)
    for i in range(count):
        height, width = (112, 112) if i % 2 else (int(each) for each in dice.integers(20, 200, 2))
        paper, ink = ((0, 255), (235, 40), (90, 200))[i % 3]
        image = Image.new("L", (width, height), paper)
        for _ in range(int(dice.integers(1, 5))):
            places = dice.uniform(0.05, 0.95, (dice.integers(2, 7), 2)) * (width, height)
            points = [*map(tuple, places.tolist())]
            pen = int(dice.integers(1, 12))
            ImageDraw.Draw(image).line(points + points[:1] * int(dice.integers(2)), fill=ink, width=pen)
        pixels = np.asarray(image, float)
        yield (pixels + dice.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8) if i % 4 == 3 else \
            pixels.astype(np.uint8)
    yield np.zeros((112, 112), np.uint8)
    yield np.full((50, 30), 255, np.uint8)
    ring = Image.new("L", (112, 112))
    ImageDraw.Draw(ring).rectangle((20, 10, 90, 100), outline=120, width=6)
    ImageDraw.Draw(ring).rectangle((50, 50, 56, 56), fill=255)  # 里面的一点比填的亮
    yield np.asarray(ring)
    yield np.eye(28, dtype=np.uint8) * 200


@pytest.mark.slow
def test_a_drawing_is_prepared_as_in_the_notebook(window):
    """至多差一级深浅，差的不到千分之一：两边缩小时，舍入的次序和正好一半的舍入不同。"""
    pixels = apart = 0
    for i, drawing in enumerate(drawings(120)):
        how = {"fill": i % 5 > 0, "centre": i % 7 > 0, "cut": i % 11 > 0}
        mine = window.evaluate("""async ([text, size, how]) => {
            const { prepare } = await import("sketch.js");
            const { before, after, ...rest } = prepare(unpacked(text), size, how);
            return { ...rest, before: packed(before), after: packed(after) };
        }""", [packed(drawing), drawing.shape, how])
        other = prepare(drawing, **how)
        assert (mine["inverted"], mine["filled"]) == (other.inverted, pytest.approx(other.filled))
        for name in ("before", "after"):
            ours = np.frombuffer(base64.b64decode(mine[name]), np.uint8).astype(int)
            difference = np.abs(ours - getattr(other, name).numpy().ravel())
            pixels, apart = pixels + difference.size, apart + np.count_nonzero(difference)
            assert difference.max() <= 1, (i, name)
    print(f"{pixels} 个像素里 {apart} 个差一级")
    assert apart < pixels / 1000


@pytest.mark.slow
def test_a_drawing_is_answered_as_in_the_notebook(window, answers):
    for drawing in [*drawings(6)]:
        more = {"size": list(drawing.shape), "fill": True, "centre": True, "cut": True}
        (mine, shades), (other, others) = ask_both(window, answers, "image", drawing, **more)
        for one, two in ((mine, other), (mine["prepared"], other["prepared"])):  # 一个像素差一级，概率就差一点
            name = "probabilities" if one is mine else "plain"
            assert one.pop(name) == pytest.approx(two.pop(name), abs=0.01)
        assert_near(mine, other)
        assert_alike(shades, others)


# ---------- 读者看见的 ----------

@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_reader_draws_and_walks_back_to_the_pixels(opened, width, theme):
    window = opened(width, theme)
    view = window.locator(".inside")
    before = view.locator(".right").inner_text()
    view.get_by_role("button", name="画一张").click()
    draw(window, SHIRT)
    wait_for_another_answer(window, before)
    view.locator(".step[data-step='4']").scroll_into_view_if_needed()  # 手机上要往右拖
    view.locator(".step[data-step='4'] canvas").nth(2).click()
    wait_for_cell(window, "4,2,")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    window.screenshot(path=SCREENSHOTS / f"lenet-{width}-{theme}.png", full_page=True)
    for k in (3, 2, 1, 0):
        view.locator(NEXT).locator("visible=true").last.click()
        wait_for_cell(window, f"{k},")
        assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert view.locator(".path [data-walked]").count() == 5
    view.locator("[data-class='3']").click()  # 最后一层：许多项，一行一项
    wait_for_cell(window, "12,0,0,3")
    assert window.evaluate("document.documentElement.scrollWidth") <= width


def wait_for_another_answer(window, before):
    until(window, "before => document.querySelector('.inside .right').innerText !== before", before)


def wait_for_cell(window, start):
    until(window, "start => document.querySelector('.inside [data-what=value]').dataset.cell"
                  ".startsWith(start)", start)


@pytest.mark.slow
def test_one_touch_of_the_pad_is_a_dot(opened):
    window = opened()
    window.get_by_role("button", name="画一张").click()
    draw(window, [(0.3, 0.4)])
    lit = window.evaluate("""() => { const pad = document.querySelector("[data-what=pad]");
        const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
        return [...data.keys()].filter((i) => i % 4 === 0 && data[i] > 200).map((i) => i / 4); }""")
    rows, columns = np.divmod(lit, 112)
    assert 30 < len(lit) < 80 and abs(rows.mean() - 0.4 * 112) < 1.5 and abs(columns.mean() - 0.3 * 112) < 1.5


@pytest.mark.slow
def test_what_is_shown_is_why_the_answer_until_the_reader_looks_elsewhere(opened):
    window = opened()
    view, value = window.locator(".inside"), window.locator(".inside [data-what=value]")
    answered = "() => document.querySelector('.inside .best').dataset.class == " \
               "document.querySelector('.inside [data-what=value]').dataset.cell.split(',').at(-1)"
    for places in (SHIRT, [(0.1, 0.6), (0.9, 0.6), (0.9, 0.8), (0.1, 0.8)]):
        before = view.locator(".right").inner_text()
        view.get_by_role("button", name="画一张").click()
        draw(window, places)
        wait_for_another_answer(window, before)
        until(window, answered)
        name = view.locator(".best").inner_text().split()[0]
        assert name in view.locator("[data-what=title]").inner_text()
        assert name in view.locator(".path .here").inner_text()
    view.locator(".class:not(.best)").first.click()
    chosen = view.locator(".path .here").inner_text()
    before = view.locator(".right").inner_text()
    view.get_by_role("button", name="清空").click()
    wait_for_another_answer(window, before)
    assert view.locator(".path .here").inner_text() == chosen and value.get_attribute("data-cell").startswith("12,")


@pytest.mark.slow
def test_the_maps_have_room_where_the_place_is_narrow_and_the_window_is_wide(opened):
    window = opened()
    window.evaluate("document.querySelector('.plug').style.width = '420px'")
    until(window, "document.querySelector('.inside .strip').clientWidth > 380")
    assert window.evaluate("document.documentElement.scrollWidth") <= 1280
    window.evaluate("document.querySelector('.plug').style.width = '1200px'")  # 变宽了，多看得见的几步也画出来
    until(window, "[...document.querySelectorAll('.inside .step')]"
                  ".every((step) => step.querySelector('canvas'))")


@pytest.mark.slow
def test_the_keyboard_alone_goes_from_a_step_to_a_cell_and_back(opened):
    window = opened()
    focused = "document.activeElement.dataset"
    window.locator(".inside select").focus()
    window.keyboard.press("Tab")
    assert window.evaluate(focused)["step"] == "1"
    window.keyboard.press("Tab")  # 一列里只停一步
    assert "class" in window.evaluate(focused)
    window.keyboard.press("Shift+Tab")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        window.keyboard.press(key)
    wait_for_cell(window, "3,0,0,0")
    until(window, "document.activeElement.dataset.focus === 'own'")
    for key, cell in (("ArrowDown", "3,0,1,0"), ("ArrowRight", "3,0,1,1"), ("PageDown", "3,1,1,1"),
                      ("PageUp", "3,0,1,1")):
        window.keyboard.press(key)
        wait_for_cell(window, cell)
    window.keyboard.press("Escape")
    assert window.evaluate(focused)["step"] == "3"
    window.keyboard.press("Tab")
    window.keyboard.press("Shift+Tab")  # 回来还是那一步
    assert window.evaluate(focused)["step"] == "3"


@pytest.mark.slow
def test_a_photo_from_the_disk_is_answered(opened, tmp_path):
    """从 file:// 打开的网页也读得到读者选的照片的像素。"""
    bag = Image.new("RGB", (300, 200), (240, 240, 230))
    ImageDraw.Draw(bag).rectangle((60, 70, 240, 170), fill=(40, 60, 90))
    bag.save(tmp_path / "bag.jpg")
    window = opened()
    view = window.locator(".inside")
    before = view.locator(".right").inner_text()
    view.get_by_role("button", name="照片").click()
    view.locator("input[type=file]").set_input_files(tmp_path / "bag.jpg")
    wait_for_another_answer(window, before)
    assert "反了色" in view.locator("[data-what=prepared]").inner_text()


@pytest.mark.slow
def test_the_heat_and_the_nearest_are_there(opened):
    window = opened()
    painted = "() => { const c = document.querySelectorAll('.inside [data-what=seen] canvas')[1];" \
              " return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((byte) => byte > 0); }"
    for method in ("cam", "occlusion"):
        window.locator(".inside .left select").select_option("")
        assert not window.evaluate(painted)
        window.locator(".inside .left select").select_option(method)
        until(window, painted)
    window.get_by_role("button", name="最像的训练图").click()
    window.locator(".like canvas").nth(5).wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_the_page_of_the_site_it_looks_as_in_the_notebook(browser, tmp_path, theme):
    """页面的外壳有自己的样式；三种图像从哪里来，都没有读屏软件说不出的。"""
    [cell] = [cell for cell in nbformat.read(NOTEBOOKS / "7.1-lenet.ipynb", 4).cells if "Inside(" in cell.source]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# LeNet"), cell])
    here = site_page.place("7.1-lenet", notebook)
    window = new_window(browser[0].context, browser[1])
    window.emulate_media(color_scheme=theme)
    made = site_page.make(notebook, here, [here])
    for name, content in {"page.html": made.html.encode(), **made.files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    window.goto((tmp_path / "page.html").as_uri())
    window.locator("[data-class]").first.wait_for()
    for mode in ("test", "draw", "photo"):
        window.locator(f"[data-mode={mode}]").click()
        assert window.evaluate(AS_WIDE)
        widths = window.evaluate("[...document.querySelectorAll('.inside .bar')].map((bar) => bar.offsetWidth)")
        assert min(widths) <= 1 < max(widths)
        grounds = window.evaluate("[document.querySelector('.inside'), document.body].map("
                                  "(part) => getComputedStyle(part).backgroundColor)")
        assert grounds[0] == grounds[1]
        window.evaluate(AXE.path("axe.min.js").read_text(encoding="utf-8"))
        found = window.evaluate("axe.run('.plug')")["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == [], found
    window.close()
    assert browser[1] == []


@pytest.mark.slow
def test_data_that_cannot_be_read_leave_the_picture_in_place(tmp_path, browser):
    window = browser[0].context.new_page()
    show(window, tmp_path, page({"inside": {"a": lenet.data() | {"weights": "坏了"}}}))
    assert "写好的输出" in window.locator(".plug").inner_text() and window.locator(".plug .failed").is_visible()
    window.close()
