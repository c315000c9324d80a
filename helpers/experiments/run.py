"""一次训练，和它留下的东西。"""

import csv
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import nn
from wcwidth import wcswidth

from helpers.book.official import Band, official_band, reference_runs
from helpers.data.fashion import Half
from helpers.experiments.checkpoint import gentle_stop, load_checkpoint, save_checkpoint
from helpers.experiments.diagnosis import diagnose, too_short
from helpers.experiments.plan import Plan
from helpers.experiments.settings import describe_changes, describe_differences, differences, label, plain, show
from helpers.machine.device import fast_dtype, megabytes, memory_limit
from helpers.machine.gauge import Gauge, reset_peak
from helpers.machine.memory import release_memory
from helpers.machine.team import rank, together, world_size
from helpers.network.forecast import forecast
from helpers.network.initialization import recognize
from helpers.network.trace import trace
from helpers.paths import runs_folder
from helpers.pictures.canvas import Picture, grid_picture
from helpers.pictures.curves import LivePlot, draw_curves
from helpers.training.loop import Point, Position, fit, steps

_PARTS = {"data": "数据", "steps": "更新", "evaluation": "评估", "loop": "自己写的循环", "drawing": "画图"}


@dataclass(frozen=True)
class Run:
    """一次训练：怎样训练的，走过的曲线，花掉的时间和内存，结论。

    network: 网络的名字，如 "lenet"；recipe: 这次的全部设置，book: 书上的（不知道就是空的）。
    points: 曲线上的点；ended: "done" 完成，"interrupted" 中断，"diverged" 损失溢出，"memory" 内存不够。
    device, dtype: 在哪里、用什么精度；seed: 最近一次 torch.manual_seed 的种子；started: 开始的时刻。
    seconds: 时间花在哪里，秒：data、steps、evaluation、drawing，加起来就是全部；自己写的循环里分不出前三项，合成 loop。
    memory: 预计和实际的内存峰值，字节：forecast、peak（没有量到就是 0）；largest_batch: 预计放得下的最大批量。
    findings: 诊断，一句一条；没有毛病就是空的。
    """

    network: str
    recipe: dict[str, Any]
    book: dict[str, Any]
    points: list[Point]
    ended: str
    device: str
    dtype: str
    seed: int
    started: str
    seconds: dict[str, float]
    memory: dict[str, int]
    findings: list[str] = field(default_factory=list)

    @property
    def last(self) -> Point | None:
        """曲线的最后一点。"""
        return self.points[-1] if self.points else None

    @property
    def test_acc(self) -> float | None:
        """最近一次评估的测试精度。"""
        return next((p.test_acc for p in reversed(self.points) if p.test_acc is not None), None)

    @property
    def finished(self) -> bool:
        """打算训练的轮数是不是都走完了。"""
        return self.ended == "done"

    @property
    def name(self) -> str:
        """与书上不同的设置，用作图例；都相同就是「书上的配方」。"""
        return describe_changes(self.recipe, self.book) or "书上的配方"

    @property
    def band(self) -> Band | None:
        """官方区间；配方不是书上的就是 None。"""
        return _band(self.network, self.recipe, self.book)

    @property
    def verdict(self) -> str:
        """与官方结果比较的一句话；不能比就说为什么。"""
        if not self.book:
            return "不知道书上的配方，不与官方结果比较。"
        if changed := describe_differences(self.recipe, self.book):
            return f"配方与书上不同（{changed}），不与官方结果比较。"
        if self.band is None:
            return "没有这个网络的官方结果。"
        if not self.finished:
            return "训练没有完成，不与官方结果比较。"
        return self.band.sentence(getattr(self.last, self.band.metric, None))

    @property
    def finding(self) -> str:
        """第一条诊断；没有毛病是「正常」，走得太短是「还看不出来」。"""
        return self.findings[0] if self.findings else "还看不出来" if too_short(self) else "正常"

    @property
    def throughput(self) -> tuple[float, float]:
        """每秒训练多少张图：(书上的算法，只算更新；从头到尾，取数据、评估和画图都算)。"""
        images = self.recipe["images"] * (self.last.epoch if self.last else 0)
        return tuple(images / spent if spent else 0.0 for spent in (self.seconds.get("steps"), self.total))

    @property
    def total(self) -> float:
        """一共多少秒。"""
        return sum(self.seconds.values())

    def rows(self) -> list[tuple[str, str]]:
        """表格的各行：(名目, 值)。"""
        last, (steps, honest) = self.last, self.throughput
        status = {"done": "完成", "interrupted": "中断", "diverged": "溢出", "memory": "内存不够"}[self.ended]
        result = "一个点也没有" if last is None else (
            f"{last.epoch:.3g}/{self.recipe['num_epochs']} 轮，损失 {last.loss:.3f}，训练精度 {last.train_acc:.3f}，"
            f"测试精度 {'–' if self.test_acc is None else format(self.test_acc, '.3f')}")
        # CPU 上只看得到进程变大了多少，重用的旧内存不算在内
        peak = self.memory["peak"]
        measured = f"{'增加' if self.device == 'cpu' else ''} {megabytes(peak)}" if peak else "没有量"
        parts = [f"{name} {self.seconds[key]:.1f}" for key, name in _PARTS.items() if key in self.seconds]
        return [("网络", f"{self.network or '?'}（{self.name}）"), ("结果", f"{status}：{result}"),
                ("环境", f"{self.device}，{self.dtype}，种子 {self.seed}，初始化 {self.recipe['init']}"),
                ("时间", f"{self.total:.1f} 秒 = {' + '.join(parts)}"),
                ("每秒图片", (f"只算更新（书上的算法）{steps:,.0f}，" if steps else "") + f"全部都算 {honest:,.0f}"),
                ("内存", f"预计 {megabytes(self.memory['forecast'])}，实际{measured}"),
                ("判断", self.verdict)]

    def __repr__(self) -> str:
        return "\n".join([*(name + " " * (10 - wcswidth(name)) + value for name, value in self.rows()),
                          *(f"！{finding}" for finding in self.findings)])

    def picture(self) -> Picture:
        """画成图的表格和诊断。"""
        *rows, (_, judged) = self.rows()
        notes = [judged, *(f"！{finding}" for finding in self.findings)]
        return grid_picture([("这次训练", ""), *rows], "这次训练", notes=notes)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        # 数字每次不同，笔记本里放在图上
        card = self.picture()
        return {"text/plain": repr(card), "image/png": card.png}


class Recording:
    """训练开始时记下设置，结束时得到 Run；`train` 和 `Explorer` 都用它。"""

    def __init__(self, net: nn.Module, train: Half, *, lr: float, num_epochs: int, dtype: torch.dtype,
                 plan: Plan | None = None):
        self.net, self.train, self.dtype, self.plan = net, train, dtype, plan
        self.shape = (1, train.channels, train.size, train.size)
        self.recipe = plain((plan.settings if plan else {}) | {
            "batch_size": train.batch_size * world_size(), "size": train.size, "images": train.images, "lr": lr,
            "num_epochs": num_epochs, "init": recognize(net), "params": count_params(net),
            "macs": trace(net, self.shape).macs} | ({"processes": world_size()} if together() else {}))
        self.book = plain(plan.book.settings | {"params": count_params(plan.book.meta())}) if plan else {}
        if plan and self.recipe["params"] == count_params(plan.meta()):
            self.book["params"] = self.recipe["params"]  # 不同的宽度已经列出；只有网络与计划对不上时才另说
        self.need = forecast(net, self.shape, train.batch_size, dtype=dtype)
        self.limit = memory_limit(train.device)
        self.started = datetime.now().isoformat(timespec="milliseconds")
        self.weights = sum(t.numel() * t.element_size() for t in net.parameters())
        reset_peak(train.device)
        self.gauge = Gauge(train.device)

    @property
    def band(self) -> Band | None:
        """官方区间；配方不是书上的就是 None。"""
        return _band(self.plan.network if self.plan else "", self.recipe, self.book)

    def finish(self, points: list[Point], ended: str, folder: Path | None = None) -> Run:
        """训练结束了：诊断，存进文件夹，返回 Run。"""
        self.gauge.lap("drawing")
        peak = self.gauge.peak and self.gauge.peak + self.weights  # 权重在开始之前就已经在了
        run = Run(self.plan.network if self.plan else "", self.recipe, self.book, list(points), ended,
                  self.train.device.type, str(self.dtype).removeprefix("torch."), torch.initial_seed(), self.started,
                  self.gauge.seconds, {"forecast": self.need.total, "peak": peak,
                                       "largest_batch": self.need.largest_batch(self.limit)})
        if rank() == 0:
            run.findings.extend(diagnose(run, self.net, self.train))
            save(run, folder)
        release_memory(self.train.device)
        return run


def train(net: nn.Module, train: Half, test: Half, *, lr: float, num_epochs: int, plan: Plan | None = None,
          loop: Callable[..., Iterator[Point]] | None = None, dtype: torch.dtype | None = None,
          checkpoint: Path | None = None, resume: bool = False, cuda_graph: bool = False) -> Run:
    """训练并画出会动的曲线，返回 Run，也存一份；中断或溢出时留下已有的部分。

    plan: 给了才知道网络的名字和书上的配方，也才能与官方结果比较。
    loop: 自己写的训练循环，参数是 (net, train, test, lr, num_epochs)，给出一个个 Point；默认用 `fit`。
        dtype、cuda_graph 只管 `fit`。
    checkpoint: 存档的文件，每一轮和中断时存一次；resume: 有存档就从那里接着训练，没有就从头。
    其余参数见 `fit`。
    """
    dtype = dtype or (fast_dtype(train.device) if loop is None else torch.float32)
    recording = Recording(net, train, lr=lr, num_epochs=num_epochs, dtype=dtype, plan=plan)
    options = {"lr": lr, "num_epochs": num_epochs, "dtype": dtype, "gauge": recording.gauge,
               "cuda_graph": cuda_graph}
    if loop:
        points = _timed(loop(net, train, test, lr, num_epochs), recording.gauge)
    elif checkpoint is None:
        points = fit(net, train, test, **options)
    else:
        position, past = Position(), []
        if resume and checkpoint.exists():
            position, past, seconds = load_checkpoint(checkpoint, net, recording.recipe)
            recording.gauge.carry(seconds)
            if rank() == 0:
                print(f"从存档接着训练：已经有 {past[-1].epoch if past else 0:.3g} 轮。")
        points = _kept(steps(net, train, test, position=position, **options), past,
                       lambda: save_checkpoint(checkpoint, net, position, past, recording.recipe,
                                               recording.gauge.seconds))
    with LivePlot(num_epochs, band=recording.band, quiet=rank() > 0) as plot:
        for point in points:
            plot.add(point)
    return recording.finish(plot.points, ending(plot.error))


def _timed(points: Iterator[Point], gauge: Gauge) -> Iterator[Point]:
    """读者自己的循环，里面分不出取数据、更新和评估。"""
    gauge.lap("drawing")
    for point in points:
        gauge.lap("loop")
        yield point
        gauge.lap("drawing")


def _kept(turns: Iterator[Point | None], points: list[Point], store: Callable[[], None]) -> Iterator[Point]:
    """先给出存档里已有的点，再接着训练；每一轮和中断时存一次。points: 已有的点，新的也加进去。"""
    yield from list(points)
    with gentle_stop() as stopped:
        try:
            for point in turns:
                if point is not None:
                    points.append(point)
                    yield point
                stop = stopped and rank() == 0  # 别的进程没有什么可存，0 号走了它们就停在求和上
                if stop or (point is not None and point.test_acc is not None):
                    store()
                if stop:
                    raise KeyboardInterrupt
        except RuntimeError as error:
            if stopped and rank() > 0:  # 0 号已经走了，求和求不成
                raise KeyboardInterrupt from error
            raise


def _band(network: str, recipe: dict[str, Any], book: dict[str, Any]) -> Band | None:
    comparable = network in reference_runs()["runs"] and "folder" not in recipe and not differences(recipe, book)
    return official_band(network) if comparable else None


def ending(error: BaseException | None) -> str:
    """`LivePlot.error` 说明训练怎样结束的，见 Run.ended。"""
    if error is None:
        return "done"
    return {FloatingPointError: "diverged", MemoryError: "memory"}.get(type(error), "interrupted")


def count_params(net: nn.Module) -> int:
    """参数个数。"""
    return sum(p.numel() for p in net.parameters())


def save(run: Run, folder: Path | None = None) -> Path | None:
    """存成一个 JSON 文件，先写在旁边再改名，所以不会有半个文件；存不下时说一句，返回 None。"""
    folder = folder or runs_folder()
    path = folder / f"{run.started.replace(':', '')}-{run.network or 'net'}-{uuid4().hex[:6]}.json"
    draft = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(run), ensure_ascii=False, allow_nan=False), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        warnings.warn(f"这次训练没有存下来（{error.strerror}：{folder}）；结果还在内存里。", stacklevel=2)
        return None
    return path


def saved_runs(network: str | None = None, folder: Path | None = None) -> list[Run]:
    """存下的训练，从早到晚；network: 只要这个网络的。读不出来的文件跳过，说出名字。"""
    found = []
    for path in sorted((folder or runs_folder()).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run = Run(**content | {"points": [Point(**point) for point in content["points"]]})
        except (OSError, ValueError, TypeError, KeyError) as error:
            warnings.warn(f"跳过读不出来的 {path.name}（{type(error).__name__}）；可以删掉它。", stacklevel=2)
            continue
        if network in (None, run.network):
            found.append(run)
    return found


def compare(runs: Iterable[Run]) -> Picture:
    """几次训练：曲线画在一张图里，下面一张表。"""
    runs = list(runs)
    if not runs:
        raise ValueError("没有可以比较的训练。先训练一次。")
    names = _distinguish(runs)
    rows = [("", "网络", "设置", "轮数", "训练精度", "测试精度", "秒", "诊断")]
    for i, (run, name) in enumerate(zip(runs, names, strict=True), start=1):
        last = run.last
        rows.append((str(i), run.network, name, f"{last.epoch:.3g}" if last else "0",
                     f"{last.train_acc:.3f}" if last else "–", "–" if run.test_acc is None else f"{run.test_acc:.3f}",
                     f"{run.total:.0f}", _shorten(run.finding)))
    curves = {f"{i} {_shorten(name)}": run.points for i, (run, name) in enumerate(zip(runs, names, strict=True), 1)}
    return grid_picture(rows, f"{len(runs)} 次训练", above=lambda figure: draw_curves(figure, curves))


def _distinguish(runs: list[Run]) -> list[str]:
    """每一次与别的几次不同的设置；只有一次就是与书上不同的。"""
    if len(runs) == 1:
        return [runs[0].name]
    keys = [key for key in runs[-1].recipe
            if key not in ("params", "macs") and len({str(run.recipe.get(key)) for run in runs}) > 1]
    return ["，".join(f"{label(key)} {show(run.recipe[key])}" for key in keys if key in run.recipe) or run.name
            for run in runs]


def _shorten(text: str, columns: int = 48) -> str:
    while wcswidth(text) > columns:
        text = text[:-2] + "…"
    return text


def export_csv(runs: Iterable[Run], path: Path | str) -> Path:
    """把曲线写成 CSV，一行一个点，前面是这次训练的设置；Excel 打开就有汉字。"""
    path, runs = Path(path), list(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.recipe))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "network", "started", "device", "dtype", "seed", *names,
                         "epoch", "loss", "train_acc", "test_acc"])
        for i, run in enumerate(runs, start=1):
            for point in run.points:
                writer.writerow([i, run.network, run.started, run.device, run.dtype, run.seed,
                                 *(run.recipe.get(name, "") for name in names),
                                 point.epoch, point.loss, point.train_acc, point.test_acc])
    return path
