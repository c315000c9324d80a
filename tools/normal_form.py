"""笔记本的规范形式：`python tools/normal_form.py` 整理 notebooks/ 里的全部，加 --check 只检查。"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.paths import NOTEBOOKS

COMMAND = "python tools/normal_form.py"
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}
WIDGET = "application/vnd.jupyter.widget-view+json"
# 只在写它的那台机器上成立的文字
PRIVATE = re.compile(r"/(?:home|root|Users|tmp|work|mnt)/|[A-Z]:\\\\|\d{4}-\d\d-\d\d[ T]\d\d:\d\d")


def normalize(notebook: NotebookNode) -> NotebookNode:
    """原地整理：元数据只留内核名、标签和图的宽，去掉小组件的引用（没有内核就显示不出来），重新编号。"""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.source = "\n".join(line.rstrip() for line in cell.source.split("\n"))
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count is not None:  # 没有运行过的不编号，留给 problems 指出来
            cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if "data" in output:
                output.data.pop(WIDGET, None)
                output.metadata = nbformat.from_dict(_size(output.metadata))
        cell.outputs = [output for output in cell.outputs if output.get("data", True)]
    return notebook


def _size(metadata: NotebookNode) -> dict[str, dict[str, int]]:
    """输出的元数据里只留图在网页上的宽。"""
    width = metadata.get("image/png", {}).get("width")
    return {"image/png": {"width": width}} if width else {}


def text(notebook: NotebookNode) -> str:
    """写进文件的文字：汉字不转义，末尾一个换行。"""
    return nbformat.writes(notebook, ensure_ascii=False).rstrip("\n") + "\n"


def problems(path: Path) -> list[str]:
    """一本笔记本不合规范的地方；空列表是合格。"""
    source = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(source, as_version=4)
    found = []
    for i, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            found.append(f"第 {i} 个单元格没有运行过：运行 make notebooks")
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"第 {i} 个单元格的输出是错误或警告：改好它，再运行 make notebooks")
            if "application/javascript" in output.get("data", {}):
                found.append(f"第 {i} 个单元格输出了 JavaScript")
            words = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
            if any(PRIVATE.search(str(word)) for word in words):
                found.append(f"第 {i} 个单元格的输出里有这台机器的路径或时间")
    if text(normalize(notebook)) != source:
        found.append(f"不是规范形式：运行 {COMMAND}")
    return found


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="只检查，不改文件")
    check = parser.parse_args().check
    bad = 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not check:
            path.write_text(text(normalize(nbformat.read(path, as_version=4))), encoding="utf-8")
        for problem in problems(path):
            bad += 1
            print(f"{path.name}：{problem}")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
