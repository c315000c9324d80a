"""一道练习：问题、检查、三步提示、答案。各种练习只有 judge 不同。"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from helpers.arguments import between
from helpers.exercises.guard import ReaderError
from helpers.exercises.progress import note_check
from helpers.exercises.verdict import UNTOUCHED, Verdict


class Note:
    """一段 Markdown，在笔记本里排好版，在终端里就是文字。"""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


class Solution(Note):
    """一道练习的答案：文字、代码，picture 是图或清单，没有就是 None。"""

    def __init__(self, text: str, code: str, picture: Any = None):
        super().__init__(text + (f"\n\n```python\n{code}\n```" if code else ""))
        self.code, self.picture = code, picture

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(Note(self.text), *([] if self.picture is None else [self.picture]))


@dataclass(kw_only=True, eq=False)
class Exercise(ABC):
    """一道练习。

    section, name: 节号和这一题的名字；question: 问题，Markdown。
    hints: 三步提示，最后一步离答案只差一点；explanation: 答案的文字。
    code: 答案的代码，自己就能运行，最后一个名字 answer 是参考答案。
    covers: 书上的哪几题，如 "7.1.4"（书的编号，LeNet 是 6.6）；picture: 答案的图，要时才画。
    """

    section: str
    name: str
    question: str
    hints: tuple[str, str, str]
    explanation: str
    code: str = ""
    covers: tuple[str, ...] = ()
    picture: Callable[[], Any] | None = None
    _shown: int = field(default=0, init=False)

    kind = ""  # 哪一种练习，写给读者看
    stub = "answer = ..."  # 笔记本里等着读者写的

    @property
    def key(self) -> str:
        """记录里的名字。"""
        return f"{self.section} {self.name}"

    def check(self, answer: Any = ...) -> Verdict:
        """检查一个答案：对、不对（认得出怎样想错的就说）、还没有作答、出错。前两种和出错都记下来。"""
        if self.untouched(answer):
            return UNTOUCHED
        try:
            verdict = self.judge(answer)
        except ReaderError as error:
            verdict = Verdict("出错", str(error))
        lost = note_check(self.key, verdict.outcome)
        return Verdict(verdict.outcome, verdict.text + lost, verdict.mistakes)

    def untouched(self, answer: Any) -> bool:
        """读者还没有写。"""
        return answer is ... or answer is None

    @abstractmethod
    def judge(self, answer: Any) -> Verdict:
        """对不对；读者的代码没有走完，或者不是这一题要的东西，抛出 ReaderError。"""

    def answer(self) -> Any:
        """参考答案：运行答案的代码。"""
        return self.execute(self.code)["answer"]

    @cached_property
    def truth(self) -> Any:
        """参考答案，只算一次；是数、形状、函数这样不会被改动的才用它。"""
        return self.answer()

    def execute(self, code: str) -> dict[str, Any]:
        """运行一段自己就能运行的代码，返回它定义的名字。"""
        names: dict[str, Any] = {}
        exec(compile(code, f"〔{self.key}〕", "exec"), names)
        return names

    def hint(self, n: int | None = None) -> Note:
        """第 n 步提示，1 到 3；不写 n 就是下一步，到了最后一步就停在那里。"""
        self._shown = min(self._shown + 1, 3) if n is None else between("n", n, 1, 3)
        return Note(f"提示 {self._shown}/3：{self.hints[self._shown - 1]}")

    def solution(self) -> Solution:
        """答案。"""
        return Solution(self.explanation, self.code, self.picture() if self.picture else None)

    def __repr__(self) -> str:
        return f"〔{self.kind}〕{self.question}"

    def _repr_markdown_(self) -> str:
        return f"**{self.kind}** {self.question}"
