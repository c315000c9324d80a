"""网站的一页，最小的：几个模块、它们的数据，和打开它的 Chromium；真的页面由 tools/site/page.py 做。"""

import json
from contextlib import contextmanager
from html import escape

from helpers.paths import PACKAGE, ROOT
from support.browser import CHROMIUM, FLAGS

STATIC = ROOT / "tools" / "site" / "static"
FOLDERS = [STATIC, PACKAGE / "widgets"]  # 笔记本的 inside.js 也用在网页里
# 种类由哪个模块画；别的与种类同名
MODULES = {"inside": "lenet.js"}
# 模块的文字变成 Blob，互相用名字导入；然后每个插件 mount 一次
LOADER = """
const addresses = {};
for (const script of document.querySelectorAll('script[type="text/esm"]')) {
  addresses[script.dataset.name] = URL.createObjectURL(new Blob([script.textContent], {type: "text/javascript"}));
}
const map = document.createElement("script");
map.type = "importmap";
map.textContent = JSON.stringify({imports: addresses});
document.head.append(map);
const keys = () => new URLSearchParams(location.hash.slice(1));
const page = {section: document.body.dataset.section, hash: {
  get: (name) => keys().get(name),
  set(name, value) {
    const now = keys();
    if (value == null) now.delete(name); else now.set(name, value);
    history.replaceState(null, "", "#" + now);
  },
  broken(text) { document.querySelector("#broken").textContent = text; },
}};
const data = JSON.parse(document.querySelector("#data").textContent);
window.mounted = (async () => {
  for (const root of document.querySelectorAll(".plug")) {
    const {kind, cell} = root.dataset;
    const {mount} = await import(addresses[MODULES[kind] ?? `${kind}.js`]);
    await mount(root, data[kind][cell], page);
  }
})();
"""
COLORS = """
:root { --ink: #1f2328; --paper: #fff; --faint: #59636e; --line: #d1d9e0; --accent: #0969da; --good: #1a7f37;
  --bad: #c62f2b; --panel: #f6f8fa; }
[data-theme=dark] { --ink: #e6edf3; --paper: #0d1117; --faint: #9198a1; --line: #3d444d; --accent: #4493f8;
  --good: #3fb950; --bad: #ff7b72; --panel: #151b23; }
body { color: var(--ink); background: var(--paper); font: 16px/1.6 sans-serif; margin: 16px; }
"""


def page(modules, data, *, section="7.1", still="<p>写好的输出</p>", theme="light"):
    """一页 HTML。

    modules: FOLDERS 里的模块，如 ["tables.js", "explorer.js"]，同名的 css 也放进去。
    data: {种类: {单元格: 数据}}，每个单元格一个插件；still: 插件里原有的输出，HTML。
    """
    styles = [folder / f"{name.removesuffix('.js')}.css" for name in modules for folder in FOLDERS]
    css = COLORS + "".join(path.read_text(encoding="utf-8") for path in styles if path.exists())
    plugs = "".join(f'<div class="plug" data-kind="{kind}" data-cell="{escape(cell)}">{still}</div>'
                    for kind, cells in data.items() for cell in cells)
    scripts = "".join(f'<script type="text/esm" data-name="{name}">{_text(name)}</script>' for name in modules)
    return (f'<!doctype html><html lang="zh-CN" data-theme="{theme}"><head><meta charset="utf-8">'
            f'<title>{section}</title><meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f'<style>{css}</style></head><body data-section="{section}"><p id="broken" role="status"></p>{plugs}'
            f'<script type="application/json" id="data">{packed(data)}</script>{scripts}'
            f"<script>const MODULES = {json.dumps(MODULES)};{LOADER}</script></body></html>")


def packed(data):
    """放进 <script> 的 JSON：不会提前结束那个 script。"""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _text(name):
    [path] = (folder / name for folder in FOLDERS if (folder / name).exists())
    text = path.read_text(encoding="utf-8")
    assert "</script" not in text.lower(), name
    return text


@contextmanager
def chromium(**viewport):
    """一个断了网的浏览器窗口，只打得开 file://。给出 (窗口, 抱怨)：报错、控制台里的错误、想要的别的地址都在抱怨里。"""
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
