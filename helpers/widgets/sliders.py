"""滑块，以及由滑块控制的图。"""

import asyncio
import inspect
import math
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError

from helpers.experiments.settings import plain
from helpers.pictures.canvas import RED, Picture

_SETTLE, _PATIENCE = 0.01, 0.2  # 秒：停下这么久才重算；一直在动也不会等得更久
_LABELS = {"size": "输入边长 size", "lr": "学习率 lr"}


class Slider(widgets.Widget):
    """网页送来不能用的值时不抛异常：用 refuse 说一句，值不变，再把此刻的值送回网页。"""

    value: Any
    description: Any
    refuse: Callable[[str], None]

    def set_state(self, sync_data: dict[str, Any]) -> None:
        before = self.value
        try:
            if any(isinstance(value, float) and not math.isfinite(value) for value in sync_data.values()):
                raise ValueError  # NaN 与谁比都不成立，范围检查拦不住它
            super().set_state(sync_data)
        except (TraitError, ValueError, TypeError, OverflowError):
            self.value = before
            self.send_state()
            self.refuse(f"{self.description} 不能是 {next(iter(sync_data.values()), None)!r}，还是 {before}。")


def _polite(kind: type[widgets.Widget]) -> type[Any]:
    return type(kind.__name__, (Slider, kind), {})


_KINDS = {kind: _polite(kind) for kind in (
    widgets.Checkbox, widgets.SelectionSlider, widgets.FloatLogSlider, widgets.IntSlider, widgets.FloatSlider)}


def make_slider(name: str, allowed: Any, default: Any, refuse: Callable[[str], None]) -> Slider:
    """一个滑块：(低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关；lr 用对数刻度。

    refuse: 网页送来不能用的值时，收下那一句话的函数。
    """
    slider = _make(name, allowed, default)
    slider.refuse = refuse
    return slider


def _make(name: str, allowed: Any, default: Any) -> Slider:
    common = {"description": _LABELS.get(name, name), "style": {"description_width": "8em"},
              "layout": widgets.Layout(width="30em")}
    if isinstance(allowed, bool):
        return _KINDS[widgets.Checkbox](value=default, **common)
    if isinstance(allowed, list):
        return _KINDS[widgets.SelectionSlider](options=allowed, value=default, **common)
    low, high, *step = allowed
    if name == "lr":
        return _KINDS[widgets.FloatLogSlider](
            value=default, min=math.log10(low), max=math.log10(high), step=0.001, readout_format=".3g", **common)
    whole = all(isinstance(v, int) for v in (*allowed, default))
    return _KINDS[widgets.IntSlider if whole else widgets.FloatSlider](
        value=default, min=low, max=high, step=step[0] if step else 1 if whole else 0.1, **common)


def choose(slider: Any, value: Any) -> None:
    """把滑块放到 value；选项里没有的、存成 JSON 又读回来的（元组成了列表）也认得，超出范围的停在边上。"""
    if isinstance(slider, widgets.SelectionSlider):
        options = [option[1] if isinstance(option, tuple) else option for option in slider.options]
        value = next((option for option in options if plain(option) == plain(value)), slider.value)
    elif not isinstance(slider, widgets.Checkbox):
        low, high = (slider.min, slider.max)
        if isinstance(slider, widgets.FloatLogSlider):
            low, high = slider.base**low, slider.base**high
        value = min(max(value, low), high)
    slider.value = value


class Settle:
    """把一连串移动合成一次 `action()`：停下 10 毫秒就做，一直在动也至多等 0.2 秒。"""

    def __init__(self, action: Callable[[], None]):
        self.action = action
        self._timer: asyncio.TimerHandle | None = None
        self._first = 0.0

    def __call__(self, _: Any = None) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # 不在内核里
            self.action()
            return
        if self._timer:
            self._timer.cancel()
        else:
            self._first = loop.time()
        wait = min(_SETTLE, max(0.0, self._first + _PATIENCE - loop.time()))
        self._timer = loop.call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.action()


class Panel:
    """几个滑块，和它们下面的一句话。

    ranges: 每个滑块的范围，写法见 `make_slider`；start: 它们从哪里开始；moved: 滑块停下来时做什么。
    """

    def __init__(self, ranges: dict[str, Any], start: dict[str, Any], moved: Callable[[], None]):
        self.message = widgets.HTML()
        self.sliders = {name: make_slider(name, allowed, start[name], self.refuse) for name, allowed in ranges.items()}
        settled = Settle(moved)
        for slider in self.sliders.values():
            slider.observe(settled, "value")

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return {name: slider.value for name, slider in self.sliders.items()}

    def move(self, values: dict[str, Any]) -> None:
        """把滑块放到这些值上；没有说到的不动，不是滑块的不管。"""
        for name, slider in self.sliders.items():
            if name in values:
                choose(slider, values[name])

    def say(self, text: str) -> None:
        """说一句话。"""
        self.message.value = escape(text)

    def refuse(self, text: str) -> None:
        """说一句不行，红色。"""
        self.message.value = red(text)


class PictureBox(widgets.Image):
    """放一张 PNG 的地方；屏幕窄时跟着变小。"""

    def __init__(self) -> None:
        super().__init__(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))

    def take(self, png: bytes) -> None:
        """换成这一张。"""
        self.value = png


class Interactive(widgets.VBox):
    """由滑块控制的一张图；是一个小组件，可以放进别的小组件里。

    draw: 由滑块的值画出 Picture 的函数，参数的默认值是滑块的起点。
    ranges: 每个参数的范围，写法见 `make_slider`。
    没有内核的地方（GitHub）显示默认值的图。
    """

    def __init__(self, draw: Callable[..., Picture], **ranges: Any):
        super().__init__()
        self.draw = draw
        defaults = {name: p.default for name, p in inspect.signature(draw).parameters.items()}
        self.panel = Panel(ranges, defaults, self._refresh)
        self.sliders, self.message = self.panel.sliders, self.panel.message
        self.picture = PictureBox()
        self.children = [*self.sliders.values(), self.message, self.picture]
        self._refresh()

    def _refresh(self) -> None:
        try:
            self.picture.take(self.draw(**self.panel.values).png)
            self.panel.say("")
        except Exception as error:  # 回调里的异常没有别处可看；下一次移动照常
            self.panel.refuse(first_line(error))

    def __repr__(self) -> str:
        return f"Interactive({self.draw.__name__})"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return (super()._repr_mimebundle_(**options) or {}) | {"image/png": bytes(self.picture.value)}


def red(text: str) -> str:
    """说不行的一句话，HTML。"""
    return f'<span style="color:{RED}">✗ {escape(text)}</span>'


def first_line(error: Exception) -> str:
    """报错的第一行，用在滑块下面。"""
    return str(error).strip().split("\n")[0] or type(error).__name__
