"""从笔记本里取出网络的定义，供测试、基准、命令行和后面的笔记本使用。"""

from functools import cache
from pathlib import Path
from types import ModuleType

import nbformat
import torch

from helpers.paths import NOTEBOOKS

# 每一节的网络函数；官方结果也用这些名字
NETWORKS = {"7.1": "lenet", "7.2": "alexnet", "7.3": "vgg11", "7.4": "nin", "7.5": "googlenet",
            "7.6": "resnet18", "7.7": "densenet"}


def find(section: str) -> Path:
    """一节的笔记本在哪里。section: 如 "7.1"；没有这一节时抛出 ValueError。"""
    paths = sorted(NOTEBOOKS.glob(f"{section}-*.ipynb"))
    if len(paths) != 1:
        known = "、".join(path.name.split("-")[0] for path in sorted(NOTEBOOKS.glob("*.ipynb")))
        raise ValueError(f"没有第 {section!r} 节；有的是 {known}。")
    return paths[0]


@cache
def load(section: str) -> ModuleType:
    """依次执行一节里带 `net` 标签的整个单元格，返回它们定义的名字，如 `load("7.1").lenet`。"""
    path = find(section)
    module = ModuleType(path.stem)
    with torch.random.fork_rng(devices=[]):  # 单元格里的 manual_seed 不该影响调用者
        for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "code" and "net" in cell.metadata.get("tags", ()):
                exec(compile(cell.source, f"{path.name}，第 {i + 1} 个单元格", "exec"), module.__dict__)
    return module
