"""runs.py：一次训练留下什么，存取、比较、导出。"""

import csv
import json
import math
import re
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn
from wcwidth import wcswidth

from helpers import (
    Finding,
    budget,
    compare,
    export_csv,
    fashion_mnist,
    kaiming,
    load,
    pick_device,
    saved_runs,
    train,
    xavier,
)
from helpers.experiments.checkpoint import checkpoint_file
from helpers.experiments.run import accuracy_interval
from helpers.experiments.settings import differences
from helpers.experiments.store import restore, save
from helpers.paths import runs_folder
from helpers.training.loop import Point

lenet = load("7.1").lenet


@pytest.fixture
def plan():
    return budget(lenet, lr=0.9, batch_size=256, size=28, num_epochs=10).change(
        batch_size=32, images=320, num_epochs=2, lr=0.5)


@pytest.fixture
def run(plan):
    torch.manual_seed(3)
    net = lenet().apply(plan.init)
    return train(net, *plan.data(), lr=plan.lr, num_epochs=plan.num_epochs, plan=plan, seed=3)


def changed(run):
    """与书上不同的设置：名字到 (书上的, 这次的)。"""
    return differences(run.recipe, run.book_recipe)


def test_a_run_knows_what_was_done(run):
    assert (run.network, run.ended, run.seed, run.device) == ("lenet", "done", 3, pick_device().type)
    assert run.recipe | {"c1": 6, "batch_size": 32, "images": 320, "lr": 0.5, "num_epochs": 2, "init": "xavier",
                         "params": 61_706, "macs": 416_520} == run.recipe
    assert run.points[-1].epoch == 2 and run.points[-1].lr == 0.5 and run.last.test_acc == run.test_acc


def test_without_a_seed_none_is_claimed(plan):
    assert train(lenet(), *plan.data(), lr=0.5, num_epochs=1).seed is None


def test_the_seed_decides_the_order(plan):
    def points(seed):
        torch.manual_seed(0)
        net = lenet().apply(xavier)
        torch.manual_seed(99)
        return train(net, *plan.data(), lr=0.5, num_epochs=1, seed=seed).points
    assert points(1) == points(1) != points(2)


def test_a_plan_that_built_the_net_names_its_initialization(plan):
    def awake(module):
        kaiming(module)
    plan = plan.change(init=awake)
    net = plan.build()
    first, again = (train(net, *plan.data(), lr=0.5, num_epochs=1, plan=plan) for _ in range(2))
    assert first.recipe["init"] == "awake" == plan.settings["init"]
    assert again.recipe["init"] == "other"  # 已经训练过，不再是刚建好的
    assert train(lenet().apply(kaiming), *plan.data(), lr=0.5, num_epochs=1, plan=plan).recipe["init"] == "kaiming"


def test_runs_of_an_earlier_version_come_back(run):
    """那时诊断是句子，书上的配方叫 book。"""
    content = json.loads(json.dumps(asdict(run)))
    for name in ("classes", "saturating"):
        del content[name]
    content |= {"book": content.pop("book_recipe"), "findings": ["平台期：损失停在 1.2；减半试试。"]}
    again = restore(content)
    assert again.book_recipe == run.book_recipe and again.saturating and again.classes == 10
    assert str(again.findings[0]) == "平台期：损失停在 1.2；减半试试。"


def test_running_means_of_an_earlier_version_are_taken_apart(run):
    """那时一点记的是一轮开头到此刻的平均。320 张、每批 32 张、每轮五个点：一点两批。"""
    content = json.loads(json.dumps(asdict(run)))
    for i, point in enumerate(content["points"]):
        part = run.points[i // 5 * 5:i + 1]
        del point["epoch_loss"], point["epoch_acc"]
        for name in ("loss", "train_acc"):
            point[name] = sum(getattr(each, name) for each in part) / len(part)
    for point, expected in zip(restore(content).points, run.points, strict=True):
        assert (point.loss, point.train_acc) == pytest.approx((expected.loss, expected.train_acc), abs=1e-5)
        assert (point.test_acc, point.epoch_acc) == (expected.test_acc, pytest.approx(expected.epoch_acc, abs=1e-5))
    own = restore(content | {"seconds": {"loop": 1.0}}).points  # 自己的循环怎样算的，不知道
    assert [each.loss for each in own] == [each["loss"] for each in content["points"]] and own[-1].whole == own[-1]


def test_the_arguments_count_not_the_plan(plan):
    run = train(lenet(), *fashion_mnist(16, images=160), lr=0.2, num_epochs=1, plan=plan)
    assert (run.recipe["batch_size"], run.recipe["images"], run.recipe["lr"]) == (16, 160, 0.2)
    assert run.recipe["init"] == "default" and changed(run)["init"] == ("xavier", "default")


def test_a_network_that_is_not_the_plans_is_noticed(plan):
    run = train(lenet(c1=8).apply(xavier), *plan.data(), lr=0.5, num_epochs=1, plan=plan)
    assert changed(run)["params"] == (61_706, 62_558)
    run = train(lenet(c1=8), *plan.data(), lr=0.5, num_epochs=1, plan=plan.change(c1=8))
    assert "params" not in changed(run) and changed(run)["c1"] == (6, 8)


def test_the_verdict_says_what_differs_and_compares_only_the_book(run):
    assert "批量 32 而不是 256" in run.verdict and "不与官方结果比较" in run.verdict and run.band is None
    same = replace(run, recipe=run.book_recipe | {"macs": 416_520}, points=[Point(10, 0.5, 0.82, 0.806)])
    assert "落在官方区间 0.774–0.824" in same.verdict
    assert "没有完成" in replace(same, ended="interrupted").verdict
    assert "不知道书上的配方" in replace(run, book_recipe={}).verdict


def test_resnet_and_densenet_are_judged_by_training_accuracy(run):
    points = [Point(10, 0.01, 0.997, 0.70)]
    same = replace(run, network="resnet18", recipe=run.book_recipe, points=points)
    assert "训练精度 0.997，落在" in same.verdict


def test_the_table_and_the_verdict_take_the_whole_epoch(run):
    points = [Point(10, 0.01, 0.5, 0.70, 0.05, 0.02, 0.997)]
    same = replace(run, network="resnet18", recipe=run.book_recipe | {"macs": 1}, points=points)
    assert "训练精度 0.997，落在" in same.verdict and "损失 0.020，训练精度 0.997" in repr(same)


@pytest.mark.parametrize("accuracy, images, low, high", [(0.839, 660, 0.809, 0.865), (0.805, 10_000, 0.797, 0.813),
                                                         (1.0, 100, 0.963, 1.0), (0.0, 100, 0.0, 0.037)])
def test_a_small_test_set_has_a_wide_interval(run, accuracy, images, low, high):
    """标准答案：Wilson 区间的公式，z = 1.96。"""
    z, n = 1.959964, images
    middle, reach = accuracy + z * z / 2 / n, z * math.sqrt(accuracy * (1 - accuracy) / n + z * z / 4 / n / n)
    expected = [(middle + sign * reach) / (1 + z * z / n) for sign in (-1, 1)]
    p = round(accuracy * n) / n
    assert accuracy_interval(p, n) == pytest.approx(expected, abs=1e-3) == (low, high)
    same = replace(run, points=[Point(2, 0.5, 0.8, p)], test_images=n)
    assert f"{n:,} 张，95 % 区间 {low:.3f}–{high:.3f}" in repr(same)
    assert "区间" not in repr(replace(same, test_images=None)) and saved_runs()[0].test_images == 50


def test_the_official_median_stands_beside_any_recipe_of_the_book(run):
    assert "官方      书上的全部配方，199 次运行：测试精度的中位数 0.806" in repr(run)
    assert "官方 " not in repr(replace(run, network="mine"))
    assert "官方 " not in repr(replace(run, recipe=run.recipe | {"folder": "x"}))


def test_the_time_adds_up(plan):
    started = time.perf_counter()
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=2, plan=plan)
    assert set(run.seconds) == {"data", "steps", "evaluation", "drawing"}
    assert run.seconds["steps"] < run.total_seconds <= time.perf_counter() - started
    assert run.seconds["steps"] > 0.5 * run.total_seconds or run.device != "cpu"  # GPU 上这么小的，多半在画
    steps, honest = run.throughput
    assert steps == pytest.approx(640 / run.seconds["steps"]) and honest == pytest.approx(640 / run.total_seconds)


@pytest.mark.parametrize("epoch, batch_size, steps", [
    (3.0, 16, 282), (1 + 47 / 94, 16, 141), (2.0, 1500, 2), (1.0, 4000, 1)])
def test_the_last_batch_of_an_epoch_is_a_step_too(run, epoch, batch_size, steps):
    run = replace(run, recipe=run.recipe | {"images": 1500, "batch_size": batch_size})
    assert replace(run, points=[replace(run.points[-1], epoch=epoch)]).steps == steps


def test_the_printed_parts_add_up_to_the_printed_total(run):
    shown = repr(replace(run, seconds={"steps": 18.36, "evaluation": 0.26, "drawing": 0.26}))
    [line] = [line for line in shown.splitlines() if line.startswith("时间")]
    total, *parts = map(float, re.findall(r"\d+\.\d", line))
    assert len(parts) == 3 and total == pytest.approx(sum(parts))


def test_own_loop_is_used_and_timed(plan):
    def loop(net, train, test, lr, num_epochs):
        for epoch in range(num_epochs):
            time.sleep(0.02)
            yield Point(epoch + 1, 1.0, 0.5, 0.5)
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=3, plan=plan, loop=loop)
    assert [p.epoch for p in run.points] == [1, 2, 3] and run.seconds["loop"] >= 0.05 and run.dtype == "float32"
    # 分不出来、没有量的不说
    assert "steps" not in run.seconds and "只算更新" not in repr(run) and "实际没有量" in repr(run)


@pytest.mark.parametrize("was, now", [(0.5, "一半"), ("一半", 0.5), (0.5, None), (0.5, [0.5])])
def test_settings_of_two_kinds_differ(run, was, now):
    other = replace(run, recipe=run.recipe | {"ratio": now}, book_recipe=run.recipe | {"ratio": was})
    assert "ratio" in other.name and other.band is None


def test_runs_come_back_from_disk(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    assert saved_runs() == [run] == saved_runs("lenet") and saved_runs("vgg11") == []
    assert "NaN" not in path.read_text(encoding="utf-8") and list(runs_folder.glob("*.tmp")) == []


def test_the_folder_may_start_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMPANION_RUNS", "~/x")
    assert runs_folder() == tmp_path / "x"


def test_a_damaged_file_is_skipped_and_named(run, runs_folder, recwarn):
    [path] = runs_folder.glob("*.json")
    good = json.loads(path.read_text(encoding="utf-8"))
    odd = ["", "{}", "null", "[" * 100_000, path.read_text(encoding="utf-8")[:-100], '{"points": [{}]}',
           *(json.dumps(good | change) for change in (
               {"ended": "?"}, {"recipe": None}, {"recipe": {}}, {"memory": {}}, {"seconds": 3}, {"points": None},
               {"findings": [1]}, {"points": [{"epoch": 1}]}, *({"recipe": good["recipe"] | change} for change in (
                   {"macs": "很多"}, {"params": None}, {"batch_size": 0}, {"num_epochs": []})),
               *({"points": [good["points"][-1] | change]} for change in (
                   {"loss": "x"}, {"train_acc": {}}, {"test_acc": math.nan}, {"epoch": None}, {"epoch_acc": True})),
               {"seed": "7"}, {"final_lr": ""}, {"test_images": []}, {"classes": 0}, {"memory": good["memory"] | {
                   "peak": None}}, {"findings": [{"kind": "", "symptom": 3, "remedy": ""}]}, {"book_recipe": [1]}))]
    for i, content in enumerate(odd):
        (runs_folder / f"bad{i}.json").write_text(content, encoding="utf-8")
    runs = saved_runs()
    assert runs == [run] and not recwarn.list  # 警告会进单元格的文字
    assert [each.split("（")[0] for each in runs.skipped] == sorted(f"bad{i}.json" for i in range(len(odd)))
    assert runs[-4:].skipped == runs.skipped and runs[0] == run and runs.note in repr(runs)
    assert "bad0.json" in runs.note and "bad9.json" not in runs.note and f"等 {len(odd)} 个" in runs.note
    assert compare(runs).png != compare([run]).png == compare(list(runs)).png


def test_a_run_of_a_newer_version_is_read(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"energy": 3}), encoding="utf-8")
    assert saved_runs() == [run]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), np.float32(1.5), torch.tensor(1.5)])
def test_odd_numbers_of_an_own_loop_are_saved(plan, loss):
    def loop(net, train, test, lr, num_epochs):
        yield Point(np.float64(1), loss, torch.tensor(0.5), 0.5)
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=1, plan=plan, loop=loop)
    [saved] = saved_runs()
    assert saved.test_acc == 0.5 == run.points[0].train_acc and saved.points[0].loss == pytest.approx(
        1.5 if math.isfinite(loss) else math.nan, nan_ok=True)


def test_a_path_that_is_no_text_is_saved(run):
    odd = replace(run, recipe=run.recipe | {"folder": "photos\udcff"})
    assert save(odd) is not None and odd in saved_runs()


def test_a_class_as_a_default_is_saved():
    def network(act=nn.ReLU):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), act())
    plan = budget(network).change(images=320, num_epochs=1)
    train(plan.build(), *plan.data(), lr=0.1, num_epochs=1, plan=plan)
    assert "ReLU" in saved_runs("network")[0].recipe["act"]


def test_a_diagnosis_that_fails_costs_no_run(plan, monkeypatch):
    def fail(*args):
        raise RuntimeError("shape")
    monkeypatch.setattr("helpers.experiments.session.diagnose", fail)
    with pytest.warns(UserWarning, match="没有诊断完"):
        run = train(lenet(), *plan.data(), lr=0.5, num_epochs=1, plan=plan)
    assert saved_runs() == [run] and run.finished and run.findings == ()


def test_a_relu_used_at_two_widths_is_counted():
    class Reused(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.relu = nn.Linear(784, 20), nn.Linear(20, 10), nn.ReLU()

        def forward(self, X):
            return self.relu(self.second(self.relu(self.first(X.flatten(1)))))
    run = train(Reused(), *fashion_mnist(32, images=320), lr=1e-8, num_epochs=2)
    assert run.finished and [finding.kind for finding in run.findings]


def test_a_folder_that_cannot_be_written_costs_only_the_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="没有存下来"):
        assert save(run, tmp_path / "file" / "runs") is None


def test_an_overflow_keeps_the_history(plan):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Linear(50, 10))
    run = train(net, *fashion_mnist(32, images=320), lr=1e30, num_epochs=1)
    assert run.ended == "diverged" and [finding.kind for finding in run.findings] == ["overflow"]
    assert saved_runs() == [run]


def test_an_interrupt_keeps_the_history(plan, capsys):
    def loop(net, train, test, lr, num_epochs):
        yield Point(0.5, 2.0, 0.3)
        raise KeyboardInterrupt
    run = train(lenet(), *plan.data(), lr=0.5, num_epochs=3, plan=plan, loop=loop)
    assert run.ended == "interrupted" and len(run.points) == 1 and "中断" in repr(run)
    assert capsys.readouterr().out.count("\n") == 1


def test_the_table_is_short_and_the_picture_has_it(run):
    lines = repr(run).splitlines()
    assert len(lines) <= 8 + len(run.findings) and lines[1].startswith("结果      完成：2/2 轮")
    bundle, _ = run._repr_mimebundle_()
    assert bundle["text/plain"] == "〔图：这次训练〕" and bundle["image/png"].startswith(b"\x89PNG")


def test_tables_can_be_had_as_text(run, plan):
    text = str(compare([run, replace(run, recipe=run.recipe | {"lr": 0.9})]))
    header, *rows = text.splitlines()
    assert header.split() == ["网络", "设置", "轮数", "训练精度", "测试精度", "秒", "诊断"] and len(rows) == 2
    assert [wcswidth(line.split("学习率")[0]) for line in rows] == [wcswidth(header.split("设置")[0])] * 2  # 汉字占两列
    assert f"{run.last.train_acc:.3f}" in rows[0] and "…" not in text
    assert [line.split() for line in str(plan).splitlines()][1:3] == [["批量", "256", "32"], ["输入边长", "28", "28"]]
    assert "批量" in str(plan.preview()) and repr(plan.preview()).startswith("〔图")


def test_the_table_says_what_a_run_reached_and_what_was_found(run):
    early = replace(run, points=[replace(run.points[0], test_acc=None)], findings=[])
    found = replace(run, findings=[Finding("plateau", "损失停在 1.2")])
    plain, unscored, told = str(compare([replace(run, findings=[]), early, found])).splitlines()[1:]
    assert f"{run.test_acc:.3f}" in plain and replace(run, findings=[]).condition in plain
    assert "–" in unscored and f"{early.last.train_acc:.3f}" in unscored
    assert str(found.findings[0]) in told


def test_what_is_the_same_in_all_is_not_repeated(run):
    faster, larger = ({"lr": 0.9}, {"lr": 0.9, "batch_size": 64})
    rows = str(compare([run, *(replace(run, recipe=run.recipe | each) for each in (faster, larger))])).splitlines()[1:]
    assert ["学习率 0.5" in rows[0], "批量 32" in rows[1], "批量 64" in rows[2]] == [True] * 3
    assert all("学习率" in row and "批量" in row and "轮数" not in row and "图片" not in row for row in rows)
    rows = str(compare([run, replace(run, recipe=run.recipe | faster)])).splitlines()[1:]
    assert all("学习率" in row and "批量" not in row for row in rows)


@pytest.mark.parametrize("was, now, differ", [
    (0.9, 0.9, False), (0.9, 0.902, False), (1, 1.001, False), (0.01, 0.011, True), (0.01, 0.3, True),
    (100.0, 101.0, True), (256, 257, True), (False, 0.0, False), ("a", 1.0, True)])
def test_a_slider_is_never_quite_where_the_book_is(was, now, differ):
    assert bool(differences({"x": now}, {"x": was})) == differ


def test_compare_and_csv(run, tmp_path):
    other = replace(run, recipe=run.recipe | {"lr": 0.9})
    assert compare([run, other]).png.startswith(b"\x89PNG") and repr(compare([run])) == repr(compare([run, other]))
    with pytest.raises(ValueError, match="先训练一次"):
        compare([])
    with export_csv([run, other], tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(run.points)
    assert [row["lr"] for row in rows[:: len(run.points)]] == ["0.5", "0.9"]
    assert float(rows[3]["loss"]) == run.points[3].loss and rows[0]["test_acc"] == rows[0]["epoch_loss"] == ""
    assert float(rows[4]["epoch_acc"]) == run.points[4].epoch_acc


@pytest.mark.parametrize("act", [compare, lambda runs: export_csv(runs, "x.csv")], ids=["compare", "export_csv"])
def test_what_is_no_run_is_refused_in_words(run, act):
    for odd in (None, 3, run, [run, None], "ab"):
        with pytest.raises(TypeError, match="要几次训练"):
            act(odd)


@pytest.mark.parametrize("odd", [3, torch.rand(3), [1]])
def test_odd_folders_and_networks_are_refused_in_words(odd):
    with pytest.raises(TypeError, match="network 应当是网络的名字"):
        saved_runs(odd)
    with pytest.raises(TypeError, match="folder 应当是一个路径"):
        saved_runs(folder=odd)


def test_a_table_that_cannot_be_written_is_said_in_words(run, tmp_path):
    with pytest.raises(ValueError, match=r"写不了 .*换一个文件名"):
        export_csv([run], tmp_path)
    with pytest.raises(TypeError, match="path 应当是一个文件名"):
        export_csv([run], 3)
    assert export_csv([run], str(tmp_path / "new" / "a.csv")).exists()


def test_a_table_starts_like_a_table_of_excel(run, tmp_path):
    assert export_csv([run], tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfrun,network,started,")


def test_saved_runs_of_a_folder_and_a_name(run, runs_folder):
    assert saved_runs(folder=str(runs_folder)) == [run] and saved_runs(folder=runs_folder / "none") == []
    for odd in ({"network": lenet}, {"folder": 3}):
        with pytest.raises(TypeError, match=f"{next(iter(odd))} 应当是"):
            saved_runs(**odd)


@pytest.mark.parametrize("name", ["a/b", "../up", "网络 一", "x" * 300, "a\0b", "."])
def test_a_network_of_any_name_is_saved_where_it_is_found(run, name, tmp_path):
    odd = replace(run, network=name)
    assert save(odd, tmp_path).parent == tmp_path and saved_runs(name, tmp_path) == [odd]
    assert checkpoint_file(tmp_path, name, run.recipe).parent == tmp_path


def test_json_is_plain(run, runs_folder):
    [path] = runs_folder.glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["network"] == "lenet" and content["points"][0].keys() == {
        "epoch", "loss", "train_acc", "test_acc", "lr", "epoch_loss", "epoch_acc"}
