"""source.py：一个实验由哪些代码定义；改了哪里算改过。"""

import json

import pytest

from helpers.book import sections
from helpers.book.source import same, source

CELLS = ["import torch\nfrom torch import nn", '''
SIZE = 28
other = 3
def block(c):
    """一段。"""
    return nn.Conv2d(1, c, SIZE)  # 说明
''', '''
def measure(width, seed):
    other = width
    class Odd(nn.Module):
        """只有这一句。"""
    return sum(block(c).weight.sum().item() for c in range(other)) + seed
''', "depths = {}\nfor width in (1, 2):\n    depths[str(width)] = lambda seed, width=width: measure(width, seed)",
         "depths.update(大=lambda seed: 9)\nprint(SIZE)", "plan = 5"]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """写两本笔记本，7.1 的单元格由参数给出；返回写它的函数。"""
    def write(cells, number="7.1", tags=("net",)):
        content = {"cells": [{"cell_type": "code", "metadata": {"tags": list(tags)}, "source": [cell]}
                             for cell in cells]}
        (tmp_path / f"{number}-x.ipynb").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(sections, "NOTEBOOKS", tmp_path)
    write(CELLS)
    return write


def changed(notebook, old, new, name="depths"):
    """把 old 换成 new，算不算改过。"""
    before = source("7.1", name)
    assert old in "\n".join(CELLS)
    notebook([cell.replace(old, new) for cell in CELLS])
    return not same(before, source("7.1", name))


@pytest.mark.parametrize("old, new", [("SIZE = 28", "SIZE = 32"), ("Conv2d(1, c", "Conv2d(2, c"), ("(1, 2)", "(1, 3)"),
                                      ("seed: 9", "seed: 8"), ("item() for", "item() ** 2 for")])
def test_what_the_experiment_uses_counts(notebook, old, new):
    assert changed(notebook, old, new)


@pytest.mark.parametrize("old, new", [("  # 说明", ""), ("一段。", "别的话。"), ('"""只有这一句。"""', "pass"),
                                      ("plan = 5", "plan = 6"), ("other = 3", "other = 4"), ("print(SIZE)", "print(7)"),
                                      ("import torch\n", "import torch, math\n"), ("(1, 2)", "( 1,2, )")])
def test_the_rest_does_not(notebook, old, new):
    assert not changed(notebook, old, new)


def test_cells_may_move(notebook):
    before = source("7.1", "measure")
    notebook([CELLS[0], CELLS[2], CELLS[1]])
    assert same(before, source("7.1", "measure"))


def test_another_section_is_followed(notebook):
    notebook(["def net(c=1):\n    return c"], "7.2")
    notebook(["from helpers import load\narms = {'a': lambda seed: load('7.2').net(seed)}"])
    before = source("7.1", "arms")
    assert "return c" in before
    notebook(["def net(c=2):\n    return c"], "7.2")
    assert not same(before, source("7.1", "arms"))


def test_only_tagged_cells_define(notebook):
    notebook(CELLS, tags=())
    with pytest.raises(ValueError, match=r"7.1 .*depths"):
        source("7.1", "depths")
    with pytest.raises(ValueError, match=r"7.9"):
        source("7.9", "depths")


def test_the_code_alone_defines_the_network():
    names = {}
    exec("import torch\nfrom torch import nn\n" + source("7.3", "vgg11"), names)
    assert len(names["vgg11"]()) == 5 + 1 + 7
