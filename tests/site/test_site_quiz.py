"""练习和先猜，网页上的：每一种答案，网页与 Python 的检查说同一句。"""

import random
from functools import cache

import nbformat
import pytest
from quiz import asked
from support.site import chromium, page, show

from helpers.book.sections import find
from helpers.exercises.guesses import Guess
from helpers.exercises.shelf import SHELF, exercises, guesses


@cache
def book(section):
    return nbformat.read(find(section), as_version=4)


@pytest.fixture(scope="module")
def exported(page_data):
    """节 → 单元格 → 网页的数据。"""
    return {section: kinds["quiz"] for section, kinds in page_data.items()}


@pytest.fixture(scope="class")
def window(tmp_path_factory, exported):
    """一页，七节的都在上面。"""
    data = {f"{section} {cell}": each for section, cells in exported.items() for cell, each in cells.items()}
    with chromium() as (found, complaints):
        show(found, tmp_path_factory.mktemp("quiz"), page({"quiz": data}))
        found.evaluate("async () => { window.quiz = await import('quiz.js'); }")
        yield found
    assert not complaints


@pytest.mark.parametrize("section", SHELF)
def test_every_exercise_and_guess_of_the_notebook_is_there(section):
    found = [each.key for _, each in asked(book(section))]
    assert sorted(found) == sorted(each.key for each in (*exercises(section), *guesses(section)))


def numbers(each, dice):
    """参考答案，想错的每一种，差一点的，差得远的，四舍五入正好在中间的。"""
    truth = float(each.truth)
    yield from (truth, *map(float, each.misled.values()))
    yield from (truth * (1 + each.within * 0.99), truth * (1 - each.within * 1.01), truth * 1.0625, truth + 1234.5)
    for _ in range(20):
        value = truth * 10 ** dice.uniform(-3, 3)
        yield dice.choice((value, round(value), -value, round(value, 3)))


def shapes(each, dice):
    truth = tuple(each.truth)
    yield from (truth, *each.misled.values(), truth[:1], (*truth, 9, 9))
    for _ in range(20):
        changed = [max(0, n + dice.choice((0, 0, -1, 1, 7, 1_000))) for n in truth]
        yield tuple(changed[:dice.choice((len(truth), dice.randint(1, len(truth))))])


def choices(each, dice):
    letters = [letter for letter, _ in each.lettered()]
    yield from (each.truth, "", "".join(letters))
    for _ in range(20):
        yield "".join(letter for letter in letters if dice.random() < 0.5)


@pytest.mark.slow
class TestSameAsPython:
    """一页问许多次。"""

    @pytest.mark.parametrize("section", SHELF)
    def test_page_says_what_python_says(self, window, exported, section):
        dice, wrong = random.Random(7), []
        for cell, each in asked(book(section)):
            kind = exported[section][cell.id]["kind"]
            if kind not in ("number", "shape", "choice"):
                continue
            answers = [*{"number": numbers, "shape": shapes, "choice": choices}[kind](each, dice)]
            said = window.evaluate("([data, answers]) => answers.map((answer) => quiz.judge(data, answer))",
                                   [exported[section][cell.id],
                                    [[*answer] if kind == "choice" else str(answer) for answer in answers]])
            verdicts = [each.check(answer) for answer in answers]
            wrong += [(each.key, answer, verdict, found)
                      for answer, verdict, found in zip(answers, verdicts, said, strict=True)
                      if (found["right"], found["text"]) != (verdict.outcome == "对", repr(verdict))]
            assert {verdict.outcome for verdict in verdicts} == {"对", "不对"}, each.key
        assert not wrong

    @pytest.mark.parametrize("section", SHELF)
    def test_page_answers_a_guess_as_python_does(self, window, exported, section):
        dice = random.Random(3)
        for cell, each in asked(book(section)):
            if isinstance(each, Guess):
                tried = [*each.options] or [each.answer, *each.mistakes().values(), "0", "007×8", "９ 9"]
                tried += [] if each.options else [tuple(dice.choices(range(300), k=3)) for _ in range(10)]
                texts = [value if isinstance(value, str) else str(value) for value in tried]
                said = window.evaluate("([data, texts]) => texts.map((text) => quiz.judge(data, text))",
                                       [exported[section][cell.id], texts])
                assert [found["text"] for found in said] == [each.reply(value) for value in tried]
                assert [found["right"] for found in said] == [each.commit(value).startswith("猜对") for value in tried]

    def test_numbers_are_written_as_python_writes_them(self, window):
        dice = random.Random(1)
        ties = [(2 * dice.randrange(1, 5_000) + 1) / 2 ** dice.randint(1, 8) for _ in range(300)]
        values = [*(dice.choice((-1, 1)) * 10 ** dice.uniform(-9, 12) for _ in range(300)), *ties, 0.0, 9999.6, 1e15]
        found = window.evaluate("values => values.map(x => [quiz.written(x), quiz.general(x, 3), quiz.percent(x)])",
                                values)
        assert found == [[f"{x:,.0f}" if x.is_integer() else f"{x:,.4g}", f"{x:.3g}", f"{x:.1%}"] for x in values]

    @pytest.mark.parametrize(("text", "value"), [
        ("61,706", 61706), ("61，706", 61706), ("６１７０６", 61706), (" 61 706 ", 61706), ("61_706", 61706),
        ("5.43", 5.43), ("１．５", 1.5), ("−3", -3), ("1e6", 1e6), ("2416 个", 2416), ("1,234,567.5", 1234567.5),
        ("1,5", None), ("12,34", None), ("1,234,5", None), ("6×14", None), ("很多", None), ("1/3", None), ("NaN", None),
        ("Infinity", None), ("1e99", None), ("", None), ("0x10", None)])
    def test_a_number_is_read_in_many_ways(self, window, text, value):
        assert window.evaluate("text => quiz.readNumber(text)", text) == value

    @pytest.mark.parametrize(("text", "value"), [
        ("6×14×14", [6, 14, 14]), ("6x14X14", [6, 14, 14]), ("6 × 14 × 14", [6, 14, 14]), ("(6, 14, 14)", [6, 14, 14]),
        ("（6，14，14）", [6, 14, 14]), ("[6,14,14]", [6, 14, 14]), ("6 14 14", [6, 14, 14]),
        ("６×１４×１４", [6, 14, 14]), ("6*14*14", [6, 14, 14]), ("6、14、14", [6, 14, 14]),
        ("(10,)", [10]), ("10", [10]),
        ("6××14", None), ("六", None), ("6.5×3", None), ("", None), ("6×", None)])
    def test_a_shape_is_read_in_many_ways(self, window, text, value):
        assert window.evaluate("text => quiz.readShape(text)", text) == value


def one(cells, kind):
    """一节的单元格里这一种的第一格。"""
    return next((cell, each) for cell, each in cells.items() if each["kind"] == kind)


@pytest.mark.slow
def test_reader_tries_asks_for_hints_and_is_remembered(exported, tmp_path):
    (cell, data), still = one(exported["7.1"], "number"), "<pre>还没有作答</pre>"
    html = page({"quiz": {cell: data}}, still=still)
    with chromium() as (tab, complaints):
        show(tab, tmp_path, html)
        assert tab.locator(".plug pre:visible").count() == 0
        entry, verdict, solved = tab.get_by_label("答案"), tab.locator(".verdict"), tab.locator(".solved")
        for text, right in (("", None), ("很多", None), ("1", "false"), ("２,４１６", "true"), ("7", "false")):
            entry.fill(text)
            entry.press("Enter")
            assert verdict.get_attribute("data-right") == (right or "null")
            assert verdict.inner_text()
        for shown in range(1, 4):
            tab.get_by_role("button", name="提示").click()
            assert [*map(str.strip, tab.locator(".hints li").all_inner_texts())] == [
                f"提示 {n}/3：{hint}".replace("`", "") for n, hint in enumerate(data["hints"][:shown], start=1)]
        assert tab.get_by_role("button", name="提示").is_hidden()
        tab.get_by_role("button", name="看答案").click()
        assert tab.locator(".solution pre").inner_text() == data["code"]
        assert solved.is_visible()  # 做对过，以后再错也还是做对过
        show(tab, tmp_path, html)
        assert solved.is_visible() and not verdict.inner_text()
        tab.evaluate("localStorage.clear()")
        show(tab, tmp_path, html)
        assert solved.is_hidden()
        assert not complaints


@pytest.mark.slow
def test_page_works_where_nothing_may_be_stored(exported, tmp_path):
    cell, data = one(exported["7.1"], "choice")
    with chromium() as (tab, complaints):
        tab.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } });")
        show(tab, tmp_path, page({"quiz": {cell: data}}))
        for letter in data["truth"]:
            tab.get_by_label(letter, exact=True).check()
        tab.get_by_role("button", name="检查").click()
        assert tab.locator(".verdict").get_attribute("data-right") == "true"
        assert not complaints


@pytest.mark.slow
@pytest.mark.parametrize("skip", [False, True])
def test_answer_of_a_guess_is_hidden_until_the_guess(exported, tmp_path, skip):
    cell, data = one(exported["7.1"], "guess")
    still = next(each for each in book("7.1").cells if each.id == cell).outputs[0].data["text/html"]
    with chromium(width=390, height=800) as (tab, complaints):
        show(tab, tmp_path, page({"quiz": {cell: data}}, still=still))
        assert data["truth"] not in tab.inner_text("body") and tab.locator(".plug table").is_hidden()
        if skip:
            tab.get_by_role("button", name="不猜，直接看").click()
        else:
            tab.get_by_label("猜", exact=True).fill("什么")
            tab.get_by_role("button", name="猜", exact=True).click()
            assert tab.locator(".plug table").is_hidden()
            tab.get_by_label("猜", exact=True).fill("(6, 14, 14)")
            tab.get_by_role("button", name="猜", exact=True).click()
        assert data["truth"] in tab.locator(".verdict").inner_text() and tab.locator(".plug table").is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        show(tab, tmp_path, page({"quiz": {cell: data}}, still=still))
        assert ("6×14×14" in tab.locator(".verdict").inner_text()) is not skip
        assert tab.locator(".plug table").is_hidden()
        assert not complaints


@pytest.mark.slow
def test_picture_behind_a_guess_says_what_it_shows(exported, tmp_path):
    cell, data = next((cell, each) for cell, each in exported["7.6"].items() if each.get("picture"))
    with chromium() as (tab, complaints):
        show(tab, tmp_path, page({"quiz": {cell: data}}))
        assert tab.locator("img").is_hidden()
        tab.get_by_role("combobox", name="猜").select_option(data["truth"])
        tab.get_by_role("button", name="猜", exact=True).click()
        assert tab.get_by_role("img", name=data["picture"]["alt"]).evaluate("img => img.naturalWidth") > 600
        assert not complaints
