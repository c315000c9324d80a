"""滑块：不同的设置是不同的小组件；网页送来什么都不会出错。"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from helpers.arguments import brief, number, whole
from helpers.experiments.settings import plain

_LABELS = {"size": "输入边长 size", "lr": "学习率 lr"}


class Slider(widgets.Widget):
    """网页只送得来它的值；送来不能用的值时不抛异常：用 refuse 说一句，值不变，再把此刻的值送回网页。"""

    value: Any
    description: Any
    layout: Any
    refuse: Callable[[str], None]

    def set_state(self, sync_data: dict[str, Any]) -> None:
        sent = {name: sync_data[name] for name in ("value", "index") if name in sync_data and name in self.keys}
        before = self.value
        try:
            if any(number(value) is None and not isinstance(value, bool) for value in sent.values()):
                raise ValueError  # NaN 与谁比都不成立，范围检查拦不住它；"NAN" 这样的文字，滑块会当成数
            super().set_state(sent)
        except Exception:  # 什么样的值都有人送得来；回调里的异常没有别处可看
            self.value = before
            self.send_state()
            self.refuse(f"{self.description} 不能是 {brief(next(iter(sent.values()), None))}，还是 {before}。")


def _polite(kind: type[widgets.Widget]) -> type[Any]:
    return type(kind.__name__, (Slider, kind), {})


_KINDS = {kind: _polite(kind) for kind in (
    widgets.Checkbox, widgets.SelectionSlider, widgets.FloatLogSlider, widgets.IntSlider, widgets.FloatSlider)}


def make_slider(name: str, allowed: Any, default: Any, refuse: Callable[[str], None]) -> Slider:
    """一个滑块：(低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关；lr 用对数刻度。

    选项写 (名字, 值) 就显示名字；numpy 的数也是数。default: 从哪里开始。
    refuse: 网页送来不能用的值时，收下那一句话的函数。范围看不懂，或者不包括 default，抛出 ValueError。
    """
    slider = _make(name, allowed, default)
    slider.refuse = refuse
    return slider


def _make(name: str, allowed: Any, default: Any) -> Slider:
    common = {"description": _LABELS.get(name, name), "style": {"description_width": "8em"},
              "layout": widgets.Layout(width="30em")}
    if isinstance(allowed, bool):
        return _KINDS[widgets.Checkbox](value=_switched(name, default), **common)
    if isinstance(allowed, list):
        return _KINDS[widgets.SelectionSlider](options=allowed, value=_chosen(name, allowed, default), **common)
    (low, high, *step), value = _range(name, allowed, default)
    if name == "lr":
        return _KINDS[widgets.FloatLogSlider](
            value=value, min=math.log10(low), max=math.log10(high), step=0.001, readout_format=".3g", **common)
    integers = all(isinstance(v, int) for v in (low, high, *step, value))
    return _KINDS[widgets.IntSlider if integers else widgets.FloatSlider](
        value=value, min=low, max=high, step=step[0] if step else 1 if integers else 0.1, **common)


def _switched(name: str, default: Any) -> bool:
    """开关的起点，检查过。"""
    if not isinstance(default, bool):
        raise ValueError(f"{name} 从 {brief(default)} 开始，不是 True 或 False，不能做成开关。")
    return default


def _values(options: Sequence[Any]) -> list[Any]:
    """选项的值；写了名字的，名字不算。"""
    named = all(isinstance(option, tuple | list) and len(option) == 2 for option in options)
    return [option[1] if named else option for option in options]


def _chosen(name: str, options: list[Any], default: Any) -> Any:
    """选项的起点，检查过。"""
    if any(value is None for value in _values(options)):
        raise ValueError(f"{name} 的选项 {brief(options)} 里不能有 None；用别的值代表它，如 \"没有\"。")
    for value in _values(options):
        if plain(value) == plain(default):
            return value
    raise ValueError(f"{name} 从 {brief(default)} 开始，它不在选项 {brief(options)} 里；把它加进去。")


def _range(name: str, allowed: Any, default: Any) -> tuple[list[Any], Any]:
    """(范围的几个数, 起点)，检查过，numpy 的数变成 Python 的。"""
    found = [_number(value) for value in allowed] if isinstance(allowed, tuple) else []
    numbers = [each for each in found if each is not None]
    if numbers != found or len(numbers) not in (2, 3):
        raise ValueError(f"{name} 的范围 {brief(allowed)} 看不懂：(低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，"
                         "True 或 False 是开关。")
    (low, high, *step), value = numbers, _number(default)
    if low > high:
        raise ValueError(f"{name} 的范围 {brief(allowed)} 写反了：低的在前，高的在后。")
    if min([*step, low if name == "lr" else 1]) <= 0:
        raise ValueError(f"{name} 的范围 {brief(allowed)} 不能用：步长要大于 0，学习率也要大于 0。")
    if value is None or not low <= value <= high:
        raise ValueError(f"{name} 从 {brief(default)} 开始，不在范围 {brief(allowed)} 里；把范围放宽。")
    return numbers, value


def _number(value: Any) -> int | float | None:
    """Python 的整数或小数；不是有限的数，或者大得 float32 写不下，就是 None。"""
    real, found = number(value), whole(value)
    return real if real is None or found is None else found


def choose(slider: Any, value: Any) -> None:
    """把滑块放到 value；选项里没有的、存成 JSON 又读回来的（元组成了列表）也认得，超出范围的停在边上。"""
    if isinstance(slider, widgets.SelectionSlider):
        value = next((option for option in _values(slider.options) if plain(option) == plain(value)), slider.value)
    slider.value = value
