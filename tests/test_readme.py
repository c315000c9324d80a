"""README 的章节表与网络和官方结果一致。"""

import re
from itertools import pairwise

import gpu_report
import imagenet
import pytest
import report

from helpers import NETWORKS, input_sizes, load, official_band, trace
from helpers.paths import NOTEBOOKS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \[(7\.\d)\]\((notebooks/\S+)\) \| .*? \| (\d+)×\d+ \| ([\d,]+) \| ([\d,]+) "
                  r"\| (测试|训练) (\.\d+) / (\.\d+) / (\.\d+) \|$", README, re.M)


def test_every_notebook_has_a_row():
    assert [row[1] for row in ROWS] == [f"notebooks/{path.name}" for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_row_is_what_the_network_gives(row):
    section, _, size, params, macs, metric, *band = row
    net, shape = getattr(load(section), NETWORKS[section])(), (1, 1, int(size), int(size))
    table, official = trace(net, shape), official_band(NETWORKS[section])
    assert (f"{table.params:,}", f"{table.macs:,}") == (params, macs)
    assert input_sizes(net, shape)[0] <= int(size)
    assert official.name.startswith(metric)
    assert [f"{q:.3f}".removeprefix("0") for q in (official.low, official.median, official.high)] == band


def test_the_cost_of_imagenet_is_what_the_formula_gives():
    assert imagenet.table() in README
    one = imagenet.efficiency(1, 256, 1000, 10)
    assert one == 1 and all(a >= b for a, b in pairwise(imagenet.efficiency(n, 256, 1000, 10) for n in (1, 2, 8, 64)))
    assert all(abs(many / gpus / single - imagenet.efficiency(gpus, batch, single, params, bandwidth)) < 0.125
               for _, gpus, batch, single, many, params, bandwidth in imagenet.PUBLISHED)


def test_the_ratios_are_those_of_a_recorded_benchmark():
    [text] = re.findall(f"{report.BEGIN}\n(.*?)\n{report.END}", README, re.S)
    recorded = [report.report(report.read(path)) for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    assert text in recorded


def test_the_gpu_table_is_that_of_a_recorded_check():
    [text] = re.findall(f"{gpu_report.BEGIN}\n(.*?)\n{gpu_report.END}", README, re.S)
    recorded = [gpu_report.report(report.read(path)) for path in (ROOT / "benchmarks/results/gpu").glob("*.json")]
    assert text in (recorded or [gpu_report.NOT_YET])


def test_commands_exist_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"make ([a-z]+)", README):
        assert f"\n{command}:" in makefile
