"""从头到尾运行每一本笔记本，写出运行过的笔记本和网页，最后印一张表；有一本失败就返回非零。"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from normal_form import normalize, text
from wcwidth import wcswidth

sys.path.append(str(Path(__file__).parent / "site"))
from build import build, read, write
from page import Page, Place, make, place

from helpers.book.sections import NETWORKS
from helpers.experiments.run import Run
from helpers.experiments.store import saved_runs
from helpers.machine.device import memory_limit, pick_device
from helpers.paths import NOTEBOOKS

ROOM = 6e9  # 两本一起跑，至少要这么多字节的内存
HEADER = ("节", "网络", "设备", "训练了什么", "秒", "测试精度", "判断")


def run(path: Path, folder: Path) -> tuple[str, ...]:
    """运行一本，写出结果，返回表格的一行。运行失败时抛出 CellExecutionError，到那里为止的输出仍写出来。

    笔记本里的训练存进环境变量 COMPANION_RUNS 指的文件夹；一本里的最后一次就是它的训练。
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", coalesce_streams=True,
                            resources={"metadata": {"path": str(NOTEBOOKS)}})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    try:
        with client.setup_kernel():
            for i, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    say(f"{path.stem}  {code.index(cell) + 1}/{len(code)}  {first_line(cell.source)}")
                    client.execute_cell(cell, i)
    finally:
        (folder / path.name).write_text(text(normalize(notebook)), encoding="utf-8")
    section = path.stem.split("-")[0]
    return row(section, saved_runs(NETWORKS[section])[-1])


class Attempt(NamedTuple):
    """跑过的一本：表格的一行，为什么失败（没有失败是空的），网页（没有叫它做是 None）。"""

    row: tuple[str, ...]
    failed: str
    page: Page | None


def attempt(path: Path, folder: Path, places: list[Place]) -> Attempt:
    """跑一本；places 是全部的页，给了就接着做网页：不必另起一个进程再导入一遍。"""
    section, failed = path.stem.split("-")[0], ""
    try:
        line = run(path, folder)
    except CellExecutionError as error:
        line, failed = (section, NETWORKS.get(section, ""), "", "", "", "", "失败"), f"{path.name}：{error}"
    here = next((each for each in places if each.stem == path.stem), None)
    page = make(nbformat.read(folder / path.name, as_version=4), here, places) if here else None
    return Attempt(line, failed, page)


def at_once(folder: Path) -> int:
    """一次跑几本：没有显卡、有两个核、内存够，就两本，各用一个核，比一本用两个核快。

    就地更新时一本一本来：里面印着秒数，要像读者跑的那样。
    """
    device = pick_device()
    alone = folder == NOTEBOOKS or device.type != "cpu" or memory_limit(device) < ROOM
    return 1 if alone else min(2, psutil.cpu_count(logical=False) or 1)


def every(paths: list[Path], folder: Path, jobs: int, places: list[Place]) -> list[Attempt]:
    """每一本 `attempt` 的结果，照 paths 的次序。"""
    act = partial(attempt, folder=folder, places=places)
    if jobs == 1:
        return [*map(act, paths)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [*pool.map(act, paths)]


def row(section: str, run: Run) -> tuple[str, ...]:
    """把一次训练写成表格的一行。"""
    what = f"{run.recipe['images']} 张 × {run.recipe['num_epochs']} 轮，{run.recipe['size']}×{run.recipe['size']}"
    judged = run.verdict if run.band else "缩减了配方，不与官方结果比较"
    return (section, run.network, run.device, what, f"{run.total_seconds:.0f}", f"{run.test_acc:.3f}",
            " ".join([judged, *map(str, run.findings)]))


def first_line(source: str) -> str:
    """单元格的第一行，太长就截断。"""
    return source.split("\n")[0][:40]


def say(message: str) -> None:
    """进度；在终端里覆盖上一行。"""
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)
    else:
        print(message, file=sys.stderr, flush=True)


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("build"), help="写到哪个文件夹；notebooks 表示就地更新")
    parser.add_argument("sections", nargs="*", help="只运行这些节，如 7.1 7.6；默认全部")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    folder = options.to.resolve()
    os.environ["COMPANION_RUNS"] = tempfile.mkdtemp()  # 不与读者自己的训练混在一起
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb"))
             if not options.sections or path.stem.split("-")[0] in options.sections]
    started, jobs = time.perf_counter(), at_once(folder)
    # 一起跑全部的几本时，网页也在那里做；别的时候最后一起做，以前跑过的几本也在内
    together = jobs > 1 and not options.sections
    places = [*starmap(place, read(NOTEBOOKS).items())] if together else []
    done = every(paths, folder, jobs, places)
    rows, failed = [HEADER, *(each.row for each in done)], [each.failed for each in done if each.failed]
    say("")
    widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        padded = (cell + " " * (width - wcswidth(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())
    try:
        if places:
            write(zip(places, [each.page for each in done], strict=True), folder)
        elif folder != NOTEBOOKS:
            build(folder, folder)
    except (FileNotFoundError, ValueError) as error:
        failed.append(f"网页没有写成：{error}")
    print(f"共 {time.perf_counter() - started:.0f} 秒，写在 {options.to}/"
          + ("" if folder == NOTEBOOKS else f"；用浏览器打开 {folder / 'index.html'}"))
    print("\n".join(failed), end="\n" if failed else "")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
