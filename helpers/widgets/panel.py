"""几个滑块放在一起：停下来才算一次，说一句话，放一张图。"""

import asyncio
import threading
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers.experiments.settings import differences, plain
from helpers.pictures.canvas import RED
from helpers.pictures.png import page_width
from helpers.widgets.sliders import Slider, choose, make_slider

_SETTLE, _PATIENCE = 0.01, 0.2  # 秒：停下这么久才重算；一直在动也不会等得更久


class Settle:
    """把一连串移动合成一次 `action()`：停下 10 毫秒就做，一直在动也至多等 0.2 秒。

    移动可以来自几个线程（见 `main_loop`），计时在它来的那个线程里：单元格忙着，滑块照样有回应。
    action 一次只做一个，后一个等前一个做完，所以留下来的总是最后的值。
    """

    def __init__(self, action: Callable[[], None]):
        self.action = action
        self._lock = threading.RLock()
        self._moves = 0
        self._first: float | None = None  # 还没有做的移动里，第一次是什么时候

    def __call__(self, _: Any = None) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # 不在内核里
            self.action()
            return
        with self._lock:
            self._moves += 1
            now = loop.time()
            self._first = now if self._first is None else self._first
            if now - self._first >= _PATIENCE:
                self._fire(self._moves)
            else:
                loop.call_later(min(_SETTLE, self._first + _PATIENCE - now), self._fire, self._moves)

    def _fire(self, move: int) -> None:
        with self._lock:
            if move == self._moves:  # 之后又动过，就由那一次来做
                self._first = None
                self.action()


class Panel:
    """几个滑块，和它们下面的一句话。

    ranges: 每个滑块的范围，写法见 `make_slider`；start: 它们从哪里开始；moved: 滑块停下来时做什么。
    """

    def __init__(self, ranges: dict[str, Any], start: dict[str, Any], moved: Callable[[], None]):
        self.message = widgets.HTML()
        self.sliders = {name: make_slider(name, allowed, start[name], self.refuse) for name, allowed in ranges.items()}
        self._settled = Settle(moved)
        for slider in self.sliders.values():
            self.watch(slider)

    def watch(self, slider: Slider) -> None:
        """这个滑块停下来时也做。"""
        slider.observe(self._settled, "value")

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return {name: slider.value for name, slider in self.sliders.items()}

    def move(self, values: dict[str, Any]) -> list[str]:
        """把滑块放到这些值上；没有说到的不动，不是滑块的不管。返回放不到的：超出范围，或者选项里没有。"""
        there = [name for name in self.sliders if name in values]
        for name in there:
            choose(self.sliders[name], values[name])
        return [name for name in there if differences({name: plain(self.values[name])}, {name: plain(values[name])})]

    def say(self, text: str) -> None:
        """说一句话。"""
        self.message.value = escape(text)

    def refuse(self, text: str) -> None:
        """说一句不行，红色。"""
        self.message.value = red(text)


class PictureBox(widgets.Image):
    """放一张 PNG 的地方；在网页上多大写在 PNG 里，屏幕窄时跟着变小。"""

    def __init__(self) -> None:
        super().__init__(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))

    def take(self, png: bytes) -> None:
        """换成这一张。"""
        self.layout.width = f"{page_width(png)}px"
        self.value = png


def red(text: str) -> str:
    """说不行的一句话，HTML。"""
    return f'<span style="color:{RED}">✗ {escape(text)}</span>'


def first_line(error: Exception) -> str:
    """报错的第一行，用在滑块下面。"""
    return str(error).strip().split("\n")[0] or type(error).__name__
