"""一次训练，和它留下的东西。"""

from dataclasses import dataclass

import torch
from torch import nn

from helpers.data import Batches
from helpers.device import fast_dtype
from helpers.diagnosis import Band
from helpers.plotting import LivePlot
from helpers.training import Point, fit


@dataclass(frozen=True)
class Run:
    """一次训练。

    points: 曲线上的点；lr: 开始时的学习率；num_epochs: 打算训练的轮数，中断时 points 会短一些。
    device, dtype: 在哪里、用什么精度；seconds: 用了多少秒，评估和画图在内。
    note: 与官方区间的比较，或者中断、溢出的说明；都没有就是空的。
    """

    points: list[Point]
    lr: float
    num_epochs: int
    device: str
    dtype: str
    seconds: float
    note: str

    def __repr__(self) -> str:
        if not self.points:
            return f"Run(一个点也没有；{self.note})"
        last = self.points[-1]
        return (f"Run({last.epoch:.3g}/{self.num_epochs} 轮，损失 {last.loss:.3f}，训练精度 {last.train_acc:.3f}，"
                f"测试精度 {'–' if last.test_acc is None else format(last.test_acc, '.3f')}，"
                f"{self.device} {self.dtype}，{self.seconds:.0f} 秒)")


def train(net: nn.Module, train: Batches, test: Batches, *, lr: float, num_epochs: int, band: Band | None = None,
          dtype: torch.dtype | None = None) -> Run:
    """用 `fit` 训练并画出会动的曲线；中断或溢出时留下已有的部分。

    band: 书上的配方才给，官方区间画在曲线右端；其余参数见 `fit`。
    """
    dtype = dtype or fast_dtype(train.device)
    with LivePlot(num_epochs, band=band) as plot:
        for point in fit(net, train, test, lr=lr, num_epochs=num_epochs, dtype=dtype):
            plot.add(point)
    return Run(plot.points, lr, num_epochs, train.device.type, str(dtype).removeprefix("torch."), plot.seconds,
               plot.note)
