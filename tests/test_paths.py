"""读者写的路径：~ 开头的，太长的，里面有 \\0 的。"""

import re
from pathlib import Path

import pytest

from helpers import export_csv, saved_runs
from helpers.data.folder import image_folder
from helpers.paths import at_home, runs_folder

DOORS = {"image_folder": image_folder, "saved_runs": lambda path: saved_runs(folder=path),
         "export_csv": lambda path: export_csv([], path)}
# 整条路径至多 4,096 个字节：里面的 val 放得下，train 放不下
ODD = ["x" * 300, "x" * 5_000, "/".join(["x" * 200] * 20) + "/" + "x" * 70, "~nobody_here/x", "~", "a\0b"]


@pytest.mark.parametrize("path", ODD, ids=["long", "longer", "longest", "stranger", "home", "nul"])
@pytest.mark.parametrize("door", DOORS.values(), ids=[*DOORS])
def test_odd_paths_are_taken_or_refused_in_words(door, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        door(path)
    except ValueError as error:
        assert re.search("[一-鿿]", str(error)) and len(str(error)) < 300


def test_a_tilde_is_the_home_and_a_stranger_s_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert at_home("~/a") == tmp_path / "a" and at_home("~nobody_here/a") == Path("~nobody_here/a")
    monkeypatch.setenv("COMPANION_RUNS", "~/runs")
    assert runs_folder() == tmp_path / "runs"
