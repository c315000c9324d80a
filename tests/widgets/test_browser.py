"""在真的 JupyterLab、Notebook 7 和 Chromium 里像读者一样操作 7.1；截图留在 build/screenshots/。"""

import shutil
import time

import nbformat
import pytest
from support.browser import CHROMIUM, FRONT_ENDS, SCREENSHOTS, browsing, run_all, serving, theme

from helpers.paths import NOTEBOOKS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="没有 Chromium；CI 会装")]


@pytest.fixture(scope="module", params=FRONT_ENDS)
def served(request, tmp_path_factory):
    """(哪一种, 笔记本的地址)：一个真的服务器，打开笔记本的副本。"""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shorten(folder / "notebooks" / "7.1-lenet.ipynb")
    with serving(request.param, folder, "7.1-lenet.ipynb") as url:
        yield request.param, url


def shorten(path):
    """只留下网络和 Explorer 要的几格：全本由 nbval 逐格重跑。"""
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if cell.source.startswith("## 动手") or (cell.cell_type == "code" and (
        "net" in cell.metadata.get("tags", ()) or "Explorer" in cell.source or "explorer.train()" in cell.source))]
    nbformat.write(book, path)


@pytest.fixture
def page(served):
    """一个浏览器窗口。"""
    with browsing(width=1500, height=1300) as page:
        yield page


def drag(page, slider, fraction):
    """用鼠标把滑块的把手拖到轨道的某个位置。"""
    slider.scroll_into_view_if_needed()
    track = slider.locator(".noUi-target").bounding_box()
    handle = slider.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + fraction * track["width"], handle["y"] + handle["height"] / 2, steps=8)
    page.mouse.up()


def explorer(page):
    """滑块、形状表、按钮、图。"""
    box = page.locator(".jp-OutputArea-output:has(.noUi-target):has(table)").first
    box.scroll_into_view_if_needed()
    return box


def test_a_reader_explores_lenet(served, page):
    name, url = served
    run_all(page, url, 600)
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    page.get_by_role("heading", name="动手", exact=True).scroll_into_view_if_needed()
    box = explorer(page)
    before = box.locator("table").inner_text()
    assert "61,706" in before

    drag(page, box.locator(".widget-inline-hbox:has-text('c1')").first, 0.8)
    page.wait_for_function("before => document.querySelector('.widget-html table').innerText != before", arg=before)
    assert box.locator("td[style*=background]").count() > 3

    image = box.locator("img.widget-image")
    sources = {image.get_attribute("src")}
    box.get_by_role("button", name="训练").click()
    lr = box.locator(".widget-inline-hbox:has-text('学习率')").first
    readout = lr.locator(".widget-readout").inner_text()
    deadline = time.monotonic() + 60
    while len(sources) < 4 and time.monotonic() < deadline:
        sources.add(image.get_attribute("src"))
        if len(sources) == 2:
            drag(page, lr, 0.5)
        page.wait_for_timeout(50)
    assert len(sources) >= 4, "训练时图没有动"
    assert lr.locator(".widget-readout").inner_text() != readout
    stop = box.get_by_role("button", name="停止")
    assert stop.is_enabled(), "训练太快，没有来得及停"
    stop.click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.widget-html')].some(e => e.innerText.includes('停在'))")

    numbers = box.locator("button[title='看这一次']")  # 单元格里训练的两次，加上刚才停下的一次
    numbers.last.wait_for()
    assert numbers.count() >= 2
    numbers.first.click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.widget-html')].some(e => e.innerText.includes('第 1 次'))")
    box.screenshot(path=SCREENSHOTS / f"7.1-{name}-light.png")

    theme(page, "Dark")
    explorer(page).screenshot(path=SCREENSHOTS / f"7.1-{name}-dark.png")
