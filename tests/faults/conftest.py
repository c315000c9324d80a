"""故障表：每一行一个测试，名字里有它的编号；结束时数一数通过了几行。

一行算通过：这里的实现通过它的测试，朴素的实现通不过（xfail，strict）。
"""

import contextlib
import re

import pytest
from kernel import Kernel

ROWS = [f"{letter}{i + 1}" for letter, count in {"A": 8, "B": 11, "C": 5, "D": 7, "E": 5, "F": 5, "G": 24}.items()
        for i in range(count)]


def pytest_terminal_summary(terminalreporter):
    """印出通过的行数，和没有通过的、跳过的行。"""
    outcomes = {}
    for outcome in ("passed", "failed", "error", "xfailed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if found := re.search(r"faults/.*::test_([A-G]\d+)_", report.nodeid):
                outcomes.setdefault(found[1], []).append(outcome)
    if not outcomes:
        return
    good = [row for row in ROWS if {"passed", "xfailed"} <= set(outcomes.get(row, ()))
            and not {"failed", "error"} & set(outcomes[row])]
    terminalreporter.write_line(f"故障表：通过 {len(good)} 行，共 {len(ROWS)} 行")
    for row in outcomes.keys() - good:
        terminalreporter.write_line(f"  {row}：{'、'.join(sorted(set(outcomes[row])))}")
    if idle := [row for row in ROWS if row not in outcomes]:
        terminalreporter.write_line(f"  没有运行：{'、'.join(idle)}")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """这个文件里的测试共用的内核。"""
    running = Kernel({"COMPANION_RUNS": str(tmp_path_factory.mktemp("runs"))})
    with contextlib.closing(running):
        yield running
