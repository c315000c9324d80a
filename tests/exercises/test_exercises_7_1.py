"""7.1 的练习：每题至少五个错的答案，各是怎样想错的。数是手算的，函数是照错的想法写的。"""

import pytest
from support.answers import cases, exercise, told
from torch import nn
from torch.nn import functional as F

from helpers import Trials


def small(c, h, k=5, outputs=10, channels=1):
    """两个卷积层的小网络；28×28 的图。"""
    side = ((28 - k + 1) // 2 - k + 1) // 2
    return nn.Sequential(nn.Conv2d(channels, c, k), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(c, c, k), nn.ReLU(),
                         nn.AvgPool2d(2), nn.Flatten(), nn.Linear(c * side * side, h), nn.Linear(h, outputs))


def correlate(X, K):
    return F.conv2d(X[None, None], K[None, None])[0, 0]


def no_return(X, K, b):
    correlate(X, K) + b


def spoils(X, K, b):
    Y = correlate(X, K) + b
    X += 1
    return Y


STEADY, BETTER = Trials([.70, .72, .71, .73]), Trials([.78, .79, .79, .80])

WRONG = {
    "second-conv": [(2400, {"no_bias"}), (240_000, {"macs_for_params"}), (416, {"no_in_channels"}),
                    (496, {"window_side"}), (2496, {"bias_per_kernel"}), (4000, {"bias_per_pixel"}),
                    (9664, {"bytes"}), (2500, set())],
    "original-input": [(400, {"as_before", "no_padding", "one_padding"}), (16, {"only_channels"}),
                       (36, {"only_pixels"}), (96, {"one_direction"}), (2304, {"before_pooling"}),
                       (12_544, {"no_pooling"}), (144, {"no_plus_one"}), (600, set())],
    "convolve": [(lambda X, K, b: correlate(X, K.flip(0, 1)) + b, {"flipped"}),
                 (lambda X, K, b: correlate(X, K), {"forgot_bias"}),
                 (lambda X, K, b: (correlate(X, K) + b)[:-1, :-1], {"short"}),
                 (lambda X, K, b: correlate(X, K) + b * K.numel(), {"bias_each_weight"}),
                 (lambda X, K, b: (correlate(X, K) + b).T, {"transposed"}),
                 (lambda X, K, b: F.conv2d(X[None, None], K[None, None], padding="same")[0, 0] + b, {"same_size"}),
                 (no_return, {"no_return"}), (spoils, {"changed_input"}), (lambda X, K, b: X, set())],
    "half": [(lambda: small(32, 200), {"params"}),
             (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), {"convs", "field"}),
             (lambda: small(6, 40, k=3), {"field"}), (lambda: small(6, 40, outputs=9), {"output"}),
             (lambda: small(6, 40, channels=3), {"does_not_run"}),
             (nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(6, 10)), {"does_not_run"})],
    "pooling": [(("平均汇聚", STEADY, BETTER), {"reversed"}), (("看不出", STEADY, BETTER), {"underclaimed"}),
                (("最大汇聚", STEADY, Trials([.71, .72, .70, .74])), {"overclaimed"}),
                (("最大汇聚", Trials([.7]), Trials([.8])), {"few_seeds"}),
                (("最大汇聚", STEADY, Trials([.8, .7, .9, .8], [4, 5, 6, 7])), {"unpaired"}),
                (("最大汇聚", Trials([70, 72, 71]), Trials([80, 81, 79])), {"out_of_range"}),
                (("看不出", Trials([.7, .7, .7]), Trials([.8, .8, .8])), {"same_values"})],
    "claims": [("ABD", {"linear_macs"}), ("ACD", {"pooling_params"}), ("A", {"mnist"}), ("D", {"linear_params"}),
               ("ADE", {"negative"}), ("", {"linear_params", "mnist"}),
               ("BCE", {"linear_params", "linear_macs", "pooling_params", "mnist", "negative"})],
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    assert told("7.1", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    from helpers import exercises

    assert {each.name for each in exercises("7.1")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())


def test_two_conclusions_can_be_right():
    contest = exercise("7.1", "pooling")
    assert contest.check(("最大汇聚", STEADY, BETTER)).outcome == "对"
    assert contest.check(("看不出", STEADY, Trials([.71, .72, .70, .74]))).outcome == "对"
