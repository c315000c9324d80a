"""describe.py：一层的种类、标题和细节。"""

import pytest
from torch import nn

from helpers import describe
from helpers.network.describe import LayerText


@pytest.mark.parametrize("module, kind, title, details", [
    (nn.Conv2d(1, 6, 5, padding=2), "conv", "5×5 卷积层 (6)", ("填充 2",)),
    (nn.Conv2d(1, 96, 11, stride=4, padding=1), "conv", "11×11 卷积层 (96)", ("步幅 4", "填充 1")),
    (nn.Conv2d(1, 6, 1), "conv", "1×1 卷积层 (6)", ()),
    (nn.Conv2d(1, 6, (1, 7), padding=(0, 3)), "conv", "1×7 卷积层 (6)", ("填充 0×3",)),
    (nn.Conv2d(1, 6, 3, padding="same"), "conv", "3×3 卷积层 (6)", ("填充 same",)),
    (nn.MaxPool2d(3, stride=2, padding=1), "pool", "3×3 最大汇聚层", ("步幅 2", "填充 1")),
    (nn.AvgPool2d(2), "pool", "2×2 平均汇聚层", ("步幅 2",)),
    (nn.MaxPool2d(3, stride=1), "pool", "3×3 最大汇聚层", ("步幅 1",)),
    (nn.AdaptiveAvgPool2d(1), "pool", "全局平均汇聚层", ()),
    (nn.AdaptiveAvgPool2d((1, 1)), "pool", "全局平均汇聚层", ()),
    (nn.AdaptiveMaxPool2d(1), "pool", "全局最大汇聚层", ()),
    (nn.AdaptiveAvgPool2d(6), "pool", "自适应平均汇聚层", ("输出 6×6",)),
    (nn.AdaptiveMaxPool2d((6, 3)), "pool", "自适应最大汇聚层", ("输出 6×3",)),
    (nn.Linear(3, 10), "linear", "全连接层 (10)", ()),
    (nn.BatchNorm2d(3), "norm", "批量规范化", ()),
    (nn.Dropout(0.5), "dropout", "暂退法 0.5", ()),
    (nn.ReLU(), "activation", "ReLU", ()),
    (nn.Sigmoid(), "activation", "sigmoid", ()),
    (nn.Flatten(), "flatten", "展平", ()),
    (nn.GELU(), "other", "GELU", ()),
    (nn.Sequential(), "other", "Sequential", ()),
])
def test_a_layer_is_a_kind_a_title_and_details(module, kind, title, details):
    assert LayerText.of(module) == LayerText(kind, title, details)


def test_the_sentence():
    assert describe(nn.Conv2d(1, 6, 5, stride=2, padding=2)) == "5×5 卷积层 (6)，步幅 2，填充 2"
    assert describe(nn.Linear(3, 10)) == "全连接层 (10)"
