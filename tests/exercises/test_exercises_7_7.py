"""7.7 的练习：每题至少五个错的答案，各是怎样想错的。"""

import pytest
import torch
from support.answers import cases, told

from helpers import Trials, exercises, load

LOW, HIGH = Trials([.50, .52, .51]), Trials([.60, .65, .62])


def densenet(**options):
    return lambda: load("7.7").densenet(**options)


def dense(X, convs, seen=lambda found: torch.cat(found, 1)):
    found = [X]
    for conv in convs:
        found.append(conv(seen(found)))
    return found


def summed(X, convs):
    for conv in convs:
        X = X + conv(X)
    return X


def backwards(X, convs):
    for conv in convs:
        X = torch.cat((conv(X), X), 1)
    return X


WRONG = {
    "channels": [(8, {"added"}), (448, {"no_transition"}), (94, {"one_more_transition"}), (53, {"one_conv"}),
                 (248, {"books"}), (184, {"stem_too"}), (96, {"only_new"}), (190, set())],
    "unit": [((10, 5, 5), {"ceil"}), ((10, 9, 9), {"no_pooling"}), ((23, 4, 4), {"no_conv"}), ((3, 4, 4), {"added"}),
             ((23, 9, 9), {"untouched"}), ((10, 3, 3), {"no_plus_one"}), ((1, 10, 4, 4), {"extra_batch"})],
    "bottleneck": [(148_512, {"no_bottleneck"}), (45_600, {"at_64"}), (103_680, {"no_bias"}),
                   (102_560, {"no_norm"}), (100_000, set()), (26_752, {"narrow_middle"})],
    "dense": [(lambda X, convs: dense(X, convs)[-1], {"last_only"}), (backwards, {"wrong_order"}),
              (lambda X, convs: torch.cat(dense(X, convs, lambda found: found[0]), 1), {"same_input"}),
              (lambda X, convs: torch.cat(dense(X, convs, lambda found: found[-1]), 1), {"chain"}),
              (lambda X, convs: dense(X, convs, lambda found: found[-1])[-1], {"bare"}),
              (summed, {"summed"}), (lambda X, convs: X, set())],
    "same-budget": [(densenet(), {"convs"}), (densenet(growth_rate=40), {"params", "macs", "convs"}),
                    (densenet(growth_rate=32, n4=6), {"params", "macs", "convs"}),
                    (densenet(growth_rate=16), {"convs"}),
                    (densenet(growth_rate=8, n1=8, n2=8, n3=8, n4=0), {"field"}),
                    (densenet(growth_rate=16, n1=4, n2=6, n3=8, n4=8, num_classes=9), {"output"})],
    "memory": [(2.33, {"linear"}), (12.7, {"cubic"}), (1, {"unchanged"}), (0.1837, {"inverse"}), (4.67, {"twice"}),
               (8, set())],
    "pooling": [(("最大汇聚", HIGH, LOW), {"reversed"}), (("看不出", HIGH, LOW), {"underclaimed"}),
                (("平均汇聚", HIGH, Trials([.61, .62, .63])), {"overclaimed"}),
                (("平均汇聚", Trials([.6, .7]), Trials([.3, .2])), {"few_seeds"}),
                (("平均汇聚", HIGH, Trials([.5, .6, .5], [7, 8, 9])), {"unpaired"})],
    "claims": [("ABDF", {"norm_saves"}), ("DF", {"narrow_outputs"}), ("BCDF", {"memory"}), ("BF", {"commute"}),
               ("BDEF", {"mlp"}), ("BD", {"sgd"})],  # 第一个是公开的一份答案里的说法
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    with torch.device("meta") if name == "same-budget" else torch.device("cpu"):
        assert told("7.7", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.7")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())
