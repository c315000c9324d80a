"""7.4 的练习：每题至少五个错的答案，各是怎样想错的。"""

import pytest
import torch
from support.answers import cases, told
from torch import nn

from helpers import Trials, exercises, load

WINDOWS, POINTS = Trials([.61, .63, .62]), Trials([.40, .42, .41])


def mix(X, W, b):
    return torch.einsum("oc,nchw->nohw", W, X) + b[:, None, None]


def plain(*channels, stride=2, last=10):
    layers, before = [], 1
    for after in channels:
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.ReLU()]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, last, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


WRONG = {
    "params": [(2_013_160, {"rgb_no_bias"}), (1_989_928, {"no_bias"}), (762_297_352, {"macs_for_params"}),
               (7_968_664, {"bytes"}), (2_015_398, {"rgb"}), (2_000_000, set())],  # 第一个是公开的一份答案
    "macs": [(898_208_840, {"rounded_up"}), (1_524_594_704, {"flops"}), (1_992_166, {"params_for_macs"}),
             (830_041_864, {"rgb"}), (700_000_000, set())],  # 第一个是公开的一份答案
    "pixelwise": [(lambda X, W, b: X.mean(1, keepdim=True) + b[:, None, None], {"averaged"}),
                  (lambda X, W, b: torch.einsum("oc,nchw->nohw", W, X), {"forgot_bias"}),
                  (lambda X, W, b: mix(X, W, b).relu(), {"with_relu"}),
                  (lambda X, W, b: mix(X, W[:1].expand_as(W), b), {"one_output"}),
                  (lambda X, W, b: mix(X.mean((2, 3), keepdim=True).expand_as(X), W, b), {"pixels_mixed"}),
                  (lambda X, W, b: X, set())],
    "one-step": [(34_790, {"with_block"}), (3850, {"left"}), (30_720, {"only_first_layer"}), (220, {"nine"}),
                 (30_920, {"no_bias"}), (31_000, set())],
    "small": [(load("7.4").nin, {"params"}), (lambda: load("7.4").nin(64, 128, 192), {"params"}),
              (lambda: plain(16, 32), {"field"}), (lambda: plain(16, 16, 32, 32, 32, last=9), {"output"}),
              (lambda: nn.Sequential(plain(16, 16, 32, 32, 32), nn.Linear(10, 10)), {"forbidden", "field"}),
              (lambda: nn.Sequential(*plain(16, 16, 32, 32, 32)[:-2], nn.Flatten(), nn.Linear(90, 10)),
               {"forbidden", "sizes"})],
    "shuffled": [(("三层 1×1", WINDOWS, POINTS), {"reversed"}), (("看不出", WINDOWS, POINTS), {"underclaimed"}),
                 (("三层 1×1", WINDOWS, Trials([.62, .61, .64])), {"overclaimed"}),
                 (("三层 3×3", Trials([.6]), Trials([.4])), {"few_seeds"}),
                 (("三层 3×3", Trials([61, 62, 63]), Trials([40, 41, 42])), {"out_of_range"})],
    "claims": [("CE", {"field"}), ("ABCE", {"half"}), ("AE", {"one_matrix"}), ("ACDE", {"memory"}),
               ("AC", {"any_input"}), ("BD", {"field", "half", "one_matrix", "memory", "any_input"})],
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    with torch.device("meta") if name == "small" else torch.device("cpu"):
        assert told("7.4", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.4")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())
