"""runs.py：一次训练留下什么，存取、比较、导出。"""

import csv
import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import budget, compare, export_csv, fashion_mnist, kaiming, load, saved_runs, train, xavier
from helpers.experiments.run import save
from helpers.network.initialization import recognize
from helpers.training.loop import Point, fit

lenet = load("7.1").lenet


@pytest.fixture
def plan():
    return budget(lenet, lr=0.9, batch_size=256, size=28, num_epochs=10).change(
        batch_size=32, images=320, num_epochs=2, lr=0.5)


@pytest.fixture
def run(plan):
    torch.manual_seed(3)
    net = lenet().apply(plan.init)
    return train(net, *plan.data(), lr=plan.lr, num_epochs=plan.num_epochs, plan=plan)


def test_a_run_knows_what_was_done(run):
    assert (run.network, run.ended, run.seed, run.device) == ("lenet", "done", 3, "cpu")
    assert run.recipe | {"c1": 6, "batch_size": 32, "images": 320, "lr": 0.5, "num_epochs": 2, "init": "xavier",
                         "params": 61_706, "macs": 416_520} == run.recipe
    assert run.points[-1].epoch == 2 and run.points[-1].lr == 0.5 and run.last.test_acc == run.test_acc


def test_the_arguments_count_not_the_plan(plan):
    run = train(lenet(), *fashion_mnist(16, images=160), lr=0.2, num_epochs=1, plan=plan)
    assert (run.recipe["batch_size"], run.recipe["images"], run.recipe["lr"]) == (16, 160, 0.2)
    assert run.recipe["init"] == "default" and "初始化 default 而不是 xavier" in run.verdict


def test_a_network_that_is_not_the_plans_is_noticed(plan):
    run = train(lenet(c1=8).apply(xavier), *plan.data(), lr=0.5, num_epochs=1, plan=plan)
    assert "参数个数 62,558 而不是 61,706" in run.verdict
    assert "参数个数" not in train(lenet(c1=8), *plan.data(), lr=0.5, num_epochs=1, plan=plan.change(c1=8)).verdict


def test_the_verdict_says_what_differs_and_compares_only_the_book(run):
    assert "批量 32 而不是 256" in run.verdict and "不与官方结果比较" in run.verdict and run.band is None
    same = replace(run, recipe=run.book | {"macs": 416_520}, points=[Point(10, 0.5, 0.82, 0.806)])
    assert "落在官方区间 0.774–0.824" in same.verdict
    assert "没有完成" in replace(same, ended="interrupted").verdict
    assert "不知道书上的配方" in replace(run, book={}).verdict


def test_resnet_and_densenet_are_judged_by_training_accuracy(run):
    points = [Point(10, 0.01, 0.997, 0.70)]
    same = replace(run, network="resnet18", recipe=run.book, points=points)
    assert "训练精度 0.997，落在" in same.verdict


def test_the_time_adds_up(plan):
    started = time.perf_counter()
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=2, plan=plan)
    assert set(run.seconds) == {"data", "steps", "evaluation", "drawing"}
    assert 0.5 * run.total < run.seconds["steps"] < run.total <= time.perf_counter() - started
    steps, honest = run.throughput
    assert steps == pytest.approx(640 / run.seconds["steps"]) and honest == pytest.approx(640 / run.total)


def test_own_loop_is_used_and_timed(plan):
    def loop(net, train, test, lr, num_epochs):
        for epoch in range(num_epochs):
            time.sleep(0.02)
            yield Point(epoch + 1, 1.0, 0.5, 0.5)
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=3, plan=plan, loop=loop)
    assert [p.epoch for p in run.points] == [1, 2, 3] and run.seconds["loop"] >= 0.06 and run.dtype == "float32"
    # 分不出来、没有量的不说
    assert "steps" not in run.seconds and "只算更新" not in repr(run) and "实际没有量" in repr(run)


def test_runs_come_back_from_disk(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    assert saved_runs() == [run] == saved_runs("lenet") and saved_runs("vgg11") == []
    assert "NaN" not in path.read_text(encoding="utf-8") and list(runs_folder.glob("*.tmp")) == []


def test_a_damaged_file_is_skipped_and_named(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    for i, content in enumerate(("", "{}", path.read_text(encoding="utf-8")[:-100], '{"points": [{}]}')):
        (runs_folder / f"bad{i}.json").write_text(content, encoding="utf-8")
    with pytest.warns(UserWarning, match="bad") as record:
        assert saved_runs() == [run]
    assert len(record) == 4


def test_a_folder_that_cannot_be_written_costs_only_the_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="没有存下来"):
        assert save(run, tmp_path / "file" / "runs") is None


def test_an_overflow_keeps_the_history(plan):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Linear(50, 10))
    run = train(net, *fashion_mnist(32, images=320), lr=1e30, num_epochs=1)
    assert run.ended == "diverged" and "学习率 1e+30 太大" in run.findings[0] and saved_runs() == [run]


def test_an_interrupt_keeps_the_history(plan, capsys):
    def loop(net, train, test, lr, num_epochs):
        yield Point(0.5, 2.0, 0.3)
        raise KeyboardInterrupt
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=3, plan=plan, loop=loop)
    assert run.ended == "interrupted" and len(run.points) == 1 and "中断" in repr(run)
    assert capsys.readouterr().out.count("\n") == 1


def test_the_table_is_short_and_the_picture_has_it(run):
    lines = repr(run).splitlines()
    assert len(lines) <= 7 + len(run.findings) and lines[1].startswith("结果      完成：2/2 轮")
    bundle = run._repr_mimebundle_()
    assert bundle["text/plain"] == "〔图：这次训练〕" and bundle["image/png"].startswith(b"\x89PNG")


def test_compare_and_csv(run, tmp_path):
    other = replace(run, recipe=run.recipe | {"lr": 0.9})
    assert compare([run, other]).png.startswith(b"\x89PNG") and repr(compare([run])) == "〔图：1 次训练〕"
    with pytest.raises(ValueError, match="先训练一次"):
        compare([])
    with export_csv([run, other], tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(run.points)
    assert [row["lr"] for row in rows[:: len(run.points)]] == ["0.5", "0.9"]
    assert float(rows[3]["loss"]) == run.points[3].loss and rows[0]["test_acc"] == ""


@pytest.mark.parametrize("section", ["7.1", "7.3", "7.6"])
def test_initialization_is_recognized(section):
    plan = load(section).plan
    for init, name in ((xavier, "xavier"), (kaiming, "kaiming"), (lambda module: None, "default")):
        assert recognize(plan.make(**plan.widths).apply(init)) == name
    net = lenet().apply(xavier)
    list(fit(net, *fashion_mnist(32, images=320, device="cpu"), lr=0.9, num_epochs=1))
    assert recognize(net) == "other"


def test_json_is_plain(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["network"] == "lenet" and content["points"][0].keys() == {
        "epoch", "loss", "train_acc", "test_acc", "lr"}
