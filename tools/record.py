"""记录一个做起来要久的实验：从笔记本里取出它，用几个种子各做一遍，写到 notebooks/records/。

    python tools/record.py 7.6 depths --seeds 8              从头记录
    python tools/record.py 7.6 depths --seeds 12 --continue  接着做：停在半路的，或者再加四个种子
    python tools/record.py 7.6 depths --check                改过代码、结果应当不变：每一组做一次，核对

实验是笔记本里带 net 标签的单元格定义的一个字典：组的名字到 measure(seed)。
"""

import argparse
import subprocess
import sys
from functools import partial

from helpers.book.sections import load
from helpers.book.source import source
from helpers.experiments.records import confirm, record, recorded
from helpers.machine.console import be_patient
from helpers.paths import ROOT

say = partial(print, flush=True)  # 在后台记录时也看得到做到了哪里


def commit() -> str:
    """此刻是哪一次提交；笔记本或 helpers 有没有提交的改动，后面加一个 +。没有 git 就是空的。"""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    try:
        changed = git("status", "--porcelain", "notebooks/*.ipynb", "helpers")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except OSError:
        return ""


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", help="节号，如 7.6")
    parser.add_argument("name", help="笔记本里那个字典的名字")
    parser.add_argument("--seeds", type=int, default=5, help="几个种子，默认 5")
    parser.add_argument("--continue", action="store_true", dest="resume", help="做过的种子留着，只做还没有的")
    parser.add_argument("--check", action="store_true", help="不记录，只核对；都在范围里，就认下现在的代码")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("一个种子看不出波动有多大，至少要 --seeds 2。")
    be_patient()
    try:
        measures = getattr(load(options.section), options.name, None)
        if not isinstance(measures, dict) or not all(map(callable, measures.values())):
            parser.error(f"第 {options.section} 节没有实验 {options.name}：它应当是带 net 标签的单元格里的一个字典，"
                         "组的名字到 measure(seed)。")
        code = source(options.section, options.name)
        if options.check:
            return int(not confirm(recorded(options.section, options.name), measures, code, said=say))
        say(record(options.section, options.name, measures, list(range(options.seeds)), commit(), said=say, code=code,
                   resume=options.resume))
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("停下了；做完的种子留着，加上 --continue 就接着做。")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
