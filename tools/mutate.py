"""变异测试：一次改错 helpers/ 里的一处，看测试红不红；红了，这个变异就被杀死。

    python tools/mutate.py [--sample 60] [--seed 0] [--jobs 2] [data/fashion network/trace …]

改的是比较、算术、与或非、数、返回值，或者删掉一句；不改文字、类型标注和只关版面的字符串。
先记下每个测试走到了哪些行：一个变异只跑走到它的测试，快的在前，红了就停。
变异都在临时的副本里，工作树不动。只有 fork 的系统（Linux、macOS）能用。
"""

import argparse
import ast
import copy
import functools
import gc
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
# 一个房间的变异由哪些测试来杀：这些里面走到了改的那一处的，快的在前
ROOMS = {
    "book": ["tests/book"],
    "data": ["tests/data", "tests/test_paths.py"],
    "network": ["tests/network", "tests/fuzz/test_network.py"],
    "training": ["tests/training", "tests/machine"],
    "machine": ["tests/machine", "tests/training"],
    "experiments": ["tests/experiments", "tests/test_command_line.py", "tests/test_paths.py",
                    "tests/fuzz/test_experiments.py", "tests/fuzz/test_command_lines.py"],
    "widgets": ["tests/widgets", "tests/fuzz/test_widgets.py"],
}
# 有的模块主要在别的进程里走（内核、torchrun 的工作进程），看不到脚印：别的都没有杀死的，由这些测试再试
_TEAM, _KERNEL = "tests/machine/test_team.py", "tests/widgets/test_kernel.py"
ELSEWHERE = {"data/split": _TEAM, "training/loop": _TEAM, "machine/team": _TEAM, "experiments/checkpoint": _TEAM,
             "widgets/background": _KERNEL, "widgets/cell": _KERNEL, "widgets/panel": _KERNEL,
             "widgets/trainer": _KERNEL, "machine/kernel": _KERNEL}
SHARED = ["tests/experiments", "tests/faults", "tests/test_arguments.py"]
MODULES = [f"{room}/{path.stem}" for room in ROOMS for path in sorted((ROOT / "helpers" / room).glob("[a-z]*.py"))]
# 朴素的对照不用再跑；最慢的别的测试也看得见。写全 test_：参数里的汉字写成 \u72b6 这样，里面有 b6
SKIPPED = "not naive and not browser and not test_view and not test_F3 and not test_B4 and not test_B6 and not test_B9"
PASSED = (0, 5)  # 全绿；5：一个测试也没有跑
Footprint = tuple[float, dict[str, list[int]]]  # 一个测试：几秒，{文件: 走到的行}
Plugin = TypeVar("Plugin")
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
    """pytest 的插件：每个测试要多久，走到了 helpers/ 的哪些行（线程里的也算，别的进程里的不算）。

    记住了的结果（lru_cache）每个测试之前忘掉，不然只有第一个测试走得进去；几个测试共用的准备（fixture）和
    导入测试文件时走到的，用到它的测试都算。
    """

    def __init__(self, folder: Path):
        self.root = folder / "helpers"
        self.coverage = coverage.Coverage(data_file=None, include=[f"{self.root}/*"], config_file=False)
        self.seconds: dict[str, float] = {}
        self.shared: dict[str, list[str]] = {}  # 测试用到的 fixture 的名字
        self.coverage.start()
        self.coverage.switch_context("import")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        self.coverage.switch_context(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.coverage.switch_context(request._pyfuncitem.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        for each in gc.get_objects():
            if isinstance(each, functools._lru_cache_wrapper) and (each.__module__ or "").startswith("helpers"):
                each.cache_clear()
        begin = time.monotonic()
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - begin
            self.shared[item.nodeid] = [f"fixture {name}" for name in item.fixturenames]

    def taken(self) -> dict[str, Footprint]:
        """{测试: (秒, {文件: 走到的行})}。"""
        self.coverage.stop()
        data = self.coverage.get_data()
        reached: dict[str, dict[str, set[int]]] = {}
        for path in data.measured_files():
            module = str(Path(path).relative_to(self.root))[:-3]
            for line, contexts in data.contexts_by_lineno(path).items():
                for context in contexts:
                    reached.setdefault(context, {}).setdefault(module, set()).add(line)
        return {name: (seconds, union(reached.get(part, {}) for part in ("import", *self.shared[name], name)))
                for name, seconds in self.seconds.items()}


def union(parts: Iterable[dict[str, set[int]]]) -> dict[str, list[int]]:
    """几处走到的行，合在一起。"""
    whole: dict[str, set[int]] = {}
    for part in parts:
        for module, lines in part.items():
            whole.setdefault(module, set()).update(lines)
    return {module: sorted(lines) for module, lines in whole.items()}


class Chosen:
    """pytest 的插件：只跑这些测试，按这个次序。"""

    def __init__(self, names: list[str]):
        self.order = {name: i for i, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((item for item in items if item.nodeid in self.order),
                          key=lambda item: self.order[item.nodeid])


def start(folder: Path, tests: list[str], make: Callable[[], Plugin], then: Callable[[Plugin], Any] = id) -> int:
    """在 fork 出的进程里跑测试；大的库已经在父进程里装好，helpers 没有。

    make() 是那个进程里 pytest 的插件；没有红的，最后 then(插件)。
    """
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
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", SKIPPED, *tests], plugins=[plugin := make()])
        if status in PASSED:
            then(plugin)
        os._exit(status)
    return pid


def copied(folder: Path) -> Path:
    """项目的一份副本。"""
    for part in ("helpers", "tests", "tools", "benchmarks", "notebooks", "docs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "requirements.txt", "environment.yml", "README.md", "Makefile"):
        shutil.copy(ROOT / part, folder / part)
    return folder


def fingerprint(*parts: str) -> str:
    """这些文件和文件夹里所有代码的指纹。"""
    digest = hashlib.sha256(SKIPPED.encode())
    for part in parts:
        for path in sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / part]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def footprints(modules: list[str], slots: int) -> dict[str, Footprint]:
    """没有改的代码跑一遍这些模块的测试，每个文件一个进程，几个同时；有红的就停下。

    记在 build/footprints/：代码和那个测试文件都没有改，下一次不用再跑。
    """
    tests = sorted({str(each.relative_to(ROOT)) for module in modules
                    for path in [*ROOMS[module.split("/")[0]], *SHARED, *filter(None, [ELSEWHERE.get(module)])]
                    for each in ([ROOT / path] if path.endswith(".py") else (ROOT / path).glob("test_*.py"))})
    base = fingerprint("helpers", "tests/support", *sorted(
        str(each.relative_to(ROOT)) for each in (ROOT / "tests").rglob("conftest.py")))
    shelf = ROOT / "build" / "footprints"
    shelf.mkdir(parents=True, exist_ok=True)
    answers = {path: shelf / f"{base}-{fingerprint(path)}.json" for path in tests}
    waiting, running = [path for path in tests if not answers[path].exists()], {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = copied(Path(temporary))
        while waiting or running:
            while waiting and len(running) < slots:
                path = waiting.pop(0)
                running[watched(folder, path, answers[path])] = path
            pid, status = os.wait()
            path = running.pop(pid)
            print(f"脚印：{path}", flush=True)
            if os.waitstatus_to_exitcode(status) not in PASSED:
                sys.exit(f"没有改，{path} 也红：先修好。")
    return {name: each for answer in answers.values() for name, each in json.loads(answer.read_text()).items()}


def watched(folder: Path, path: str, answer: Path) -> int:
    """在 fork 出的进程里跑一个测试文件，脚印写进 answer。"""
    return start(folder, [path], lambda: Footprints(folder),
                 lambda plugin: answer.write_text(json.dumps(plugin.taken())))


def killers(mutant: Mutant, feet: dict[str, Footprint]) -> list[str]:
    """走到改的那一句的测试，快的在前；导入时就运行的、只有别的进程走到的，是走进这个文件的函数的那些。"""
    tree = ast.parse((ROOT / "helpers" / f"{mutant.module}.py").read_text(encoding="utf-8"))
    bodies = {line for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
              for part in (node.body if isinstance(node.body, list) else [node.body])
              for line in range(part.lineno, part.end_lineno + 1)}
    around = (own(node) for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.excepthandler))
    statement = min((each for each in around if mutant.line in each), key=len, default=bodies)

    def reaching(lines: set[int]) -> list[str]:
        return [name for _, name in sorted((seconds, name) for name, (seconds, places) in feet.items()
                                           if lines & set(places.get(mutant.module, ())))]

    beside = [name for name in feet if name.split("::")[0] == ELSEWHERE.get(mutant.module)]
    return [*dict.fromkeys([*((statement & bodies and reaching(statement)) or reaching(bodies)), *beside])]


def own(statement: ast.stmt | ast.excepthandler) -> set[int]:
    """一个语句自己的行；for、if、def 这样的，只算开头。"""
    body = getattr(statement, "body", None)
    first = min(node.lineno for node in [statement, *getattr(statement, "decorator_list", [])])
    last = max(body[0].lineno - 1, statement.lineno) if body else statement.end_lineno
    return set(range(first, last + 1))


def run(jobs: list[Mutant], slots: int, feet: dict[str, Footprint]) -> list[tuple[Mutant, bool]]:
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
                running[start(folder, files, functools.partial(Chosen, tests))] = mutant, folder, deadline
            for pid, (mutant, folder, deadline) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and time.monotonic() > deadline:
                    os.killpg(pid, 9)
                    _, status = os.waitpid(pid, 0)
                    done = True
                if done:
                    killed = os.waitstatus_to_exitcode(status) not in PASSED
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
    feet = footprints(options.modules, options.jobs)
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
