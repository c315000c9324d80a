"""这台机器训练多少：有 GPU 就是书上的配方，没有就按笔记本给出的缩减。"""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from matplotlib.figure import Figure
from torch import nn

from helpers.data import Batches, fashion_mnist
from helpers.device import pick_device
from helpers.diagnosis import Band, official_band
from helpers.plotting import ORANGE, Picture, chinese, picture
from helpers.training import steps


@dataclass(frozen=True)
class Plan:
    """一次训练的全部设置。改一项：`plan = plan.change(num_epochs=20)`；书上的全部：`plan = plan.book`。

    batch_size: 批量；size: 输入边长（像素）；lr: 学习率；num_epochs: 轮数。
    images: 训练图片张数，None 是全部 60000 张，测试集按 6:1 跟着变。
    widths: 传给网络函数的宽度，如 {"ratio": 4}。
    """

    batch_size: int = 256
    size: int = 28
    lr: float = 0.1
    num_epochs: int = 10
    images: int | None = None
    widths: dict[str, Any] = field(default_factory=dict)
    full: "Plan | None" = None  # 书上的配方；None 表示自己就是

    @property
    def book(self) -> "Plan":
        """书上的配方。"""
        return self.full or self

    @property
    def is_book(self) -> bool:
        """与书上的配方是否完全相同；相同才能与官方结果比较。"""
        return replace(self, full=None) == self.book

    def change(self, **changes: Any) -> "Plan":
        """改几项，得到新的计划；宽度也可以直接写，如 `plan.change(ratio=8)`。"""
        known = {name: value for name, value in changes.items() if name in self.__dataclass_fields__}
        widths = {name: value for name, value in changes.items() if name not in known}
        return replace(self, full=self.book, widths=self.widths | widths, **known)

    def band(self, network: str) -> Band | None:
        """网络的官方区间；配方不是书上的就是 None，因为不能比。"""
        return official_band(network) if self.is_book else None

    def data(self) -> tuple[Batches, Batches]:
        """(训练集, 测试集)，见 `fashion_mnist`。"""
        return fashion_mnist(self.batch_size, self.size, self.images)

    def seconds(self, make: Callable[..., nn.Module]) -> float:
        """在这台机器上大约要训练多少秒：实测几步再按张数放大，每轮的评估也算在内。"""
        train, test = fashion_mnist(self.batch_size, self.size, min(self.images or 60_000, 5 * self.batch_size))
        stepper = steps(make(**self.widths), train, test, lr=self.lr, num_epochs=10**6)
        marks = []
        for _ in islice(stepper, 2 + len(train) + len(test)):  # 头两步要分配内存，不算
            marks.append(time.perf_counter())
        stepper.close()
        images = train.images + test.images
        return (marks[-1] - marks[1]) / images * 70_000 / 60_000 * (self.images or 60_000) * self.num_epochs

    def preview(self, make: Callable[..., nn.Module]) -> Picture:
        """把书上的配方和这台机器的计划画成一张表，附上预计的时间。"""
        seconds = self.seconds(make)
        time_text = f"约 {seconds:.0f} 秒" if seconds < 120 else f"约 {seconds / 60:.0f} 分钟"
        defaults = {name: p.default for name, p in inspect.signature(make).parameters.items()}
        mine = self._rows()
        book = replace(self.book, widths=defaults | self.book.widths)._rows()
        names = list(mine)
        cells = [[book[name], mine[name]] for name in names] + [["", time_text]]
        with chinese():
            longest = max(len(text) for row in cells for text in row)  # 例如 VGG 的 conv_arch
            figure = Figure(figsize=(max(6, 0.17 * longest), 0.3 * (len(cells) + 1)), dpi=100)
            axes = figure.add_axes((0.2, 0, 0.8, 1))
            axes.axis("off")
            device = pick_device().type.upper()
            table = axes.table(cells, rowLabels=[*names, "预计时间"], colLabels=["书上的配方", f"这台机器（{device}）"],
                               loc="center", cellLoc="center", bbox=(0, 0, 1, 1))
            table.auto_set_font_size(False)
            for (row, column), cell in table.get_celld().items():
                cell.set(edgecolor="#dddddd")
                if column == 1 and 1 <= row <= len(names) and cells[row - 1][0] != cells[row - 1][1]:
                    cell.get_text().set_color(ORANGE)
        return picture(figure, "训练计划")

    def _rows(self) -> dict[str, str]:
        return {"批量": str(self.batch_size), "输入": f"{self.size}×{self.size}", "学习率": f"{self.lr:g}",
                "轮数": str(self.num_epochs), "训练图片": f"{self.images or 60_000:,}"
                } | {name: str(value).replace(" ", "") for name, value in self.widths.items()}


def budget(*, without_gpu: dict[str, Any] | None = None, **book: Any) -> Plan:
    """这台机器的计划。

    book: 书上的配方，名字同 Plan 的各项，其余的名字是宽度，如 ratio=4。
    without_gpu: 没有 GPU 时要改的几项。
    """
    plan = replace(Plan().change(**book), full=None)
    if without_gpu and pick_device().type == "cpu":
        return plan.change(**without_gpu)
    return plan
