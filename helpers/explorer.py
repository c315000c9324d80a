"""滑块、形状表和训练按钮：改一个数，马上看到形状和代价，再训练看看。"""

import asyncio
import inspect
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any, ClassVar

import ipywidgets as widgets
import torch
from torch import nn

from helpers.data import fashion_mnist
from helpers.device import pick_device
from helpers.plan import Plan, budget
from helpers.plotting import Curves, LivePlot, Picture
from helpers.sliders import RED, Settle, first_line, make_slider
from helpers.trace import Shape, Trace, trace
from helpers.training import Point, steps, xavier

_END = object()
_WIDTH = 4.8  # 曲线的宽，英寸：在形状表旁边放得下


class Explorer:
    """一个网络的滑块。

    make: 网络函数，如 lenet；它的默认值就是书上的网络。
    shape: 书上的输入形状 (B, C, H, W)。
    plan: 这台机器的训练计划：滑块从它的宽度、边长和学习率开始，批量、轮数、图片张数由它定；默认见 `budget`。
    init: 训练之前怎样初始化，见 `xavier`、`kaiming`。
    ranges: 每个滑块的范围，名字是 make 的参数，另有 size（输入边长）和 lr（学习率，对数刻度）：
        (低, 高) 或 (低, 高, 步长) 是数字，列表是几个选项，True 或 False 是开关。

    移动滑块时在 meta 设备上重算形状表，与书上不同的格子标出来。
    """

    _active: ClassVar["Explorer | None"] = None  # 一次只训练一个：两个一起训练只会互相拖慢

    def __init__(self, make: Callable[..., nn.Module], shape: Shape, *, plan: Plan | None = None,
                 init: Callable[[nn.Module], None] = xavier, **ranges: Any):
        if Explorer._active:
            Explorer._active.stop()  # 单元格重新运行了，旧的不必再训练
        self.make, self.shape, self.init = make, shape, init
        self.plan = plan or budget(size=shape[-1], without_gpu={"images": 6_000, "num_epochs": 5})
        self.runs: list[tuple[str, list[Point]]] = []
        defaults = {name: p.default for name, p in inspect.signature(make).parameters.items()}
        book = defaults | self.plan.book.widths | {"size": shape[-1], "lr": self.plan.book.lr}
        start = book | self.plan.widths | {"size": self.plan.size, "lr": self.plan.lr}
        ranges = {"size": (shape[-1], shape[-1]), "lr": (1e-3, 10)} | ranges
        order = [*(name for name in ranges if name not in ("size", "lr")), "size", "lr"]
        self.sliders = {name: make_slider(name, ranges[name], start[name]) for name in order}
        self.book = {name: book[name] for name in order}
        self.table = widgets.HTML()
        self.message = widgets.HTML()
        self.train_button = widgets.Button(description="训练", button_style="primary", icon="play")
        self.stop_button = widgets.Button(description="停止", icon="stop", disabled=True)
        self.reset_button = widgets.Button(description="回到书上的值", icon="undo")
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        self._book_trace = self._trace(self.book)
        self._refresh()
        self._show_picture(Curves(self.plan.num_epochs, width=_WIDTH).draw([], "按「训练」，曲线画在这里"))
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
        self.box = widgets.HBox([controls, self.table], layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 24px"))

    @property
    def values(self) -> dict[str, Any]:
        """所有滑块此刻的值。"""
        return {name: slider.value for name, slider in self.sliders.items()}

    def build(self) -> nn.Module:
        """按滑块此刻的值建网络，在训练用的设备上，已经初始化；走不通时抛出 ValueError。"""
        values = self.values
        self._trace(values)
        return self._make(values).to(pick_device()).apply(self.init)

    def reset(self) -> None:
        """所有滑块回到书上的值。"""
        for name, value in self.book.items():
            self.sliders[name].value = value

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
        name, plot, stepper = self._label(), None, None
        try:
            train, test = fashion_mnist(self.plan.batch_size, self.values["size"], self.plan.images)
            stepper = steps(self.build(), train, test, lr=lambda: self.sliders["lr"].value,
                            num_epochs=self.plan.num_epochs)
            self._say(f"正在训练：{name}")
            with LivePlot(self.plan.num_epochs, past=self.runs, width=_WIDTH, show=self._show_picture) as plot:
                loop = asyncio.get_running_loop()
                while not self._stopping:
                    point = await loop.run_in_executor(worker, next, stepper, _END)
                    if point is _END:
                        break
                    if point is not None:
                        plot.add(point)
            self._say(plot.note or f"{'停在' if self._stopping else '完成：'}{plot.status()}（{name}）",
                      error=bool(plot.note))
        except Exception as error:  # 回调里的异常没有别处可看
            self._say(first_line(error), error=True)
        finally:
            if stepper is not None:
                worker.submit(stepper.close).result()
            worker.shutdown()
            if plot is not None and plot.points:
                self.runs.append((name, plot.points))
            Explorer._active = None
            self.train_button.disabled, self.stop_button.disabled = False, True
        return Picture(bytes(self.picture.value), "训练曲线")

    def stop(self) -> None:
        """让正在进行的训练在这一步之后停下。"""
        self._stopping = True

    def _start(self) -> None:
        self._task = asyncio.ensure_future(self.train())

    def _make(self, values: dict[str, Any]) -> nn.Module:
        return self.make(**{name: value for name, value in values.items() if name not in ("size", "lr")})

    def _trace(self, values: dict[str, Any]) -> Trace:
        with torch.device("meta"):  # 不分配权重
            net = self._make(values)
        return trace(net, (*self.shape[:2], values["size"], values["size"]))

    def _refresh(self) -> None:
        try:
            now = self._trace(self.values)
        except Exception as error:  # 包括网络函数自己抛出的：都要说出来，下一次移动照常
            self.table.value = f'<p style="{RED}">✗ {escape(first_line(error))}</p>'
            return
        book = self._book_trace
        same = (now.params, now.macs) == (book.params, book.macs)
        note = "与书上的网络相同。" if same and list(now) == list(book) else (
            f"参数是书上的 {now.params / book.params:.3g} 倍，乘加是 {now.macs / book.macs:.3g} 倍；"
            "与书上不同的格子标了底色。")
        self.table.value = f"<p>{note}</p>{now.html(book)}"

    def _label(self) -> str:
        """这次训练与书上不同的值。"""
        changed = [f"{name}={value:.3g}" if isinstance(value, float)
                   else f"{name}={getattr(self.sliders[name], 'label', value)}"  # 选项有名字就写名字
                   for name, value in self.values.items() if not _same(value, self.book[name])]
        return ", ".join(changed) or "书上的值"

    def _say(self, text: str, error: bool = False) -> None:
        self.message.value = f'<span style="{RED if error else ""}">{escape(text)}</span>'

    def _show_picture(self, png: bytes) -> None:
        self.picture.value = png

    def __repr__(self) -> str:
        return f"Explorer({self.make.__name__}, {self.shape})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        # 没有内核的地方（GitHub、导出的网页）显示 HTML 的形状表；有内核的地方显示滑块
        return self.box._repr_mimebundle_() | {"text/plain": repr(self), "text/html": self._book_trace.html()}


def _same(value: Any, book: Any) -> bool:
    """浮点数的滑块停在最近的刻度上，差千分之几算相同。"""
    return math.isclose(value, book, rel_tol=0.005) if isinstance(value, float) else value == book
