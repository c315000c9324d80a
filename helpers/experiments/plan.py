"""这台机器训练多少：有 GPU 就是书上的配方，没有就按笔记本给出的缩减。"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers.data.fashion import Half, fashion_mnist
from helpers.experiments.settings import label, show
from helpers.machine.device import GB, megabytes, memory_limit, pick_device
from helpers.network.forecast import Forecast, epoch_seconds, forecast
from helpers.network.initialization import xavier
from helpers.network.trace import trace
from helpers.pictures.canvas import Picture, grid_picture


@dataclass(frozen=True)
class Plan:
    """一次训练的全部设置。改一项：`plan = plan.change(num_epochs=20)`；书上的全部：`plan = plan.book`。

    make: 网络函数，如 lenet；widths: 传给它的宽度，如 {"ratio": 4}。
    batch_size: 批量；size: 输入边长（像素）；lr: 学习率；num_epochs: 轮数。
    images: 训练图片张数，None 是全部 60000 张，测试集按 6:1 跟着变。
    folder: 图片文件夹，见 `image_folder`；None 是 Fashion-MNIST。
    init: 初始化，用法是 net.apply(plan.init)。
    """

    make: Callable[..., nn.Module]
    batch_size: int = 256
    size: int = 28
    lr: float = 0.1
    num_epochs: int = 10
    images: int | None = None
    init: Callable[[nn.Module], None] = xavier
    widths: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None
    full: "Plan | None" = None  # 书上的配方；None 表示自己就是

    @property
    def book(self) -> "Plan":
        """书上的配方。"""
        return self.full or self

    @property
    def is_book(self) -> bool:
        """与书上的配方是否完全相同；相同才能与官方结果比较。"""
        return self.settings == self.book.settings

    @property
    def network(self) -> str:
        """网络的名字。"""
        return self.make.__name__

    @property
    def defaults(self) -> dict[str, Any]:
        """网络函数每个参数的默认值。"""
        return {name: p.default for name, p in inspect.signature(self.make).parameters.items()}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """输入形状 (1, C, H, W)。"""
        return 1, (self.defaults | self.widths).get("in_channels", 1), self.size, self.size

    @property
    def settings(self) -> dict[str, Any]:
        """全部设置，网络的每个宽度也在内。"""
        common = {"batch_size": self.batch_size, "size": self.size, "images": self.images or 60_000, "lr": self.lr,
                  "num_epochs": self.num_epochs, "init": self.init.__name__}
        widths = self.defaults | self.widths
        if self.folder is not None:
            del common["images"]
            common |= {"folder": self.folder, "num_classes": widths["num_classes"]}
        return common | {name: widths[name] for name in widths if name not in ("in_channels", "num_classes")}

    def change(self, **changes: Any) -> "Plan":
        """改几项，得到新的计划；宽度也可以直接写，如 `plan.change(ratio=8)`。没有这一项时抛出 ValueError。"""
        known = {name: value for name, value in changes.items() if name in self.__dataclass_fields__}
        widths = {name: value for name, value in changes.items() if name not in known}
        if unknown := widths.keys() - self.defaults.keys():
            raise ValueError(f"计划里没有 {'、'.join(sorted(unknown))}；能改的是 {'、'.join(self.settings)}。")
        return replace(self, full=self.book, widths=self.widths | widths, **known)

    def on(self, folder: str) -> "Plan":
        """同样的网络，换成一个图片文件夹：三个通道，类别数由文件夹定，全部图片。"""
        from helpers.data.folder import find_halves  # 只有这里要 torchvision；没有装好它，别的照样能用
        classes = sum(path.is_dir() for path in find_halves(Path(folder))[0].iterdir())
        return self.change(folder=folder, images=None, in_channels=3, num_classes=classes)

    def data(self) -> tuple[Half, Half]:
        """(训练集, 测试集)，见 `fashion_mnist`、`image_folder`。"""
        if self.folder is not None:
            from helpers.data.folder import image_folder
            return image_folder(self.folder, self.batch_size, self.size)
        return fashion_mnist(self.batch_size, self.size, self.images)

    def meta(self) -> nn.Module:
        """只有形状、不分配权重的网络。"""
        with torch.device("meta"):
            return self.make(**self.widths)

    def build(self) -> nn.Module:
        """建好的网络，在训练用的设备上，已经初始化；形状走不通或内存放不下时抛出 ValueError，那时什么也没有分配。"""
        trace(self.meta(), self.shape)
        need, limit = self.forecast(), memory_limit(pick_device())
        if need.total > limit:
            batch = need.largest_batch(limit)
            raise ValueError(need.sentence(limit) + (f"用 plan.change(batch_size={batch}) 改。" if batch else ""))
        return self.make(**self.widths).to(pick_device()).apply(self.init)

    def forecast(self) -> Forecast:
        """训练要多少内存，见 `forecast`。"""
        return forecast(self.meta(), self.shape, self.batch_size)

    def seconds(self) -> float:
        """在这台机器上大约要训练多少秒，每轮的评估也算在内。"""
        return self.num_epochs * epoch_seconds(self.build(), self.size, self.batch_size, self.images or 60_000)

    def preview(self) -> Picture:
        """把书上的配方和这台机器的计划画成一张表，附上预计的内存和时间。"""
        book, mine = (plan._rows() for plan in (self.book, self))
        need, limit = self.forecast(), memory_limit(pick_device())
        book["内存"], mine["内存"] = megabytes(self.book.forecast().total), megabytes(need.total)
        for name, size in (("4 GB", 4 * GB), ("8 GB", 8 * GB), (f"这台机器 {limit / GB:.1f} GB", limit)):
            mine[f"{name} 放得下"] = f"批量 {need.largest_batch(size):,}"
        if need.total < limit:
            seconds = self.seconds()
            mine["时间"] = f"约 {seconds:.0f} 秒" if seconds < 120 else f"约 {seconds / 60:.0f} 分钟"
        rows = [[name, book.get(name, ""), mine[name]] for name in mine]
        header = ["", "书上的配方", f"这台机器（{pick_device().type.upper()}）"]
        differ = {(i, 2) for i, (_, was, now) in enumerate(rows, start=1) if was and was != now}
        return grid_picture([header, *rows], "训练计划", marked=differ)

    def _rows(self) -> dict[str, str]:
        return {label(name): show(value) for name, value in self.settings.items()}


def budget(make: Callable[..., nn.Module], *, without_gpu: dict[str, Any] | None = None, **book: Any) -> Plan:
    """这台机器的计划。

    make: 网络函数；book: 书上的配方，名字同 Plan 的各项，其余的名字是宽度，如 ratio=4。
    without_gpu: 没有 GPU 时要改的几项。
    """
    plan = replace(Plan(make).change(**book), full=None)
    if without_gpu and pick_device().type == "cpu":
        return plan.change(**without_gpu)
    return plan
