"""先猜的小组件：猜了才给看，按一下也可以不猜。"""

import re
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers.arguments import brief
from helpers.exercises.guesses import Guess, quoted
from helpers.exercises.progress import noted
from helpers.exercises.shelf import guesses
from helpers.network.trace import Trace
from helpers.widgets.cell import Shown
from helpers.widgets.panel import PictureBox, first_line, red


class GuessBox(Shown):
    """一次先猜：选一个或写一个形状，按下「猜」或「不猜，直接看」，才有结果和依据。

    没有内核的地方是问题，和折起来的答案；没有小组件时用 `commit(…)` 和 `skip()`。
    """

    def __init__(self, guess: Guess):
        super().__init__()
        self.guess = guess
        self.entry = widgets.Dropdown(options=[("选一个", None), *zip(guess.options, guess.options, strict=True)]) \
            if guess.options else widgets.Text(placeholder="如 3×8×8", layout=widgets.Layout(width="12em"))
        self.commit_button = widgets.Button(description="猜", layout=widgets.Layout(width="6em"))
        self.skip_button = widgets.Button(description="不猜，直接看", layout=widgets.Layout(width="9em"))
        self.message, self.table, self.picture = widgets.HTML(), widgets.HTML(), PictureBox()
        self.picture.layout.display = "none"
        self.commit_button.on_click(lambda _: self._show(lambda: guess.commit(self.entry.value)))
        self.skip_button.on_click(lambda _: self._show(guess.skip))
        self.entry.on_msg(self._typed)
        question = widgets.HTML(f"<b>先猜</b> {_with_code(guess.question)}")
        self.children = [question, widgets.HBox([self.entry, self.commit_button, self.skip_button]),
                         self.message, self.table, self.picture]
        if (before := noted(guess.key).get("guess")) is not None:
            self.message.value = escape(f"上次猜的是{quoted(before)}。")

    def commit(self, value: Any) -> str:
        """猜一个，返回一句话；看不懂的抛出 ValueError。"""
        return self._reveal(self.guess.commit(value))

    def skip(self) -> str:
        """不猜，返回答案的一句话。"""
        return self._reveal(self.guess.skip())

    def _show(self, act: Callable[[], str]) -> None:
        try:
            self._reveal(act())
        except Exception as error:  # 回调里的异常没有别处可看；改了再按
            self.message.value = red(first_line(error))

    def _typed(self, entry: Any, content: Any, buffers: Any) -> None:
        if content.get("event") == "submit":  # 按了 Enter
            self.commit_button.click()

    def _reveal(self, text: str) -> str:
        self.message.value = escape(text)
        shown = self.guess.shows()
        if isinstance(shown, Trace):
            self.table.value = shown.html()
        else:
            self.picture.take(shown.png)
            self.picture.layout.display = None
        return text

    def __repr__(self) -> str:
        return f"先猜：{self.guess.question}" + (f"（{'、'.join(self.guess.options)}）" if self.guess.options else "")

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = super()._repr_mimebundle_(**options) or {}
        shown = self.guess.shows()
        inside = f"{self.guess.answer}。" + (shown.html() if isinstance(shown, Trace) else "")
        html = f"<p>{escape(repr(self))}</p><details><summary>不猜，看答案</summary>{inside}</details>"
        return data | {"text/plain": repr(self), "text/html": html}, {}


def _with_code(text: str) -> str:
    """HTML；`…` 里的是代码。"""
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escape(text))


def guess(section: str, name: str) -> GuessBox:
    """一节里的一次先猜，如 `guess("7.1", "block")`；没有这一个时抛出 ValueError。"""
    found = {each.name: each for each in guesses(section)}
    if not isinstance(name, str) or name not in found:
        raise ValueError(f"第 {section} 节没有先猜 {brief(name)}；有的是 {'、'.join(found)}。")
    return GuessBox(found[name])
