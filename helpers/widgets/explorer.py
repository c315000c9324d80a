"""滑块、形状表和训练按钮：改一个数，马上看到形状和代价，再训练看看。"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets
import torch
from torch import nn

from helpers.experiments.plan import Plan
from helpers.experiments.run import Run
from helpers.experiments.session import Session
from helpers.experiments.settings import describe_changes
from helpers.experiments.store import saved_runs
from helpers.machine.device import memory_limit, pick_device
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace
from helpers.pictures.canvas import RED, Picture
from helpers.pictures.curves import Curves, LivePlot
from helpers.training.loop import Point
from helpers.widgets.background import Background
from helpers.widgets.sliders import Panel, PictureBox, first_line, red

_WIDTH = 4.8  # 曲线的宽，英寸：在形状表旁边放得下
_SEED = 0  # 几次训练之间只有滑块不同
_BUSY = "正在训练，先按「停止」。"
_KEPT = 8  # 表里最多列出几次训练
_ENDINGS = {"done": "完成：", "interrupted": "停在", "diverged": "溢出：", "memory": "内存不够："}


@dataclass(frozen=True)
class Measure:
    """滑块停在一处时量到的：这里的清单和内存，书上的清单。"""

    table: Trace
    need: Forecast
    book_table: Trace

    def html(self) -> str:
        """形状表，与书上不同的格子标出来；上面是代价，放不下是红色。"""
        table, book, limit = self.table, self.book_table, memory_limit(pick_device())
        same = (table.params, table.macs) == (book.params, book.macs) and list(table) == list(book)
        note = "与书上的网络相同。" if same else (
            f"参数是书上的 {table.params / book.params:.3g} 倍，乘加是 {table.macs / book.macs:.3g} 倍。")
        style = f"color:{RED}" if self.need.total > limit else ""
        return f'<p>{note}<br><span style="{style}">{self.need.sentence(limit)}</span></p>{table.html(book)}'


class Model:
    """滑块背后的：值、计划、量一量。没有小组件。names: 有哪些滑块。"""

    def __init__(self, plan: Plan, names: Iterable[str]):
        self.plan = plan
        self.book_values = {name: plan.book.settings[name] for name in names}
        self.book_table = trace(plan.book.meta(), plan.book.shape)

    def at(self, values: dict[str, Any]) -> Plan:
        """滑块的值构成的计划。"""
        return self.plan.change(**values)

    def measure(self, values: dict[str, Any]) -> Measure:
        """在 meta 设备上走一遍；走不通时抛出 ShapeError，网络函数自己抛出的照样抛出。"""
        plan = self.at(values)
        net = plan.meta()
        return Measure(trace(net, plan.shape), forecast(net, plan.shape, plan.batch_size), self.book_table)

    def label(self, values: dict[str, Any]) -> str:
        """与书上不同的值。"""
        return describe_changes(values, self.book_values) or "书上的值"


class Explorer(widgets.VBox):
    """一个网络的滑块、形状表、训练按钮，和训练过的几次。

    plan: 训练计划：滑块从它的宽度、边长和学习率开始，批量、轮数、图片张数和初始化由它定。
    ranges: 每个滑块的范围，名字是网络函数的参数，另有 size（输入边长）和 lr（学习率，对数刻度）：
        (低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关。

    移动滑块时在 meta 设备上重算形状表和内存，与书上不同的格子标出来；内存放不下的组合在分配之前就拒绝训练。
    每次训练都存下来，内核重启之后还在表里；按表里的号码，它的曲线到前面来，它的值回到滑块上。
    是一个小组件，可以放进别的小组件里。
    """

    def __init__(self, plan: Plan, **ranges: Any):
        super().__init__()
        Background.stop_all()  # 单元格重新运行了，旧的不必再训练
        ranges = {"size": (plan.book.size, plan.book.size), "lr": (1e-3, 10)} | ranges
        ranges = {name: ranges[name] for name in ranges if name not in ("size", "lr")} | {
            name: ranges[name] for name in ("size", "lr")}
        self.plan, self.model, self.background = plan, Model(plan, ranges), Background()
        self.runs: list[Run] = saved_runs(plan.name)[-_KEPT:]
        self.panel = Panel(ranges, plan.settings, self._refresh)
        self.sliders, self.message, self.table = self.panel.sliders, self.panel.message, widgets.HTML()
        self.train_button = widgets.Button(description="训练", button_style="primary", icon="play")
        self.stop_button = widgets.Button(description="停止", icon="stop", disabled=True)
        self.reset_button = widgets.Button(description="回到书上的值", icon="undo")
        self.picture = PictureBox()
        self.history = History(self.select)
        self.children = _arrange(self)
        self._refresh()
        self.picture.take(_curves(self.runs, self.plan.num_epochs).draw([], "按「训练」，曲线画在这里"))
        self.history.show(self.runs)
        self.train_button.on_click(lambda _: self._start())
        self.stop_button.on_click(lambda _: self.stop())
        self.reset_button.on_click(lambda _: self.reset())

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return self.panel.values

    @property
    def current(self) -> Plan:
        """滑块此刻的值构成的计划。"""
        return self.model.at(self.values)

    def build(self) -> nn.Module:
        """按滑块此刻的值建网络，见 Plan.build。"""
        return self.current.build()

    def reset(self) -> None:
        """所有滑块回到书上的值。"""
        self.panel.move(self.model.book_values)

    def select(self, number: int) -> None:
        """表里的第 number 次训练（从 1 数起）：曲线到前面来，值回到滑块上。"""
        if self.background.running:
            self.panel.refuse(_BUSY)
            return
        run = self.runs[number - 1]
        self.panel.move(run.recipe)
        self.picture.take(_curves(self.runs, run.recipe["num_epochs"], run).draw(run.points, f"第 {number} 次"))
        self.panel.say(" ".join([f"第 {number} 次：{run.name}。{run.verdict}", *map(str, run.findings)]))

    async def train(self) -> Picture:
        """用滑块此刻的值训练一次，与按「训练」相同；学习率滑块在训练中仍然起作用。返回最后的曲线。"""
        if self.background.running:
            self.panel.refuse(_BUSY)
        else:
            self.train_button.disabled, self.stop_button.disabled = True, False
            try:
                await self._train(self.current)
            except Exception as error:  # 回调里的异常没有别处可看
                self.panel.refuse(first_line(error))
            finally:
                self.train_button.disabled, self.stop_button.disabled = False, True
        return Picture(bytes(self.picture.value), "训练曲线")

    async def _train(self, plan: Plan) -> None:
        def start() -> Session:
            torch.manual_seed(_SEED)
            session = Session(plan.build(), *plan.data(), lr=lambda: self.sliders["lr"].value,
                              num_epochs=plan.num_epochs, plan=plan, seed=_SEED)
            self.panel.say(f"正在训练：{self.model.label(self.values)}")
            return session

        with LivePlot(plan.num_epochs, past=_past(self.runs), width=_WIDTH, show=self.picture.take) as plot:
            run = await self.background.run(start, plot.add)
            findings = [*map(str, run.findings)] if run else []
            ended = run.ended if run else "interrupted"
            broken = ended in ("diverged", "memory")
            if broken:
                plot.conclude(findings[0])
        if run is not None:
            self.runs = [*self.runs, run][-_KEPT:]
            self.history.show(self.runs)
        (self.panel.refuse if broken else self.panel.say)(" ".join([f"{_ENDINGS[ended]}{plot.status()}。", *findings]))

    def stop(self) -> None:
        """让正在进行的训练在这一步之后停下。"""
        self.background.stop()

    def _start(self) -> None:
        self.task = asyncio.ensure_future(self.train())  # 留着它：没有人抓着的任务会被收走

    def _refresh(self) -> None:
        try:
            self.table.value = self.model.measure(self.values).html()
        except Exception as error:  # 包括网络函数自己抛出的：都要说出来，下一次移动照常
            self.table.value = f"<p>{red(first_line(error))}</p>"

    def __repr__(self) -> str:
        return f"Explorer({self.plan.name}, {self.plan.book.shape})"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        # 没有内核的地方（GitHub、导出的网页）显示 HTML 的形状表；有内核的地方显示滑块
        return (super()._repr_mimebundle_(**options) or {}) | {"text/html": self.model.book_table.html()}


def _past(runs: list[Run], front: Run | None = None) -> list[tuple[str, list[Point]]]:
    """画在背景里的旧曲线，名字是它在表里的号码。"""
    return [(str(i), run.points) for i, run in enumerate(runs, start=1) if run is not front]


def _curves(runs: list[Run], num_epochs: int, front: Run | None = None) -> Curves:
    """坐标轴和背景里的旧曲线；front 在前面画，不在背景里。"""
    return Curves(num_epochs, past=_past(runs, front), width=_WIDTH)


def _arrange(explorer: Explorer) -> list[widgets.Widget]:
    """屏幕够宽时滑块和曲线在左、表在右，一眼都看得到；不够宽就上下排。"""
    buttons = widgets.HBox([explorer.train_button, explorer.stop_button, explorer.reset_button])
    controls = widgets.VBox([*explorer.sliders.values(), buttons, explorer.message, explorer.picture],
                            layout=widgets.Layout(width="490px", max_width="100%"))  # 话再长也只换行
    both = widgets.HBox([controls, explorer.table], layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 24px"))
    return [both, explorer.history]


class History(widgets.GridBox):
    """训练过的几次：号码按钮，值，代价，精度，诊断。select: 按了第几次（从 1 数起）的号码时做什么。"""

    HEADER = ("", "与书上不同的设置", "参数", "乘加", "测试精度", "诊断")

    def __init__(self, select: Callable[[int], None]):
        super().__init__(layout=widgets.Layout(grid_template_columns="max-content auto repeat(4, max-content)",
                                               grid_gap="0 12px"))
        self.select = select

    def show(self, runs: list[Run]) -> None:
        """换成这几次。"""
        cells: list[widgets.Widget] = [widgets.HTML(f"<b>{name}</b>") for name in self.HEADER]
        for number, run in enumerate(runs, start=1):
            button = widgets.Button(description=str(number), layout=widgets.Layout(width="3em"), tooltip="看这一次")
            button.on_click(lambda _, number=number: self.select(number))
            texts = (run.name, f"{run.recipe['params']:,}", f"{run.recipe['macs']:,}",
                     "–" if run.test_acc is None else f"{run.test_acc:.3f}", run.condition)
            cells += [button, *(widgets.HTML(escape(text)) for text in texts)]
        self.children = cells if runs else ()
