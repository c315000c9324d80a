"""diagnosis.py：真的塌缩都认得出，正常的一声不响。录下的训练由 tools/record_runs.py 产生。"""

from dataclasses import replace

import pytest
import torch
from support.recorded import BROKEN, HEALTHY, broken
from torch import nn

from helpers import NETWORKS, budget, dead_relus, diagnose, fashion_mnist, fit, load, train, xavier
from helpers.network.initialization import default
from helpers.training.loop import Point

lenet, nin = load("7.1").lenet, load("7.4").nin
NEEDS_THE_NETWORK = {"dead_output", "dead_layer", "missing_classes"}


def kinds(findings):
    return [finding.kind for finding in findings]


def test_healthy_runs_raise_no_alarm():
    assert len(HEALTHY) >= 30 and {run.network for run in HEALTHY} == set(NETWORKS.values())
    assert all(run.test_acc > 0.7 for run in HEALTHY)
    assert [(run.network, run.seed) for run in HEALTHY if diagnose(run) or run.findings] == []


@pytest.mark.parametrize("kind, run", BROKEN)
def test_broken_runs_were_told_what_went_wrong(kind, run):
    """findings 是训练完当场写下的，那时网络还在。"""
    assert kind in kinds(run.findings)


@pytest.mark.parametrize("kind, run", [(kind, run) for kind, run in BROKEN if kind not in NEEDS_THE_NETWORK])
def test_the_curve_alone_is_enough_for_most(kind, run):
    assert kind in kinds(diagnose(run))


@pytest.mark.parametrize("kind, words", [
    ("lr_too_small", ["学习率 0.1 太小（书上是 0.9）", "ln 10 ≈ 2.303", "加大到 0.9"]),
    ("weak_initialization", ["PyTorch 默认的初始化", "加上 .apply(xavier)"]),
    ("lr_too_large", ["学习率 9 太大（书上是 0.9）", "减小到三分之一"]),
    ("warming_up", ["第一轮停在 0.100 是正常的", "接着训练"]),
    ("dead_layer", ["层 ReLU 的", "信号到这里就断了"]), ("dead_output", ["最后一个 ReLU 的 10 个通道全死了"]),
    ("not_started", ["步可能不够", "多训练几轮"]), ("overflow", ["损失溢出", "从 0.33 试起"]),
    ("missing_classes", ["只认得", "从不预测"]), ("overfit", ["过拟合", "暂退法"])])
def test_a_finding_reads_as_one_sentence(kind, words):
    text = next(str(finding) for finding in broken(kind).findings if finding.kind == kind)
    assert all(word in text for word in words) and text.count("。") == 1


def newcomer(init, lr, epochs=3):
    """7.1 的新手改了一样东西。"""
    plan = budget(lenet, lr=0.9, batch_size=256, size=28, num_epochs=10).change(
        images=20_000, batch_size=128, num_epochs=epochs)
    torch.manual_seed(0)
    return train(lenet().apply(init), *plan.data(), lr=lr, num_epochs=epochs, plan=plan)


@pytest.mark.parametrize("init, lr, epochs, kind", [
    (xavier, 0.1, 3, "lr_too_small"), (default, 0.9, 3, "weak_initialization"), (xavier, 0.9, 1, "warming_up")])
@pytest.mark.slow
def test_a_newcomer_is_told_one_thing(init, lr, epochs, kind):
    assert kinds(newcomer(init, lr, epochs).findings) == [kind]


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


def test_odd_arguments_are_refused_in_words():
    train_set, _ = fashion_mnist(images=60, device="cpu")
    for act, says in ((lambda: diagnose([HEALTHY[0]]), "要一次训练"),
                      (lambda: dead_relus(None, train_set), "net 应当是"),
                      (lambda: dead_relus(nn.ReLU(), None), "data 应当是")):
        with pytest.raises(TypeError, match=says):
            act()
    with pytest.raises(ValueError, match="images 应当是正整数"):
        dead_relus(nn.ReLU(), train_set, images=0)


def test_nins_last_relu_is_named():
    train_set, test_set = fashion_mnist(32, 67, 600, device="cpu")
    torch.manual_seed(0)
    net = nin(16, 32, 64).apply(xavier)
    points = list(fit(net, train_set, test_set, lr=1.0, num_epochs=3))
    last = dead_relus(net, train_set)[-1]
    assert last.is_output and last.dead == last.units == 10
    run = replace(BROKEN[0][1], network="nin", points=points)
    assert kinds(diagnose(run, net, train_set)) == ["dead_output"]


def curve(*losses, acc=0.6, test=0.6):
    """几轮的曲线，每轮一点。"""
    return [Point(i + 1.0, loss, acc, test, 0.05) for i, loss in enumerate(losses)]


@pytest.mark.parametrize("points, kind", [
    (curve(1.0, 0.7, 1.2), "lr_too_large"),
    (curve(1.5, 1.45, 1.44), "plateau"),
    (curve(1.5, 1.2, 1.0), "still_learning"),
    (curve(1.5, 1.2), "still_learning"),  # 两轮就说得出
    ([*curve(1.0, 0.9, acc=0.7), *curve(2.4, acc=0.1)], "collapse"),
    ([*curve(1.9, 1.8, acc=0.35), *curve(2.4, acc=0.1)], "collapse"),  # 学到过瞎猜的三倍多
    (curve(0.5, 0.2, 0.1, acc=0.98, test=0.8), "overfit"),
])
def test_shapes_of_curves(points, kind):
    points[-1] = replace(points[-1], epoch=float(len(points)))
    run = replace(HEALTHY[-1], points=points, recipe=HEALTHY[-1].recipe | {"lr": 0.05, "batch_size": 64})
    assert kind in kinds(diagnose(run))


def test_a_collapse_within_the_last_epoch_is_seen_though_the_mean_hides_it():
    points = [*curve(0.6, 0.4, acc=0.85), Point(2.5, 0.4, 0.86), Point(3.0, 2.4, 0.11, 0.1, 0.05, 1.4, 0.49)]
    assert kinds(diagnose(replace(HEALTHY[-1], points=points))) == ["collapse"]


class Favourite(nn.Module):
    """只认得前八类的网络。"""

    def forward(self, X):
        return nn.functional.one_hot((X[:, 0, 14, 14] * 255).long() % 8, 10).float()


@pytest.mark.parametrize("losses, kind", [
    ([2.0, 1.8, 1.5, 1.3], "short"), ([2.0, 1.5], "short"), ([1.5, 1.5, 1.5, 1.5], "missing_classes")])
def test_a_short_run_is_told_that_it_is_short(losses, kind):
    run = broken("missing_classes")
    points = [Point(1 + i / 5, loss, 0.5, 0.5) for i, loss in enumerate(losses)]
    train_set, _ = fashion_mnist(images=600, device="cpu")
    [finding] = diagnose(replace(run, points=points), Favourite(), train_set)
    assert finding.kind == kind and "包" in str(finding) and ("换一个种子" in str(finding)) == (kind != "short")


def test_a_run_out_of_memory_names_a_batch_that_fits():
    run = replace(HEALTHY[0], ended="memory", memory=HEALTHY[0].memory | {"largest_batch": 40})
    [finding] = diagnose(replace(run, recipe=run.recipe | {"batch_size": 128}))
    assert finding.kind == "memory" and "批量是 40" in str(finding)


@pytest.mark.parametrize("points", [[], [Point(0.2, 2.3, 0.1)]])
def test_too_early_to_tell(points):
    run = replace(HEALTHY[0], points=points)
    assert diagnose(run) == [] and run.too_short and run.condition != HEALTHY[0].condition


def test_a_handful_of_steps_says_nothing_yet():
    stuck = broken("lr_too_small")
    few = replace(stuck, recipe=stuck.recipe | {"images": 640, "batch_size": 128},
                  points=[Point(1.0, 2.303, 0.1, 0.1, 0.1)])
    assert diagnose(few) == [] and diagnose(replace(few, points=[Point(10.0, 2.303, 0.1, 0.1, 0.1)]))


def test_the_condition_is_the_first_findings_title():
    run = broken("overfit")
    assert run.condition == run.findings[0].title == "过拟合"


def test_chance_is_one_in_the_number_of_classes():
    """100 类时 14 % 远好于随机猜。"""
    run = replace(broken("lr_too_small"), points=[Point(3.0, 3.5, 0.14, 0.14, 0.1)])
    assert kinds(diagnose(run)) == ["lr_too_small"]
    assert "lr_too_small" not in kinds(diagnose(replace(run, classes=100, book_recipe={})))
