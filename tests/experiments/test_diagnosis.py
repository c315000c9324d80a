"""diagnosis.py：真的塌缩都认得出，正常的一声不响。录下的训练由 tools/record_runs.py 产生。"""

from dataclasses import replace

import pytest
import torch
from support.recorded import BROKEN, HEALTHY
from torch import nn

from helpers import NETWORKS, budget, dead_relus, diagnose, fashion_mnist, fit, load, train, xavier
from helpers.training.loop import Point

lenet, nin = load("7.1").lenet, load("7.4").nin


def test_healthy_runs_raise_no_alarm():
    assert len(HEALTHY) >= 30 and {run.network for run in HEALTHY} == set(NETWORKS.values())
    assert all(run.test_acc > 0.7 for run in HEALTHY)
    alarms = [(run.network, run.seed, diagnose(run) or run.findings) for run in HEALTHY
              if diagnose(run) or run.findings]
    assert alarms == []


@pytest.mark.parametrize("expected, run", BROKEN, ids=[expected for expected, _ in BROKEN])
def test_broken_runs_were_told_what_went_wrong(expected, run):
    """findings 是训练完当场写下的，那时网络还在。"""
    assert any(expected in finding for finding in run.findings), run.findings


@pytest.mark.parametrize("expected, run", [
    (expected, run) for expected, run in BROKEN if "ReLU" not in expected and "死" not in expected
    and "只认得" not in expected], ids=lambda value: value if isinstance(value, str) else "")
def test_the_curve_alone_is_enough_for_most(expected, run):
    assert any(expected in finding for finding in diagnose(run)), diagnose(run)


def newcomer(init, lr, epochs=3):
    """7.1 的新手改了一样东西。"""
    plan = budget(lenet, lr=0.9, batch_size=256, size=28, num_epochs=10).change(
        images=20_000, batch_size=128, num_epochs=epochs)
    torch.manual_seed(0)
    return train(lenet().apply(init), *plan.data(), lr=lr, num_epochs=epochs, plan=plan)


def test_a_newcomer_is_told_in_one_sentence():
    [small] = newcomer(xavier, 0.1).findings
    assert "学习率 0.1 太小（书上是 0.9）" in small and small.count("。") == 1
    [default] = newcomer(lambda module: None, 0.9).findings
    assert "加上 .apply(xavier)" in default and default.count("。") == 1


def test_lenets_first_epoch_is_normal():
    assert "正常" in newcomer(xavier, 0.9, epochs=1).findings[0]


def test_dead_relus_are_counted():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 6), nn.ReLU(),
                        nn.Linear(6, 10)).train()
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = 0, -1
        net[3].bias[:5], net[3].weight[:5] = -1e3, 0
    train_set, _ = fashion_mnist(images=600, device="cpu")
    first, second = dead_relus(net, train_set)
    assert (first.name, first.units, first.is_output) == ("1", 4, False) and first.dead >= 1
    assert (second.name, second.dead, second.units) == ("4", 5, 6)
    assert net.training and not net[1]._forward_hooks


def test_nins_last_relu_is_named():
    train_set, test_set = fashion_mnist(32, 67, 600, device="cpu")
    torch.manual_seed(0)
    net = nin(16, 32, 64).apply(xavier)
    points = list(fit(net, train_set, test_set, lr=1.0, num_epochs=3))
    last = dead_relus(net, train_set)[-1]
    assert last.is_output and last.dead == last.units == 10
    run = replace(BROKEN[0][1], network="nin", points=points)
    assert "最后一个 ReLU 的 10 个通道全死了" in diagnose(run, net, train_set)[0]


def curve(*losses, acc=0.6, test=0.6):
    """几轮的曲线，每轮一点。"""
    return [Point(i + 1.0, loss, acc, test, 0.05) for i, loss in enumerate(losses)]


@pytest.mark.parametrize("points, word", [
    (curve(1.0, 0.7, 1.2), "第 3 轮的损失从 0.70 升到 1.20"),
    (curve(1.5, 1.45, 1.44), "平台期"),
    (curve(1.5, 1.2, 1.0), "多训练几轮"),
    ([*curve(1.0, 0.9, acc=0.7), *curve(2.4, acc=0.1)], "塌缩"),
    (curve(0.5, 0.2, 0.1, acc=0.98, test=0.8), "过拟合"),
])
def test_shapes_of_curves(points, word):
    run = replace(HEALTHY[-1], points=points, recipe=HEALTHY[-1].recipe | {"lr": 0.05, "batch_size": 64})
    points[-1] = replace(points[-1], epoch=float(len(points)))
    assert any(word in finding for finding in diagnose(run)), diagnose(run)


def test_too_early_to_tell():
    assert diagnose(replace(HEALTHY[0], points=[Point(0.2, 2.3, 0.1)])) == []
    assert diagnose(replace(HEALTHY[0], points=[])) == []


def test_a_handful_of_steps_says_nothing_yet():
    stuck = next(run for expected, run in BROKEN if "0.1 太小" in expected)
    few = replace(stuck, recipe=stuck.recipe | {"images": 640, "batch_size": 128},
                  points=[Point(1.0, 2.303, 0.1, 0.1, 0.1)])
    assert diagnose(few) == [] and diagnose(replace(few, points=[Point(10.0, 2.303, 0.1, 0.1, 0.1)]))


def test_a_run_too_short_to_judge_is_not_called_healthy():
    [run, *_] = HEALTHY
    assert run.finding == "正常"
    assert replace(run, points=run.points[:1]).finding == replace(run, points=[]).finding == "还看不出来"
    assert BROKEN[0][1].finding == BROKEN[0][1].findings[0]
