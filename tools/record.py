"""记录一个做起来要久的实验：从笔记本里取出它，用几个种子各做一遍，写到 notebooks/records/。

    python tools/record.py 7.6 depths --seeds 8

实验是笔记本里带 net 标签的单元格定义的一个字典：组的名字到 measure(seed)。
"""

import argparse
import subprocess
import sys

from helpers.book.sections import load
from helpers.experiments.records import record
from helpers.paths import ROOT


def commit() -> str:
    """此刻是哪一次提交；笔记本或 helpers 有没有提交的改动，后面加一个 +。"""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "notebooks/*.ipynb", "helpers")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", help="节号，如 7.6")
    parser.add_argument("name", help="笔记本里那个字典的名字")
    parser.add_argument("--seeds", type=int, default=5, help="几个种子，默认 5")
    options = parser.parse_args()
    try:
        measures = getattr(load(options.section), options.name, None)
    except ValueError as error:
        parser.error(str(error))
    if not isinstance(measures, dict):
        parser.error(f"第 {options.section} 节没有实验 {options.name}：它应当是带 net 标签的单元格里的一个字典。")
    print(record(options.section, options.name, measures, list(range(options.seeds)), commit()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
