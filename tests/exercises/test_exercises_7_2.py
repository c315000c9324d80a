"""7.2 的练习：每题至少五个错的答案，各是怎样想错的。"""

import pytest
from support.answers import cases, told
from torch import nn

from helpers import Trials, exercises

LOW, HIGH = Trials([.60, .62, .61, .63]), Trials([.78, .79, .79, .80])


def narrow(*channels, first=3, stride=1, hidden=256, outputs=10, side=3):
    """五层左右的小网络，28×28。"""
    layers, before = [], 1
    for i, after in enumerate(channels):
        layers += [nn.Conv2d(before, after, first if i == 0 else 3, stride if i == 0 else 1, padding=1), nn.ReLU()]
        before = after
    return nn.Sequential(*layers[:2], nn.MaxPool2d(3, stride=2), *layers[2:4], nn.MaxPool2d(3, stride=2), *layers[4:],
                         nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(before * side * side, hidden), nn.ReLU(),
                         nn.Linear(hidden, outputs))


def published():
    """一份公开的答案里的 net28：走得通，只是不到书上的六分之一，不是十分之一。"""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=1),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
        nn.Conv2d(128, 96, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2), nn.Flatten(),
        nn.Linear(96 * 5 * 5, 2048), nn.ReLU(), nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, 10))


WRONG = {
    "linear-share": [(92.0, {"share_of_params"}), (95.4, {"complement"}), (4.81, {"over_conv"}),
                     (0.0459, {"fraction"}), (2.79, {"only_first"}), (1.79, {"only_last"}),
                     (1156, {"several_times"}), (300, set())],  # 公开的一份答案说「数倍」
    "smallest": [(224, {"the_books"}), (193, {"not_changed"}), (227, {"papers"}), (195, {"field"}),
                 (63, {"any_size"}), (160, {"ceil"}), (307, {"no_plus_one"}), (23, {"no_pooling"}), (200, set())],
    "dropout": [(lambda X, u, p, training: X * (u >= p) if training else X, {"not_scaled"}),
                (lambda X, u, p, training: X * (u >= p) / p if training else X, {"scaled_by_p"}),
                (lambda X, u, p, training: X * (u >= p) * (1 - p) if training else X, {"shrunk"}),
                (lambda X, u, p, training: X * (u < p) / (1 - p) if training else X, {"inverted"}),
                (lambda X, u, p, training: X * (u >= p) / (1 - p), {"always"}),
                (lambda X, u, p, training: X, {"never"}),
                (lambda X, u, p, training: X * (u >= p), {"not_scaled"}),  # 两处都错，先说看得到的那一处
                (lambda X, u, p, training: X * 0, set())],
    "tenth": [(published, {"params", "convs", "sizes"}), (lambda: narrow(32, 64, 96, 96), {"convs"}),
              (lambda: narrow(64, 192, 256, 256, 128), {"macs"}),
              (lambda: narrow(32, 64, 96, 96, 64, hidden=9_000), {"params"}),
              (lambda: narrow(32, 64, 96, 96, 64, outputs=11), {"output"}),
              (lambda: narrow(32, 64, 96, 96, 64, first=11, stride=4), {"does_not_run"})],
    "dropout-contest": [(("没有暂退法", HIGH, LOW), {"reversed"}), (("看不出", HIGH, LOW), {"underclaimed"}),
                        (("没有暂退法", HIGH, Trials([.8, .78, .8, .79])), {"overclaimed"}),
                        (("有暂退法", Trials([.8]), Trials([.1])), {"few_seeds"}),
                        (("有暂退法", HIGH, Trials([.1, .1, .1, .1])), {"same_values"})],
    "claims": [("ABCE", {"linear_compute"}), ("ABE", {"linear_compute", "conv_activations"}),
               ("CE", {"linear_params"}), ("BE", {"conv_activations"}), ("BCDE", {"batch_params"}),
               ("BC", {"bandwidth"})],  # 前两个是公开的一份答案里的说法
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    assert told("7.2", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.2")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())
