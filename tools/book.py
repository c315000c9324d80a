"""从头到尾运行每一本笔记本，写出运行过的笔记本和网页，最后印一张表；有一本失败就返回非零。"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from normal_form import normalize, text
from wcwidth import wcswidth

from helpers.book.sections import NETWORKS
from helpers.experiments.run import Run
from helpers.experiments.store import saved_runs
from helpers.machine.device import memory_limit, pick_device
from helpers.paths import NOTEBOOKS, ROOT

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


def attempt(path: Path, folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """(表格的一行，为什么失败)；没有失败，后一项是空的。"""
    section = path.stem.split("-")[0]
    try:
        return run(path, folder), []
    except CellExecutionError as error:
        return (section, NETWORKS.get(section, ""), "", "", "", "", "失败"), [f"{path.name}：{error}"]


def at_once(folder: Path) -> int:
    """一次跑几本：没有显卡、有两个核、内存够，就两本，各用一个核，比一本用两个核快。

    就地更新时一本一本来：里面印着秒数，要像读者跑的那样。
    """
    device = pick_device()
    alone = folder == NOTEBOOKS or device.type != "cpu" or memory_limit(device) < ROOM
    return 1 if alone else min(2, psutil.cpu_count(logical=False) or 1)


def every(paths: list[Path], folder: Path, jobs: int) -> list[tuple[tuple[str, ...], list[str]]]:
    """每一本 `attempt` 的结果，照 paths 的次序。"""
    if jobs == 1:
        return [attempt(path, folder) for path in paths]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [*pool.map(partial(attempt, folder=folder), paths)]


def pages(folder: Path) -> bool:
    """把 folder 里运行过的笔记本写成网页，与 make site 的一样，写在它们旁边；成不成。"""
    build = ROOT / "tools" / "site" / "build.py"
    return subprocess.run([sys.executable, build, "--notebooks", folder, "--to", folder]).returncode == 0


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
    started = time.perf_counter()
    rows, failed = [HEADER], []
    for each, failure in every(paths, folder, at_once(folder)):
        rows.append(each)
        failed += failure
    say("")
    widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        padded = (cell + " " * (width - wcswidth(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())
    if folder != NOTEBOOKS and not pages(folder):
        failed.append("网页没有写成，见上")
    print(f"共 {time.perf_counter() - started:.0f} 秒，写在 {options.to}/")
    print("\n".join(failed), end="\n" if failed else "")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
