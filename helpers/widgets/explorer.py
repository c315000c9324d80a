"""滑块、形状表和训练按钮：改一个数，马上看到形状和代价，再训练看看。"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any, ClassVar

import ipywidgets as widgets
import torch
from torch import nn

from helpers.experiments.plan import Plan
from helpers.experiments.run import Recording, Run, ending, saved_runs
from helpers.experiments.settings import describe_changes
from helpers.machine.device import fast_dtype, memory_limit, pick_device
from helpers.machine.memory import release_threads
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace
from helpers.pictures.canvas import Picture
from helpers.pictures.curves import Curves, LivePlot
from helpers.training.loop import steps
from helpers.widgets.sliders import RED, Settle, choose, first_line, make_slider

_END = object()
_WIDTH = 4.8  # 曲线的宽，英寸：在形状表旁边放得下
_KEPT = 8  # 表里最多列出几次训练


class Explorer:
    """一个网络的滑块、形状表、训练按钮，和训练过的几次。

    plan: 训练计划：滑块从它的宽度、边长和学习率开始，批量、轮数、图片张数和初始化由它定。
    ranges: 每个滑块的范围，名字是网络函数的参数，另有 size（输入边长）和 lr（学习率，对数刻度）：
        (低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关。

    移动滑块时在 meta 设备上重算形状表和内存，与书上不同的格子标出来；内存放不下的组合在分配之前就拒绝训练。
    每次训练都存下来，内核重启之后还在表里；按表里的号码，它的曲线到前面来，它的值回到滑块上。
    """

    _active: ClassVar["Explorer | None"] = None  # 一次只训练一个：两个一起训练只会互相拖慢

    def __init__(self, plan: Plan, **ranges: Any):
        if Explorer._active:
            Explorer._active.stop()  # 单元格重新运行了，旧的不必再训练
        self.plan = plan
        self.runs: list[Run] = saved_runs(plan.network)[-_KEPT:]
        book = plan.book.settings
        ranges = {"size": (plan.book.size, plan.book.size), "lr": (1e-3, 10)} | ranges
        order = [*(name for name in ranges if name not in ("size", "lr")), "size", "lr"]
        self.message = widgets.HTML()
        self.sliders = {name: make_slider(name, ranges[name], plan.settings[name], self._refuse) for name in order}
        self.book = {name: book[name] for name in order}
        self.table = widgets.HTML()
        self.train_button = widgets.Button(description="训练", button_style="primary", icon="play")
        self.stop_button = widgets.Button(description="停止", icon="stop", disabled=True)
        self.reset_button = widgets.Button(description="回到书上的值", icon="undo")
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        self.history = widgets.GridBox(layout=widgets.Layout(
            grid_template_columns="max-content auto repeat(4, max-content)", grid_gap="0 12px"))
        self._book_trace = trace(plan.book.meta(), plan.book.shape)
        self._refresh()
        self._show_curves("按「训练」，曲线画在这里")
        self._list_runs()
        moved = Settle(self._refresh)
        for slider in self.sliders.values():
            slider.observe(moved, "value")
        self.train_button.on_click(lambda _: self._start())
        self.stop_button.on_click(lambda _: self.stop())
        self.reset_button.on_click(lambda _: self.reset())
        buttons = widgets.HBox([self.train_button, self.stop_button, self.reset_button])
        controls = widgets.VBox([*self.sliders.values(), buttons, self.message, self.picture],
                                layout=widgets.Layout(width="490px", max_width="100%"))  # 话再长也只换行
        # 屏幕够宽时滑块和曲线在左、表在右，一眼都看得到；不够宽就上下排
        both = widgets.HBox([controls, self.table], layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 24px"))
        self.box = widgets.VBox([both, self.history])

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return {name: slider.value for name, slider in self.sliders.items()}

    @property
    def current(self) -> Plan:
        """滑块此刻的值构成的计划。"""
        return self.plan.change(**self.values)

    def build(self) -> nn.Module:
        """按滑块此刻的值建网络，见 Plan.build。"""
        return self.current.build()

    def reset(self) -> None:
        """所有滑块回到书上的值。"""
        self._set(self.book)

    def select(self, number: int) -> None:
        """表里的第 number 次训练（从 1 数起）：曲线到前面来，值回到滑块上。"""
        if Explorer._active is self:
            self._say("正在训练，先按「停止」。", error=True)
            return
        run = self.runs[number - 1]
        self._set(run.recipe)
        self._show_curves(run=run)
        self._say(" ".join([f"第 {number} 次：{run.name}。{run.verdict}", *run.findings]))

    async def train(self) -> Picture:
        """用滑块此刻的值训练一次，与按「训练」相同；学习率滑块在训练中仍然起作用。返回最后的曲线。"""
        if Explorer._active is self:
            self._say("正在训练，先按「停止」。", error=True)
            return Picture(bytes(self.picture.value), "训练曲线")
        while Explorer._active:
            Explorer._active.stop()
            await asyncio.sleep(0.01)
        Explorer._active, self._stopping = self, False
        self.train_button.disabled, self.stop_button.disabled = True, False
        worker = ThreadPoolExecutor(1)  # 一步在另一个线程里算，内核的事件循环空着，滑块一直能动
        loop, plan, plot, stepper = asyncio.get_running_loop(), self.current, None, None
        try:
            torch.manual_seed(0)  # 几次训练之间只有滑块不同
            net = self.build()
            train, test = plan.data()
            dtype = fast_dtype(train.device)
            recording = Recording(net, train, lr=plan.lr, num_epochs=plan.num_epochs, dtype=dtype, plan=plan)
            stepper = steps(net, train, test, lr=lambda: self.sliders["lr"].value, num_epochs=plan.num_epochs,
                            dtype=dtype, gauge=recording.gauge)
            self._say(f"正在训练：{self._label()}")
            release_threads()
            with LivePlot(plan.num_epochs, past=self._past(), width=_WIDTH, show=self._show_picture) as plot:
                while not self._stopping:
                    point = await loop.run_in_executor(worker, next, stepper, _END)
                    if point is _END:
                        break
                    if point is not None:
                        plot.add(point)
            ended = "interrupted" if self._stopping else ending(plot.error)
            findings = []
            if plot.points or ended != "interrupted":  # 一个点也没有就停下的不留
                run = await loop.run_in_executor(worker, recording.finish, plot.points, ended)
                self.runs, findings = [*self.runs, run][-_KEPT:], run.findings
                self._list_runs()
            how = {"done": "完成：", "interrupted": "停在", "diverged": "溢出：", "memory": "内存不够："}[ended]
            self._say(" ".join([f"{how}{plot.status()}。", *findings]), error=ended in ("diverged", "memory"))
        except Exception as error:  # 回调里的异常没有别处可看
            self._say(first_line(error), error=True)
        finally:
            if stepper is not None:
                worker.submit(stepper.close).result()
            worker.shutdown()
            Explorer._active = None
            self.train_button.disabled, self.stop_button.disabled = False, True
        return Picture(bytes(self.picture.value), "训练曲线")

    def stop(self) -> None:
        """让正在进行的训练在这一步之后停下。"""
        self._stopping = True

    def _start(self) -> None:
        self._task = asyncio.ensure_future(self.train())

    def _set(self, values: dict[str, Any]) -> None:
        for name, slider in self.sliders.items():
            choose(slider, values[name])

    def _measure(self) -> tuple[Trace, Forecast]:
        plan = self.current
        net = plan.meta()
        return trace(net, plan.shape), forecast(net, plan.shape, plan.batch_size)

    def _refresh(self) -> None:
        try:
            now, need = self._measure()
        except Exception as error:  # 包括网络函数自己抛出的：都要说出来，下一次移动照常
            self.table.value = f'<p style="{RED}">✗ {escape(first_line(error))}</p>'
            return
        book, limit = self._book_trace, memory_limit(pick_device())
        same = (now.params, now.macs) == (book.params, book.macs)
        note = "与书上的网络相同。" if same and list(now) == list(book) else (
            f"参数是书上的 {now.params / book.params:.3g} 倍，乘加是 {now.macs / book.macs:.3g} 倍。")
        memory = f'<span style="{RED if need.total > limit else ""}">{need.sentence(limit)}</span>'
        self.table.value = f"<p>{note}<br>{memory}</p>{now.html(book)}"

    def _label(self) -> str:
        """滑块与书上不同的值。"""
        return describe_changes(self.values, self.book) or "书上的值"

    def _past(self, front: Run | None = None) -> list[tuple[str, list]]:
        """画在背景里的旧曲线，名字是它在表里的号码。"""
        return [(str(i), run.points) for i, run in enumerate(self.runs, start=1) if run is not front]

    def _show_curves(self, title: str = "", run: Run | None = None) -> None:
        """run 的曲线在前，其余的在后。"""
        epochs = run.recipe["num_epochs"] if run else self.plan.num_epochs
        curves = Curves(epochs, past=self._past(run), width=_WIDTH)
        self._show_picture(curves.draw(run.points if run else [], title or f"第 {self.runs.index(run) + 1} 次"))

    def _list_runs(self) -> None:
        """训练过的几次：号码按钮，值，代价，精度，诊断。"""
        header = ("", "与书上不同的设置", "参数", "乘加", "测试精度", "诊断")
        cells = [widgets.HTML(f"<b>{name}</b>") for name in header]
        for number, run in enumerate(self.runs, start=1):
            button = widgets.Button(description=str(number), layout=widgets.Layout(width="3em"), tooltip="看这一次")
            button.on_click(lambda _, number=number: self.select(number))
            texts = (run.name, f"{run.recipe['params']:,}", f"{run.recipe['macs']:,}",
                     "–" if run.test_acc is None else f"{run.test_acc:.3f}", run.finding.split("：")[0])
            cells += [button, *(widgets.HTML(escape(text)) for text in texts)]
        self.history.children = cells if self.runs else ()

    def _say(self, text: str, error: bool = False) -> None:
        self.message.value = f'<span style="{RED if error else ""}">{escape(text)}</span>'

    def _refuse(self, text: str) -> None:
        self._say(text, error=True)

    def _show_picture(self, png: bytes) -> None:
        self.picture.value = png

    def __repr__(self) -> str:
        return f"Explorer({self.plan.network}, {self.plan.book.shape})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        # 没有内核的地方（GitHub、导出的网页）显示 HTML 的形状表；有内核的地方显示滑块
        return self.box._repr_mimebundle_() | {"text/plain": repr(self), "text/html": self._book_trace.html()}
