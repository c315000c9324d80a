"""网页：正文里没有脚本，图和链接都在；断了网的 Chromium 打开每一页，宽的和窄的，亮的和暗的。"""

import base64
import hashlib
import io
import re
import tarfile
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from types import SimpleNamespace

import build
import nbformat
import numpy as np
import page as pages
import pytest
import vendor
from nbformat import v4
from PIL import Image
from support.browser import SCREENSHOTS
from support.site import chromium, new_window

from helpers.paths import NOTEBOOKS

STEMS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
FORMULAS = '<script type="text/esm" data-name="formulas.js">'  # 有公式的页才有
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def png():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def output(data, **more):
    return v4.new_output("execute_result", data, execution_count=1, **more)


def book(*cells):
    return v4.new_notebook(cells=[v4.new_markdown_cell("# 7.1 一节\n\n第一句。第二句。", id="first"), *cells])


def made(*cells, stem="7.1-test"):
    """几个单元格做成的一页。"""
    notebook = book(*cells)
    here = pages.place(stem, notebook)
    return pages.make(notebook, here, [here])


class Seen(HTMLParser):
    """一页 HTML 里有哪些标签：(名字, 属性)。"""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def nonce_of(page):
    [policy] = [attributes["content"] for _, attributes in Seen(page.html).tags if "http-equiv" in attributes]
    return re.search(r"script-src 'nonce-(\w+)' blob:;", policy)[1]


BAD = "<script>window.pwned = 1</script>"
HOSTILE = [
    BAD, "<img src=x onerror='window.pwned = 1'>", "<svg onload='window.pwned = 1'></svg>",
    "<!--><script>window.pwned = 1</script>-->", "<a href=' javascript:window.pwned=1'>点</a>",
    "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>", "<p style='background: url(http://example.com/a)'>字</p>",
    "<div class=plug data-kind=quiz data-cell=a>字</div>", "<form action='http://example.com'><input autofocus></form>",
    "<style>body { display: none }</style>", "<base href='http://example.com'>", "<img src='http://example.com/a.png'>",
    f"<math><mtext></p>{BAD}</mtext></math>",
    f"</script></style></title>{BAD}", f"<!-- {BAD}", f"<![CDATA[{BAD}]]>",
]


def hostile(text):
    """同一段文字，在一本笔记本里每一处。"""
    return [v4.new_markdown_cell(f"{text}\n\n段落 {text} 里\n\n`{text}`\n\n## {text}"),
            v4.new_code_cell(f"# {text}", execution_count=1, outputs=[
                v4.new_output("stream", text=text), output({"text/plain": text}), output({"text/html": text}),
                output({"image/png": png(), "text/plain": f"〔图：{text}\" onload=\"window.pwned = 1〕"}),
                output({"image/svg+xml": text}), output({"application/javascript": "window.pwned = 1"}),
                v4.new_output("error", ename="E", evalue=text, traceback=[f"\x1b[31m{text}"])])]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_notebook_becomes_a_script(text):
    page = made(*hostile(text))
    nonce, tags = nonce_of(page), Seen(page.html).tags
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "javascript:" not in (attributes.get("href") or "")
        assert tag not in ("iframe", "object", "base", "form") and "url(" not in (attributes.get("style") or "")
        if tag == "script":
            assert attributes.get("nonce") == nonce or attributes["type"] in ("application/json", "text/esm")
        if tag == "img":
            assert attributes["src"] in page.files
    assert [tag for tag, _ in tags].count("script") == [tag for tag, _ in Seen(made().html).tags].count("script")


def test_what_a_notebook_says_in_tags_is_still_readable():
    text = re.sub("<[^>]*>", "", made(v4.new_markdown_cell(f"看 {BAD} 这里")).html)
    assert "&lt;script&gt;window.pwned = 1&lt;/script&gt;" in text


def test_the_data_of_a_page_cannot_end_its_script(monkeypatch):
    monkeypatch.setattr(pages, "plugged", lambda section, notebook: {"quiz": {"a": {"text": BAD}}})
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', made().html, re.S)
    assert pages.json.loads(data) == {"quiz": {"a": {"text": BAD}}}


@pytest.mark.parametrize("source, link", [
    ("[b](7.2-alexnet.ipynb)", "7.2-alexnet.html"), ("[b](7.2-alexnet.ipynb#图)", "7.2-alexnet.html#%E5%9B%BE"),
    ("[b](https://d2l.ai)", "https://d2l.ai"), ("[b](../helpers/paths.py)", None), ("[b](/etc/passwd)", None),
    ("[b](file:///etc/passwd)", None), ("[b](data:text/html,a)", None)])
def test_links_lead_to_pages_or_nowhere(source, link):
    html = made(v4.new_markdown_cell(source)).html.split("<main")[1].split("<nav")[0]
    assert [attributes["href"] for tag, attributes in Seen(html).tags if tag == "a"] == ([link] if link else [])
    assert ">b<" in html or "b</p>" in html


@pytest.mark.parametrize("text, alt", [
    ("〔图：LeNet 的各层〕", "LeNet 的各层"), ("Interactive(look)", "一节：Interactive(look)")])
def test_a_picture_keeps_its_pixels_its_size_and_its_words(text, alt):
    page = made(v4.new_code_cell("draw()", id="c", outputs=[
        output({"image/png": png(), "text/plain": text}, metadata={"image/png": {"width": 5}})]))
    [picture] = [attributes for tag, attributes in Seen(page.html).tags if tag == "img"]
    assert alt in picture["alt"] and (picture["width"], picture["height"]) == ("5", "3")
    with Image.open(io.BytesIO(page.files[picture["src"]])) as image:
        assert (np.asarray(image.convert("RGB")) == PIXELS).all()


def test_headings_get_ids_of_their_own_and_chinese_lines_join():
    html = made(v4.new_markdown_cell("## 图\n\n汉字，\n汉字\n汉字 a\nb"), v4.new_markdown_cell("## 图\n\n### 图")).html
    ids = [attributes["id"] for tag, attributes in Seen(html).tags if re.fullmatch(r"h\d", tag)]
    assert len(set(ids)) == len(ids) == 4
    assert [attributes["href"][1:] for tag, attributes in Seen(html.split("<ol>")[1].split("</ol>")[0]).tags
            if tag == "a"] == ids
    assert "<p>汉字，汉字汉字 a\nb</p>" in html


def test_a_page_depends_only_on_its_notebook():
    cells = hostile(BAD)
    assert made(*cells) == made(*cells)
    assert nonce_of(made(*cells)) != nonce_of(made())


def test_formulas_are_looked_for_only_in_the_text():
    assert made(v4.new_markdown_cell("$a$")).formulas
    assert not made(v4.new_markdown_cell("`$a$`"), v4.new_code_cell("'$a$'")).formulas


def test_too_much_is_refused():
    build.check({"7.1": build.PAGE_LIMIT}, build.SITE_LIMIT)
    with pytest.raises(ValueError):
        build.check({"7.1": build.PAGE_LIMIT + 1}, build.SITE_LIMIT)
    with pytest.raises(ValueError):
        build.check({"7.1": 1}, build.SITE_LIMIT + 1)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """一个假的 registry，里面有一个包；给出这个包。"""
    archive = tmp_path / "registry" / "a" / "-" / "a-1.0.tgz"
    archive.parent.mkdir(parents=True)
    (tmp_path / "x.js").write_text("1")
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "x.js", "package/x.js")
    monkeypatch.setattr(vendor, "NPM", tmp_path / "npm")
    monkeypatch.setattr(vendor, "REGISTRY", (tmp_path / "registry").as_uri())
    sha512 = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return vendor.Package("a", "1.0", sha512, ("x.js",))


def test_a_package_is_fetched_once_and_only_as_recorded(registry, monkeypatch, capsys):
    with pytest.raises(FileNotFoundError):
        registry.path("x.js")
    with pytest.raises(ValueError):
        vendor.fetch(registry._replace(sha512="0" * 88))
    assert not vendor.NPM.exists()
    vendor.fetch(registry)
    assert registry.path("x.js").read_text() == "1"
    monkeypatch.setattr(vendor, "REGISTRY", "http://127.0.0.1:9")  # 没有人听的端口，就像没有网
    monkeypatch.setattr(vendor, "MATHJAX", registry)
    monkeypatch.setattr(vendor, "AXE", registry)
    assert vendor.main() == 0
    monkeypatch.setattr(vendor, "AXE", registry._replace(name="b"))
    assert vendor.main() == 1 and "NPM_CONFIG_REGISTRY" in capsys.readouterr().err


# ---------- 整个网站，在 Chromium 里 ----------


# 每张图都打得开，也都有看不到图时的文字
DECODED = """async () => {
    const images = [...document.querySelectorAll('main img')];
    for (const image of images) image.loading = 'eager';
    await Promise.all(images.map((image) => image.decode()));
    return images.every((image) => image.alt && image.naturalWidth > 0);
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as (window, complaints):
        yield SimpleNamespace(window=window, complaints=complaints)


def visit(browser, site, stem, size="desktop", scheme="light", hash=""):
    """打开一页，等能动的都动起来。"""
    browser.window.set_viewport_size(SIZES[size])
    browser.window.emulate_media(color_scheme=scheme)
    browser.window.goto("about:blank")
    browser.window.goto((site / f"{stem}.html").as_uri() + hash)
    browser.window.evaluate("() => window.mounted")
    return browser.window


@pytest.mark.slow
def test_the_site_is_small(site):
    for stem in STEMS:
        html = (site / f"{stem}.html").read_text(encoding="utf-8")
        used = {attributes["src"] for tag, attributes in Seen(html).tags if tag == "img"}
        used |= {"mathjax.js"} if FORMULAS in html else set()
        assert len(html.encode()) + sum((site / name).stat().st_size for name in used) <= 3_000_000
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 12_000_000


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stem", ["index", *STEMS])
def test_every_page_opens_without_a_network(site, browser, stem, size):
    window = visit(browser, site, stem, size)
    assert window.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    levels = window.evaluate("() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert levels.count(1) == 1
    assert window.evaluate(DECODED)
    assert not window.query_selector(".failed")
    assert browser.complaints == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    window.screenshot(path=SCREENSHOTS / f"site-{stem}-{size}.png")


# 暗的只有颜色不同，7.1 里什么都有；代码和公式的颜色各页一样，也只在 7.1 里看，一格一格看最费时间
@pytest.mark.slow
@pytest.mark.parametrize("stem, scheme", [*((stem, "light") for stem in ["index", *STEMS]), ("index", "dark"),
                                          (STEMS[0], "dark")])
def test_nothing_serious_for_accessibility(site, browser, stem, scheme):
    window = visit(browser, site, stem, scheme=scheme)
    window.evaluate(vendor.AXE.path("axe.min.js").read_text(encoding="utf-8"))
    rules = {"resultTypes": ["violations"], "selectors": False} | (
        {} if scheme == "light" else {"runOnly": ["color-contrast"]})
    where = {"include": ["body"], "exclude": [] if stem == STEMS[0] else [".highlight", "mjx-container"]}
    found = window.evaluate("async ([where, rules]) => (await axe.run(where, rules)).violations", [where, rules])
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found
            if each["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_the_pages_lead_from_one_to_the_next(site, browser):
    window = visit(browser, site, "index")
    window.get_by_role("link", name="7.1").click()
    for stem in STEMS:
        assert window.url.endswith(f"{stem}.html")
        if stem != STEMS[-1]:
            window.locator("a[rel=next]").click()
    window.locator("a[rel=prev]").click()
    assert window.url.endswith(f"{STEMS[-2]}.html")
    for stem in STEMS:
        for address in re.findall(r'href="([\w.%-]+\.html)', (site / f"{stem}.html").read_text(encoding="utf-8")):
            assert (site / address).exists()


@pytest.mark.slow
def test_the_reader_s_choices_are_kept(site, browser):
    window = visit(browser, site, "7.3-vgg", scheme="dark")
    color = "() => getComputedStyle(document.body).backgroundColor"
    dark = window.evaluate(color)
    window.get_by_role("button", name="换成亮色").click()
    window.get_by_role("button", name="收起代码").click()
    light = window.evaluate(color)
    assert light != dark and window.locator("details.source[open]").count() == 0
    window = visit(browser, site, "7.4-nin", scheme="dark")
    assert window.evaluate(color) == light and window.locator("details.source[open]").count() == 0
    window.locator("details.source > summary").first.click()
    assert window.locator("details.source[open]").count() == 1
    window.get_by_role("button", name="展开代码").click()
    window.evaluate("() => localStorage.clear()")
    window = visit(browser, site, "7.4-nin", scheme="dark")
    assert window.evaluate(color) == dark and window.locator("details.source:not([open])").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_headings_are_found(site, browser, size):
    window = visit(browser, site, "7.6-resnet", size)
    if size == "phone":
        window.locator(".contents summary").click()
    find, items = window.get_by_label("找标题"), window.locator(".contents li:visible")
    count = items.count()
    find.fill("RESNET")
    assert 0 < items.count() < count and all("resnet" in text.lower() for text in items.all_text_contents())
    find.fill("没有这个")
    assert items.count() == 0
    find.fill("捷径")
    find.press("Enter")
    heading = window.locator("h2", has_text="捷径做了什么")
    assert 0 <= heading.bounding_box()["y"] < 300
    window.locator(".contents a[aria-current]", has_text="捷径").wait_for(state="attached")


@pytest.mark.slow
def test_printed_pages_are_white_and_show_their_code(site, browser):
    window = visit(browser, site, "7.3-vgg", scheme="dark")
    window.get_by_role("button", name="收起代码").click()
    window.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    window.emulate_media(media="print", color_scheme="dark")
    assert window.locator("details.source:not([open])").count() == 0
    assert not window.locator("header").is_visible() and not window.locator(".contents").is_visible()
    assert window.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    window.evaluate("() => { dispatchEvent(new Event('afterprint')); localStorage.clear(); }")
    assert window.locator("details.source[open]").count() == 0
    window.emulate_media(media="screen")


@pytest.mark.slow
def test_formulas_are_set(site, browser):
    for stem in STEMS:
        html = (site / f"{stem}.html").read_text(encoding="utf-8")
        window = visit(browser, site, stem)
        assert (window.locator("mjx-container").count() > 0) == (FORMULAS in html)
        assert window.locator("mjx-merror, [data-mjx-error]").count() == 0
        left = window.evaluate("""() => [...document.querySelectorAll('main > .text')].map((box) => {
            box = box.cloneNode(true);
            for (const code of box.querySelectorAll('code')) code.remove();
            return box.textContent;
        }).filter((text) => text.includes('$')).length""")
        assert left == 0


@pytest.mark.slow
def test_a_link_with_unknown_settings_says_so(site, browser):
    assert visit(browser, site, "7.4-nin", hash="#nothing=3").locator("#broken").inner_text()
    assert not visit(browser, site, "7.4-nin", hash="#图").locator("#broken").inner_text()


@pytest.mark.slow
def test_nothing_hostile_runs_in_a_page(tmp_path, browser):
    page = made(*[cell for text in HOSTILE for cell in hostile(text)])
    for name, data in {"hostile.html": page.html.encode(), **page.files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    window = visit(browser, tmp_path, "hostile")
    window.wait_for_timeout(200)
    assert window.evaluate("() => window.pwned") is None and browser.complaints == []
    # 就算有一段脚本混了进来，内容安全策略也不让它运行
    (tmp_path / "worse.html").write_text(page.html.replace("<main", f"{BAD}<img src=x onerror='pwned = 1'><main"))
    assert visit(browser, tmp_path, "worse").evaluate("() => window.pwned") is None
    assert browser.complaints
    browser.complaints.clear()


@pytest.mark.slow
def test_what_cannot_come_alive_stays_as_it_was(tmp_path, browser, monkeypatch):
    monkeypatch.setattr(pages, "plugged", lambda section, notebook: {"quiz": {"c": None}})
    page = made(v4.new_code_cell("1", id="c", outputs=[output({"text/plain": "写好的输出"})]))
    (tmp_path / "plug.html").write_text(page.html, encoding="utf-8")
    window = visit(browser, tmp_path, "plug")
    assert "写好的输出" in window.locator(".plug").inner_text() and window.locator(".plug .failed").count() == 1
    browser.complaints.clear()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_web_server_serves_them_too(site, browser):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, complaints = f"http://127.0.0.1:{server.server_port}/", []
        window = new_window(browser.window.context.browser.new_context(), complaints)
        window.on("request", lambda request: request.url.startswith((address, "blob:", "data:"))
                  or complaints.append(request.url))
        window.goto(f"{address}7.3-vgg.html")
        window.evaluate("() => window.mounted")
        assert window.locator("mjx-container").count() > 0
        assert window.evaluate(DECODED)
        window.context.close()
        server.shutdown()
    assert complaints == []


def test_a_notebook_can_come_from_elsewhere(tmp_path, capsys):
    """make book 用的：不是仓库里的那几本。"""
    for stem in ("7.1-a", "7.2-b"):
        nbformat.write(book(v4.new_code_cell("1")), tmp_path / f"{stem}.ipynb")
    assert set(build.build(tmp_path, tmp_path / "to")) == {"7.1-a", "7.2-b"}
    assert '"7.2-b.html"' in (tmp_path / "to" / "7.1-a.html").read_text(encoding="utf-8")
    assert '"7.1-a.html"' in (tmp_path / "to" / "index.html").read_text(encoding="utf-8")
