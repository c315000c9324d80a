"""笔记本：规范形式、网络的数字；弄坏了会不会被发现在 faults/ 里。"""

import nbformat
import normal_form
import pytest
from support.exact import EXACT

from helpers import trace
from helpers.book.sections import NETWORKS, find, load
from helpers.paths import NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
SECTIONS = [path.stem.split("-")[0] for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=SECTIONS)
def test_normal_form(path):
    assert normal_form.problems(path) == [], f"整理：{normal_form.COMMAND}"


def test_escaped_chinese_is_found(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(nbformat.writes(nbformat.read(PATHS[0], as_version=4), ensure_ascii=True), encoding="utf-8")
    assert any(normal_form.COMMAND in problem for problem in normal_form.problems(path))


def test_of_the_metadata_the_width_of_a_picture_is_kept():
    size = {"width": 840}
    outputs = [nbformat.v4.new_output("display_data", {"image/png": "x"}, metadata=metadata)
               for metadata in ({"image/png": size | {"height": 3}, "odd": 1}, {"image/png": {}}, {"odd": 1})]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, execution_count=3, metadata={"tags": ["net"], "odd": 1})
    made = normal_form.normalize(nbformat.v4.new_notebook(cells=[cell])).cells[0]
    assert [output.metadata for output in made.outputs] == [{"image/png": size}, {}, {}]
    assert made.metadata == {"tags": ["net"]}


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
    assert table[5].receptive_field == (16, 16) and str(table[6].receptive_field) == "全图"
