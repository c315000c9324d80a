"""从头到尾运行每一本笔记本，写出运行过的笔记本和网页，最后印一张表；有一本失败就返回非零。"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from normal_form import normalize, text
from wcwidth import wcswidth

from helpers.book.sections import NETWORKS
from helpers.experiments.run import Run
from helpers.experiments.store import saved_runs
from helpers.paths import NOTEBOOKS, ROOT

HEADER = ("节", "网络", "设备", "训练了什么", "秒", "测试精度", "判断")


def run(path: Path, folder: Path) -> tuple[str, ...]:
    """运行一本，写出结果，返回表格的一行。运行失败时抛出 CellExecutionError，到那里为止的输出仍写出来。

    笔记本里的训练存进环境变量 COMPANION_RUNS 指的文件夹；一本里的最后一次就是它的训练。
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, kernel_name="python3",
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
    rows, failed = [HEADER], []
    started = time.perf_counter()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        section = path.stem.split("-")[0]
        if options.sections and section not in options.sections:
            continue
        try:
            rows.append(run(path, folder))
        except CellExecutionError as error:
            failed.append(f"{path.name}：{error}")
            rows.append((section, NETWORKS.get(section, ""), "", "", "", "", "失败"))
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
