"""一本笔记本的正文：nbconvert 写成 HTML，只留下认得的标签和属性，图搬到旁边的文件里。"""

import base64
import io
import re
from collections.abc import Iterator
from copy import deepcopy

from bs4 import BeautifulSoup, NavigableString, Tag
from bs4.element import PreformattedString
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from PIL import Image

from helpers.experiments.atomic import file_name

# 笔记本里的 HTML 只留这些标签和属性，别的当作文字显示
TAGS = {
    "a", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "i", "img", "kbd", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup",
    "table", "tbody", "td", "th", "thead", "tr", "u", "ul"}
ATTRIBUTES = {"a": {"href"}, "img": {"src", "width", "alt"}, "ol": {"start"}, "td": {"colspan", "rowspan"},
              "th": {"colspan", "rowspan", "scope"}}
PLAIN = {"n", "p", "o", "w", "nn", "na", "nv"}  # 代码里不上色的：变量、标点、空白，去掉它们的标签，页面小三分之一
UNCLOSED = re.compile("<!--(?!.*?-->)", re.S)  # 没有完的注释：后面各格会都成了注释，旧的 Python 当作文字
STYLE = re.compile(r"[\w\s:;.%-]*")  # 没有括号，就没有 url(…)
NOTEBOOK = re.compile(r"([\w.%-]+)\.ipynb(#.*)?")
OUTSIDE = re.compile(r"https?://|#")
LARGE = 100_000  # 一张图超过这么多字节，才试有损的
PNG = "data:image/png;base64,"
WIDE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef、。「」《》（），；：！？…—“”"
BETWEEN = re.compile(f"(?<=[{WIDE}])\n(?=[{WIDE}])|(?<=[，。；：、！？）」])\n|\n(?=[（「])")


def body(notebook: NotebookNode, name: str) -> tuple[BeautifulSoup, dict[str, bytes]]:
    """(正文，图的文件)：一个单元格一块，data-cell 是它的 id，类是 text 或 code；笔记本里写了什么都不会变成脚本。

    name: 放图的文件夹；文件的名字是「文件夹/单元格.webp」。
    """
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True, exclude_input_prompt=True,
                            exclude_output_prompt=True)
    exporter.register_filter("clean_html", lambda html: html)  # 高亮过的代码不用它洗：下面逐个标签看，快得多
    html, _ = exporter.from_notebook_node(described(notebook))
    soup = BeautifulSoup(html, "html.parser")
    for element in list(soup.descendants):
        if isinstance(element, PreformattedString):  # 注释、CDATA
            element.extract()
        elif isinstance(element, Tag):
            keep_known(element)
    boxes, files = soup.select("div.cell"), {}
    for box, cell in zip(boxes, (cell for cell in notebook.cells if cell.cell_type != "raw"), strict=True):
        box.attrs = {"data-cell": cell.id, "class": "text" if cell.cell_type == "markdown" else "code"}
        files |= pictures(box, f"{name}/{file_name(cell.id)}")
    for text in [text for box in soup.select(".text") for text in prose(box)]:
        text.replace_with(BETWEEN.sub("", text))  # 汉字之间换行，网页上会多出一个空格
    return soup, files


def described(notebook: NotebookNode) -> NotebookNode:
    """一份副本，每张图有看不到图时的文字，脚本和小组件的引用都去掉。"""
    notebook, heading = deepcopy(notebook), ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = UNCLOSED.sub("&lt;!--", cell.source)
            heading = ([line.lstrip("# ") for line in cell.source.split("\n") if line.startswith("#")] or [heading])[-1]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in [kind for kind in data if kind.startswith("application/")]:
                del data[kind]
            if "image/png" in data:
                about = output.metadata.setdefault("image/png", NotebookNode())
                about["alt"] = alt(data.get("text/plain", ""), heading)
    return notebook


def alt(text: str, heading: str) -> str:
    """看不到图时的文字：图自己说了是什么，就是它；只说了是谁画的，加上在哪里。"""
    named = re.fullmatch(r"〔图：(.*)〕", text, re.S)
    return named[1] if named else f"{heading}：{text} 此刻的图"


def keep_known(tag: Tag) -> None:
    """不认得的标签变成文字，不认得的属性去掉；链到别的笔记本的，链到那一页。"""
    if tag.name not in TAGS:
        tag.replace_with(NavigableString(str(tag)))
        return
    allowed = {"class", *ATTRIBUTES.get(tag.name, ())}
    style = str(tag.attrs.get("style", ""))
    tag.attrs = {key: value for key, value in tag.attrs.items() if key in allowed}
    if style and STYLE.fullmatch(style):
        tag["style"] = style
    if tag.name == "a":
        follow(tag)
    if tag.name == "span" and set(tag.get("class") or []) <= PLAIN and "style" not in tag.attrs:
        tag.unwrap()


def follow(link: Tag) -> None:
    """笔记本变成页，网上的照旧，别的（仓库里的文件、脚本）只留文字。"""
    address = str(link.attrs.pop("href", ""))
    if page := NOTEBOOK.fullmatch(address):
        link["href"] = f"{page[1]}.html{page[2] or ''}"
    elif OUTSIDE.match(address):
        link["href"] = address
        link["rel"] = "noopener"
    else:
        link.unwrap()


def prose(box: Tag) -> Iterator[NavigableString]:
    """一块里的文字，代码不算。"""
    for text in box.find_all(string=True):
        if not text.find_parent(["code", "pre"]):
            yield text


def pictures(box: Tag, name: str) -> dict[str, bytes]:
    """把一块里的图换成文件，写明多大，所以图还没有来的时候正文也不跳；不在笔记本里的图只留文字。"""
    files = {}
    for image in box.find_all("img"):
        source = str(image.get("src", ""))
        if not source.startswith(PNG):
            image.replace_with(NavigableString(f"〔图：{image.get('alt', '')}〕"))
            continue
        file = f"{name}-{len(files) + 1}.webp" if files else f"{name}.webp"
        files[file], (width, height) = webp(base64.b64decode(source.removeprefix(PNG)))
        shown = int(str(image.get("width") or width))
        image.attrs |= {"src": file, "width": shown, "height": round(shown * height / width), "loading": "lazy",
                        "decoding": "async", "style": f"--width: {shown}px"}
    return files


def webp(png: bytes) -> tuple[bytes, tuple[int, int]]:
    """(WebP，宽和高)：一个像素也不改；大而像照片的，有损的不到一半大，就用有损的。"""
    with Image.open(io.BytesIO(png)) as image:
        pixels, size = image.convert("RGB"), image.size
    exact = _saved(pixels, lossless=True, quality=30)
    close = _saved(pixels, quality=88) if len(exact) > LARGE else exact
    return (close if 2 * len(close) < len(exact) else exact), size


def _saved(pixels: Image.Image, **options: int) -> bytes:
    file = io.BytesIO()
    pixels.save(file, "WEBP", method=4, **options)
    return file.getvalue()
