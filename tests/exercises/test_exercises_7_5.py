"""7.5 的练习：每题至少五个错的答案，各是怎样想错的。"""

import pytest
import torch
from support.answers import cases, told
from torch import nn

from helpers import Trials, exercises

LOW, HIGH = Trials([.30, .25, .28]), Trials([.60, .65, .62])


def pair(middle=16, outputs=32, k=(3, 3), relu=True, padding=None):
    one, two = k
    padding = k[0] // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(16, middle, one, padding=padding), nn.ReLU() if relu else nn.Identity(),
                         nn.Conv2d(middle, outputs, two, padding=two // 2))


def chained(X, paths):
    for path in paths:
        X = path(X)
    return X


WRONG = {
    "block-params": [(393_472, {"not_reduced"}), (163_328, {"no_bias"}), (129_248, {"one_path"}),
                     (157_520, {"three_paths"}), (142_080, {"no_reduction"}), (23_518_000, set()),
                     (654_784, {"bytes"})],
    "joined": [((208, 6, 6), {"added"}), ((624, 6, 6), {"with_narrow"}), ((992, 6, 6), {"kept"}),
               ((368, 6, 6), {"reduced_only"}), ((512, 2, 2), {"smaller"}), ((1, 512, 6, 6), {"extra_batch"}),
               ((6, 6, 512), {"order"}), ((500, 6, 6), set())],
    "worthwhile": [(191, {"only_five"}), (155, {"rounded"}), (27, {"over_input"}), (45, {"wrong_width"}),
                   (87, {"one_side"}), (16, set())],
    "inception": [(lambda X, paths: torch.cat([path(X) for path in paths]), {"wrong_axis"}),
                  (lambda X, paths: sum(path(X) for path in paths), {"summed"}),
                  (lambda X, paths: torch.cat([path(X) for path in reversed(paths)], 1), {"reversed_paths"}),
                  (lambda X, paths: paths[-1](X), {"only_last"}), (chained, set()),
                  (lambda X, paths: torch.cat([X] * len(paths), 1), set())],
    "two-threes": [(pair(32), {"params"}), (pair(16, 31), {"output"}), (pair(16, relu=False), {"linear"}),
                   (pair(16, k=(3, 1)), {"field"}), (pair(16, padding=0), {"output"}),
                   (nn.Sequential(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU()), {"params"}),
                   (nn.Sequential(nn.Conv2d(8, 32, 5, padding=2)), {"does_not_run"})],
    "norm": [(("没有规范化", HIGH, LOW), {"reversed"}), (("看不出", HIGH, LOW), {"underclaimed"}),
             (("有规范化", HIGH, Trials([.61, .62, .63])), {"overclaimed"}),
             (("有规范化", Trials([.6, .7]), Trials([.3, .2])), {"few_seeds"}),
             (("有规范化", HIGH, Trials([.1, .1, .1])), {"same_values"})],
    "claims": [("ABE", {"at_least_224"}), ("E", {"fewer"}), ("BCE", {"parallel_saves"}), ("BDE", {"label_smoothing"}),
               ("B", {"reduce"}), ("ABCE", {"at_least_224", "parallel_saves"})],  # 最后一个合了公开的两句答案
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    assert told("7.5", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.5")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())
