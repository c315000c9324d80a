"""网站的一页，最小的：真的外壳里只有几个能动的东西；和打开它的 Chromium。"""

from contextlib import contextmanager
from html import escape

import page as site_page
import pytest

from support.browser import CHROMIUM, FLAGS


def page(data, *, section="7.1", still="<p>写好的输出</p>"):
    """一页 HTML。

    data: {种类: {单元格: 数据}}，每个单元格一个插件，种类见 page.PLUGS；still: 插件里原有的输出，HTML。
    """
    plugs = "".join(f'<div class="plug" data-kind="{kind}" data-cell="{escape(cell)}">{still}</div>'
                    for kind, cells in data.items() for cell in cells)
    return site_page.render(
        title=section, section=section, body=f'<h1 id="title">{section}</h1>{plugs}', previous=None, following=None,
        contents=[site_page.Heading(1, section, "title")], data=site_page.packed(data),
        modules=site_page.modules(set(data), formulas=False))


@contextmanager
def chromium(**viewport):
    """一个断了网的浏览器窗口，只打得开 file://。给出 (窗口, 抱怨)：报错、控制台里的错误、想要的别的地址都在抱怨里。

    机器上没有 Chromium，就跳过用它的测试。
    """
    if CHROMIUM is None:
        pytest.skip("没有 Chromium；CI 会装")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport=viewport or {"width": 1280, "height": 900}, offline=True)
        complaints = []
        context.route(lambda url: not url.startswith(("file:", "blob:", "data:")),
                      lambda route: (complaints.append(route.request.url), route.abort()))
        yield new_window(context, complaints), complaints
        browser.close()


def new_window(context, complaints):
    """再开一个窗口，它的错误也记进抱怨里。"""
    window = context.new_page()
    window.set_default_timeout(20_000)
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    return window


def show(window, folder, html, hash=""):
    """把这一页写进 folder，打开，等每个插件都画好。"""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    window.goto("about:blank")  # 只换 # 后面的，不算重新打开
    window.goto(path.as_uri() + hash)
    window.evaluate("() => window.mounted")


def until(window, condition, arg=None):
    """等 JavaScript 的 condition 成立；页面不许 eval，playwright 的 wait_for_function 在里面用不了。"""
    for _ in range(400):
        if window.evaluate(condition, arg):
            return
        window.wait_for_timeout(50)
    raise AssertionError(f"等了 20 秒：{condition}")
