"""笔记本里的练习：每题一格问题、一格等着写的，都与 exercises() 里的相同；停在「还没有作答」。"""

import json

import pytest

from helpers.book.sections import find
from helpers.exercises.shelf import SHELF, exercises, guesses


def cells(section):
    return json.loads(find(section).read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("section", SHELF)
def test_every_exercise_stands_in_its_notebook_and_waits(section):
    found = cells(section)
    texts = ["".join(cell["source"]) for cell in found]
    for i, each in enumerate(exercises(section), start=1):
        [at] = [j for j, text in enumerate(texts) if text == f"**练习 {i}（{each.kind}）** {each.question}"]
        assert texts[at + 1].startswith(each.stub) and f"q{i}.check(" in texts[at + 1]
        [output] = found[at + 1]["outputs"]
        assert "".join(output["data"]["text/plain"]) == repr(each.check())


@pytest.mark.parametrize("section", SHELF)
def test_every_guess_stands_in_its_notebook(section):
    texts = ["".join(cell["source"]) for cell in cells(section)]
    for each in guesses(section):
        assert sum(f'guess("{section}", "{each.name}")' in text for text in texts) == 1
