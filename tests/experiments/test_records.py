"""records.py：记录、读回、现场核对；tools/record.py 从笔记本里取出实验。"""

import json
import math
import re
import sys
from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest
import record as tool
import torch

from helpers.book import sections
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


def test_a_choice_that_was_the_same_each_time_may_fall_otherwise(tmp_path):
    chosen = {"浅": lambda seed: 0.3, "深": lambda seed: (0.1, 0.3, 0.03)[seed]}
    found = record("7.1", "rates", chosen, [0, 1, 2], "", tmp_path, lambda line: None)
    assert found.check(chosen | {"浅": lambda seed: 0.1}).startswith("✓")
    assert found.check(chosen | {"浅": lambda seed: 30.0}).startswith("✗")


def test_the_live_run_has_as_many_threads_as_the_recorded_ones(found):
    seen, before = [], torch.get_num_threads()
    measure = {arm: lambda seed: seen.append(torch.get_num_threads()) or {q: 0.0 for q in found.quantities}
               for arm in found.values}
    replace(found, machine="AMD，3 个线程，float32").check(measure)
    replace(found, machine="NVIDIA，float32").check(measure)
    assert seen == [3, before] and torch.get_num_threads() == before


def test_changed_arms_are_refused(found):
    with pytest.raises(ValueError, match="重新记录"):
        found.check({"浅": simple(1.0)})


def test_one_number_needs_no_name(tmp_path):
    found = record("7.2", "x", {"甲": lambda seed: seed}, [0, 1], "", tmp_path, lambda line: None)
    assert found.quantities == ["结果"] and found["结果"]["甲"].values == (0, 1)


def test_what_is_missing_is_said(found, tmp_path):
    with pytest.raises(ValueError, match=r"tools/record.py 7.1 widths"):
        recorded("7.1", "widths", tmp_path)
    with pytest.raises(ValueError, match="还没有记录"):
        recorded("7.1", "x" * 300, str(tmp_path))
    with pytest.raises(TypeError, match="folder 应当是一个路径"):
        recorded("7.1", "widths", 3)
    with pytest.raises(ValueError, match="损失"):
        found["时间"]


def quietly(folder, measures=MEASURES, seeds=(0, 1, 2), commit="abc", **options):
    return record("7.1", "depths", measures, list(seeds), commit, folder, lambda line: None, **options)


@pytest.mark.parametrize("bad, said", [
    (lambda seed: math.nan, "「坏」种子 0.*nan"), (lambda seed: {"损失": 1.0}, "精度"),
    (lambda seed: None, "「坏」种子 0.*None"), (lambda seed: {"损失": 1.0, "精度": "x"}, "「坏」种子 0")])
def test_what_cannot_be_averaged_is_refused_at_once(tmp_path, bad, said):
    with pytest.raises(ValueError, match=said):
        quietly(tmp_path, {"浅": simple(1.0), "坏": bad})
    assert not [*tmp_path.iterdir()]


def test_nothing_to_record_is_refused(tmp_path):
    for measures, seeds in (({}, [0]), (MEASURES, [])):
        with pytest.raises(ValueError, match="至少一组、一个种子"):
            quietly(tmp_path, measures, seeds)


def breaks_at(seed, arm=1.0):
    def measure(now):
        if now == seed:
            raise KeyboardInterrupt
        return simple(arm)(now)
    return measure


def test_an_interrupted_recording_keeps_the_old_record_and_is_continued(found, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        quietly(tmp_path, {"浅": simple(5.0), "深": breaks_at(2, 6.0)})
    assert recorded("7.1", "depths", tmp_path) == found
    asked = []

    def deep(seed):
        asked.append(seed)
        return simple(6.0)(seed)
    whole = quietly(tmp_path, {"浅": simple(5.0), "深": deep}, resume=True)
    assert asked == [2] and whole["损失"]["深"].values == (6.0, 6.01, 6.02) and whole["损失"]["浅"].values[0] == 5.0
    assert recorded("7.1", "depths", tmp_path) == whole and [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_finished_draft_only_takes_its_place(tmp_path):
    """最后一个种子存好了，改名之前被杀掉。"""
    quietly(tmp_path)
    [path] = tmp_path.iterdir()
    path.rename(path.with_suffix(".part"))
    quietly(tmp_path, {"浅": breaks_at(0), "深": breaks_at(0)}, resume=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_seeds_are_added(found, tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.experiments.records.describe_machine", lambda: "另一台")
    monkeypatch.setattr("helpers.experiments.records.torch.__version__", "9.9+cu1")
    more = quietly(tmp_path, seeds=range(5), commit="def", resume=True)
    assert more.seeds == [0, 1, 2, 3, 4] and more["损失"]["深"].values == (2.0, 2.01, 2.02, 2.03, 2.04)
    assert more.command.endswith("--seeds 5") and more.commit == "abc；def"
    assert more.machine == f"{found.machine}；另一台" and more.versions["torch"] == f"{found.versions['torch']}；9.9"
    assert quietly(tmp_path, {"浅": breaks_at(0), "深": breaks_at(0)}, seeds=range(5), resume=True) == more
    again = quietly(tmp_path, seeds=range(6), commit="def", resume=True)
    assert again.commit == "abc；def" and len(again.seeds) == 6


def test_without_continue_it_starts_from_scratch(found, tmp_path):
    assert quietly(tmp_path, seeds=range(2)).seeds == [0, 1]


def test_other_arms_or_other_code_cannot_be_continued(found, tmp_path):
    with pytest.raises(ValueError, match="别的代码"):
        quietly(tmp_path, {"浅": simple(1.0)}, seeds=range(5), resume=True)
    quietly(tmp_path, code="x = 1")
    with pytest.raises(ValueError, match="别的代码"):
        quietly(tmp_path, seeds=range(5), code="x = 2", resume=True)
    assert quietly(tmp_path, seeds=range(5), code="x  =  1", resume=True).code == "x  =  1"


def test_a_record_without_code_does_not_get_it_by_continuing(found, tmp_path):
    assert found.code == "" and quietly(tmp_path, seeds=range(5), code="x = 1", resume=True).code == ""


def test_progress_is_said(tmp_path):
    lines = []
    record("7.1", "depths", MEASURES, [0, 1], "", tmp_path, lines.append)
    assert [line.split("  ")[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert "种子 1" in lines[3] and "深" in lines[3] and "损失 2.01" in lines[3]
    assert "秒" in lines[0] and "秒" not in lines[3]


def test_a_record_cannot_be_changed(found):
    with pytest.raises(FrozenInstanceError):
        found.seeds = [7]


def test_the_time_left_follows_from_the_time_spent(tmp_path, monkeypatch):
    clock = iter(range(0, 100, 10))  # 开始时是 0，每做一次过十秒
    monkeypatch.setattr("helpers.experiments.records.time.monotonic", lambda: next(clock))
    lines = []
    record("7.1", "depths", MEASURES, [0, 1], "", tmp_path, lines.append)
    assert [re.findall(r"(\d+) 秒", line) for line in lines] == [["30"], ["20"], ["10"], []]


def test_an_unknown_arm_or_another_quantity_is_refused(found):
    with pytest.raises(ValueError, match="更深"):
        found.check(MEASURES, arm="更深")
    with pytest.raises(ValueError, match="重新记录"):
        found.check(MEASURES | {"浅": lambda seed: {"损失": 1.0}})


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """一本笔记本，里面有实验 depths；返回改写它的函数。"""
    def write(arms):
        cell = {"cell_type": "code", "metadata": {"tags": ["net"]}, "source": [f"depths = {arms}"]}
        (tmp_path / "7.1-x.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
        sections.loaded.cache_clear()
    monkeypatch.setattr(sections, "NOTEBOOKS", tmp_path)
    write("{'浅': lambda seed: 1.0 + seed / 100, '深': lambda seed: 2.0 + seed / 100}")
    yield write
    sections.loaded.cache_clear()


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """tools/record.py，记录写在临时文件夹里；返回 (退出码, 印出的话)。"""
    for name in ("record", "recorded", "confirm"):
        monkeypatch.setattr(tool, name, partial(getattr(tool, name), folder=tmp_path))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["record.py", *arguments])
        try:
            code = tool.main()
        except SystemExit as refused:
            code = refused.code
        said = capsys.readouterr()
        return code, said.out + said.err
    return run


def test_the_tool_takes_the_experiment_from_the_notebook(notebook, command, tmp_path):
    code, said = command("7.1", "depths", "--seeds", "3")
    found = recorded("7.1", "depths", tmp_path)
    assert code == 0 and "6/6" in said and found.seeds == [0, 1, 2] and found["结果"]["深"].values == (2.0, 2.01, 2.02)
    assert found.current and "2.0 + seed" in found.code and found.command.endswith("record.py 7.1 depths --seeds 3")
    assert command("7.1", "depths", "--seeds", "4", "--continue")[0] == 0
    assert recorded("7.1", "depths", tmp_path).seeds == [0, 1, 2, 3]


@pytest.mark.parametrize("arguments, word", [
    (("7.1", "widths"), "widths"), (("7.1", "depths", "--seeds", "1"), "--seeds 2"), (("7.9", "depths"), "7.9"),
    (("7.1", "depths", "--check"), "还没有记录")])
def test_the_tool_refuses_in_words(notebook, command, arguments, word):
    code, said = command(*arguments)
    assert code == 2 and word in said and "Traceback" not in said


def test_an_experiment_is_a_dictionary_of_functions(notebook, command):
    for other in ("[1]", "{'浅': 3}"):
        notebook(other)
        assert command("7.1", "depths")[0] == 2


def test_changed_code_is_seen_though_the_result_is_not(notebook, command, tmp_path):
    command("7.1", "depths")
    measures, small = sections.load("7.1").depths, "{'浅': lambda seed: 1.001 + seed / 100, '深': lambda seed: 2.0}"
    assert recorded("7.1", "depths", tmp_path).check(measures).startswith("✓")
    notebook(small)  # 浅改了一点，深不再波动：都在范围里
    found = recorded("7.1", "depths", tmp_path)
    assert not found.current and found.check(sections.load("7.1").depths).startswith("✗")
    code, said = command("7.1", "depths", "--check")
    one, other = said.splitlines()
    assert code == 0 and one.startswith("浅，种子 0：✓") and "1.001（记录的是 1）" in one
    assert other.startswith("深，种子 0：✓") and "与记录的完全相同" in other and "与记录的完全相同" not in one
    assert recorded("7.1", "depths", tmp_path).current
    assert recorded("7.1", "depths", tmp_path)["结果"] == found["结果"]


def test_a_changed_result_is_not_accepted(notebook, command, tmp_path):
    command("7.1", "depths")
    notebook("{'浅': lambda seed: 1.0 + seed / 100, '深': lambda seed: 3.0 + seed / 100}")
    code, said = command("7.1", "depths", "--check")
    assert code == 1 and said.count("✓") == said.count("✗") == 1 and not recorded("7.1", "depths", tmp_path).current


def test_an_interrupt_says_how_to_continue(notebook, command):
    notebook("{'浅': lambda seed: 1.0 if seed < 2 else [][0]}")
    sections.load("7.1").depths["浅"] = breaks_at(2)
    code, said = command("7.1", "depths")
    assert code == 1 and "--continue" in said
    notebook("{'浅': lambda seed: 1.0 if seed < 2 else [][0]}")
    sections.load("7.1").depths["浅"] = simple(1.0)
    assert command("7.1", "depths", "--continue")[0] == 0


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_kept_records_are_of_the_code_in_the_notebook(path):
    section, name = path.stem.split("-", 1)
    found = recorded(section, name)
    assert found.quantities and all(len(each) == len(found.seeds) for each in found.values.values())
    assert found.machine and found.versions["torch"] and found.recorded
    assert f"record.py {section} {name}" in found.command
    assert found.code and found.current, f"改过实验的代码：{found.command}，或者 {found.command} --check"
