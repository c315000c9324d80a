"""书的官方运行：最后一轮的精度，用来判断这里的训练是否正常。"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from helpers.arguments import brief
from helpers.book.sections import SECTIONS, Metric
from helpers.paths import REFERENCE_RUNS


@dataclass(frozen=True)
class Band:
    """官方运行最后一轮精度的 5 %、50 %、95 % 分位数，0–1；塌缩到 0.100 的运行不计入。

    metric: "test_acc" 或 "train_acc"；runs: 多少次运行。
    """

    metric: Metric
    low: float
    median: float
    high: float
    runs: int

    @property
    def name(self) -> str:
        """比较的是哪一种精度。"""
        return "测试精度" if self.metric == "test_acc" else "训练精度"

    def place(self, accuracy: float) -> Literal["below", "within", "above"]:
        """一个精度（0–1）在区间的哪里；两端算在里面。"""
        return "below" if accuracy < self.low else "above" if accuracy > self.high else "within"

    def sentence(self, accuracy: float | None) -> str:
        """一句话：训练完书上的全部配方之后的精度（0–1），与官方区间比较；None 是没有训练完。"""
        if accuracy is None:
            return "训练没有完成，不作比较。"
        where = {"below": "低于", "within": "落在", "above": "高于"}[self.place(accuracy)]
        return (f"{self.name} {accuracy:.3f}，{where}官方区间 {self.low:.3f}–{self.high:.3f}"
                f"（{self.runs} 次运行的 5–95 %）。")


@cache
def reference_runs() -> dict[str, Any]:
    """官方运行：`runs` 是网络到 [[损失, 训练精度, 测试精度], …]，`source` 是出处；损失溢出的是 None。"""
    return json.loads(REFERENCE_RUNS.read_text(encoding="utf-8"))


def official_band(network: str, metric: Metric | None = None) -> Band:
    """某个网络的官方区间。

    network: lenet、alexnet、vgg11、nin、googlenet、resnet18、densenet 之一，别的抛出 ValueError。
    metric: "test_acc" 或 "train_acc"；默认是这一节判断训练用的那一种，见 `Section`。
    数字摘自 Dive into Deep Learning 各版笔记本的提交历史，见 reference_runs.json。
    """
    metrics: dict[str, Metric] = {section.network: section.metric for section in SECTIONS}
    if not isinstance(network, str) or network not in metrics:
        raise ValueError(f"没有网络 {brief(network)} 的官方结果；有的是 {'、'.join(metrics)}。")
    if metric is not None and not (isinstance(metric, str) and metric in get_args(Metric)):
        raise ValueError(f"metric 应当是 {' 或 '.join(get_args(Metric))}，收到的是 {brief(metric)}。")
    return _band(network, metric or metrics[network])


@cache
def _band(network: str, metric: Metric) -> Band:
    reference = reference_runs()
    column, test_acc = (reference["columns"].index(name) for name in (metric, "test_acc"))
    values = [run[column] for run in reference["runs"][network] if run[test_acc] > 0.1]
    low, median, high = (float(q) for q in np.percentile(values, (5, 50, 95)))
    return Band(metric, low, median, high, len(values))
