"""在真的 JupyterLab、Notebook 7 和 Chromium 里像读者一样操作 7.1；截图留在 build/screenshots/。"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from typing import NamedTuple

import nbformat
import pytest

from helpers.paths import NOTEBOOKS, ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="没有 Chromium；CI 会装")]


class FrontEnd(NamedTuple):
    """一种网页：怎样启动，笔记本的地址，运行到哪里为止（None 是全部）。"""

    module: str
    option: str
    address: str
    cells: int | None


FRONT_ENDS = {"lab": FrontEnd("jupyterlab", "--expose-app-in-browser", "lab/tree", None),
              "notebook": FrontEnd("notebook", "--JupyterNotebookApp.expose_app_in_browser=True", "notebooks", 1)}


@pytest.fixture(scope="module", params=FRONT_ENDS)
def served(request, tmp_path_factory):
    """(哪一种, 笔记本的地址)：一个真的服务器，打开笔记本的副本。"""
    front = FRONT_ENDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    if front.cells:
        shorten(folder / "notebooks" / "7.1-lenet.ipynb")
    token = secrets.token_hex(16)
    log = (folder / "log").open("w")
    server = subprocess.Popen([sys.executable, "-m", front.module, "--no-browser", "--allow-root", "--port=0",
                               front.option, f"--IdentityProvider.token={token}",
                               f"--ServerApp.root_dir={folder / 'notebooks'}"],
                              stdout=log, stderr=log, cwd=folder,
                              env=os.environ | {"COMPANION_RUNS": str(folder / "runs")})
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", (folder / "log").read_text())):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/api?token={token}", timeout=60).read()
        yield request.param, f"http://127.0.0.1:{found[1]}/{front.address}/7.1-lenet.ipynb?reset&token={token}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def shorten(path):
    """只留下网络和 Explorer 要的几格：全本在另一种网页里跑过了。"""
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if cell.source.startswith("## 动手") or (cell.cell_type == "code" and (
        "net" in cell.metadata.get("tags", ()) or "Explorer" in cell.source or "explorer.train()" in cell.source))]
    nbformat.write(book, path)


@pytest.fixture
def page(served):
    """一个浏览器窗口。"""
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1300})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def run_all(page, url, seconds):
    """打开笔记本，从菜单里运行所有单元格，等到最后一个跑完。"""
    page.goto(url)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
                           " === 'idle'", timeout=180_000)  # 内核真的连上了
    if (news := page.get_by_role("button", name="No", exact=True)).is_visible():
        news.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]").first.wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(timeout=1_000 * seconds)


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

    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    page.wait_for_timeout(500)
    explorer(page).screenshot(path=SCREENSHOTS / f"7.1-{name}-dark.png")
