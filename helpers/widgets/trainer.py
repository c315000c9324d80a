"""训练按钮：训练一次，曲线画在图里，走过的列进表里。"""

from collections.abc import Callable

import ipywidgets as widgets

from helpers.experiments.plan import Plan
from helpers.experiments.run import Run, official_median
from helpers.experiments.session import Session
from helpers.experiments.store import saved_runs
from helpers.pictures.curves import Curves, LivePlot
from helpers.pictures.png import DPI
from helpers.training.loop import Point
from helpers.widgets.background import Background
from helpers.widgets.history import History
from helpers.widgets.panel import Panel, PictureBox, first_line

_WIDTH = 4.8  # 曲线的宽，英寸：在形状表旁边放得下
_SEED = 0  # 几次训练之间只有滑块不同
_BUSY = "正在训练，先按「停止」。"
_KEPT = 8  # 表里最多列出几次训练
_ENDINGS = {"done": "完成：", "interrupted": "停在", "diverged": "溢出：", "memory": "内存不够："}


class Trainer:
    """训练、停止两个按钮，一张曲线，和训练过的几次（runs，存下的也在内）。

    plan: 没有改过的计划，知道是哪个网络、画到第几轮；panel: 学习率滑块和说话的地方。
    prepare: 按了「训练」，给出 (这次的计划, 它的名字)；不能训练就抛出异常。
    select: 按了表里第几次（从 1 数起）的号码时做什么。
    """

    def __init__(self, plan: Plan, panel: Panel, prepare: Callable[[], tuple[Plan, str]],
                 select: Callable[[int], None]):
        Background.stop_all()  # 单元格重新运行了，旧的不必再训练
        self.panel, self.prepare, self.background = panel, prepare, Background()
        saved = saved_runs(plan.name)
        self.runs: list[Run] = saved[-_KEPT:]
        panel.say(saved.note)
        self.train_button = widgets.Button(description="训练", button_style="primary", icon="play")
        self.stop_button = widgets.Button(description="停止", icon="stop", disabled=True)
        self.picture, self.history = PictureBox(), History(select)
        self.closed = False
        self.median = official_median(plan.name, plan.settings)
        self.picture.take(self._curves(plan.num_epochs).draw([], "按「训练」，曲线画在这里", DPI))
        self.history.show(self.runs)
        self.train_button.on_click(lambda _: self._start())
        self.stop_button.on_click(lambda _: self.stop())

    def _start(self) -> None:
        self.train_button.disabled = True
        self.task = self.background.begin(self.train)  # 留着它：没有人抓着的任务会被收走

    async def train(self) -> None:
        """训练一次；怎样结束都说一句，不抛异常：回调里的异常没有别处可看。"""
        if self.closed:  # 按了「训练」，还没有轮到就关掉了
            return
        if self.busy():
            return
        self.train_button.disabled, self.stop_button.disabled = True, False
        try:
            await self._train(*self.prepare())
        except Exception as error:
            self.panel.refuse(first_line(error))
        finally:
            self.train_button.disabled, self.stop_button.disabled = False, True

    def stop(self) -> None:
        """让正在训练的停下；正在走的一步、诊断和存下要一会儿，先说一句。没有在训练就什么也不做。"""
        if self.background.running:
            self.background.stop()  # 先停下：网页已经走了的话，下面的话送不出去
            self.stop_button.disabled = True
            self.panel.say("正在停：走完这一步就存下。")

    def busy(self) -> bool:
        """正在训练就说一句。"""
        if self.background.running:
            self.panel.refuse(_BUSY)
        return self.background.running

    async def _train(self, plan: Plan, label: str) -> None:
        def start() -> Session:
            self.panel.say(f"正在训练：{label}")
            return Session(plan.build(_SEED), *plan.data(), lr=lambda: self.panel.sliders["lr"].value,
                           num_epochs=plan.num_epochs, plan=plan, seed=_SEED)

        before = self.runs
        with LivePlot(plan.num_epochs, past=self._past(), width=_WIDTH, median=self.median,
                      show=self.picture.take) as plot:
            await self.background.run(start, plot.add, self._keep)
            run = self.runs[-1] if self.runs is not before else None
            findings = [*map(str, run.findings)] if run else []
            ended = run.ended if run else "interrupted"
            broken = ended in ("diverged", "memory")
            if broken:
                plot.conclude(findings[0] if findings else _ENDINGS[ended])
        (self.panel.refuse if broken else self.panel.say)(" ".join([f"{_ENDINGS[ended]}{plot.status()}。", *findings]))

    def _keep(self, run: Run) -> None:
        """训练结束了，怎样结束的都一样：列进表里。"""
        self.runs = [*self.runs, run][-_KEPT:]
        self.history.show(self.runs)

    def show(self, number: int) -> Run:
        """第 number 次（从 1 数起）的曲线到前面来。"""
        run = self.runs[number - 1]
        self.picture.take(self._curves(run.recipe["num_epochs"], run).draw(run.points, f"第 {number} 次", DPI))
        return run

    def _curves(self, num_epochs: int, front: Run | None = None) -> Curves:
        return Curves(num_epochs, past=self._past(front), width=_WIDTH, median=self.median)

    def _past(self, front: Run | None = None) -> list[tuple[str, list[Point]]]:
        """画在背景里的旧曲线，名字是它在表里的号码；front 在前面画，不在背景里。"""
        return [(str(i), run.points) for i, run in enumerate(self.runs, start=1) if run is not front]

    def close(self) -> None:
        """不再训练；正在训练的停下，走过的照样存下。"""
        self.closed = True
        self.background.stop()
