"""这台机器训练多少：有 GPU 就是书上的配方，没有就按笔记本给出的缩减。"""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from helpers.arguments import brief, instance
from helpers.data.fashion import fashion_mnist
from helpers.data.split import Split
from helpers.experiments.recipe import CHANGEABLE, OF_THE_DATA, Initialization, Recipe, checked, name_of
from helpers.experiments.settings import label, show
from helpers.machine.device import GB, megabytes, memory_limit, pick_device
from helpers.machine.dice import seeded
from helpers.network.forecast import Forecast, forecast
from helpers.network.initialization import Unfilled, recognize
from helpers.network.trace import trace
from helpers.pictures.canvas import Picture, aligned, table_picture
from helpers.training.loop import steps

# 刚由计划建好、还没有训练过的网络，是用哪种初始化建的
_untrained: "WeakKeyDictionary[nn.Module, str]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Plan:
    """一个网络和训练它的配方。改一项：`plan = plan.change(num_epochs=20)`；书上的全部：`plan = plan.book`。

    name: 网络的名字，如 "lenet"；make: 网络函数；recipe: 这次的配方；book_recipe: 书上的。
    """

    name: str
    make: Callable[..., nn.Module]
    recipe: Recipe
    book_recipe: Recipe

    @property
    def batch_size(self) -> int:
        """批量。"""
        return self.recipe.batch_size

    @property
    def size(self) -> int:
        """输入边长，像素。"""
        return self.recipe.size

    @property
    def lr(self) -> float:
        """学习率。"""
        return self.recipe.lr

    @property
    def num_epochs(self) -> int:
        """轮数。"""
        return self.recipe.num_epochs

    @property
    def init(self) -> Initialization:
        """初始化，用法是 net.apply(plan.init)。"""
        return self.recipe.init

    @property
    def widths(self) -> dict[str, Any]:
        """与默认不同的宽度，用法是 make(**plan.widths)。"""
        return dict(self.recipe.widths)

    @property
    def book(self) -> "Plan":
        """书上的配方。"""
        return replace(self, recipe=self.book_recipe)

    @property
    def is_book(self) -> bool:
        """与书上的配方是否完全相同；相同才能与官方结果比较。"""
        return self.settings == self.book.settings

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
        return self.recipe.settings(self.defaults | self.widths)

    def change(self, **changes: Any) -> "Plan":
        """改几项，得到新的计划；宽度也可以直接写，如 `plan.change(ratio=8)`。

        init 写函数，或者 "xavier"、"kaiming"、"default"。没有这一项，或者值不能用时抛出 ValueError。
        """
        widths = {name: value for name, value in self.defaults.items() if name not in OF_THE_DATA}
        if unknown := changes.keys() - widths.keys() - {*CHANGEABLE}:
            raise ValueError(f"计划里没有 {'、'.join(sorted(unknown))}；能改的是 {'、'.join((*CHANGEABLE, *widths))}。")
        new = {name: checked(name, value, widths.get(name)) for name, value in changes.items()}
        return _changed(self, *({name: new[name] for name in new if name in group} for group in (CHANGEABLE, widths)))

    def on(self, folder: str | Path) -> "Plan":
        """同样的网络，换成一个图片文件夹：三个通道，类别数由文件夹定，全部图片。"""
        from helpers.data.folder import class_names, find_splits
        classes = len(class_names(find_splits(folder)[0]))
        return _changed(self, {"folder": str(folder), "images": None}, {"in_channels": 3, "num_classes": classes})

    def data(self) -> tuple[Split, Split]:
        """(训练集, 测试集)，见 `fashion_mnist`、`image_folder`。"""
        return self.recipe.data()

    def meta(self) -> nn.Module:
        """只有形状、不分配权重的网络；这些宽度建不起来时抛出 ValueError。"""
        with torch.device("meta"), Unfilled():
            return _made(self)

    def build(self, seed: int | None = None) -> nn.Module:
        """建好的网络，在训练用的设备上，已经初始化；形状走不通或内存放不下时抛出 ValueError，那时什么也没有分配。

        seed: 给了，初始的权重就由它定，与 torch.manual_seed(seed) 之后建的相同，但不改变别处的随机数。
        """
        _check_that_it_fits(self)
        with seeded(seed):
            net = _made(self).to(pick_device()).apply(self.init)
        _untrained[net] = name_of(self.init)
        return net

    def forecast(self) -> Forecast:
        """训练要多少内存，见 `forecast`；形状走不通时抛出 ValueError。"""
        trace(shapes := self.meta(), self.shape)  # 走不通时，它说得出哪一层、为什么
        return forecast(shapes, self.shape, self.batch_size)

    def seconds(self) -> float:
        """在这台机器上大约要训练多少秒，每轮的评估也算在内。"""
        if self.recipe.folder is not None:
            return self.num_epochs * _folder_seconds(self.build(), *self.data())
        return self.num_epochs * epoch_seconds(self.build(), self.size, self.batch_size, self.recipe.images or 60_000)

    def __str__(self) -> str:
        return _text(self)

    def preview(self) -> Picture:
        """把书上的配方和这台机器的计划画成一张表，附上预计的内存和时间。"""
        return _preview(self)


def _made(plan: Plan) -> nn.Module:
    try:
        return instance(plan.make(**plan.widths), nn.Module, f"{plan.name} 应当返回一个网络")
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]  # PyTorch 有时带着一屏 C++ 的调用栈
        widths = "，".join(f"{name}={brief(value)}" for name, value in (plan.defaults | plan.widths).items())
        raise ValueError(f"{plan.name}({widths}) 建不起来（{type(error).__name__}：{first}）。") from error


def _check_that_it_fits(plan: Plan) -> None:
    """形状走不通或内存放不下时抛出 ValueError；什么也不分配。"""
    need, limit = plan.forecast(), memory_limit(pick_device())
    if need.total > limit:
        batch = need.largest_batch(limit)
        raise ValueError(need.sentence(limit) + (f"用 plan.change(batch_size={batch}) 改。" if batch else ""))


def _changed(plan: Plan, common: dict[str, Any], widths: dict[str, Any]) -> Plan:
    return replace(plan, recipe=replace(plan.recipe, widths={**plan.recipe.widths, **widths}, **common))


def initialization_of(net: nn.Module) -> str:
    """一个网络是怎样初始化的：刚由计划建好的，计划知道；别的看权重认，见 `recognize`。"""
    return _untrained.pop(net, None) or recognize(net)


def epoch_seconds(net: nn.Module, size: int, batch_size: int, images: int = 60_000) -> float:
    """训练一轮 images 张图、再评估六分之一那么多，在这台机器上约多少秒：实测几步再按张数放大。net 会被训练几步。"""
    train, test = fashion_mnist(batch_size, size, max(10, min(images, 5 * batch_size)))
    stepper = steps(net, train, test, lr=1e-3, num_epochs=10**6)
    marks = []
    for _ in islice(stepper, 2 + len(train) + len(test)):  # 头两步要分配内存，不算
        marks.append(time.perf_counter())
    stepper.close()
    return (marks[-1] - marks[1]) / (train.images + test.images) * images * 7 / 6


def _folder_seconds(net: nn.Module, train: Split, test: Split) -> float:
    """一轮约多少秒，从文件夹里读图也算在内：实测几步再放大；评估只有前向，一张图算三分之一步。"""
    stepper, marks = steps(net, train, test, lr=1e-3, num_epochs=1, reports=len(train)), []
    for _ in islice(stepper, 7):  # 每步都报告，所以每步都等 GPU；头两步要分配内存、起读图的进程，不算
        marks.append(time.perf_counter())
    stepper.close()
    step = (marks[-1] - marks[1]) / (len(marks) - 2) if len(marks) > 2 else marks[-1] - marks[0]
    return step * (len(train) + len(test) / 3)


def _text(plan: Plan) -> str:
    """书上的配方和这次的，对齐的文字。"""
    book, mine = plan.book.settings, plan.settings
    rows = [(label(name), show(book[name]) if name in book else "", show(mine[name])) for name in mine]
    return aligned([("", "书上的配方", "这次"), *rows])


def _preview(plan: Plan) -> Picture:
    book, mine = ({label(name): show(value) for name, value in each.settings.items()} for each in (plan.book, plan))
    need, limit = plan.forecast(), memory_limit(pick_device())
    book["内存"], mine["内存"] = megabytes(plan.book.forecast().total), megabytes(need.total)
    for name, size in (("4 GB", 4 * GB), ("8 GB", 8 * GB), (f"此刻空闲 {limit / GB:.1f} GB", limit)):
        mine[name] = need.fitting(size, plan.recipe.images or 60_000)
    if need.total <= limit:
        mine["时间"] = _time(plan)
    rows = [[name, book.get(name, ""), mine[name]] for name in mine]
    header = ["", "书上的配方", f"这台机器（{pick_device().type.upper()}）"]
    differ = {(i, 2) for i, (_, was, now) in enumerate(rows, start=1) if was and was != now}
    return table_picture([header, *rows], "训练计划", marked=differ)


def _time(plan: Plan) -> str:
    try:
        seconds = plan.seconds()
    except MemoryError:  # 预计放得下，真的一试却不够
        return "试了几步，内存不够"
    return f"约 {seconds:.0f} 秒" if seconds < 120 else f"约 {seconds / 60:.0f} 分钟"


_SETTINGS = "应当是一个字典，名字到值，如 {'images': 6000}"


def budget(make: Callable[..., nn.Module], *, name: str | None = None, without_gpu: dict[str, Any] | None = None,
           **book: Any) -> Plan:
    """这台机器的计划。

    make: 网络函数；name: 网络的名字，默认是函数名。
    book: 书上的配方，名字同 Recipe 的各项，其余的名字是宽度，如 ratio=4。
    without_gpu: 没有 GPU 时要改的几项。没有名字，或者有不能用的设置时抛出 ValueError。
    """
    instance(name, (str, type(None)), "name 应当是网络的名字，如 'mynet'")
    for key in instance({} if without_gpu is None else without_gpu, dict, f"without_gpu {_SETTINGS}"):
        instance(key, str, f"without_gpu {_SETTINGS}")
    plan = Plan(name or _function_name(make), make, Recipe(), Recipe())
    _check_function(plan)
    plan = plan.change(**book)
    plan = replace(plan, book_recipe=plan.recipe)
    return plan.change(**without_gpu or {}) if pick_device().type == "cpu" else plan


def _check_function(plan: Plan) -> None:
    """网络函数的每个参数都要有名字和默认值：滑块、命令行和「与书上不同」都靠它。"""
    if isinstance(plan.make, nn.Module) or not callable(plan.make):
        raise TypeError(f"budget 要的是网络函数，收到的是 {brief(plan.make)}。写 budget(lenet)，不写 budget(lenet())。")
    try:
        bare = [p.name for p in inspect.signature(plan.make).parameters.values() if p.default is p.empty]
    except ValueError as error:  # 有的内置类型说不出自己的参数
        raise ValueError(f"看不出 {plan.name} 有哪些参数；把它写成一个函数。") from error
    if bare:
        raise ValueError(f"{plan.name} 的参数 {'、'.join(bare)} 没有默认值；给它一个，如 def {plan.name}(c1=6)，"
                         "或者用 functools.partial 定下来。")


def _function_name(make: Callable[..., nn.Module]) -> str:
    function = make
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise ValueError('这个网络函数没有名字，训练过的就分不清是谁的；给它一个：budget(make, name="mynet", …)。')
    return name
