"""网站：七本笔记本变成七页，加一页目录。什么也不训练；打开它不用内核，也不用网络。"""

import argparse
import base64
import gzip
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat, starmap
from pathlib import Path

import nbformat
from page import Page, Place, make, place, render
from vendor import MATHJAX

from helpers.paths import NOTEBOOKS, ROOT

# 一页和全部至多多大，字节；一页的图和公式要的 MathJax 都算在内
PAGE_LIMIT, SITE_LIMIT = 3_000_000, 12_000_000
# 能动的东西，目录里怎样说
LIVE = {"explorer": "组网络的滑块", "inside": "个打得开的网络", "frames": "幅拖得动的图", "quiz": "道先猜和练习"}


def build(notebooks: Path, to: Path) -> dict[str, int]:
    """notebooks 里的笔记本写成 to 里的页；返回每一页（连同它的图和公式）多大。

    超过限度时抛出 ValueError，没有 MathJax 时抛出 FileNotFoundError，都什么也没有写。
    """
    notebook_of = read(notebooks)
    places = [*starmap(place, notebook_of.items())]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # 两页同时做，一页一个核
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        pages = pool.map(make, notebook_of.values(), places, repeat(places))
        return write(zip(places, pages, strict=True), to)


def read(notebooks: Path) -> dict[str, nbformat.NotebookNode]:
    """一个文件夹里的各节，按次序：文件名（没有扩展名）→ 笔记本。"""
    return {path.stem: nbformat.read(path, as_version=4) for path in sorted(notebooks.glob("7.*.ipynb"))}


def write(pages: Iterable[tuple[Place, Page]], to: Path) -> dict[str, int]:
    """做好的各页和目录写进 to；其余同 `build`。"""
    files, sizes, pages = {}, {}, [*pages]
    for here, page in pages:
        own = {f"{here.stem}.html": page.html.encode(), **page.files, **(mathjax() if page.formulas else {})}
        files |= own
        sizes[here.stem] = sum(map(len, own.values()))
        print(f"{here.stem}  {sizes[here.stem] / 1e6:.2f} MB", flush=True)
    files["index.html"] = index(pages).encode()
    check(sizes, sum(map(len, files.values())))
    for name, data in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    return sizes


def check(sizes: dict[str, int], total: int) -> None:
    """有一页太大，或者加起来太大，抛出 ValueError。"""
    for name, size, limit in [*((name, size, PAGE_LIMIT) for name, size in sizes.items()), ("全部", total, SITE_LIMIT)]:
        if size > limit:
            raise ValueError(f"{name}有 {size / 1e6:.2f} MB，至多 {limit / 1e6:.0f} MB：减少帧或图")


def index(pages: list[tuple[Place, Page]]) -> str:
    """目录：每节一句话和能动的东西，怎样装在自己的机器上。"""
    sections = [{"file": f"{here.stem}.html", "title": here.title, "opening": page.opening,
                 "live": "，".join(f"{count} {LIVE[kind]}" for kind, count in page.live.items())}
                for here, page in pages]
    return render(title="现代卷积神经网络", sections=sections, repository=repository())


def repository() -> str:
    """仓库的地址：GitHub Actions 里它自己知道，别处不知道，是空的。"""
    name = os.environ.get("GITHUB_REPOSITORY", "")
    return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}" if name else ""


@cache
def mathjax() -> dict[str, bytes]:
    """MathJax 和它的许可证：名字 → 字节。

    压缩了放进一个脚本，2.3 MB 变成 1 MB，网页里由 formulas.js 解开：file:// 里读不了文件，只能运行脚本。
    """
    packed = gzip.compress(MATHJAX.path("es5/tex-svg-full.js").read_bytes(), mtime=0)
    return {"mathjax.js": f'globalThis.packedMathJax = "{base64.b64encode(packed).decode()}";\n'.encode(),
            "mathjax-LICENSE.txt": MATHJAX.path("LICENSE").read_bytes()}


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "site", help="写到哪个文件夹")
    parser.add_argument("--notebooks", type=Path, default=NOTEBOOKS,
                        help="从哪里读笔记本；默认是仓库里的，用存在里面的输出")
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        build(options.notebooks, options.to)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"共 {time.perf_counter() - started:.0f} 秒；用浏览器打开 {options.to / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
