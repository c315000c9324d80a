"""训练过的几次，一张表。"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers.experiments.run import Run

_HEADER = ("", "与书上不同的设置", "参数", "乘加", "测试精度", "诊断")


class History(widgets.GridBox):
    """一次一行：号码按钮，值，代价，精度，诊断。select: 按了第几次（从 1 数起）的号码时做什么。"""

    def __init__(self, select: Callable[[int], None]):
        super().__init__(layout=widgets.Layout(grid_template_columns="max-content auto repeat(4, max-content)",
                                               grid_gap="0 12px"))
        self.select = select
        self._text, self._button = _Alike(widgets.HTML), _Alike(widgets.Button, tooltip="看这一次")
        self._rows: list[list[Any]] = []

    def show(self, runs: Sequence[Run]) -> None:
        """换成这几次：已有的行换了字再用，不够才添。"""
        if self.comm is None:  # 已经关掉，添了也没有人关
            return
        if runs and not self._rows:
            self._rows.append([self._text(value=f"<b>{name}</b>") for name in _HEADER])
        while len(self._rows) <= len(runs) and runs:
            self._rows.append(self._row(len(self._rows)))
        shown = self._rows[:len(runs) + 1] if runs else []
        for (_, *cells), run in zip(shown[1:], runs, strict=True):
            for cell, text in zip(cells, _texts(run), strict=True):
                cell.value = escape(text)
        self.children = [cell for row in shown for cell in row]

    def _row(self, number: int) -> list[Any]:
        button = self._button(description=str(number))
        button.layout.width = "3em"
        button.on_click(lambda _: self.select(number))
        return [button, *(self._text() for _ in _HEADER[1:])]


def _texts(run: Run) -> tuple[str, ...]:
    """一行里号码以外的各格。"""
    return (run.name, f"{run.recipe['params']:,}", f"{run.recipe['macs']:,}",
            "–" if run.test_acc is None else f"{run.test_acc:.3f}", run.condition)


class _Alike:
    """造同一种小组件；版面和样式自己也是小组件，共用一份，网页要记的就少了三分之二。"""

    def __init__(self, kind: type[Any], **common: Any):
        self.kind, self.common = kind, common

    def __call__(self, **own: Any) -> Any:
        widget = self.kind(**self.common, **own)
        self.common |= {"layout": widget.layout, "style": widget.style}
        return widget
