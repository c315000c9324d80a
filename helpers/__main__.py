"""命令行：python -m helpers doctor 检查这台机器；python -m helpers run 7.6 在终端里训练一节的网络。"""

import argparse
import ast
import sys
from typing import Any

import torch

from helpers.doctor import examine
from helpers.notebook import NETWORKS, load
from helpers.runs import runs_folder, train


def doctor() -> int:
    """逐项检查，一项一行；有毛病就返回 1。"""
    checks = examine()
    for check in checks:
        print(f"{'✓' if check.good else '✗'} {check.name}：{check.found}")
        if not check.good:
            print(f"  → {check.remedy}")
    bad = sum(not check.good for check in checks)
    print("都好。" if not bad else f"{bad} 处要处理，命令写在箭头后面。")
    return bad > 0


def run(section: str, full: bool, seed: int, changes: dict[str, Any]) -> int:
    """训练一节的网络，进度条之后印出结果；训练存在 runs/ 里，笔记本里也看得到。"""
    plan = load(section).plan
    plan = (plan.book if full else plan).change(**changes)
    print("，".join(f"{name}={value}" for name, value in plan.settings.items()))
    torch.manual_seed(seed)
    net = plan.build()
    result = train(net, *plan.data(), lr=plan.lr, num_epochs=plan.num_epochs, plan=plan)
    print(result)
    print(f"存在 {runs_folder()}")
    return not result.finished


def parse_changes(words: list[str]) -> dict[str, Any]:
    """["--lr", "0.1", "--c1=8"] 变成 {"lr": 0.1, "c1": 8}；写错时抛出 ValueError。"""
    changes, words = {}, [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(name.startswith("--") for name in words[::2]):
        raise ValueError(f"选项写成 --名字 值，如 --lr 0.1；收到的是 {' '.join(words)}。")
    for name, value in zip(words[::2], words[1::2], strict=True):
        try:
            changes[name[2:].replace("-", "_")] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise ValueError(f"{name} 的值 {value} 看不懂；数字如 8、0.1，元组如 '((1,64),(1,128))'。") from None
    return changes


def main(arguments: list[str] | None = None) -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="检查版本、设备、精度、字体、数据和小组件")
    about = "训练一节的网络。计划里的每一项和网络的每个宽度都可以改，如 --lr 0.1 --num-epochs 3 --images 6000 --c1 8。"
    runner = commands.add_parser("run", allow_abbrev=False, help="训练一节的网络", description=about)
    runner.add_argument("section", help=f"节：{'、'.join(NETWORKS)}")
    runner.add_argument("--full", action="store_true", help="书上的全部配方")
    runner.add_argument("--seed", type=int, default=0, help="随机种子，默认 0")
    options, rest = parser.parse_known_args(arguments)
    if options.command == "doctor":
        if rest:
            parser.error(f"doctor 没有选项 {' '.join(rest)}")
        return doctor()
    try:
        return run(options.section, options.full, options.seed, parse_changes(rest))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
