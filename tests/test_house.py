"""房子：每个房间只从上面的房间导入，没有圈，没有太长的函数；画出来的树就是磁盘上的树；类型对得上。"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from helpers.paths import PACKAGE, ROOT

MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def drawn(text):
    """文档里的树：helpers/ 里的路径，按从上到下的次序。缩进两格是一层，名字后面空两格是说明。"""
    [tree] = re.findall(r"^```\nhelpers/.*?\n(.*?)^```$", text, re.M | re.S)
    paths, parents = [], []
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        parents[len(indent) // 2 - 1:] = [name.rstrip("/")]
        paths.append("/".join(parents))
    return paths


ROOMS = [path.removesuffix(".py") for path in drawn(ARCHITECTURE) if "/" not in path]


def imported(path):
    """一个文件导入的 helpers 里的模块，写在函数里的也算。"""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = ([f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
                 if isinstance(node, ast.ImportFrom) and node.module
                 else [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        # 「from helpers.data.split import Split」说的是 helpers.data.split，不是包 helpers.data
        yield from (name for name in names if name in MODULES and name != "helpers")


def room(module):
    """一个模块在哪个房间。"""
    return module.split(".")[1]


MEMBERS = [name for name in MODULES if name != "helpers" and not name.endswith("__init__")]


@pytest.mark.parametrize("module", MEMBERS)
def test_a_room_imports_only_from_the_rooms_above(module):
    below = [name for name in imported(MODULES[module]) if ROOMS.index(room(name)) > ROOMS.index(room(module))]
    assert below == []


def test_there_is_no_circle():
    graph = {module: set(imported(MODULES[module])) - {module} for module in MEMBERS}
    assert list(TopologicalSorter(graph).static_order())
    assert not [name for name, path in MODULES.items() if "TYPE_CHECKING" in path.read_text(encoding="utf-8")]


def test_a_circle_would_be_found():
    with pytest.raises(ValueError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_functions_and_classes_are_short(module):
    limits = {ast.FunctionDef: 45, ast.AsyncFunctionDef: 45, ast.ClassDef: 120}
    long = [f"{node.name}：{node.end_lineno - node.lineno + 1} 行"
            for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
            if type(node) in limits and node.end_lineno - node.lineno + 1 > limits[type(node)]]
    assert long == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda path: path.name)
def test_every_room_says_what_belongs_there(folder):
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert folder.name in ("helpers", "pictures") or len(tree.body) == 1  # 只有笔记本从那里导入的房间交出名字


@pytest.mark.parametrize("text", [ARCHITECTURE, README], ids=["architecture", "README"])
def test_the_tree_is_the_tree_on_disk(text):
    there = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"__init__.py"}
    there = {path for path in there if not path.endswith("__init__.py")} | {
        path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*/__init__.py")}
    paths = set(drawn(text))
    assert paths == there if text is ARCHITECTURE else paths == {path for path in there if "/" not in path}


def test_every_test_room_is_a_room():
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert rooms - {"notebooks", "site", "faults", "fuzz", "support"} <= set(ROOMS)


def private_names():
    """helpers 里的私有名字：函数、类、属性和模块里的变量；IPython 约定的 _repr_…_ 不算。"""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else
                    node.attr if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) else
                    node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else "")
            if re.match(r"_[a-zA-Z]", name) and not name.startswith("_repr_"):
                yield name


PRIVATE = set(private_names())


def test_types_agree():
    """basedpyright 没有话说；要几十秒，所以和别的测试一起跑，不在它们之前。"""
    done = subprocess.run([sys.executable, "-m", "basedpyright"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_no_test_reaches_for_a_private_name(path):
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
            used.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("helpers."):
            used.add(node.value.rsplit(".")[-1])
    assert used & PRIVATE == set()
