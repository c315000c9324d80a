"""7.6 的练习：每题至少五个错的答案，各是怎样想错的。"""

import pytest
import torch
from support.answers import cases, exercise, told
from torch import nn

from helpers import Trials, exercises

BELOW, ABOVE = Trials([.5, .6, .55]), Trials([1.5, 1.7, 1.6])


def norm(X, gamma, beta, eps, dims=(0, 2, 3), correction=0):
    mean, var = X.mean(dims, keepdim=True), X.var(dims, keepdim=True, correction=correction)
    return gamma[:, None, None] * (X - mean) / (var + eps).sqrt() + beta[:, None, None]


class Block(nn.Module):
    """256 个通道的块，body 是什么、加不加捷径都可以换。"""

    def __init__(self, *body, skip=True):
        super().__init__()
        self.body, self.skip = nn.Sequential(*body), skip

    def forward(self, X):
        return (self.body(X) + X if self.skip else self.body(X)).relu()


def narrow(c, k=3, outputs=256, **options):
    return Block(nn.Conv2d(256, c, 1), nn.ReLU(), nn.Conv2d(c, c, k, padding=k // 2), nn.ReLU(),
                 nn.Conv2d(c, outputs, 1), **options)


WRONG = {
    "resnet34": [(11_178_378, {"eighteen"}), (23_723_658, {"four_each"}), (22_356_756, {"doubled"}),
                 (21_117_322, {"no_shortcut"}), (21_275_018, {"no_norm"}), (21_281_728, {"no_bias"}),
                 (85_161_000, {"bytes"}), (21_797_672, set())],  # 最后一个是论文里的：1000 类、三个颜色、没有偏置
    "odd-side": [((4, 9, 4, 4), {"concatenated"}), ((4, 3, 4, 4), {"kept_channels"}),
                 ((4, 6, 3, 3), {"floored", "one_padding"}), ((4, 6, 7, 7), {"no_stride"}),
                 ((6, 4, 4), {"no_batch"}), ((4, 4, 4, 6), {"order"}), ((4, 6, 5, 5), set())],
    "batch-norm": [(lambda X, g, b, e: norm(X, g, b, e, (0, 1, 2, 3)), {"over_all"}),
                   (lambda X, g, b, e: norm(X, g, b, e, (2, 3)), {"per_image"}),
                   (lambda X, g, b, e: norm(X, g, b, e, correction=1), {"unbiased"}),
                   (lambda X, g, b, e: norm(X, torch.ones_like(g), torch.zeros_like(b), e), {"no_scale"}),
                   (lambda X, g, b, e: norm(X, g, b, 0), set()),
                   (lambda X, g, b, e: X, set())],
    "residual": [(lambda X, f, s: f(X) + s(X), {"no_relu"}), (lambda X, f, s: f(X).relu(), {"no_path"}),
                 (lambda X, f, s: f(X).relu() + s(X), {"relu_first"}),
                 (lambda X, f, s: (f(X) * s(X)).relu(), {"multiplied"}),
                 (lambda X, f, s: (f(X) + X).relu(), {"raw_input"}),
                 (lambda X, f, s: torch.cat((f(X), s(X)), 1).relu(), set())],
    "bottleneck": [(lambda: narrow(96), {"params"}), (lambda: narrow(64, k=1), {"neighbours"}),
                   (lambda: narrow(64, skip=False), {"shortcut"}),
                   (lambda: narrow(64, outputs=128, skip=False), {"output", "shortcut"}),
                   (lambda: narrow(64, outputs=128), {"does_not_run"}),
                   (lambda: Block(nn.Conv2d(256, 256, 3, padding=1), nn.Conv2d(256, 256, 3, padding=1)), {"params"})],
    "depths": [(("2 个块", ABOVE, BELOW), {"reversed"}), (("看不出", ABOVE, BELOW), {"underclaimed"}),
               (("6 个块", ABOVE, Trials([1.4, 1.8, 1.7])), {"overclaimed"}),
               (("6 个块", Trials([1.5, 1.6]), Trials([.5, .6])), {"few_seeds"}),
               (("6 个块", ABOVE, Trials([.5, .6, .5], [3, 4, 5])), {"unpaired"})],
    "norm-claims": [("A", {"layer_norm"}), ("C", {"bias"}), ("ABC", {"deterministic"}), ("ACD", {"one_value"}),
                    ("ACE", {"whitening"}), ("ACF", {"every_layer"})],
    "claims": [("ABDE", {"pre_activation"}), ("ACDE", {"overfitting"}), ("AE", {"two_paths"}),
               ("AD", {"free_shortcut"}), ("ADEF", {"vanishing"}), ("DE", {"identity"})],
}


@pytest.mark.parametrize("name, answer, keys", cases(WRONG))
def test_a_wrong_answer_is_met_by_its_mistake(name, answer, keys):
    assert told("7.6", name, answer) == ("不对", keys)


def test_every_exercise_has_five_wrong_answers():
    assert {each.name for each in exercises("7.6")} == {*WRONG}
    assert all(len(answers) >= 5 for answers in WRONG.values())


def test_a_conclusion_from_other_numbers_can_be_right():
    assert exercise("7.6", "depths").check(("看不出", ABOVE, Trials([1.4, 1.8, 1.7]))).outcome == "对"


def test_a_network_with_its_weights_set_to_zero_gets_them_back():
    net = narrow(64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    exercise("7.6", "bottleneck").check(net)
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
