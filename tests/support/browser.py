"""真的 JupyterLab、Notebook 7 和 Chromium：打开一本笔记本，运行，问内核。"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit

from helpers.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]



class FrontEnd(NamedTuple):
    """一种网页：怎样启动，笔记本的地址。"""

    module: str
    option: str
    address: str


FRONT_ENDS = {"lab": FrontEnd("jupyterlab", "--expose-app-in-browser", "lab/tree"),
              "notebook": FrontEnd("notebook", "--JupyterNotebookApp.expose_app_in_browser=True", "notebooks")}


@contextmanager
def serving(name, folder, notebook):
    """一个真的服务器，根目录是 folder / "notebooks"；给出其中 notebook 的地址。name: FRONT_ENDS 里的哪一种。"""
    front, token = FRONT_ENDS[name], secrets.token_hex(16)
    log = (folder / "log").open("w")
    server = subprocess.Popen([sys.executable, "-m", front.module, "--no-browser", "--allow-root", "--port=0",
                               front.option, f"--IdentityProvider.token={token}",
                               f"--ServerApp.root_dir={folder / 'notebooks'}"],
                              stdout=log, stderr=log, cwd=folder,
                              env=os.environ | {"COMPANION_RUNS": str(folder / "runs")})
    try:
        deadline = time.monotonic() + 120
        while not (port := answering(folder / "log", token)):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/{front.address}/{notebook}?reset&token={token}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def answering(log, token):
    """服务器在日志里说的端口；还没有说，或者说了还没有在听，就是 None。"""
    if found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", log.read_text()):
        with suppress(URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/api?token={token}", timeout=60).read()
            return found[1]
    return None


@contextmanager
def browsing(**viewport):
    """一个浏览器窗口；这台机器以外的地址都打不开。"""
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=viewport)
        page.set_default_timeout(60_000)
        page.route(lambda url: urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname != "127.0.0.1",
                   lambda route: route.abort())
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


def theme(page, name):
    """换主题，name 是 "Light" 或 "Dark"。"""
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name}'}})")
    page.locator(f"body[data-jp-theme-light={'true' if name == 'Light' else 'false'}]").wait_for(state="attached")
    page.wait_for_timeout(500)


def ask_kernel(page, expression):
    """在笔记本的内核里求一个表达式，返回它的 repr。"""
    return page.evaluate("""async (code) => {
        const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        const asked = kernel.requestExecute({code: `print(repr(${code}))`, store_history: false});
        let text = "";
        asked.onIOPub = ({content}) => { text += content.text ?? content.traceback?.join("\\n") ?? ""; };
        await asked.done;
        return text.trim();
    }""", expression)


def draw(page, places):
    """在画板上用鼠标画一笔；places 是画板里的位置，0–1。"""
    pad = page.locator("[data-what=pad]")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
