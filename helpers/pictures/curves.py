"""会动的损失与精度曲线。"""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm
from wcwidth import wcswidth

from helpers.arguments import brief, flag, listed
from helpers.book.official import Band
from helpers.pictures.canvas import BLUE, GREEN, GREY, ORANGE, Picture, canvas, chinese, verbatim
from helpers.pictures.doors import HIGHEST, amount, named, of_kind, wording
from helpers.pictures.pen import reference_line
from helpers.pictures.png import DPI, PAGE, bundle, encode, squeeze
from helpers.training.loop import Point

_POINT = Point, "训练曲线上的一点，如 run.points 里的"


class Curves:
    """左边损失、右边精度；坐标轴只画一次，之后每一帧只画线和标题。

    num_epochs: 横轴的长度；past: 要在背景里对照的旧曲线 [(名字, 点), …]；band: 官方区间；width: 宽，英寸；
    median: 书上全部配方的官方运行，测试精度的中位数。
    """

    def __init__(self, num_epochs: int, past: Sequence[tuple[str, Sequence[Point]]] = (), band: Band | None = None,
                 width: float = 8.4, median: float | None = None):
        self.num_epochs, self.past, self.band, self.width = max(1, num_epochs), past, band, width
        self.median = median
        self.top = 2.5  # 损失轴的上限：随机猜是 2.3
        self._lay_out(PAGE)

    def draw(self, points: Sequence[Point], title: str, dpi: int = PAGE) -> bytes:
        """画出这些点，返回 PNG。dpi: 每英寸几个像素；会动的帧用 PAGE，快；留下来的用 DPI，清楚。"""
        with chinese():
            highest = max((_loss(p) for p in points if p.loss < math.inf), default=0.0)
            if highest > self.top or dpi != self.figure.dpi:
                self.top = max(self.top, 1.2 * highest)
                self._lay_out(dpi)
            self.canvas.restore_region(self.background)
            tested = [p for p in points if p.test_acc is not None]
            self.lines[0].set_data([p.epoch for p in points], [_loss(p) for p in points])
            self.lines[1].set_data([p.epoch for p in points], [p.train_acc for p in points])
            self.lines[2].set_data([p.epoch for p in tested], [p.test_acc for p in tested])
            self.title.set_text(verbatim(title))
            for artist in (*self.lines, self.title):
                self.figure.draw_artist(artist)
            return encode(np.asarray(self.canvas.buffer_rgba()), dpi)

    def _lay_out(self, dpi: int) -> None:
        """画坐标轴和背景里的一切，存成底图。"""
        with chinese():
            self.figure = Figure(figsize=(self.width, 3.2), dpi=dpi)
            self.canvas = FigureCanvasAgg(self.figure)
            left, right = self.figure.subplots(1, 2)
            self.figure.subplots_adjust(left=0.5 / self.width, right=0.98, bottom=0.18, top=0.82,
                                        wspace=0.5 / self.width + 0.1)
            for axes, top, label in ((left, self.top, "损失"), (right, 1.0, "精度")):
                axes.set(xlim=(0, self.num_epochs * 1.03), ylim=(0, top))
                _decorate(axes, label)
            for name, points in self.past:
                tested = [p for p in points if p.test_acc is not None]
                left.plot([p.epoch for p in points], [_loss(p) for p in points], color=GREY, lw=1)
                right.plot([p.epoch for p in tested], [p.test_acc for p in tested], color=GREY, lw=1)
                if tested:
                    right.annotate(verbatim(name), (tested[-1].epoch, tested[-1].test_acc), color=GREY, fontsize=7,
                                   ha="right", va="bottom")
            if self.band:
                right.plot([self.num_epochs * 1.015] * 2, [self.band.low, self.band.high], color=GREEN, alpha=0.35,
                           lw=6, solid_capstyle="butt", label="官方 5–95 %")
            if self.median is not None:
                reference_line(right, self.median, "官方测试中位数", 7, color=GREEN, lw=1, ls=":")  # 窄的图，图例放不下
            self.lines = [*left.plot([], [], color=BLUE, animated=True),
                          *right.plot([], [], color=BLUE, animated=True, label="训练"),
                          *right.plot([], [], color=ORANGE, marker="o", ms=3.5, animated=True, label="测试")]
            right.legend(loc="lower right", bbox_to_anchor=(1, 1), borderpad=0, frameon=False, ncols=4, fontsize=9,
                         handlelength=1.2, columnspacing=0.8, handletextpad=0.5)
            self.title = self.figure.text(0.5 / self.width, 0.94, "", animated=True)
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(self.figure.bbox)


def _loss(point: Point) -> float:
    """画得出的损失：坐标轴放不下再大的，没有数的不画。"""
    return min(point.loss, HIGHEST) if point.loss < math.inf else math.nan


def _decorate(axes: Axes, title: str) -> None:
    axes.set_xlabel("轮")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(alpha=0.25)


def compare_curves(curves: Mapping[str, Sequence[Point]]) -> Picture:
    """几次训练画在一张图里：左边损失，右边精度（点线是训练，实线是测试）。"""
    curves = named("curves", curves, partial(listed, least=0), of_kind, *_POINT)
    with canvas(8.4, curves_height(curves), "、".join(curves)) as drawn:
        draw_curves(drawn.figure, curves)
    return drawn


def curves_height(names: Iterable[str]) -> float:
    """`draw_curves` 的图多高，英寸：图例一个字也不截，一行放不下就多几行。"""
    return 3.2 + 0.2 * _legend(names)[1]


def _legend(names: Iterable[str]) -> tuple[int, int]:
    """图例的 (列数, 行数)，一行至多 105 列，汉字占两列。"""
    widths = [wcswidth(name) + 8 for name in names]
    columns = max(1, min(3, len(widths), 105 // max(widths, default=1)))
    return columns, -(-len(widths) // columns)


def draw_curves(figure: Figure | SubFigure, curves: Mapping[str, Sequence[Point]]) -> None:
    """在 figure 里画几次训练的损失和精度，图例在下面。"""
    left, right = figure.subplots(1, 2)
    for i, (name, points) in enumerate(curves.items()):
        epochs, tested = [p.epoch for p in points], [p for p in points if p.test_acc is not None]
        left.plot(epochs, [_loss(p) for p in points], color=f"C{i}", label=verbatim(name))
        right.plot(epochs, [p.train_acc for p in points], color=f"C{i}", ls=":", lw=1)
        right.plot([p.epoch for p in tested], [p.test_acc for p in tested], color=f"C{i}", marker="o", ms=3.5)
    _decorate(left, "损失")
    _decorate(right, "精度（点线训练，实线测试）")
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1)
    height = curves_height(curves)
    figure.legend(loc="lower center", ncols=_legend(curves)[0], frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=(height - 2.5) / height, top=1 - 0.27 / height, wspace=0.16)


class LivePlot:
    """一边训练一边画的曲线；它只画，训练怎样结束由 `Session` 说：

        with LivePlot(num_epochs) as plot:
            for point in fit(net, train, test, lr=lr, num_epochs=num_epochs):
                plot.add(point)

    笔记本里只占一个输出，原地更新，每秒最多十帧，画图的时间不到训练的 2 %；普通 Python 里每轮打印一行。
    离开 with 时（出错也一样）画最后一帧，`points`（Point 的列表）都留着。
    past、band、width、median 见 Curves；show 是收下每一帧 PNG 的函数，默认显示在当前的单元格下面。
    quiet: 只记下点，不画也不说：几个进程一起训练时，只有一个来画。
    """

    def __init__(self, num_epochs: int, *, past: Sequence[tuple[str, Sequence[Point]]] = (), band: Band | None = None,
                 width: float = 8.4, median: float | None = None, show: Callable[[bytes], None] | None = None,
                 quiet: bool = False):
        past, quiet = _check_plot(num_epochs, past, band, width, median, show), flag("quiet", quiet)
        self.points: list[Point] = []
        self.num_epochs, self.note = num_epochs, ""
        self._speak = show is None and not quiet  # 自己占一个单元格的输出时才打印；回调里不打印
        self._show = None if quiet else show or _notebook_display()
        self._curves = Curves(num_epochs, past, band, width, median) if self._show else None
        # 终端里另有一个进度条；输出不是终端时 tqdm 自己不画
        self._bar = None if self._show or quiet else tqdm(
            total=num_epochs, disable=None, leave=False, bar_format="{bar} {n:.1f}/{total} 轮，还要 {remaining} {desc}")
        self._next_frame = 0.0

    def __enter__(self) -> "LivePlot":
        self._draw()
        return self

    def add(self, point: Point) -> None:
        """加一个点；到了下一帧的时间才画。"""
        self.points.append(of_kind("point", point, *_POINT))
        if self._bar is not None:
            self._bar.set_description_str(f"损失 {point.loss:.3f}", refresh=False)
            self._bar.update(point.epoch - self._bar.n)
            if point.test_acc is not None:
                self._bar.write(self.status())
        elif self._curves is not None and time.perf_counter() >= self._next_frame:
            self._draw()

    def status(self) -> str:
        """此刻的一行字：轮数、损失、精度。"""
        if not self.points:
            return f"准备训练 {self.num_epochs} 轮"
        point = self.points[-1].whole
        test = [p.test_acc for p in self.points if p.test_acc is not None]
        text = f"第 {point.epoch:.3g}/{self.num_epochs} 轮   损失 {point.loss:.3f}   训练精度 {point.train_acc:.3f}"
        return text + (f"   测试精度 {test[-1]:.3f}" if test else "")

    def conclude(self, note: str, aloud: bool = False) -> None:
        """最后的一句话，代替 status() 写在图上；终端里打印出来，aloud 时笔记本里也打印。

        每台机器都不同的话不该 aloud：它会进笔记本的文字输出。
        """
        self.note = note
        if self._bar is not None:
            self._bar.close()
        if note and self._speak and (aloud or self._curves is None):
            print(note)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._curves is not None and self._show is not None:
            self._show(squeeze(self._curves.draw(self.points, self.note or self.status(), DPI)))

    def _draw(self) -> None:
        if self._curves is None or self._show is None:
            return
        started = time.perf_counter()
        self._show(self._curves.draw(self.points, self.status()))
        now = time.perf_counter()
        # 每秒最多十帧；画一帧之后至少训练五十倍的时间，画图就不会超过 2 %
        self._next_frame = now + max(0.1, 50 * (now - started))


def _check_plot(num_epochs: Any, past: Any, band: Any, width: Any, median: Any,
                show: Any) -> list[tuple[str, list[Point]]]:
    """LivePlot 的设置画得出，返回 past；不是就抛出 TypeError 或 ValueError。"""
    amount("num_epochs", num_epochs)
    amount("width", width, 0.6)
    if median is not None:
        amount("median", median)
    if band is not None:
        of_kind("band", band, Band, "官方区间，如 official_band('lenet')")
    if show is not None and not callable(show):
        raise TypeError(f"show 应当是收下一帧 PNG 的函数，收到的是 {brief(show)}。")
    pairs = [listed(f"past[{k}]", pair, count=2) for k, pair in enumerate(listed("past", past, least=0))]
    return [(wording("past 里的名字", name), listed(f"past 的 {brief(name)}", points, of_kind, *_POINT, least=0))
            for name, points in pairs]


def _notebook_display() -> Callable[[bytes], None] | None:
    """在笔记本里返回一个原地更新的显示函数；不在笔记本里返回 None。"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    handle = None

    def show(png: bytes) -> None:
        nonlocal handle
        data, metadata = bundle(png, "〔图：训练曲线〕")
        if handle is None:
            handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            handle.update(data, metadata=metadata, raw=True)

    return show
