"""命令行：doctor 检查这台机器；run 7.6 在终端里训练一节的网络；progress 看练习做到哪里；solutions 印出全部答案。"""

import argparse
import ast
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch

from helpers.arguments import brief
from helpers.book.sections import NETWORKS, load
from helpers.doctor import examine
from helpers.exercises.report import document, progress, write_document
from helpers.experiments.checkpoint import checkpoint_file
from helpers.experiments.plan import Plan
from helpers.experiments.session import train
from helpers.machine.console import be_patient
from helpers.machine.device import pick_device
from helpers.machine.dice import checked_seed
from helpers.machine.team import rank, team, world_size
from helpers.network.input_sizes import input_sizes
from helpers.paths import runs_folder


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


def run(section: str, options: argparse.Namespace, changes: dict[str, Any]) -> int:
    """训练一节的网络，进度条之后印出结果；训练存在 runs/ 里，笔记本里也看得到。torchrun 起的几个进程一起训练。"""
    if options.dtype not in (None, "float32", "bfloat16"):
        raise ValueError(f"--dtype 应当是 float32 或 bfloat16，收到的是 {options.dtype!r}。")
    seed = checked_seed(options.seed)
    warnings.filterwarnings("ignore", "Initializing zero-element")  # 宽度是 0：走不走得通，下面说
    with team():
        plan = planned(section, options, changes)
        say = print if rank() == 0 else lambda *_: None
        say("，".join(f"{name}={value}" for name, value in plan.settings.items())
            + (f"，{world_size()} 个进程" if world_size() > 1 else ""))
        net = plan.build(seed)
        if options.sync_batch_norm:
            net = synchronized(net)
        checkpoint = checkpoint_file(runs_folder() / "checkpoints", plan.name, plan.settings)
        result = train(net, *plan.data(), lr=plan.lr, num_epochs=plan.num_epochs, plan=plan, seed=seed,
                       checkpoint=checkpoint, resume=options.resume, cuda_graph=options.cuda_graph,
                       dtype=getattr(torch, options.dtype) if options.dtype else None)
        say(result)
        say(f"存在 {runs_folder()}")
        if result.ended == "interrupted":
            say("接着训练：同样的命令后面加上 --resume。")
        return not result.finished


def solutions(folder: Path) -> int:
    """全部答案写进文件夹，说写在哪里；写不了就说一句，返回 2。"""
    try:
        print(f"写好了：{write_document(folder)}")
    except OSError as error:
        print(f"写不进 {folder}：{error.strerror}；换一个文件夹。", file=sys.stderr)
        return 2
    return 0


def planned(section: str, options: argparse.Namespace, changes: dict[str, Any]) -> Plan:
    """这次训练的计划。"""
    plan = load(section).plan
    plan = plan.book if options.full else plan
    if options.data is None:
        return plan.change(**changes)
    if "images" in changes:
        raise ValueError("--data 用文件夹里的全部图片，不能再给 --images。")
    size = 224 if 224 in input_sizes(plan.meta(), plan.shape) else plan.size  # 论文里的大小；LeNet 只走得通 28
    return plan.on(options.data).change(**{"size": size} | changes)


def synchronized(net: torch.nn.Module) -> torch.nn.Module:
    """批量规范化的均值和方差由全体进程一起算。PyTorch 只在 GPU 上实现了它。"""
    if pick_device().type != "cuda":
        raise ValueError("--sync-batch-norm 要 GPU：PyTorch 的 SyncBatchNorm 不能在 CPU 上运行。")
    return torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)


def parse_changes(words: list[str]) -> dict[str, Any]:
    """["--lr", "0.1", "--c1=8", "--init", "kaiming"] 变成 {"lr": 0.1, "c1": 8, "init": "kaiming"}。

    数字和元组按 Python 的写法，别的是文字；值能不能用由 Plan.change 说。不成对时抛出 ValueError。
    """
    changes, words = {}, [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(name.startswith("--") for name in words[::2]):
        raise ValueError(f"选项写成 --名字 值，如 --lr 0.1；收到的是 {brief(' '.join(words))}。")
    for name, value in zip(words[::2], words[1::2], strict=True):
        changes[name[2:].replace("-", "_")] = literal(value)
    return changes


def literal(word: str) -> Any:
    """"0.1" 变成 0.1；不是数字和元组的就是一个词，如 "kaiming"。"""
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):  # 括号套得太深的也是
        return ast.literal_eval(word)
    return word


class Parser(argparse.ArgumentParser):
    """命令写得不对时，一句话，不印一屏用法。"""

    def error(self, message: str) -> NoReturn:
        print(f"这条命令写得不对（{message}）；写法见 {self.prog} --help。", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """命令行入口。"""
    parser = Parser(prog="python -m helpers", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("doctor", help="检查版本、设备、精度、字体、数据和小组件")
    about = "训练一节的网络。计划里的每一项和网络的每个宽度都可以改，如 --lr 0.1 --num-epochs 3 --images 6000 --c1 8。"
    runner = commands.add_parser("run", allow_abbrev=False, help="训练一节的网络", description=about)
    runner.add_argument("section", nargs="?", help=f"节：{'、'.join(NETWORKS)}")
    runner.add_argument("--full", action="store_true", help="书上的全部配方")
    runner.add_argument("--seed", type=literal, default=0, help="随机种子，默认 0")
    runner.add_argument("--data", metavar="文件夹", help="换成自己的图片：文件夹里有 train 和 val，各自一类一个文件夹")
    runner.add_argument("--resume", action="store_true", help="有存档就从那里接着训练，没有就从头")
    runner.add_argument("--sync-batch-norm", action="store_true", help="几块 GPU 一起算批量规范化的均值和方差")
    runner.add_argument("--dtype", metavar="精度", help="float32 或 bfloat16，默认由硬件定")
    runner.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction,
                        help="一定把一步录成 CUDA graph，或者一定不录；默认自己决定")
    commands.add_parser("progress", help="练习做到哪里了，先猜猜对了几个")
    answers = commands.add_parser("solutions", help="全部练习的提示和答案，印成一份 Markdown")
    answers.add_argument("--to", type=Path, metavar="文件夹", help="写进这个文件夹，连同图")
    options, rest = parser.parse_known_args(arguments)
    if options.command is None:
        parser.error("要说做什么：doctor、run、progress 或 solutions")
    if options.command != "run":
        if rest:
            parser.error(f"{options.command} 没有选项 {' '.join(rest)}")
        if options.command == "doctor":
            return doctor()
        if options.command == "solutions" and options.to:
            return solutions(options.to)
        print(progress() if options.command == "progress" else document())
        return 0
    try:
        return run(options.section, options, parse_changes(rest))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"中断了。训练过的都存在 {runs_folder()}。", file=sys.stderr)
        return 130


if __name__ == "__main__":
    be_patient()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # 导入完了，以后的中断由训练自己处理
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
