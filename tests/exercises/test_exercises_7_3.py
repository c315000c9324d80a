"""7.3 的练习：每题至少五个错的答案，各是怎样想错的。"""

import math

import pytest
import torch
from support.answers import cases, told
from torch import nn

from helpers import exercises, recorded
from helpers.experiments.trials import Trials


def plain(*channels, pools=5, head=1, outputs=10):
    """3×3 的卷积，前 pools 个后面各有一个汇聚。"""
    layers, before = [], 1
    for i, after in enumerate(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), *([nn.MaxPool2d(2)] if i < pools else [])]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(head), nn.Flatten(), nn.Linear(before * head ** 2, outputs))


def fixed():
    """展平的长度写死了 224 的。"""
    return nn.Sequential(*plain(*[32] * 8)[:-3], nn.Flatten(), nn.Linear(32 * 49, 10))


DEEP, WIDE = (recorded("7.3", "depths")["测试精度"][name] for name in ("三个 3×3", "一个 5×5"))
NEAR = Trials(DEEP.values[::-1], DEEP.seeds)

WRONG = {
    "weighted-layers": [(13, {"no_linear"}), (8, {"blocks"}), (21, {"with_pooling"}), (14, {"one_linear"}),
                        (11, {"as_eleven"}), (31, {"with_relu"}), (19, set())],
    "at-96": [(25_088, {"as_224"}), (1152, {"narrow"}), (1536, {"one_side"}), (512, {"channels", "no_padding"}),
              (9, {"pixels"}), (18_432, {"four_pools"}), (4600, set())],  # 1152 是公开的一份答案里 ratio=4 的
    "receptive-field": [(lambda layers: sum(k for k, _ in layers), {"added_windows"}),
                        (lambda layers: math.prod(k for k, _ in layers), {"multiplied_windows"}),
                        (lambda layers: 1 + sum(k - 1 for k, _ in layers), {"ignored_stride"}),
                        (lambda layers: sum((k - 1) * math.prod(s for _, s in layers[:i])
                                            for i, (k, _) in enumerate(layers)), {"no_first"}),
                        (lambda layers: 1 + sum((k - 1) * math.prod(s for _, s in layers[:i + 1])
                                                for i, (k, _) in enumerate(layers)), {"own_stride"}),
                        (lambda layers: 1 + sum((k - 1) * s for k, s in layers), {"own_only"}),
                        (lambda layers: 3, set())],
    "light": [(lambda: plain(64, 128, 256, 256, 512, 512, 1024, 1024), {"params"}),
              (lambda: plain(*[32] * 7), {"convs"}), (lambda: plain(*[32] * 8, pools=2), {"field"}),
              (fixed, {"sizes"}), (lambda: plain(*[32] * 8, outputs=9), {"output"}),
              (lambda: plain(*[64] * 8, head=200), {"params"})],
    "deep-or-wide": [(("一个 5×5", DEEP, WIDE), {"reversed"}), (("看不出", DEEP, WIDE), {"underclaimed"}),
                     (("三个 3×3", DEEP, NEAR), {"overclaimed"}), (("一个 5×5", DEEP, NEAR), {"overclaimed"}),
                     (("看不出", Trials([0.82, 0.83]), Trials([0.82, 0.81])), {"few_seeds"}),
                     (("三个 3×3", DEEP, Trials(WIDE.values, [5, 6, 7, 8, 9])), {"unpaired"})],
    "claims": [("ABCE", {"first_window"}), ("CE", {"eight_times"}), ("AE", {"same_channels"}),
               ("ACDE", {"doubled_channels"}), ("AC", {"linear_pair"}), ("ACEF", {"pretrained"})],
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    with torch.device("meta") if name == "light" else torch.device("cpu"):
        assert told("7.3", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.3")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())
