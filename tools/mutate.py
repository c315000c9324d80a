"""变异测试：一次改错 helpers/ 里的一处，看测试红不红；红了，这个变异就被杀死。

    python tools/mutate.py [--sample 60] [--seed 0] [--jobs 2] [data/fashion network/trace …]

改的是比较、算术、与或非、数、返回值，或者删掉一句；不改文字、类型标注和只关版面的字符串。
变异都在临时的副本里，工作树不动。只有 fork 的系统（Linux、macOS）能用。
"""

import argparse
import ast
import copy
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# 一个房间的变异由哪些测试来杀；直接测这个文件的在前：红得早，就不用跑后面的
TESTS = {
    "book": ["tests/book"],
    "data": ["tests/data", "tests/faults/test_a_data.py"],
    "network": ["tests/network", "tests/faults/test_c_trace.py"],
    "training": ["tests/training", "tests/machine/test_cuda_graph.py", "tests/experiments",
                 "tests/faults/test_b_training.py",
                 "tests/faults/test_d_sliders.py"],
    "machine": ["tests/machine", "tests/training", "tests/faults/test_g_machine.py"],
    "experiments": ["tests/experiments", "tests/test_command_line.py", "tests/faults/test_b_training.py"],
    "widgets": [*(f"tests/widgets/test_{name}.py" for name in (
        "sliders", "panel", "interactive", "model", "cell", "background", "explorer")), "tests/fuzz/test_widgets.py",
        "tests/faults/test_d_sliders.py", "tests/faults/test_g_widgets.py"],
}
MODULES = [f"{room}/{path.stem}" for room in TESTS for path in sorted((ROOT / "helpers" / room).glob("[a-z]*.py"))]
FAST = "not naive and not B4 and not B6 and not B9"  # 朴素的对照不用再跑；最慢的几行别的测试也看得见
SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
         ast.Mod: ast.Mult, ast.Pow: ast.Mult}


@dataclass
class Mutant:
    """一处改动：哪个文件、第几行、改成什么、改后的全文。"""

    module: str
    line: int
    change: str
    source: str


def mutants(module: str) -> list[Mutant]:
    """一个文件的全部变异。"""
    tree = ast.parse((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8"))
    found = []
    for i, node in enumerate(places(tree)):
        for other in changed(node):
            if ast.dump(other) == ast.dump(node):
                continue
            mutated = copy.deepcopy(tree)
            target = next(each for j, each in enumerate(places(mutated)) if j == i)
            was = ast.unparse(node)
            replace(mutated, target, other)
            found.append(Mutant(module, node.lineno, f"{was}  →  {ast.unparse(other)}", ast.unparse(mutated)))
    return found


def places(node: ast.AST) -> Iterator[ast.AST]:
    """可以改的节点：不进类型标注和文档字符串。"""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params") or (isinstance(node, ast.ClassDef) and name == "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                if hasattr(child, "lineno"):
                    yield child
                yield from places(child)


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """这个节点可以改成什么。"""
    other = copy.copy(node)
    if isinstance(node, ast.Compare):
        other.ops = [SWAPS[type(node.ops[0])](), *node.ops[1:]]
        yield other
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        other.op = SWAPS[type(node.op)]()
        yield other
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        other.value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield other
    elif isinstance(node, ast.IfExp | ast.If | ast.While):
        other.test = ast.UnaryOp(ast.Not(), node.test)
        if isinstance(node, ast.IfExp) or not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield other
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise | ast.AugAssign | ast.Delete) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)):
        yield ast.Pass()


def replace(tree: ast.AST, target: ast.AST, other: ast.AST) -> None:
    """把 tree 里的 target 换成 other。"""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, ast.fix_missing_locations(ast.copy_location(other, target)))
            elif isinstance(value, list):
                value[:] = [ast.fix_missing_locations(ast.copy_location(other, target)) if each is target else each
                            for each in value]


def tests_of(module: str) -> list[str]:
    """一个文件的变异由哪些测试来杀。"""
    room, name = module.split("/")
    own = f"tests/{room}/test_{name}.py"
    return [own] * (ROOT / own).exists() + TESTS[room]


def start(folder: Path, tests: list[str]) -> int:
    """在 fork 出的进程里跑测试；大的库已经在父进程里装好，helpers 没有。"""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(folder)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        sys.path[:0] = [str(folder)]
        os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        import pytest
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", FAST, *tests]))
    return pid


def run(jobs: list[Mutant], slots: int) -> list[tuple[Mutant, bool]]:
    """跑完所有变异，几个同时；返回 (变异, 被杀死)。"""
    results, running, waiting = [], {}, list(jobs)
    with tempfile.TemporaryDirectory() as temporary:
        free = []
        for i in range(slots):
            free.append(Path(temporary) / str(i))
            for part in ("helpers", "tests", "tools", "benchmarks", "notebooks"):
                shutil.copytree(ROOT / part, free[-1] / part, ignore=shutil.ignore_patterns("__pycache__"))
            for part in ("pyproject.toml", "requirements.txt", "README.md", "Makefile"):
                shutil.copy(ROOT / part, free[-1] / part)
        while waiting or running:
            while waiting and free:
                mutant, folder = waiting.pop(0), free.pop()
                (folder / "helpers" / f"{mutant.module}.py").write_text(mutant.source, encoding="utf-8")
                running[start(folder, tests_of(mutant.module))] = mutant, folder, time.monotonic() + 600
            for pid, (mutant, folder, deadline) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and time.monotonic() > deadline:
                    os.killpg(pid, 9)
                    _, status = os.waitpid(pid, 0)
                    done = True
                if done:
                    results.append((mutant, status != 0))
                    (folder / "helpers" / f"{mutant.module}.py").write_text(
                        (ROOT / "helpers" / f"{mutant.module}.py").read_text(encoding="utf-8"), encoding="utf-8")
                    free.append(folder)
                    del running[pid]
                    print(f"{'死' if status else '活'} {mutant.module}.py:{mutant.line}  {brief(mutant)}", flush=True)
            time.sleep(0.05)
    return results


def brief(mutant: Mutant) -> str:
    """改动，一行。"""
    return " ".join(mutant.change.split())[:150]


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, help="如 network/trace；默认全部")
    parser.add_argument("--sample", type=int, default=60, help="每个文件抽几个变异，0 是全部；默认 60")
    parser.add_argument("--seed", type=int, default=0, help="抽样的种子")
    parser.add_argument("--jobs", type=int, default=2, help="几个进程同时跑")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # 几个进程抢核时，OpenMP 会慢几十倍
    for library in ("torch", "torchvision", "torchinfo", "ipywidgets", "matplotlib.figure", "nbclient", "playwright",
                    "jupyter_client.manager"):
        __import__(library)
    dice, chosen = random.Random(options.seed), []
    for module in options.modules:
        every = mutants(module)
        source = ast.unparse(ast.parse((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8")))
        chosen.append(Mutant(module, 0, "没有改", source))
        chosen += dice.sample(every, min(options.sample or len(every), len(every)))
        print(f"{module}.py：{len(every)} 个变异", flush=True)
    results = run(chosen, options.jobs)
    for mutant, killed in results:
        if mutant.line == 0 and killed:
            sys.exit(f"{mutant.module}.py 没有改，测试也红：先修好。")
    for module in options.modules:
        mine = [(mutant, killed) for mutant, killed in results if mutant.module == module and mutant.line]
        dead = sum(killed for _, killed in mine)
        print(f"{module}.py：杀死 {dead} / {len(mine)}（{dead / len(mine):.0%}）")
        for mutant, killed in sorted(mine, key=lambda each: each[0].line):
            if not killed:
                print(f"  第 {mutant.line} 行  {brief(mutant)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
