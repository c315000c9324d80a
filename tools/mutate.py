"""变异测试：一次改错 helpers/ 里的一处，看测试红不红；红了，这个变异就被杀死。

    python tools/mutate.py [--sample 60] [--seed 0] [--jobs 2] [data/fashion network/trace …]

改的是比较、算术、与或非、数、返回值，或者删掉一句；不改文字、类型标注和只关版面的字符串。
先记下每个测试走进了哪些函数：一个变异只跑走到它的测试，快的在前，红了就停。
变异都在临时的副本里，工作树不动。只有 fork 的系统（Linux、macOS）能用。
"""

import argparse
import ast
import copy
import functools
import gc
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# 一个房间的变异由哪些测试来杀：这些里面走到了改的那一处的，快的在前
ROOMS = {
    "book": ["tests/book"],
    "data": ["tests/data"],
    "network": ["tests/network", "tests/fuzz/test_network.py"],
    "training": ["tests/training", "tests/machine"],
    "machine": ["tests/machine", "tests/training"],
    "experiments": ["tests/experiments", "tests/test_command_line.py", "tests/fuzz/test_experiments.py",
                    "tests/fuzz/test_command_lines.py"],
    "widgets": ["tests/widgets", "tests/fuzz/test_widgets.py"],
}
SHARED = ["tests/experiments", "tests/faults", "tests/test_arguments.py"]
MODULES = [f"{room}/{path.stem}" for room in ROOMS for path in sorted((ROOT / "helpers" / room).glob("[a-z]*.py"))]
# 朴素的对照不用再跑；最慢的别的测试也看得见
SKIPPED = "not naive and not browser and not test_view and not B4 and not B6 and not B9"
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


def mutants(module: str, sample: int, dice: random.Random) -> list[Mutant]:
    """一个文件的变异，抽 sample 个；0 是全部。"""
    tree = ast.parse((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8"))
    found = [(i, other) for i, node in enumerate(places(tree)) for other in changed(node)
             if ast.dump(other) != ast.dump(node)]
    print(f"{module}.py：{len(found)} 个变异", flush=True)
    return [mutant(module, tree, i, other) for i, other in dice.sample(found, min(sample or len(found), len(found)))]


def mutant(module: str, tree: ast.Module, i: int, other: ast.AST) -> Mutant:
    """第 i 个节点换成 other。"""
    mutated = copy.deepcopy(tree)
    target = next(each for j, each in enumerate(places(mutated)) if j == i)
    change = f"{ast.unparse(target)}  →  {ast.unparse(other)}"
    replace(mutated, target, other)
    return Mutant(module, target.lineno, change, ast.unparse(mutated))


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


class Footprints:
    """pytest 的插件：每个测试要多久，走进了 helpers/ 的哪些函数（线程里的也算，别的进程里的不算）。

    记住了的结果（lru_cache）每个测试之前忘掉，不然只有第一个测试走得进去；几个测试共用的准备（fixture）和
    导入测试文件时走到的，用到它的测试都算。
    """

    def __init__(self, folder: Path):
        self.root, self.entered = str(folder / "helpers"), set()
        self.seconds: dict[str, float] = {}
        self.places: dict[str, set[tuple[str, int, int]]] = {}
        self.fixtures: dict[object, set[tuple[str, int, int]]] = {}
        self.modules: dict[str, set[tuple[str, int, int]]] = {}

    def watch(self, frame, event, _) -> None:
        if event == "call":
            self.entered.add(frame.f_code)

    def taken(self) -> set[tuple[str, int, int]]:
        """上一次以来走进的函数：(文件, 第一行, 最后一行)。"""
        codes, self.entered = self.entered, set()
        return {(code.co_filename[len(self.root) + 1:-3], code.co_firstlineno,
                 max(line for *_, line in code.co_lines() if line)) for code in codes
                if code.co_filename.startswith(self.root)}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        self.entered = set()
        sys.setprofile(self.watch)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            self.modules.setdefault(collector.nodeid, set()).update(self.taken())

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before, self.entered = self.entered, set()
        try:
            return (yield)
        finally:
            codes = self.entered
            self.fixtures.setdefault(fixturedef, set()).update(self.taken())
            self.entered = before | codes

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        for each in gc.get_objects():
            if isinstance(each, functools._lru_cache_wrapper) and (each.__module__ or "").startswith("helpers"):
                each.cache_clear()
        self.entered, begin = set(), time.monotonic()
        sys.setprofile(self.watch)
        threading.setprofile(self.watch)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            self.seconds[item.nodeid] = time.monotonic() - begin
            used = item._fixtureinfo.name2fixturedefs.values() if hasattr(item, "_fixtureinfo") else ()
            self.places[item.nodeid] = self.taken().union(
                self.modules.get(item.nodeid.split("::")[0], ()),
                *(self.fixtures.get(fixture, ()) for fixtures in used for fixture in fixtures))


class Chosen:
    """pytest 的插件：只跑这些测试，按这个次序。"""

    def __init__(self, names: list[str]):
        self.order = {name: i for i, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((item for item in items if item.nodeid in self.order),
                          key=lambda item: self.order[item.nodeid])


def start(folder: Path, tests: list[str], plugin: object, then: Callable[[], None] = lambda: None) -> int:
    """在 fork 出的进程里跑测试；大的库已经在父进程里装好，helpers 没有。"""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(folder)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        sys.path[:0] = [str(folder)]
        os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "mutants"}
        sys.dont_write_bytecode = True
        fast = ["-x"] if isinstance(plugin, Chosen) else []
        status = pytest.main([*fast, "-q", "-p", "no:cacheprovider", "-k", SKIPPED, *tests], plugins=[plugin])
        then()
        os._exit(status)
    return pid


def copied(folder: Path) -> Path:
    """项目的一份副本。"""
    for part in ("helpers", "tests", "tools", "benchmarks", "notebooks", "docs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "requirements.txt", "environment.yml", "README.md", "Makefile"):
        shutil.copy(ROOT / part, folder / part)
    return folder


def footprints(rooms: set[str]) -> dict[str, tuple[float, list[tuple[str, int, int]]]]:
    """没有改的代码跑一遍这些房间的测试：{测试: (秒, 走进的函数)}；有红的就停下。"""
    tests = sorted({path for room in rooms for path in ROOMS[room]} | set(SHARED))
    with tempfile.TemporaryDirectory() as temporary:
        folder = copied(Path(temporary) / "0")
        plugin, answer = Footprints(folder), Path(temporary) / "footprints.json"
        pid = start(folder, tests, plugin, lambda: answer.write_text(json.dumps(
            {name: (seconds, sorted(plugin.places[name])) for name, seconds in plugin.seconds.items()})))
        if os.waitpid(pid, 0)[1]:
            sys.exit("没有改，测试也红：先修好。")
        return json.loads(answer.read_text())


def killers(mutant: Mutant, feet: dict) -> list[str]:
    """走到改的那一处的测试，快的在前；改的不在函数里，就是走进这个文件的。"""
    def near(place: tuple[str, int, int]) -> bool:
        return place[0] == mutant.module and place[1] <= mutant.line <= place[2]

    inside = any(near(place) for _, places in feet.values() for place in places)
    found = [(seconds, name) for name, (seconds, places) in feet.items()
             if any(near(place) if inside else place[0] == mutant.module for place in places)]
    return [name for _, name in sorted(found)]


def run(jobs: list[Mutant], slots: int, feet: dict) -> list[tuple[Mutant, bool]]:
    """跑完所有变异，几个同时；返回 (变异, 被杀死)。"""
    results, running, waiting = [], {}, list(jobs)
    with tempfile.TemporaryDirectory() as temporary:
        free = [copied(Path(temporary) / str(i)) for i in range(slots)]
        while waiting or running:
            while waiting and free:
                mutant, folder = waiting.pop(0), free.pop()
                tests = killers(mutant, feet)
                (folder / "helpers" / f"{mutant.module}.py").write_text(mutant.source, encoding="utf-8")
                deadline = time.monotonic() + 60 + 10 * sum(feet[name][0] for name in tests)
                files = list(dict.fromkeys(name.split("::")[0] for name in tests)) or ["tests/test_house.py"]
                running[start(folder, files, Chosen(tests))] = mutant, folder, deadline
            for pid, (mutant, folder, deadline) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and time.monotonic() > deadline:
                    os.killpg(pid, 9)
                    _, status = os.waitpid(pid, 0)
                    done = True
                if done:
                    killed = os.waitstatus_to_exitcode(status) not in (0, 5)  # 5：没有一个测试走到那里
                    results.append((mutant, killed))
                    (folder / "helpers" / f"{mutant.module}.py").write_text(
                        (ROOT / "helpers" / f"{mutant.module}.py").read_text(encoding="utf-8"), encoding="utf-8")
                    free.append(folder)
                    del running[pid]
                    print(f"{'死' if killed else '活'} {mutant.module}.py:{mutant.line}  {brief(mutant)}", flush=True)
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
    dice = random.Random(options.seed)
    chosen = [each for module in options.modules for each in mutants(module, options.sample, dice)]
    feet = footprints({module.split("/")[0] for module in options.modules})
    results = run(chosen, options.jobs, feet)
    for module in options.modules:
        mine = [(mutant, killed) for mutant, killed in results if mutant.module == module]
        dead = sum(killed for _, killed in mine)
        print(f"{module}.py：杀死 {dead} / {len(mine)}（{dead / len(mine):.0%}）")
        for mutant, killed in sorted(mine, key=lambda each: each[0].line):
            if not killed:
                print(f"  第 {mutant.line} 行  {brief(mutant)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
