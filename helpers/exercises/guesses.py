"""先猜：看结果之前先说一个数、一个形状或者一种可能，再看。"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.arguments import brief
from helpers.exercises.progress import note, noted
from helpers.exercises.verdict import Mistake
from helpers.network.trace import Trace
from helpers.pictures.canvas import Picture


@dataclass(kw_only=True, eq=False)
class Guess:
    """一次先猜。

    section, name: 节号和名字；question: 问题。
    options: 几种可能，没有就是猜一个形状或一个数；truth: 算出来的答案，有 options 时是其中的一个。
    shows: 猜过之后给看的；mistakes: 想错的每一种会猜成什么。
    """

    section: str
    name: str
    question: str
    truth: Callable[[], Any]
    shows: Callable[[], Trace | Picture]
    options: tuple[str, ...] = ()
    mistakes: Callable[[], Mapping[Mistake, Any]] = dict

    @property
    def key(self) -> str:
        """记录里的名字。"""
        return f"{self.section} guess {self.name}"

    def commit(self, guess: Any) -> str:
        """猜了 guess，记下来，返回 `reply(guess)`。看不懂的抛出 ValueError，什么也不记。"""
        value = self._read(guess)
        return self.reply(guess) + note(self.key, guess=value, right=value == self._plain(self.truth()))

    def skip(self) -> str:
        """不猜，直接看；以前猜过的还记着。返回一句话。"""
        return self.reply() + ("" if noted(self.key) else note(self.key, guess=None, right=None))

    def reply(self, guess: Any = None) -> str:
        """猜了 guess（None 是不猜）说哪一句：猜对没有，答案是什么。看不懂的抛出 ValueError。"""
        if guess is None:
            return f"是{quoted(self._plain(self.truth()))}。"
        value, truth = self._read(guess), self._plain(self.truth())
        if value == truth:
            return f"猜对了，是{quoted(truth)}。"
        found = [mistake.text for mistake, number in self.mistakes().items() if self._plain(number) == value]
        return "".join([f"你猜{quoted(value)}，是{quoted(truth)}。", *found])

    @property
    def answer(self) -> str:
        """算出来的答案，写成文字。"""
        return written(self._plain(self.truth()))

    def _read(self, guess: Any) -> Any:
        """"6×14×14" 变成 [6, 14, 14]，一种可能还是它自己。"""
        if guess is None or guess == "":
            raise ValueError("还没有猜：" + ("先选一个。" if self.options else "先写一个，如 3×8×8。"))
        if self.options:
            if guess not in self.options:
                raise ValueError(f"在 {'、'.join(self.options)} 里选一个，收到的是 {brief(guess)}。")
            return guess
        text = guess if isinstance(guess, str) else " ".join(map(str, guess)) if isinstance(guess, list | tuple) \
            else str(guess)
        found = [int(digits) for digits in re.findall(r"\d+", text)]
        if not found:
            raise ValueError(f"写成几个整数，如 3×8×8，收到的是 {brief(guess)}。")
        return found

    def _plain(self, value: Any) -> Any:
        """存得进 JSON 的样子。"""
        return value if isinstance(value, str) else [value] if isinstance(value, int) else [*value]


def written(value: Any) -> str:
    """一个猜法写成文字：[6, 14, 14] 是 6×14×14。"""
    return value if isinstance(value, str) else "×".join(map(str, value))


def quoted(value: Any) -> str:
    """接在一句话里的一个猜法：一种可能加引号，数和形状前面空一格。"""
    return f"「{value}」" if isinstance(value, str) else f" {written(value)}"
