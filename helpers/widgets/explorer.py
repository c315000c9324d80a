"""滑块、形状表和训练按钮：改一个数，马上看到形状和代价，再训练看看。"""

from html import escape
from typing import Any

import ipywidgets as widgets
from torch import nn

from helpers.arguments import instance
from helpers.experiments.plan import Plan
from helpers.experiments.run import Run
from helpers.machine.device import memory_limit, pick_device
from helpers.network.shape_errors import ShapeError
from helpers.network.trace import Trace
from helpers.pictures.canvas import RED, Picture
from helpers.widgets.background import Background
from helpers.widgets.cell import Shown
from helpers.widgets.model import Model
from helpers.widgets.panel import Panel, first_line, red
from helpers.widgets.sliders import make_slider
from helpers.widgets.trainer import Trainer


class Explorer(Shown):
    """一个网络的滑块、形状表、训练按钮，和训练过的几次。

    plan: 训练计划。滑块从书上的网络开始，学习率从计划的开始；训练的批量、轮数、图片张数和初始化由计划定，
        计划缩小了网络的，训练时照样缩小（关掉「照计划缩小」就训练滑块上的网络），按钮下面写着改了什么。
    ranges: 每个滑块的范围，名字是网络函数的参数，另有 size（输入边长）和 lr（学习率，对数刻度）：
        (低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关。没有的名字、不对的范围抛出 ValueError。

    移动滑块时在 meta 设备上重算形状表和内存，与书上不同的格子标出来，走不通的那一层是红色的一行；
    内存放不下的组合在分配之前就拒绝训练。
    每次训练都存下来，内核重启之后还在表里；按表里的号码，它的曲线到前面来，它的值回到滑块上。
    是一个小组件，可以放进别的小组件里；造它的单元格再运行，旧的就关掉，见 Shown。
    """

    def __init__(self, plan: Plan, **ranges: Any):
        ranges = _with_size_and_rate(instance(plan, Plan, "第一个参数应当是训练计划，如 budget(网络函数)"), ranges)
        self.plan, self.model = plan, Model(plan, ranges)
        super().__init__()
        self.panel = Panel(ranges, self.model.start, self._refresh)
        self.sliders, self.message = self.panel.sliders, self.panel.message
        self.reduce = make_slider("照计划缩小", True, True, self.panel.refuse)
        self.reduce.layout.display = None if self.model.reduced else "none"
        self.panel.watch(self.reduce)
        self.table, self.note = widgets.HTML(), widgets.HTML()
        self.reset_button = widgets.Button(description="回到书上的网络", icon="undo")
        self.reset_button.on_click(lambda _: self.reset())
        self.trainer = Trainer(plan, self.panel, self._prepare, self.select)
        self.train_button, self.stop_button = self.trainer.train_button, self.trainer.stop_button
        self.picture, self.history = self.trainer.picture, self.trainer.history
        self.children = _arrange(self)
        self._refresh()

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return self.panel.values

    @property
    def current(self) -> Plan:
        """滑块上的网络的计划。"""
        return self.model.at(self.values)

    @property
    def training(self) -> Plan:
        """按「训练」走的计划：网络照原来的计划缩小过，见 Model.training。"""
        return self.model.training(self.values, self.reduce.value)

    @property
    def runs(self) -> list[Run]:
        """表里的几次训练，从早到晚。"""
        return self.trainer.runs

    def build(self) -> nn.Module:
        """建滑块上的网络，见 Plan.build。"""
        return self.current.build()

    def reset(self) -> None:
        """所有滑块回到起点：书上的网络，计划的学习率。"""
        self.panel.move(self.model.start)
        self.reduce.value = True

    def select(self, number: int) -> None:
        """表里的第 number 次训练（从 1 数起）：曲线到前面来，值回到滑块上。"""
        if self.trainer.busy():
            return
        run = self.trainer.show(number)
        values, self.reduce.value = self.model.values_of(run.recipe)
        missed = self.panel.move(values)
        lost = [f"滑块放不到那时的 {'、'.join(missed)}。"] if missed else []
        self.panel.say(" ".join([f"第 {number} 次：{run.name}。{run.verdict}", *lost, *map(str, run.findings)]))

    async def train(self) -> Picture:
        """按滑块此刻的值训练一次，与按「训练」相同；学习率滑块在训练中仍然起作用。返回最后的曲线。

        中断单元格（■）与按「停止」相同。已经关掉的抛出 ValueError。
        """
        if self.closed:
            raise ValueError("这个 Explorer 已经关掉了：造它的单元格又运行过。请用新的那一个。")
        await self.trainer.background.at_home(self.trainer.train)
        return Picture(bytes(self.picture.value), "训练曲线")

    def stop(self) -> None:
        """让正在进行的训练在这一步之后停下。"""
        self.trainer.stop()

    def close(self) -> None:
        """关掉，见 Shown；正在训练的停下，走过的照样存下。"""
        if not self.closed and hasattr(self, "trainer"):  # 还没有造完就关掉的，没有 trainer
            self.trainer.close()
        super().close()

    def _prepare(self) -> tuple[Plan, str]:
        self.model.table(self.values)  # 滑块上的走不通，就不训练缩小的
        return self.training, self.model.label(self.values)

    def _refresh(self) -> None:
        values, book, note = self.values, self.model.book_table, ""
        try:
            table = self.model.table(values)
        except ShapeError as error:
            self.table.value = _broken(error, book)
        except Exception as error:  # 包括网络函数自己抛出的：都要说出来，下一次移动照常
            self.table.value = f"<p>{red(first_line(error))}</p>"
        else:
            self.table.value = f"<p>{self.model.compare(table)}</p>{table.html(book)}"  # 先看到表，再算内存
            note = _note(self.model, values, self.reduce.value)
        self.note.value = note

    def __repr__(self) -> str:
        return f"Explorer({self.plan.name}, {self.plan.book.shape})"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        # 没有内核的地方（GitHub、导出的网页）显示 HTML 的形状表；有内核的地方显示滑块
        return (super()._repr_mimebundle_(**options) or {}) | {"text/html": self.model.book_table.html()}


def _with_size_and_rate(plan: Plan, ranges: dict[str, Any]) -> dict[str, Any]:
    """边长和学习率总在，总在最后；没有给范围的，边长不动。"""
    default = {"size": (plan.book.size, plan.book.size), "lr": (min(1e-3, plan.lr), max(10, plan.lr))}
    return {name: ranges[name] for name in ranges if name not in default} | {
        name: ranges.get(name, default[name]) for name in default}


def _broken(error: ShapeError, book: Trace) -> str:
    """走不通时的形状表：走通的几层照旧，停下的一层是红色的一行，后面没有了。"""
    tail = ""
    if error.place is not None:
        shape = "×".join(map(str, error.place.received))
        cells = (f"<td>{escape(text)}</td>" for text in (error.place.name, error.place.kind))
        tail = (f'<tr style="color:{RED}">{"".join(cells)}'
                f'<td colspan="4">收到 {shape}：{escape(error.fault.symptom)}</td></tr>')
    return f"<p>{red(str(error))}</p>{Trace(list(error.layers), 0, 0).html(book, tail)}"


def _note(model: Model, values: dict[str, Any], reduce: bool) -> str:
    """按「训练」会怎样训练，要多少内存；放不下、缩小了就走不通，是红色。"""
    text = f"{escape(model.describe_training(values, reduce))}<br>"
    try:
        need, limit = model.need(values, reduce), memory_limit(pick_device()) + Background.held
    except Exception as error:
        return text + red(first_line(error))
    return text + (red(need.sentence(limit)) if need.total > limit else escape(need.sentence(limit)))


def _arrange(explorer: Explorer) -> list[widgets.Widget]:
    """屏幕够宽时滑块和曲线在左、表在右，一眼都看得到；不够宽就上下排。"""
    buttons = widgets.HBox([explorer.train_button, explorer.stop_button, explorer.reset_button])
    controls = widgets.VBox([*explorer.sliders.values(), buttons, explorer.reduce, explorer.note, explorer.message,
                             explorer.picture],
                            layout=widgets.Layout(width="490px", max_width="100%"))  # 话再长也只换行
    both = widgets.HBox([controls, explorer.table], layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 24px"))
    return [both, explorer.history]
