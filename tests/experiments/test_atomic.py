"""atomic.py：任何时候文件都是完整的一份；真正断电由 fsync 管，这里看它在改名之前、写全之后。"""

import os
from pathlib import Path

import pytest

from helpers.experiments.atomic import file_name, writing


def test_all_of_it_is_on_the_disk_before_the_name_is_changed(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: events.append(("fsync", os.fstat(number).st_size)) or fsync(number))
    monkeypatch.setattr(Path, "replace", lambda path, to: events.append(("replace", path.stat().st_size)) or
                        replace(path, to))
    with writing(tmp_path / "新" / "a.json") as file:
        file.write(b"123")
    assert events == [("fsync", 3), ("replace", 3)]
    assert [path.name for path in (tmp_path / "新").iterdir()] == ["a.json"]


def test_what_breaks_off_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), writing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before" and [*tmp_path.iterdir()] == [path]


def test_two_drafts_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.json"
    with writing(path) as first:
        first.write(b"first")
        with writing(path) as second:
            second.write(b"second, longer")
        assert path.read_bytes() == b"second, longer"
    assert path.read_bytes() == b"first" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name, expected", [
    ("lenet", "lenet"), ("我的 网络/2", "我的_网络_2"), ("a.b+c-d", "a.b+c-d"), ("..\\x:y", ".._x_y"),
    ("长" * 99, "长" * 40)])
def test_any_name_makes_a_file_name(name, expected):
    assert file_name(name) == expected
