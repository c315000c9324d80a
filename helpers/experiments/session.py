"""一次训练从头到尾：设置、每一步、怎样结束、诊断、存下。没有屏幕，也没有 asyncio。"""

import inspect
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers.arguments import brief, flag, instance
from helpers.book.official import Band
from helpers.data.split import Split
from helpers.experiments.checkpoint import kept, load_checkpoint, save_checkpoint
from helpers.experiments.diagnosis import diagnose
from helpers.experiments.plan import Plan, initialization_of
from helpers.experiments.run import Run, comparable_band, official_median
from helpers.experiments.settings import plain
from helpers.experiments.store import save, saved_runs
from helpers.machine.device import check_dtype, dtype_name, fast_dtype, memory_limit
from helpers.machine.dice import Dice, checked_seed
from helpers.machine.gauge import Gauge, reset_peak
from helpers.machine.interrupt import gentle_stop
from helpers.machine.memory import release_memory
from helpers.machine.team import rank, together, world_size
from helpers.network.borrow import evaluating
from helpers.network.forecast import forecast
from helpers.network.trace import trace
from helpers.pictures.curves import LivePlot
from helpers.training.checks import check_training
from helpers.training.loop import Point, Position, Rate, Turns, rate_now, steps

Loop = Callable[..., Iterator[Point]]
_ENDED_BY = {"memory": "内存不够。减小批量、输入边长或宽度再训练。", "diverged": "损失溢出。", "error": "出错了。"}
_ENDINGS = {KeyboardInterrupt: "interrupted", CancelledError: "interrupted", FloatingPointError: "diverged",
            MemoryError: "memory"}


class Session:
    """一次训练；笔记本、Explorer、命令行和存档都用它：

        with session:
            for point in session:       # 每一步交还一次控制；不该报告时是 None
                ...
        run = session.finish()

    中断、损失溢出、内存不够，到 with 为止：ended 说是哪一种，note 是一句话，points 和权重都留着。
    没有走完就离开 with，算中断；asyncio 的任务被取消（单元格被中断）也是。别的异常是 "error"，照样抛出。
    """

    def __init__(self, net: nn.Module, train: Split, test: Split, *, lr: Rate, num_epochs: int,
                 plan: Plan | None = None, seed: int | None = None, dtype: torch.dtype | None = None,
                 loop: Loop | None = None, checkpoint: Path | None = None, resume: bool = False,
                 cuda_graph: bool | None = None):
        """参数见 `train`；lr 也可以是一个函数，每一步都重新问它。"""
        self.num_epochs = num_epochs = check_training(net, train, test, num_epochs)
        _check(plan, loop, checkpoint, resume)
        self.net, self.train, self.plan, self.test_images = net, train, plan, test.images
        self.seed = None if seed is None else checked_seed(seed)
        self.dtype = check_dtype(dtype, fast_dtype(train.device) if loop is None else torch.float32)
        self.recipe, self.book_recipe = _recipes(net, train, rate_now(lr), num_epochs, plan)
        self.held = _held(net, train.device)
        self.memory = _memory(net, train, self.dtype, memory_limit(train.device) + self.held)
        self.started = datetime.now().isoformat(timespec="milliseconds")
        self.points: list[Point] = []
        self.ended, self.note, self.position = "interrupted", "", Position()
        self._from: tuple[int, int] | None = None  # 存档里走到了哪里
        reset_peak(train.device)
        self.gauge = Gauge(train.device)
        self.dice = None if self.seed is None else Dice(self.seed + rank())  # 各个进程的暂退法不同
        if loop is not None:
            if self.seed is not None:
                torch.manual_seed(self.seed + rank())  # 读者的循环从公共的生成器抽
            turns = _timed(loop, (net, train, test, lr, num_epochs), self.gauge)
        else:
            if checkpoint is not None and resume and checkpoint.exists():
                self.position, self.points, seconds = load_checkpoint(checkpoint, net, self._fixed(), self.dice)
                self.gauge.carry(seconds)
                self._from = self.position.epoch, self.position.batch
            turns = steps(net, train, test, lr=lr, num_epochs=num_epochs, dtype=self.dtype, gauge=self.gauge,
                          cuda_graph=cuda_graph, position=self.position, dice=self.dice)
            if checkpoint is not None:
                turns = kept(turns, lambda: save_checkpoint(checkpoint, net, self.position, self.points,
                                                            self._fixed(), self.gauge.seconds, self.dice))
        self._turns = self._record(turns)

    def _fixed(self) -> dict[str, Any]:
        """接着训练时要核对的：精度和种子也不能变。"""
        return self.recipe | {"dtype": dtype_name(self.dtype), "seed": self.seed}

    def _record(self, turns: Turns) -> Turns:
        with closing(turns):
            for point in turns:
                if point is not None:
                    self.points.append(point)
                yield point
        self.ended = "done"

    def __iter__(self) -> Iterator[Point | None]:
        return self._turns

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> bool:
        self._turns.close()
        if error is not None:
            self.ended = next((ended for known, ended in _ENDINGS.items() if isinstance(error, known)), "error")
        if self.ended == "done":
            last = self.points[-1].whole if self.points else None
            self.note = self.band.sentence(getattr(last, self.band.metric, None)) if self.band else ""
        elif self.ended == "interrupted":
            epoch = self.points[-1].epoch if self.points else 0
            self.note = f"在第 {epoch:.3g} 轮中断，已有的曲线和权重都留着。"
        else:
            self.note = str(error) or _ENDED_BY[self.ended]
        return isinstance(error, tuple(_ENDINGS))

    @property
    def left(self) -> int:
        """还有几轮没有走完。"""
        return self.num_epochs - self.position.epoch

    @property
    def band(self) -> Band | None:
        """官方区间；配方不是书上的就是 None。"""
        return comparable_band(self.plan.name if self.plan else "", self.recipe, self.book_recipe)

    def finish(self) -> Run:
        """训练结束了：诊断，存下，返回 Run。"""
        self.gauge.lap("drawing")
        peak = self.gauge.peak and self.gauge.peak + self.held  # 权重在开始之前就已经在了
        run = Run(network=self.plan.name if self.plan else "", recipe=self.recipe, book_recipe=self.book_recipe,
                  points=self.points, ended=self.ended, device=self.train.device.type, dtype=dtype_name(self.dtype),
                  seed=self.seed, started=self.started, seconds=self.gauge.seconds,
                  memory=self.memory | {"peak": peak}, classes=len(self.train.classes),
                  saturating=any(isinstance(m, nn.Sigmoid | nn.Tanh) for m in self.net.modules()),
                  final_lr=self.position.lr, test_images=self.test_images)
        if rank() == 0:
            run = self._diagnosed(run)
        release_memory(self.train.device)
        return run

    def _diagnosed(self, run: Run) -> Run:
        """存下，诊断，连诊断再存一次：诊断要运行读者的网络，什么错都可能出，训练不能因此丢掉。"""
        path = None if self._saved_before() else save(run)
        try:
            run = replace(run, findings=tuple(diagnose(run, self.net, self.train)))
            if run.findings and path is not None:
                save(run, path=path)
        except (Exception, KeyboardInterrupt) as error:
            warnings.warn(f"没有诊断完（{type(error).__name__}：{error}）；训练存下了。", stacklevel=3)
        return run

    def _saved_before(self) -> bool:
        """从存档起一步也没有走，这些点已经存过：不再存一份。"""
        return self._from == (self.position.epoch, self.position.batch) and any(
            each.points == self.points for each in saved_runs(self.plan.name if self.plan else ""))


def _recipes(net: nn.Module, train: Split, lr: float, num_epochs: int,
             plan: Plan | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(这次的全部设置, 书上的)；书上的不知道就是空的。"""
    params, macs = _costs(net, train)
    recipe = (plan.settings if plan else {}) | {
        "batch_size": train.batch_size * world_size(), "size": train.size, "images": train.images, "lr": lr,
        "num_epochs": num_epochs, "init": initialization_of(net), "params": params, "macs": macs}
    if together():
        recipe["processes"] = world_size()
    if plan is None:
        return plain(recipe), {}
    # 不同的宽度已经列出；只有网络与计划对不上时，参数个数才另说
    planned, book = _count_params(plan.meta()), _count_params(plan.book.meta())
    return plain(recipe), plain(plan.book.settings | {
        "params": recipe["params"] if recipe["params"] == planned else book})


def _costs(net: nn.Module, train: Split) -> tuple[int, int]:
    """(参数, 一张图的乘加)；真的一批走得通、清单却列不出来的网络，乘加是 0。走不通就抛出 ShapeError。"""
    try:
        table = trace(net, (1, train.channels, train.size, train.size))
    except Exception as error:
        try:
            with torch.no_grad(), evaluating(net.to(train.device)):
                net(next(train.some(train.batch_size)))
        except Exception:
            raise error from None
        return _count_params(net), 0
    return table.params, table.macs


def _held(net: nn.Module, device: torch.device) -> int:
    """权重、统计量和梯度在这个设备上已经占了多少字节：它们是训练要的内存的一部分，不用再分配。"""
    tensors = [*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters() if p.grad is not None)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.device.type == device.type)


def _memory(net: nn.Module, train: Split, dtype: torch.dtype, limit: float) -> dict[str, int]:
    """预计的内存和 limit 字节放得下的最大批量，字节、张；有的网络训练得了，却不能在 meta 上走，那就是 0。"""
    try:
        need = forecast(net, (1, train.channels, train.size, train.size), train.batch_size, dtype=dtype)
    except Exception:
        return {"forecast": 0, "largest_batch": 0}
    return {"forecast": need.total, "largest_batch": need.largest_batch(limit)}


def _count_params(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def _check(plan: Plan | None, loop: Loop | None, checkpoint: Path | None, resume: bool) -> None:
    """选项对不对得上；不对就抛出 TypeError 或 ValueError。"""
    if loop is not None:
        _check_loop(loop)
    if plan is not None:
        instance(plan, Plan, "plan 应当是一个计划，如 budget(lenet)")
    if checkpoint is not None:
        instance(checkpoint, Path, "checkpoint 应当是一个路径，如 Path('lenet.pt')")
        if loop is not None:
            raise ValueError("自己写的循环（loop）存不了档：去掉 checkpoint，或者不给 loop。")
        if checkpoint.is_dir():
            raise ValueError(f"checkpoint 应当是一个文件，{checkpoint} 是文件夹。")
    if flag("resume", resume) and checkpoint is None:
        raise ValueError("接着训练（resume）要有存档：同时给出 checkpoint。")


_LOOP = "loop 应当是一个函数，参数是 (net, train, test, lr, num_epochs)，给出一个个 Point"


def _check_loop(loop: Loop) -> None:
    try:
        inspect.signature(loop).bind(*range(5))
    except TypeError as error:
        raise TypeError(f"{_LOOP}；收到的是 {brief(loop)}。") from error


def _timed(loop: Loop, arguments: tuple[Any, ...], gauge: Gauge) -> Generator[Point, None, None]:
    """读者自己的循环给出的点，里面分不出取数据、更新和评估。走第一步才调用它：它也许一口气训练完。"""
    gauge.lap("drawing")
    points = instance(loop(*arguments), Iterable, _LOOP)
    with closing(points) if isinstance(points, Generator) else nullcontext():
        for point in points:
            gauge.lap("loop")
            yield instance(point, Point, _LOOP)
            gauge.lap("drawing")


def train(net: nn.Module, train: Split, test: Split, *, lr: Rate, num_epochs: int, plan: Plan | None = None,
          seed: int | None = None, loop: Loop | None = None, dtype: torch.dtype | None = None,
          checkpoint: Path | None = None, resume: bool = False, cuda_graph: bool | None = None) -> Run:
    """训练并画出会动的曲线，返回 Run，也存一份；中断或溢出时留下已有的部分。

    plan: 给了才知道网络的名字和书上的配方，也才能与官方结果比较。
    seed: 给了，图片的次序和网络里的随机数（暂退法）就由它定，别处的 torch.manual_seed 改变不了，训练也不改变别处的
        随机数；也记进 Run。没有给，就照读者自己的 torch.manual_seed。
    loop: 自己写的训练循环，参数是 (net, train, test, lr, num_epochs)，给出一个个 Point；默认用 `fit`。
        dtype、cuda_graph 只管 `fit`。
    checkpoint: 存档的文件，每一轮和中断时存一次；resume: 有存档就从那里接着训练，没有就从头。
    其余参数见 `fit`。
    """
    with gentle_stop() as interrupts:  # 准备、诊断、存下和最后一帧都不该被一次中断打断；训练的时候才立刻停
        session = Session(net, train, test, lr=lr, num_epochs=num_epochs, plan=plan, seed=seed, loop=loop, dtype=dtype,
                          checkpoint=checkpoint, resume=resume, cuda_graph=cuda_graph)
        if session.points and rank() == 0:
            print(f"从存档接着训练：已经有 {session.points[-1].epoch:.3g} 轮。" if session.left else
                  f"存档里的 {session.num_epochs} 轮已经走完，没有再训练；要接着训练，加大 num_epochs。")
        median = official_median(plan.name if plan else "", session.recipe)
        with LivePlot(session.num_epochs, band=session.band, median=median, quiet=rank() > 0) as plot:
            for point in session.points:
                plot.add(point)
            try:
                with session, interrupts.at_once():
                    for point in session:
                        if point is not None:
                            plot.add(point)
            except Exception:  # 读者的循环、网络或学习率的函数出了错：已有的点存下，错误照样抛出
                if session.points:
                    session.finish()
                raise
            run = session.finish()
            plot.conclude(session.note, aloud=session.ended != "done")
        return run
