"""几句话，哪几句成立。"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from helpers.arguments import brief
from helpers.exercises.exercise import Exercise, Solution
from helpers.exercises.guard import ReaderError
from helpers.exercises.verdict import Mistake, Verdict, wrong


@dataclass(frozen=True)
class Statement:
    """一句话。key: 测试认的名字；holds: 它成立不成立，从网络算；why: 依据，数也从网络算。"""

    key: str
    text: str
    holds: Callable[[], bool]
    why: Callable[[], str]


@dataclass(kw_only=True, eq=False)
class Claims(Exercise):
    """哪几句成立：答案是它们的字母，如 "AC"；一句也不成立是空的文字。"""

    statements: tuple[Statement, ...]

    kind = "判断"
    stub = 'answer = ...  # 如 "AC"'

    def __post_init__(self) -> None:
        lines = [f"- {letter}. {statement.text}" for letter, statement in self.lettered()]
        self.question = "\n".join([self.question, "", *lines])

    def lettered(self) -> Iterable[tuple[str, Statement]]:
        """每一句和它的字母。"""
        return zip(ascii_uppercase, self.statements, strict=False)

    def answer(self) -> str:
        """成立的那些。"""
        return "".join(letter for letter, statement in self.lettered() if statement.holds())

    def judge(self, answer: Any) -> Verdict:
        """逐句比，判断错的每一句说依据。"""
        chosen, letters = _chosen(answer), ascii_uppercase[:len(self.statements)]
        if chosen is None or not chosen <= {*letters}:
            raise ReaderError(f'答案应当是几个字母，如 "AC"，在 {letters} 里选；收到的是 {brief(answer)}。')
        missed = {letter: statement for letter, statement in self.lettered()
                  if (letter in self.truth) != (letter in chosen)}
        if not missed:
            return Verdict("对", "")
        found = tuple(Mistake(statement.key, f"{letter} {_said(statement)}") for letter, statement in missed.items())
        return wrong(f"{len(missed)} 句判断错了。", found)

    def solution(self) -> Solution:
        """每一句成立不成立，依据是什么。"""
        lines = [f"- {letter} {_said(statement)}" for letter, statement in self.lettered()]
        return Solution("\n".join([self.explanation, "", *lines]), self.code, self.picture() if self.picture else None)


def _said(statement: Statement) -> str:
    return f"{'成立' if statement.holds() else '不成立'}：{statement.why()}"


def _chosen(answer: Any) -> set[str] | None:
    """选了哪些字母；不是文字就是 None。"""
    if isinstance(answer, list | tuple | set | frozenset):
        answer = "".join(map(str, answer))
    return {*answer.upper()} - {*" ,，、"} if isinstance(answer, str) else None
