"""sections.py：七节，和从笔记本里取出的网络。"""

import json
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from helpers import NETWORKS, load
from helpers.book import sections
from helpers.book.sections import SECTIONS, find, loaded
from helpers.training.loop import Point


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """另一个放笔记本的地方；放进去的 7.1 由几格代码组成，每一格是 (标签, 代码)。"""
    monkeypatch.setattr(sections, "NOTEBOOKS", tmp_path)

    def write(*cells, name="7.1-lenet.ipynb"):
        content = {"cells": [{"cell_type": "markdown", "metadata": {"tags": ["net"]}, "source": ["文字"]}, *(
            {"cell_type": "code", "metadata": {"tags": [tag]} if tag else {}, "source": source.splitlines(True)}
            for tag, source in cells)]}
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    loaded.cache_clear()
    yield write
    loaded.cache_clear()


@pytest.mark.parametrize("section", SECTIONS, ids=NETWORKS)
def test_every_section_has_a_notebook_with_its_network(section):
    assert find(section.number).stem.startswith(f"{section.number}-")
    assert callable(getattr(load(section.number), section.network))
    assert section.metric in {field.name for field in fields(Point)}


def test_only_the_cells_of_the_network_are_run(notebooks):
    notebooks(("net", "def lenet():\n    return a"), ("", "1 / 0"), ("other", "1 / 0"), ("net", "a = 3"))
    assert load("7.1").lenet() == 3 and load("7.1") is load("7.1")


def test_the_callers_random_numbers_are_left_alone(notebooks):
    notebooks(("net", "import torch\ntorch.manual_seed(5)"))
    torch.manual_seed(0)
    load("7.1")
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


def test_an_error_says_which_cell(notebooks):
    notebooks(("net", "a = 1"), ("net", "a = (1"))
    with pytest.raises(SyntaxError) as error:
        load("7.1")
    assert error.value.filename == "7.1-lenet.ipynb，第 3 个单元格"


def test_a_copy_beside_it_is_not_taken_for_the_notebook(notebooks):
    notebooks(("net", "a = 1"))
    notebooks(("net", "a = 2"), name="7.1-lenet-Copy1.ipynb")
    assert load("7.1").a == 1


@pytest.mark.parametrize("number", ["9.9", "7.*", "", "7.1-lenet", 7.1, None, ["7.1"], {"7.1"}])
def test_an_unknown_section_is_refused_with_the_known_ones(number):
    with pytest.raises(ValueError, match=r"7\.1、.*7\.7"):
        load(number)


def test_a_missing_notebook_is_refused(notebooks, tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        find("7.1")


@pytest.mark.slow
def test_the_networks_need_no_nbformat():
    """导入它要一秒多；读者打开笔记本时等不起。"""
    code = "import sys, helpers; helpers.load('7.1'); print('nbformat' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
