"""书的七节，和从笔记本里取出的网络：测试、基准、命令行和后面的笔记本都用它。"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch

from helpers.arguments import brief
from helpers.paths import NOTEBOOKS

Metric = Literal["test_acc", "train_acc"]


@dataclass(frozen=True)
class Section:
    """书的一节。

    number: 节号，如 "7.1"；network: 网络函数的名字，官方结果也用这个名字。
    metric: 判断训练得对不对，看测试精度 "test_acc" 还是训练精度 "train_acc"。
    """

    number: str
    network: str
    metric: Metric = "test_acc"


SECTIONS = (
    Section("7.1", "lenet"),
    Section("7.2", "alexnet"),
    Section("7.3", "vgg11"),
    Section("7.4", "nin"),
    Section("7.5", "googlenet"),
    # 这两个最后一轮的测试精度本来就在跳，训练精度不跳
    Section("7.6", "resnet18", "train_acc"),
    Section("7.7", "densenet", "train_acc"),
)

NETWORKS = {section.number: section.network for section in SECTIONS}


def find(number: str) -> Path:
    """一节的笔记本在哪里。number: 节号，如 "7.1"；没有这一节或它的笔记本时抛出 ValueError。"""
    paths = NOTEBOOKS.glob(f"{number}-*.ipynb") if isinstance(number, str) and number in NETWORKS else ()
    path = min(paths, key=lambda path: len(path.name), default=None)  # 读者的副本（7.1-lenet-Copy1）名字更长
    if path is None:
        raise ValueError(f"没有第 {brief(number)} 节；有的是 {'、'.join(NETWORKS)}，节号是文字，如 load('7.1')；"
                         f"笔记本在 {NOTEBOOKS}。")
    return path


def net_cells(number: str) -> Iterator[tuple[str, str]]:
    """一节里带 `net` 标签的单元格：(在哪里, 代码)。"""
    path = find(number)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]  # 导入 nbformat 要一秒多
    for i, cell in enumerate(cells, start=1):
        if cell["cell_type"] == "code" and "net" in cell["metadata"].get("tags", ()):
            yield f"{path.name}，第 {i} 个单元格", "".join(cell["source"])


def load(number: str) -> ModuleType:
    """依次执行一节里带 `net` 标签的整个单元格，返回它们定义的名字，如 `load("7.1").lenet`。没有这一节，见 `find`。"""
    if not isinstance(number, str):  # 列表之类的，cache 认不得
        find(number)
    return loaded(number)


@cache
def loaded(number: str) -> ModuleType:
    """`load` 的结果；一节只执行一次。"""
    module = ModuleType(find(number).stem)
    with torch.random.fork_rng(devices=[]):  # 单元格里的 manual_seed 不该影响调用者
        for place, code in net_cells(number):
            exec(compile(code, place, "exec"), module.__dict__)
    return module
