"""笔记本：规范形式、网络的数字；弄坏了会不会被发现在 faults/ 里。"""

import nbformat
import normal_form
import pytest

from helpers import trace
from helpers.notebook import FOLDER, NETWORKS, find, load

PATHS = sorted(FOLDER.glob("*.ipynb"))
SECTIONS = [path.stem.split("-")[0] for path in PATHS]

# 网络：(输入边长, 参数, 乘加, 一处默认值, 改成什么)；整数由书上的定义算出
EXACT = {
    "7.1": (28, 61_706, 416_520, "c1=6", "c1=8"),
    "7.2": (224, 46_764_746, 938_146_176, "c1=96", "c1=64"),
    "7.3": (224, 128_806_154, 7_547_232_256, "hidden=4096", "hidden=2048"),
    "7.4": (224, 1_992_166, 762_297_352, "c1=96", "c1=64"),
    "7.5": (96, 5_977_530, 276_066_304, "(144, 288)", "(144, 280)"),
    "7.6": (96, 11_178_378, 318_657_536, "c1=64", "c1=32"),
    "7.7": (96, 758_226, 129_077_168, "growth_rate=32", "growth_rate=24"),
}


@pytest.mark.parametrize("path", PATHS, ids=SECTIONS)
def test_normal_form(path):
    assert normal_form.problems(path) == [], f"整理：{normal_form.COMMAND}"


def test_escaped_chinese_is_found(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(nbformat.writes(nbformat.read(PATHS[0], as_version=4), ensure_ascii=True), encoding="utf-8")
    assert any(normal_form.COMMAND in problem for problem in normal_form.problems(path))


@pytest.mark.parametrize("section", SECTIONS)
def test_no_cell_is_exempt_and_cells_are_short(section):
    cells = [c for c in nbformat.read(find(section), as_version=4).cells if c.cell_type == "code"]
    assert {tag for c in cells for tag in c.metadata.get("tags", [])} <= {"net"}
    assert all(len(c.source.split("\n")) <= 25 and "NBVAL" not in c.source for c in cells)


@pytest.mark.parametrize("section", SECTIONS)
def test_parameters_and_macs(section):
    size, params, macs, _, _ = EXACT[section]
    table = trace(getattr(load(section), NETWORKS[section])(), (1, 1, size, size))
    assert (table.params, table.macs) == (params, macs)


def test_lenet_shapes_and_receptive_field():
    table = trace(load("7.1").lenet(), (1, 1, 28, 28))
    assert [layer.out_shape[1:] for layer in table if layer.kind != "Sigmoid"] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,), (120,), (84,), (10,)]
    assert table[5].receptive_field == 16 and table[6].receptive_field is None


def test_an_unknown_section_is_refused():
    with pytest.raises(ValueError, match=r"没有第 '9.9' 节"):
        load("9.9")
