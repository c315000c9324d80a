"""一本笔记本变成一页：正文，目录，能动的东西的数据和模块，页面的外壳。"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import frames
import jinja2
import lenet
import quiz
import tables
from bs4 import BeautifulSoup, Tag
from clean import body, prose
from nbformat import NotebookNode

from helpers.paths import PACKAGE

STATIC = Path(__file__).with_name("static")
# 种类 → (从笔记本取数据的，网页那边的模块)
PLUGS = {"explorer": (tables.plug, "explorer.js"), "inside": (lenet.plug, "lenet.js"),
         "frames": (frames.plug, "frames.js"), "quiz": (quiz.plug, "quiz.js")}


class Place(NamedTuple):
    """书里的一页：文件名（没有扩展名）和标题。"""

    stem: str
    title: str

    @property
    def section(self) -> str:
        return self.stem.split("-")[0]


class Heading(NamedTuple):
    """一个标题：第几级，文字，在页面里的 id。"""

    level: int
    text: str
    id: str


class Page(NamedTuple):
    """一页：HTML，旁边的文件（名字 → 字节），第一句话，有没有公式，每种能动的东西有几个。"""

    html: str
    files: dict[str, bytes]
    opening: str
    formulas: bool
    live: dict[str, int]


def place(stem: str, notebook: NotebookNode) -> Place:
    """一本笔记本的文件名和它的一级标题。"""
    lines = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.split("\n")]
    return Place(stem, next((line[2:].strip() for line in lines if line.startswith("# ")), stem))


def make(notebook: NotebookNode, here: Place, places: list[Place]) -> Page:
    """一本笔记本变成一页；here 是 places 里的一个，places 是全部的页，按次序。"""
    plugs = plugged(here.section, notebook)
    soup, files = body(notebook, here.stem)
    kinds = {cell: kind for kind, cells in plugs.items() for cell in cells}
    for box in soup.select("[data-cell].code"):
        arrange(soup, box, kinds.get(str(box["data-cell"])))
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "table"}))
    contents = numbered(soup)
    formulas = any("$" in text for box in soup.select(".text") for text in prose(box))
    k = places.index(here)
    html = render(title=here.title, section=here.section, body=str(soup), contents=contents,
                  previous=places[k - 1] if k else None, following=places[k + 1] if k + 1 < len(places) else None,
                  data=packed(plugs), modules=modules(set(plugs), formulas))
    first = next((" ".join(p.get_text().split()) for p in soup.find_all("p")), "")
    return Page(html, files, re.split(r"(?<=[。？！])", first)[0], formulas, {k: len(v) for k, v in plugs.items()})


def plugged(section: str, notebook: NotebookNode) -> dict[str, dict[str, Any]]:
    """能动的东西：种类 → 单元格 → 数据；一个也没有的种类不在里面。"""
    found = {kind: plug(section, notebook) for kind, (plug, _) in PLUGS.items()}
    return {kind: cells for kind, cells in found.items() if cells}


def arrange(soup: BeautifulSoup, box: Tag, kind: str | None) -> None:
    """一个代码单元格：代码折得起来，输出在下面；能动的（kind）在输出外面套一层，网页照 data-kind 接手。"""
    parts = []
    if code := box.select_one(".input .highlight"):
        lines = len(code.get_text().strip().split("\n"))
        parts.append(soup.new_tag("details", attrs={"class": "source", "open": ""}))
        summary = soup.new_tag("summary")
        summary.string = f"代码，{lines} 行"
        parts[0].extend([summary, code.extract()])
    outputs = [output.extract() for output in box.select(".output_subarea")]
    if outputs or kind:
        names = {"class": "plug", "data-kind": kind, "data-cell": box["data-cell"]} if kind else {"class": "outputs"}
        parts.append(soup.new_tag("div", attrs=names))
        parts[-1].extend(outputs)
    box.clear()
    box.extend(parts)


def numbered(soup: BeautifulSoup) -> list[Heading]:
    """给正文里的标题编上各不相同的 id，按次序交出；输出里的标题不算。"""
    found, seen = [], set()
    for tag in soup.select(", ".join(f".text h{level}" for level in range(1, 7))):
        text = " ".join(tag.get_text().split())
        name = plain = re.sub(r"[^\w.]+", "-", text).strip("-") or "标题"
        while name in seen:
            name = f"{plain}-{len(seen)}"
        seen.add(name)
        tag["id"] = name
        found.append(Heading(int(tag.name[1]), text, name))
    return found


def modules(kinds: set[str], formulas: bool) -> dict[str, str]:
    """这一页用得到的模块：名字 → 文字；它们导入的也在内。"""
    found: dict[str, str] = {}
    wanted = ["site.js", *(PLUGS[kind][1] for kind in sorted(kinds)), *(["formulas.js"] if formulas else [])]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = script(name)
            wanted += re.findall(r'from "([\w-]+\.js)"', found[name])
    return found


@cache
def script(name: str) -> str:
    """一个脚本的文字；打开网络的那个与笔记本用的是同一份。"""
    path = PACKAGE / "widgets" / name if name == "inside.js" else STATIC / name
    text = path.read_text(encoding="utf-8")
    assert "</script" not in text.lower(), name  # 会提前结束放它的那个 script
    return text


@cache
def style() -> str:
    """全部样式：外壳的在前，然后是打开网络的，和各种能动的东西的。"""
    sheets = [STATIC / "site.css", PACKAGE / "widgets" / "inside.css",
              *sorted(path for path in STATIC.glob("*.css") if path.name != "site.css")]
    return "\n".join(path.read_text(encoding="utf-8") for path in sheets)


def packed(data: Any) -> str:
    """放进 script 的 JSON：不会提前结束那个 script。"""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def render(**parts: Any) -> str:
    """套上外壳 static/page.html；变量都转义，除了正文、样式、脚本和数据。

    内容安全策略只放行带 nonce 的脚本和它们造的 Blob。
    nonce 由内容决定：同样的笔记本得到同样的页，写在笔记本里的脚本却猜不到它。
    """
    shell = {"style": style(), "early": script("early.js"), "loader": script("loader.js"), "section": "",
             "data": "{}", "modules": modules(set(), False)}
    parts = shell | parts
    nonce = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    policy = (f"default-src 'none'; script-src 'nonce-{nonce}' blob:; style-src 'unsafe-inline'; "
              "img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'")
    return _template().render(nonce=nonce, policy=policy, **parts)


@cache
def _template() -> jinja2.Template:
    return jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined).get_template("page.html")
