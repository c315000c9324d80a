"""records.py：记录、读回、现场核对；tools/record.py 从笔记本里取出实验。"""

import json
import sys
from types import SimpleNamespace

import pytest
import record as tool

from helpers.experiments.records import RECORDS, record, recorded


def simple(arm):
    return lambda seed: {"损失": arm + 0.01 * seed, "精度": 0.5 * seed}


MEASURES = {"浅": simple(1.0), "深": simple(2.0)}


@pytest.fixture
def found(tmp_path):
    record("7.1", "depths", MEASURES, [0, 1, 2], "abc", tmp_path, lambda line: None)
    return recorded("7.1", "depths", tmp_path)


def test_what_was_recorded_comes_back(found):
    assert found["损失"]["深"].values == (2.0, 2.01, 2.02) and found["精度"]["浅"].values == (0, 0.5, 1)
    assert found["损失"]["深"].versus(found["损失"]["浅"]).larger == 0
    assert found.commit == "abc" and "tools/record.py 7.1 depths" in found.command and found.recorded in repr(found)


def test_the_live_run_is_compared(found):
    assert found.check(MEASURES).startswith("✓")
    assert found.check(MEASURES, arm="深", seed=2).startswith("✓")
    drifted = MEASURES | {"浅": simple(1.5)}
    assert found.check(drifted).startswith("✗") and found.check(drifted, arm="深").startswith("✓")


def test_changed_arms_are_refused(found):
    with pytest.raises(ValueError, match="重新记录"):
        found.check({"浅": simple(1.0)})


def test_one_number_needs_no_name(tmp_path):
    found = record("7.2", "x", {"甲": lambda seed: seed}, [0, 1], "", tmp_path, lambda line: None)
    assert found.quantities == ["结果"] and found["结果"]["甲"].values == (0, 1)


def test_what_is_missing_is_said(found, tmp_path):
    with pytest.raises(ValueError, match=r"tools/record.py 7.1 widths"):
        recorded("7.1", "widths", tmp_path)
    with pytest.raises(ValueError, match="损失"):
        found["时间"]


def test_a_failed_measure_leaves_the_old_record(found, tmp_path):
    with pytest.raises(ZeroDivisionError):
        record("7.1", "depths", {"浅": lambda seed: 1 / seed}, [0], "", tmp_path, lambda line: None)
    assert list(recorded("7.1", "depths", tmp_path).values) == list(MEASURES)


def test_the_tool_takes_the_experiment_from_the_notebook(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(tool, "load", lambda section: SimpleNamespace(depths=MEASURES))
    monkeypatch.setattr(tool, "record", lambda *arguments: written.append(arguments))
    monkeypatch.setattr(sys, "argv", ["record.py", "7.1", "depths", "--seeds", "3"])
    assert tool.main() == 0 and written[0][:4] == ("7.1", "depths", MEASURES, [0, 1, 2])
    monkeypatch.setattr(sys, "argv", ["record.py", "7.1", "widths"])
    with pytest.raises(SystemExit) as refused:
        tool.main()
    assert refused.value.code == 2 and "widths" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_kept_records_can_be_read(path):
    section, name = path.stem.split("-", 1)
    found = recorded(section, name)
    assert found.seeds and all(len(each) == len(found.seeds) for each in found.values.values())
    assert {"machine", "versions", "command", "commit", "recorded"} <= set(json.loads(path.read_text(encoding="utf-8")))
