"""guess.py：先猜的小组件。猜、不猜、按 Enter、猜得不像样；没有小组件的地方也看得到问题和答案。"""

import pytest

from helpers import guess, progress
from helpers.exercises.shelf import SHELF, guesses
from helpers.network.trace import Trace

ALL = [each for section in SHELF for each in guesses(section)]
IDS = [each.key for each in ALL]


def shown(box):
    """看得到的结果：形状表的 HTML，或者图。"""
    return box.table.value or (box.picture.layout.display is None and box.picture.value) or None


def entered(each):
    """这样猜就猜对了。"""
    return each.truth() if each.options else each.answer


@pytest.mark.parametrize("each", ALL, ids=IDS)
def test_a_guess_shows_the_answer_and_is_there_the_next_time(each):
    box = guess(each.section, each.name)
    assert shown(box) is None and box.message.value == "" and box.entry.value in (None, "")
    box.entry.value = entered(each)
    box.commit_button.click()
    assert box.message.value.startswith("猜对了") and shown(box)
    assert isinstance(each.shows(), Trace) == bool(box.table.value) != bool(box.picture.value)
    again = guess(each.section, each.name)
    assert "上次猜的是" in again.message.value and shown(again) is None


@pytest.mark.parametrize("each", ALL, ids=IDS)
def test_not_guessing_shows_it_too_and_is_no_guess(each):
    box = guess(each.section, each.name)
    box.skip_button.click()
    assert each.answer in box.message.value and "猜对" not in box.message.value and shown(box)
    assert guess(each.section, each.name).message.value == ""


def test_enter_is_a_guess_and_other_messages_are_not():
    box = guess("7.1", "block")
    box.entry.value = "6 14 14"
    box.entry._handle_custom_msg({"event": "focus"}, [])
    assert shown(box) is None
    box.entry._handle_custom_msg({"event": "submit"}, [])
    assert shown(box) and box.message.value.startswith("猜对了")
    assert [*progress().states["7.1"][1]] == ["✓"]


def test_code_is_shown_as_code():
    assert "<code>lenet_block(1, 6, padding=2)</code>" in guess("7.1", "block").children[0].value


def test_what_is_no_guess_is_said_in_red_and_shows_nothing():
    box = guess("7.1", "block")
    for text in ("", "不知道"):
        box.entry.value = text
        box.commit_button.click()
        assert "✗" in box.message.value and shown(box) is None
    box.entry.value = "1×2×3"
    box.commit_button.click()
    assert "✗" not in box.message.value and shown(box)


@pytest.mark.parametrize("each", ALL, ids=IDS)
def test_without_widgets_a_call_says_the_same(each):
    box = guess(each.section, each.name)
    assert each.answer in box.skip() and shown(box)
    assert box.commit(entered(each)).startswith("猜对了")
    with pytest.raises(ValueError, match="还没有猜"):
        box.commit("")


@pytest.mark.parametrize("name", [None, 3, [], {}, "没有"])
def test_an_unknown_name_is_refused_in_words(name):
    with pytest.raises(ValueError, match="没有先猜"):
        guess("7.1", name)


@pytest.mark.parametrize("each", ALL, ids=IDS)
def test_without_a_kernel_the_answer_is_folded(each):
    data, _ = guess(each.section, each.name)._repr_mimebundle_()
    assert data["text/plain"] == repr(guess(each.section, each.name)) and each.question in data["text/plain"]
    assert all(option in data["text/plain"] for option in each.options)
    before, folded = data["text/html"].split("<details>")
    assert each.answer in folded and (isinstance(each.shows(), Trace) == ("<table" in folded))
    assert each.options or (each.answer not in before and each.answer not in data["text/plain"])
    assert any("widget-view" in kind for kind in data)
    box = guess(each.section, each.name)
    box.commit(entered(each))
    assert box._repr_mimebundle_()[0]["text/html"] == data["text/html"]  # 与猜过什么无关


def test_buttons_say_what_they_do_and_a_choice_starts_unchosen():
    [chosen] = [each for each in ALL if each.options][:1]
    box = guess(chosen.section, chosen.name)
    assert box.entry.options[1:] == tuple(zip(chosen.options, chosen.options, strict=True))
    assert {box.commit_button.description, box.skip_button.description} == {"猜", "不猜，直接看"}
    assert all(button in box.children[1].children for button in (box.commit_button, box.skip_button))
