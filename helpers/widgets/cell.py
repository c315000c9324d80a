"""显示在单元格里的小组件：那一格再运行一次，旧的就关掉。"""

from collections.abc import Iterator
from weakref import WeakSet

import ipywidgets as widgets

from helpers.machine.kernel import current_cell

# 每个单元格最近一次运行造的：单元格的编号到 (那次运行的编号, 造的)
_made: dict[str, tuple[str, "WeakSet[Shown]"]] = {}


class Shown(widgets.VBox):
    """造它的单元格再运行一次、又造一个时，它和它里面的都关掉：网页和内核里不再一份份积起来。

    在别的单元格里又显示一次不算造：那些单元格再运行多少次，它都还在；造它的那一格再运行，就一处处都关掉，
    因为它的名字从此指着新的一个。网页没有送来单元格的编号时（如 nbconvert）什么也不关。
    """

    def __init__(self) -> None:
        super().__init__()
        if (here := current_cell()) is None:
            return
        cell, execution = here
        last, made = _made.get(cell, (execution, WeakSet()))
        if execution != last:
            for old in list(made):
                old.close()
            made = WeakSet()
        made.add(self)
        _made[cell] = execution, made

    @property
    def closed(self) -> bool:
        """关掉了没有。"""
        return self.comm is None

    def close(self) -> None:
        """连同里面的一切一起关掉；关掉的不再显示，也不再与网页往来。"""
        if not self.closed:
            for part in set(_inside(self)):
                part.close()
        super().close()


def _inside(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """一个小组件里面的：孩子、版面、样式，一直到底。"""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, tuple | list) else [value]:
            if isinstance(part, widgets.Widget):
                yield part
                yield from _inside(part)
