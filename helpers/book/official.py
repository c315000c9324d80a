"""书的官方运行：最后一轮的精度，用来判断这里的训练是否正常。"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from helpers.paths import REFERENCE_RUNS
from helpers.training.loop import Point


@dataclass(frozen=True)
class Band:
    """官方运行最后一轮精度的 5 %、50 %、95 % 分位数，0–1；塌缩到 0.100 的运行不计入。

    metric: "test_acc" 或 "train_acc"；runs: 多少次运行。
    """

    metric: str
    low: float
    median: float
    high: float
    runs: int

    @property
    def name(self) -> str:
        """比较的是哪一种精度。"""
        return "测试精度" if self.metric == "test_acc" else "训练精度"


@cache
def reference_runs() -> dict[str, Any]:
    """官方运行：`runs` 是网络到 [[损失, 训练精度, 测试精度], …]，`source` 是出处；损失溢出的是 None。"""
    return json.loads(REFERENCE_RUNS.read_text(encoding="utf-8"))


@cache
def official_band(network: str, metric: str | None = None) -> Band:
    """某个网络的官方区间。

    network: lenet、alexnet、vgg11、nin、googlenet、resnet18、densenet 之一。
    metric: "test_acc" 或 "train_acc"；默认看测试精度，只有 ResNet 和 DenseNet 看训练精度：
        这两个最后一轮的测试精度本来就在跳，训练精度不跳。
    数字摘自 Dive into Deep Learning 各版笔记本的提交历史，见 reference_runs.json。
    """
    reference = reference_runs()
    metric = metric or ("train_acc" if network in ("resnet18", "densenet") else "test_acc")
    column = reference["columns"].index(metric)
    test_acc = reference["columns"].index("test_acc")
    values = [run[column] for run in reference["runs"][network] if run[test_acc] > 0.1]
    low, median, high = (float(q) for q in np.percentile(values, (5, 50, 95)))
    return Band(metric, low, median, high, len(values))


def verdict(band: Band, points: Sequence[Point]) -> str:
    """训练完书上的全部配方之后，与官方区间比较的一句话。"""
    value = getattr(points[-1], band.metric) if points else None
    if value is None:
        return "训练没有完成，不作比较。"
    place = "低于" if value < band.low else "高于" if value > band.high else "落在"
    return f"{band.name} {value:.3f}，{place}官方区间 {band.low:.3f}–{band.high:.3f}（{band.runs} 次运行的 5–95 %）。"
