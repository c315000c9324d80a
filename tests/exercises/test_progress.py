"""猜过什么、做对了什么，存在训练旁边；重启、再做错、文件坏了都不丢。"""

import json
import re
import subprocess
import sys

import pytest
from support.answers import exercise
from support.pixels import pixels

from helpers import exercises, guess, progress, saved_runs
from helpers.__main__ import main
from helpers.exercises.contests import Contest
from helpers.exercises.shelf import SHELF, guesses
from helpers.network.trace import Trace


def states(section):
    return [[*each] for each in progress().states[section]]


def test_solved_stays_solved_after_a_wrong_answer_and_in_another_process(runs_folder, capsys):
    number = exercise("7.1", "second-conv")
    assert states("7.1")[0][0] == "-"
    number.check(1)
    assert states("7.1")[0][0] == "·"
    number.check(2416)
    number.check(2400)
    number.check()
    assert states("7.1")[0][0] == "✓"
    code = "from helpers import progress; print(progress().states['7.1'][0][0])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          encoding="utf-8").stdout.strip() == "✓"
    assert main(["progress"]) == 0
    assert "✓" in capsys.readouterr().out
    assert saved_runs().skipped == ()  # 训练的清单不把它们当成坏了的训练


def test_a_damaged_file_is_only_that_exercise(runs_folder):
    one, other = exercise("7.1", "second-conv"), exercise("7.1", "original-input")
    one.check(2416)
    other.check(576)
    [path] = [path for path in (runs_folder / "exercises").iterdir() if "second" in path.name]
    for text in ("{", "[1]", '{"solved": 3, "tries": "x"}'):
        path.write_text(text, encoding="utf-8")
        assert states("7.1")[0][0] in "-·" and states("7.1")[0][1] == "✓"
        one.check(1)
    one.check(2416)
    assert json.loads(path.read_text(encoding="utf-8"))["solved"] is True


def test_a_place_that_cannot_be_written_costs_only_the_note(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPANION_RUNS", str(tmp_path / "file"))
    verdict = exercise("7.1", "second-conv").check(2416)
    assert verdict.outcome == "对" and "没有记下来" in verdict.text


@pytest.mark.parametrize("each", [each for section in SHELF for each in guesses(section)], ids=lambda each: each.key)
def test_a_guess_is_noted_and_the_result_shown(each):
    box = guess(each.section, each.name)
    assert not box.table.value and not bytes(box.picture.value) and each.answer not in box.message.value
    box.skip_button.click()
    assert each.answer in box.message.value
    assert box.table.value if isinstance(each.shows(), Trace) else bytes(box.picture.value)
    assert "～" in states(each.section)[1]
    box.entry.value = each.truth() if each.options else str(tuple(each.truth()))
    box.commit_button.click()
    assert "✓" in states(each.section)[1]
    again = guess(each.section, each.name)
    again.skip()
    assert "✓" in states(each.section)[1] and "上次" in guess(each.section, each.name).message.value


def test_a_wrong_guess_names_its_mistake_and_nonsense_is_refused():
    box = guess("7.1", "block")
    text = box.commit((6, 28, 28))
    assert "6×14×14" in text and len(text) > len(box.commit((1, 2, 3)))
    assert states("7.1")[1] == ["✗"]
    box.entry.value = "不知道"
    box.commit_button.click()
    assert "✗" in box.message.value and "整数" in box.message.value
    box.entry.value = ""
    box.commit_button.click()
    assert "还没有猜" in box.message.value and states("7.1")[1] == ["✗"]
    choice = guess("7.6", "depths")
    choice.commit_button.click()
    assert "还没有猜" in choice.message.value
    with pytest.raises(ValueError, match="里选一个"):
        guess("7.6", "depths").commit("也许")
    with pytest.raises(ValueError, match="没有先猜"):
        guess("7.1", "blocks")


def test_the_commands_say_what_they_do_not_take(capsys):
    with pytest.raises(SystemExit):
        main(["progress", "7.1"])
    assert "没有选项" in capsys.readouterr().err
    assert main(["solutions"]) == 0
    assert "## 7.1" in capsys.readouterr().out


def test_the_written_solutions_have_their_pictures_beside_them(tmp_path, capsys):
    assert main(["solutions", "--to", str(tmp_path / "new" / "answers")]) == 0
    [written] = (tmp_path / "new" / "answers").glob("*.md")
    assert str(written) in capsys.readouterr().out
    linked = re.findall(r"!\[.+\]\((.+)\)", written.read_text(encoding="utf-8"))
    contests = [each for section in SHELF for each in exercises(section) if isinstance(each, Contest)]
    assert len({*linked}) == len(linked) >= len(contests) > 5
    assert {*linked} == {path.name for path in written.parent.glob("*.png")}
    assert all(pixels((written.parent / name).read_bytes()).shape[1] > 300 for name in linked)
    assert main(["solutions", "--to", str(written)]) == 2
    assert str(written) in capsys.readouterr().err
