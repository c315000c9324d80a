"""由滑块控制的一张图。"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from helpers.arguments import brief
from helpers.pictures.canvas import Picture
from helpers.pictures.png import bundle, squeeze
from helpers.widgets.cell import Shown
from helpers.widgets.panel import Panel, PictureBox, first_line


class Interactive(Shown):
    """由滑块控制的一张图；是一个小组件，可以放进别的小组件里。

    draw: 由滑块的值画出 Picture 的函数，参数的默认值是滑块的起点。
    ranges: 每个参数的范围，写法见 `make_slider`；函数没有这个参数、范围不对时抛出 ValueError。
    没有内核的地方（GitHub）显示默认值的图。
    """

    def __init__(self, draw: Callable[..., Picture], **ranges: Any):
        super().__init__()
        self.draw = draw
        self.panel = Panel(ranges, _defaults(draw, ranges), self._refresh)
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

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, png = super()._repr_mimebundle_(**options) or {}, bytes(self.picture.value)
        if not png:  # 起点就画不出来
            return data, {}
        picture, metadata = bundle(squeeze(png), repr(self))
        return data | picture, metadata


def _defaults(draw: Callable[..., Picture], names: Iterable[str]) -> dict[str, Any]:
    """滑块的起点：draw 各个参数的默认值，检查过。"""
    if not callable(draw):
        raise TypeError(f"第一个参数应当是由滑块的值画出 Picture 的函数，收到的是 {brief(draw)}。")
    found = {name: p.default for name, p in inspect.signature(draw).parameters.items()}
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f"函数没有参数 {'、'.join(unknown)}，不能做成滑块；有的是 {'、'.join(found)}。")
    if bare := [name for name in names if found[name] is inspect.Parameter.empty]:
        raise ValueError(f"参数 {'、'.join(bare)} 没有默认值，滑块不知道从哪里开始；写成 {bare[0]}=…。")
    return found
