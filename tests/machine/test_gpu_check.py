"""`make gpu`：这里没有显卡，所以每一部分都在 CPU 上、用小的网络做一遍；用完显存、录 CUDA graph 的用替身。"""

import contextlib
import copy
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cells
import gpu
import gpu_parts
import gpu_report
import psutil
import pytest
import report
import torch
from support.tape import Tape

from helpers import NETWORKS
from helpers.paths import ROOT

CPU = torch.device("cpu")
TINY = {"size": 193, "widths": dict(c1=4, c2=4, c3=4, c4=4, c5=4, h1=8, h2=8)}  # AlexNet，有暂退法


def test_the_same_device_walks_the_same_trajectory():
    [(section, reading)] = gpu_parts.trajectories(CPU, 60, ("7.2",), **TINY)
    assert section == "7.2" and reading["difference"] == reading["tf32"] == 0
    assert len(reading["cpu"]) == gpu_parts.STEPS and len({*reading["cpu"]}) == gpu_parts.STEPS
    spread = reading["spread"]
    assert len(spread) == gpu_parts.STEPS and 0 < spread[-1] < 1e-2 and spread == sorted(spread)


def test_a_nudge_is_one_rounding_step_up_or_down():
    net = torch.nn.Linear(30, 20)
    before = net.weight.detach().clone()
    gpu_parts.nudge(net, 0)
    up, down = (torch.nextafter(before, torch.tensor(end)) for end in (torch.inf, -torch.inf))
    went_up = net.weight == up
    assert (went_up | (net.weight == down)).all() and 200 < went_up.sum() < 400


def test_another_device_is_compared_in_real_float32(monkeypatch):
    """显卡走的两次，一次不许用 TF32，一次照平常的设置；设置还原。"""
    asked = []

    def walk(section, device, **options):
        if "seed" in options:
            return [1.5 + options["seed"], 5.0]
        asked.append((device.type, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return [float(len(asked)), 5.0]
    monkeypatch.setattr(gpu_parts, "trajectory", walk)
    usual = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    [(_, reading)] = gpu_parts.trajectories(torch.device("meta"), 60, ("7.1",))
    assert asked == [("cpu", *usual), ("meta", False, False), ("meta", *usual)]
    assert (reading["difference"], reading["tf32"], reading["spread"]) == (1, 2, [1.5, 1.5])
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == usual


def test_a_network_that_fails_does_not_stop_the_others():
    found = dict(gpu_parts.trajectories(CPU, 60, ("7.2", "7.1"), size=28))  # AlexNet 走不通 28
    assert "error" in found["7.2"] and found["7.1"]["difference"] == 0


def test_a_replayed_step_is_compared_with_the_plain_one(tapes):
    [(_, reading)] = gpu_parts.graph(CPU, 60, ("7.1",), batch_size=16, batches=5)
    assert reading["noise"] == reading["difference"] == 0 and reading["scale"] > 1
    assert min(reading[each] for each in ("plain", "graph", "chosen")) > 0 and len(tapes) == 2
    assert not gpu_report.unequal(reading)


def test_a_graph_that_does_nothing_is_found_out(tapes, monkeypatch):
    monkeypatch.setattr(Tape, "replay", lambda tape: None)
    [(_, reading)] = gpu_parts.graph(CPU, 60, ("7.1",), batch_size=16, batches=5)
    assert gpu_report.unequal(reading)


def test_without_a_gpu_there_is_no_graph():
    [(_, reading)] = gpu_parts.graph(CPU, 60, ("7.1",), batch_size=16, batches=5)
    assert "NVIDIA" in reading["error"]


def test_the_peak_is_measured_at_the_batch_that_fits(monkeypatch):
    [(_, reading)] = gpu_parts.memory(CPU, 60, ("7.1",))
    assert reading["batch"] == 256 and reading["ended"] == "done" and reading["forecast"] > 0 <= reading["peak"]
    monkeypatch.setattr(gpu_parts, "memory_limit", lambda device: 20e6)
    [(_, reading)] = gpu_parts.memory(CPU, 60, ("7.1",))
    assert 1 <= reading["batch"] < 256


@pytest.fixture
def room(monkeypatch):
    """批量大过这么多，就像显存不够那样；放不掉的字节。"""
    card = SimpleNamespace(batch=10**9, lost=0)

    def cross_entropy(logits, y, real=torch.nn.functional.cross_entropy):
        if len(y) > card.batch:
            card.free -= card.lost
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(logits, y)
    card.free = 30e6
    monkeypatch.setattr("helpers.training.loop.F.cross_entropy", cross_entropy)
    monkeypatch.setattr(gpu_parts, "memory_limit", lambda device: card.free)
    return card


def ran_out(**options):
    return dict(gpu_parts.out_of_memory(CPU, 60, "7.1", **options))


def judged(name, readings):
    """一部分的读数有几处毛病。"""
    parts = copy.deepcopy(HEALTHY)
    parts[name]["readings"] = readings
    return gpu_report.findings(parts)


def test_out_of_memory_ends_well(room):
    batch = gpu_parts.largest_batch("7.1", CPU, room.free)
    room.batch = batch
    found = ran_out()
    assert found["largest"]["fits"] == 1 and found["twice"]["ended"] == found["twice"]["finding"] == "memory"
    assert found["twice"]["batch"] == 2 * batch and found["twice"]["after"] == "done" and found["twice"]["lost"] == 0
    assert judged("out_of_memory", found) == []


def test_a_forecast_that_promises_too_much_is_found_out(room):
    room.batch = int(0.85 * gpu_parts.largest_batch("7.1", CPU, room.free))
    found = ran_out()
    assert found["largest"]["fits"] == 0.8 and len(judged("out_of_memory", found)) == 1
    room.batch = 64
    assert ran_out()["largest"]["fits"] == 0


def test_memory_that_is_not_given_back_is_found_out(room):
    room.batch, room.lost = gpu_parts.largest_batch("7.1", CPU, room.free), 2e8
    assert len(judged("out_of_memory", ran_out())) == 1


def test_a_card_that_is_never_full_is_found_out(room):
    assert len(judged("out_of_memory", ran_out())) == 1


def test_a_graph_runs_out_of_memory_too(room, tapes):
    room.batch = gpu_parts.largest_batch("7.1", CPU, room.free)
    found = ran_out(graphs=(True,))
    assert found["twice graph"]["ended"] == "memory" and judged("out_of_memory", found) == []


@pytest.mark.slow
def test_one_process_of_torchrun_equals_none():
    found = dict(gpu_parts.nccl(CPU, 300, ("--images", "600", "--num-epochs", "1", "--batch-size", "64")))
    assert found["alone"]["code"] == found["torchrun"]["code"] == 0 and found["torchrun"]["device"] == "cpu"
    assert found["difference"]["difference"] < 1e-4 and judged("nccl", found) == []


@pytest.mark.slow
def test_a_command_that_fails_is_a_reading():
    found = dict(gpu_parts.nccl(CPU, 300, ("--images", "-1")))
    assert found["alone"]["code"] == 2 and "images" in found["alone"]["said"] and "difference" not in found
    assert len(judged("nccl", found)) == 2


@pytest.mark.slow
def test_the_tests_that_need_a_gpu_are_run(tmp_path):
    (tmp_path / "test_some.py").write_text("""
import pytest
@pytest.mark.cuda
def test_good(): pass
@pytest.mark.cuda
def test_bad(): assert 1 == 2, "不对"
@pytest.mark.cuda
def test_none(): pytest.skip("没有")
def test_other(): pass
""", encoding="utf-8")
    found = {name.split("::")[-1]: reading for name, reading in gpu_parts.tests(CPU, 60, (str(tmp_path),))}
    assert {name: reading["outcome"] for name, reading in found.items()} == {
        "test_good": "passed", "test_bad": "failed", "test_none": "skipped"}
    assert "不对" in found["test_bad"]["said"] and len(judged("tests", found)) == 1
    with pytest.raises(RuntimeError):
        list(gpu_parts.tests(CPU, 60, (str(tmp_path / "nowhere.py"),)))


class Kernel:
    """一个内核的替身：开头 start 秒，一张图 rate 秒；broken 的那一边出错。"""

    def __init__(self, rates, broken=(), start=0.0):
        self.rates, self.broken, self.before, self.asked, self.closed = rates, broken, start, [], 0

    @contextlib.contextmanager
    def start(self):
        yield self
        self.closed += 1

    def run(self, code, timeout=60):
        expression = code.removeprefix("print(json.dumps(tidy(").removesuffix(")))")
        side, arguments = expression.split("(")
        section, images = arguments.rstrip(")").split(", ")
        self.asked.append((side, section.strip("'"), int(images)))
        if side in self.broken:
            raise AssertionError("CUDA out of memory")
        seconds = self.before + self.rates[side] * int(images)
        return json.dumps({"seconds": seconds, "loss": 1.0, "test_acc": 0.5}) + "\n"


@pytest.fixture
def with_d2l(monkeypatch):
    monkeypatch.setattr(gpu_parts, "installed", lambda name: "0.17.6")


@pytest.mark.parametrize("start", [0.0, 3.0])
def test_every_side_trains_as_many_images_as_there_is_time_for(with_d2l, start):
    kernel = Kernel({"ours": 0.001, "d2l": 0.004}, start=start)
    [(_, reading)] = gpu_parts.epochs(CPU, 50, ("7.1",), kernel.start)
    assert reading["images"] % 256 == 0 and 0.9 * 50 < 0.005 * reading["images"] + 2 * start <= 50
    assert [ask[0] for ask in kernel.asked] == 3 * ["ours"] + 3 * ["d2l"] + ["ours", "d2l"]
    assert [ask[2] // 256 for ask in kernel.asked[:6]] == 2 * [5, 5, 15] and {ask[2] for ask in kernel.asked[6:]} == {
        reading["images"]} and kernel.closed == 2
    assert reading["ours"]["seconds"] == pytest.approx(start + 0.001 * reading["images"])
    assert judged("epochs", {"7.1": reading}) == []


def test_the_sections_share_the_time_and_none_has_more_than_all_images(with_d2l):
    kernel = Kernel({"ours": 1e-6, "d2l": 0.01})
    found = dict(gpu_parts.epochs(CPU, 70, ("7.1", "7.5", "7.6"), kernel.start))
    assert len({*found}) == 3 and all(reading["images"] * 0.01 < 70 for reading in found.values())
    assert gpu_parts.affordable(1e9, 1e-6, 256) == 60_000 and gpu_parts.affordable(-5, 1, 256) == 0


def test_a_side_that_fails_is_restarted_and_the_other_goes_on(with_d2l):
    kernel = Kernel({"ours": 0.001}, broken=("d2l",))
    found = dict(gpu_parts.epochs(CPU, 20, ("7.1", "7.2"), kernel.start))
    assert all("out of memory" in reading["d2l"]["error"] and reading["ours"]["loss"] for reading in found.values())
    assert kernel.closed == 1 + 2 * 3 and found["7.1"]["images"] > 15 * 256  # d2l 每次都另起
    assert len(judged("epochs", found)) == 2


def test_with_cuda_the_graph_is_a_side_in_our_kernel(with_d2l):
    kernel = Kernel({"ours": 0.001, "plain": 0.001, "d2l": 0.001})
    [(_, reading)] = gpu_parts.epochs(torch.device("cuda"), 20, ("7.1",), kernel.start)
    assert kernel.closed == 2 and {"ours", "plain", "d2l"} < {*reading}


@pytest.fixture
def stub_d2l(monkeypatch):
    """内核里有 d2l 的替身。"""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests' / 'support'}")


@pytest.mark.slow
def test_an_epoch_in_real_kernels(with_d2l, stub_d2l):
    [(_, reading)] = gpu_parts.epochs(CPU, 5, ("7.1",))
    assert reading["images"] >= 15 * 256
    for side in ("ours", "d2l"):
        assert reading[side]["seconds"] > 0 and 2 < reading[side]["loss"] < 3 and 0 < reading[side]["test_acc"] < 1


@pytest.mark.slow
def test_the_trajectories_of_the_benchmark_agree(stub_d2l):
    """d2l 报告一轮到此刻的平均，我们的每一点是自己的一段：比的是同样的东西。"""
    code = f"{cells.TRAIN}\nprint(json.dumps(trajectories('7.1')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["ours"]) == 20 and found["ours"] == pytest.approx(found["d2l"], abs=1e-5)


@pytest.mark.slow
def test_a_part_has_its_own_process(tmp_path):
    part = gpu.do("machine", "cpu", 120, tmp_path)
    assert part["error"] == "" and part["readings"]["device"] == {"asked": "cpu", "used": "cpu"} and part["seconds"] > 0
    assert part["readings"]["machine"]["cores"] > 0
    assert "nonsense" in gpu.do("memory", "nonsense", 120, tmp_path)["error"]


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    mine = psutil.Process()
    before = {*mine.children(recursive=True)}
    part = gpu.do("nccl", "cpu", 12, tmp_path)
    assert "12 秒" in part["error"] and {*mine.children(recursive=True)} <= before


GRAPH = {"noise": 1e-4, "difference": 2e-4, "scale": 2.3, "plain": 0.010, "graph": 0.007, "chosen": 0.008,
         "plain_memory": 10**9, "graph_memory": 2 * 10**9, "chosen_memory": 2 * 10**9}
SIDE = {"seconds": 2.0, "loss": 1.0, "test_acc": 0.6}
TWICE = {"batch": 900, "ended": "memory", "finding": "memory", "said": "放不下", "lost": 10**6, "after": "done"}
HEALTHY = {name: {"seconds": 1.0, "error": "", "readings": readings} for name, readings in {
    "machine": {"machine": {"cpu": "x", "cores": 8, "dtype": "bfloat16", "date": "2026-11-25", "torch": "2.14.1",
                            "d2l": "0.17.6", "gpu": "RTX 3050"}, "device": {"asked": "cuda", "used": "cuda"},
                "gpu": {"name": "RTX 3050", "total": 4 * 10**9, "free": 3 * 10**9, "cuda": "13.0"}},
    "tests": {"test_cuda_graph::test_on_a_gpu[7.1-28]": {"outcome": "passed"}, "b": {"outcome": "skipped"}},
    "trajectories": {s: {"difference": 1e-5, "tf32": 1e-3, "cpu": [2.3, 2.2, 2.1], "device": [2.3, 2.2, 2.10001],
                         "spread": [0.0, 1e-6, 1e-6]} for s in NETWORKS},
    "graph": {s: dict(GRAPH) for s in NETWORKS},
    "memory": {s: {"batch": 128, "ended": "done", "forecast": 10**9, "peak": 9 * 10**8, "largest_batch": 400}
               for s in NETWORKS},
    "out_of_memory": {"largest": {"batch": 450, "fits": 1.0}, "twice": dict(TWICE), "twice graph": dict(TWICE)},
    "nccl": {"alone": {"code": 0, "device": "cuda"}, "torchrun": {"code": 0, "device": "cuda"},
             "difference": {"difference": 1e-5}},
    "epochs": {s: {"images": 60_000, "ours": SIDE, "plain": SIDE, "d2l": SIDE | {"seconds": 6.0}}
               for s in NETWORKS}}.items()}
CONTENT = {"parts": HEALTHY}


def test_a_healthy_card_has_no_findings():
    text = gpu_report.report(CONTENT)
    assert gpu_report.findings(HEALTHY) == [] and "没有发现毛病" in text and "RTX 3050（4.0 GB" in text
    assert "可以默认打开" in gpu_report.verdict(HEALTHY) and "1.43" in gpu_report.verdict(HEALTHY)
    assert "1.25" in gpu_report.verdict(HEALTHY)
    assert all(f"| {section} {name} | 1.0e-05 / 1.0e-06 | 10 / 7 / 8 | 2 / 2 / 6（60,000 张）" in text
               for section, name in NETWORKS.items())


@pytest.mark.parametrize("part, place, damage", [
    ("machine", "device", {"used": "cpu"}), ("tests", "b", {"outcome": "failed", "said": "x"}),
    ("tests", "test_cuda_graph::test_on_a_gpu[7.1-28]", {"outcome": "skipped"}),
    ("trajectories", "7.3", {"device": [2.3, 2.2, 2.2]}), ("trajectories", "7.3", {"device": [2.3, math.nan, 2.1]}),
    ("trajectories", "7.6", {"device": [2.3, 2.25, 2.1], "spread": [0.0, 1e-4, 3.4]}),
    ("graph", "7.2", {"difference": 0.1}), ("graph", "7.2", {"difference": float("nan")}),
    ("graph", "7.2", {"chosen": 1}), ("memory", "7.4", {"peak": 2 * 10**9}),
    ("memory", "7.4", {"peak": 10**8}), ("memory", "7.4", {"ended": "memory"}),
    ("out_of_memory", "largest", {"fits": 0.9}), ("out_of_memory", "twice", {"ended": "done"}),
    ("out_of_memory", "twice", {"lost": 10**9}), ("out_of_memory", "twice graph", {"after": "error"}),
    ("nccl", "torchrun", {"code": 1, "said": "x"}), ("nccl", "difference", {"difference": 1.0}),
    ("epochs", "7.6", {"ours": SIDE | {"seconds": 9.0}}), ("epochs", "7.6", {"ours": SIDE | {"loss": float("nan")}}),
    ("epochs", "7.6", {"d2l": {"error": "x"}}), ("memory", "7.7", {"error": "x"})])
def test_each_fault_is_one_finding(part, place, damage):
    parts = copy.deepcopy(HEALTHY)
    parts[part]["readings"][place] |= damage
    [said] = gpu_report.findings(parts)
    assert said.startswith(gpu_report.TITLES[part]) and said in gpu_report.report({"parts": parts})


def test_a_network_that_rounding_alone_throws_off_is_no_finding():
    """7.6：权重差一个舍入，二十步之后损失也差 3.4；差开之前的几步照样要对。"""
    parts = copy.deepcopy(HEALTHY)
    parts["trajectories"]["readings"]["7.6"] |= {"device": [2.3, 2.2, 9.0], "spread": [0.0, 1e-4, 3.4]}
    assert gpu_report.findings(parts) == []


@pytest.mark.parametrize("part", HEALTHY)
def test_a_part_that_died_or_was_not_done_is_a_finding(part):
    parts = copy.deepcopy(HEALTHY)
    parts[part] |= {"error": "出错，退出码 -11：", "readings": {}}
    assert any("退出码 -11" in each for each in gpu_report.findings(parts)) and gpu_report.report({"parts": parts})
    del parts[part]
    assert gpu_report.findings(parts) == [f"{gpu_report.TITLES[part]}：没有做"] and gpu_report.report({"parts": parts})


@pytest.mark.parametrize("part, place, damage", [
    ("graph", "7.2", {"difference": 0.1}), ("graph", "7.2", {"chosen": 0.02}), ("graph", "7.2", {"error": "x"}),
    ("tests", "test_cuda_graph::test_on_a_gpu[7.1-28]", {"outcome": "failed", "said": ""}),
    ("out_of_memory", "twice graph", {"ended": "error"}), ("out_of_memory", "twice graph", {"error": "x"})])
def test_one_doubt_keeps_the_graph_off(part, place, damage):
    parts = copy.deepcopy(HEALTHY)
    parts[part]["readings"][place] |= damage
    assert "还不能" in gpu_report.verdict(parts)
    assert "还不能" in gpu_report.verdict({})


def test_what_cublas_takes_for_itself_is_not_the_forecasts_fault():
    """LeNet 一共才几十 MB。"""
    parts = copy.deepcopy(HEALTHY)
    parts["memory"]["readings"]["7.1"] |= {"forecast": 27 * 10**6, "peak": 46 * 10**6}
    assert gpu_report.findings(parts) == []
    parts["memory"]["readings"]["7.1"]["peak"] = 64 * 10**6
    assert len(gpu_report.findings(parts)) == 1


def test_the_judges_take_what_the_parts_give(tapes, room):
    """真的读数，不是照着写的：判断的时候不缺一样。"""
    room.batch = gpu_parts.largest_batch("7.1", CPU, room.free)
    parts = copy.deepcopy(HEALTHY)
    for name, readings in {"machine": gpu_parts.this_machine(CPU, 60), "memory": gpu_parts.memory(CPU, 60, ("7.1",)),
                           "graph": gpu_parts.graph(CPU, 60, ("7.1",), batch_size=16, batches=5),
                           "trajectories": gpu_parts.trajectories(CPU, 60, ("7.1",)),
                           "out_of_memory": gpu_parts.out_of_memory(CPU, 60, "7.1", graphs=(False, True)),
                           "epochs": gpu_parts.epochs(CPU, 5, ("7.1",), Kernel({"ours": 0.01}).start)}.items():
        parts[name]["readings"] = dict(readings)
    assert gpu_report.report(json.loads(json.dumps({"parts": parts})))
    assert not any(reading.get("error") for part in parts.values() for reading in part["readings"].values())


@pytest.fixture
def command(monkeypatch, tmp_path):
    """各部分的读数是现成的；结果和 README 写在临时文件夹里。返回做过的部分。"""
    done, readme = [], tmp_path / "README.md"
    readme.write_text(f"前\n{gpu_report.BEGIN}\n旧\n{gpu_report.END}\n后\n", encoding="utf-8")

    def do(name, device, seconds, folder):
        done.append((name, device, seconds))
        return HEALTHY[name]
    monkeypatch.setattr(gpu, "do", do)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(gpu, "TRIAL", tmp_path / "trial")
    monkeypatch.setattr(report, "README", readme)
    return done


def test_without_a_gpu_it_says_so_and_ends_well(command, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0 and command == []
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_everything_is_measured_written_and_shown(command, tmp_path, capsys):
    assert gpu.main(["--readme"]) == 0
    assert [name for name, *_ in command] == [*gpu_parts.PARTS] == [*gpu_report.TITLES] == [*gpu.LIMITS]
    assert all(0 < seconds <= gpu.SECONDS for *_, seconds in command)
    [path] = (tmp_path / "results").glob("*.json")
    content = report.read(path)
    assert path.stem == "rtx-3050" and content["parts"] == HEALTHY and content["findings"] == []
    text = gpu_report.report(content)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (
        f"前\n{gpu_report.BEGIN}\n{text}\n{gpu_report.END}\n后\n") and text in capsys.readouterr().out


def test_what_was_measured_before_is_kept(command, tmp_path):
    gpu.main([])
    command.clear()
    gpu.main(["--only", "nccl"])
    assert [name for name, *_ in command] == ["machine", "nccl"]
    [path] = (tmp_path / "results").glob("*.json")
    assert report.read(path)["parts"] == HEALTHY


def test_an_interrupt_keeps_what_was_measured(command, tmp_path, monkeypatch):
    def do(name, *_):
        if name == "graph":
            raise KeyboardInterrupt
        return HEALTHY[name]
    monkeypatch.setattr(gpu, "do", do)
    with pytest.raises(KeyboardInterrupt):
        gpu.main([])
    [path] = (tmp_path / "results").glob("*.json")
    assert [*report.read(path)["parts"]] == ["machine", "tests", "trajectories"]


def test_when_the_time_is_over_the_rest_is_a_finding(command, tmp_path, capsys):
    gpu.main(["--seconds", str(gpu.LEAST - 1)])
    assert command == [] and capsys.readouterr().out.count("没有做") == len(gpu_parts.PARTS)


def test_a_trial_elsewhere_is_kept_apart(command, tmp_path):
    assert gpu.main(["--device", "cpu", "--only", "memory"]) == 0
    assert not (tmp_path / "results").exists() and len([*(tmp_path / "trial").iterdir()]) == 1
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu", "--readme"])


def test_it_fits_in_ten_minutes_and_leaves_the_cards_settings_alone():
    assert gpu.SECONDS + 30 <= 600
    source = "".join((Path(gpu.__file__).parent / name).read_text(encoding="utf-8")
                     for name in ("gpu.py", "gpu_parts.py", "gpu_report.py"))
    assert "nvidia-smi" not in source and "set_per_process_memory_fraction" not in source
