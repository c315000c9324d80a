"""team.py：两个真的进程，与一个进程走得一样；死掉一个，重启之后接着走完。"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from helpers import saved_runs
from helpers.machine.team import may_hang, team

pytestmark = pytest.mark.slow  # 起真的进程
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ONE_HOST = ["--standalone", "--nproc-per-node=2"]

# 同样的种子、合起来同样的批量；暂退法关掉，它的掩码在两个进程里本来就不同
WORK = """
import json, torch
from torch import nn
from helpers import accuracy, fashion_mnist, load, train, xavier
from helpers.data.split import shares
from helpers.machine.team import all_sum, broadcast, rank, team, world_size

with team():
    found = {}
    for make, widths, size, lr, epochs in ((load("7.1").lenet, {}, 28, 0.9, 2),
                                           (load("7.3").vgg11, {"ratio": 32, "hidden": 32}, 224, 0.05, 1)):
        torch.manual_seed(0)
        net = make(**widths).apply(xavier)
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0
        data, test = fashion_mnist(128 // world_size(), size, 640)
        test.X, test.y = test.X[:99], test.y[:99]
        run = train(net, data, test, lr=lr, num_epochs=epochs, dtype=torch.float32)
        found[make.__name__] = {"points": [(p.epoch, p.loss, p.train_acc, p.test_acc) for p in run.points],
                                "whole": [(p.epoch_loss, p.epoch_acc) for p in run.points if p.test_acc is not None],
                                "accuracy": accuracy(net, test, torch.float32), "batch": run.recipe["batch_size"]}
    for images in (640, 641):  # 每张图在一轮里出现几次
        seen = torch.zeros(images)
        for rows in shares(torch.randperm(images, generator=torch.Generator().manual_seed(0)), 64, even=True):
            seen[rows] += 1
        found[f"seen {images}"] = all_sum(seen).int().bincount().tolist()
    own = torch.tensor(rank() + 1)
    found["ranks"] = [all_sum(own.clone()).item(), broadcast(own).item(), world_size()]
    if rank() == 0:
        print("结果", json.dumps(found))
"""


def work(command, tmp_path):
    path = tmp_path / "work.py"
    path.write_text(WORK, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COMPANION_RUNS": str(tmp_path / "runs")}
    done = subprocess.run([*command, path], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("结果")]
    return json.loads(line.removeprefix("结果"))


def test_two_processes_equal_one(tmp_path):
    two, one = work([*TORCHRUN, *ONE_HOST], tmp_path), work([sys.executable], tmp_path)
    for name, count in (("lenet", 10), ("vgg11", 5)):
        ours, expected = two[name]["points"], one[name]["points"]
        assert len(ours) == len(expected) == count and two[name]["batch"] == one[name]["batch"] == 128
        for (epoch, loss, train_acc, test_acc), (*when, loss_1, train_1, test_1) in zip(ours, expected, strict=True):
            assert [epoch] == when and loss == pytest.approx(loss_1, abs=1e-4)
            assert train_acc == pytest.approx(train_1, abs=2 / 128)
            assert test_acc == (test_1 if test_1 is None else pytest.approx(test_1, abs=2 / 99))
        for (loss, acc), (loss_1, acc_1) in zip(two[name]["whole"], one[name]["whole"], strict=True):
            assert loss == pytest.approx(loss_1, abs=1e-4) and acc == pytest.approx(acc_1, abs=2 / 640)
        assert two[name]["accuracy"] == pytest.approx(ours[-1][3])
    assert one["ranks"] == [1, 1, 1] and two["ranks"] == [1 + 2, 1, 2]
    assert two["seen 640"] == [0, 640] and two["seen 641"] == [1, 640]  # 一张分不匀，这一轮不用；没有一张用两次
    assert len(list((tmp_path / "runs").glob("*.json"))) == 4  # 两边各两次：只有 0 号进程存


def command_line(*options):
    return ["-m", "helpers", "run", "7.1", "--images", "6000", "--batch-size", "16", "--dtype", "float32", *options]


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def checkpoints(folder):
    return [*(folder / "checkpoints").glob("lenet-*.pt")]


def wait_until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("agents, victim, options, environment", [
    (1, 1, ONE_HOST, {}),
    # 两台主机：同样的命令起两次，README 里的那个环境变量
    (2, 0, ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=1"],
     {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})], ids=["one host", "two hosts"])
def test_a_killed_worker_is_restarted_and_the_run_finishes(agents, victim, options, environment, tmp_path):
    if agents > 1:
        options = [*options, f"--rdzv-endpoint=localhost:{free_port()}"]
    command = [*TORCHRUN, *options, "--max-restarts=2", *command_line("--num-epochs", "3", "--resume")]
    logs = [tmp_path / f"{agent}.txt" for agent in range(agents)]
    environment = os.environ | environment | {"COMPANION_RUNS": str(tmp_path)}
    torchruns = []
    for log in logs:
        with log.open("w") as file:
            torchruns.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment))
    try:
        wait_until(lambda: checkpoints(tmp_path), torchruns[0])
        workers = [child for torchrun in torchruns for child in psutil.Process(torchrun.pid).children(recursive=True)
                   if child.cmdline()[1:5] == ["-u", "-m", "helpers", "run"]]
        assert len(workers) == 2
        workers[victim].kill()
        codes = [torchrun.wait(timeout=120) for torchrun in torchruns]
    finally:
        for torchrun in torchruns:
            torchrun.terminate()  # 卡住时，工作进程也跟着结束
    said = "".join(log.read_text(encoding="utf-8") for log in logs)
    assert codes == [0] * agents and "从存档接着训练" in said, said[-3000:]
    assert "可能一直等下去" not in said
    run = saved_runs("lenet", folder=tmp_path)[-1]
    assert run.finished
    assert [point.epoch for point in run.points] == pytest.approx([i / 5 for i in range(1, 16)], abs=0.01)


def test_more_processes_than_gpus_are_refused_in_words(monkeypatch):
    """一台有一块显卡的机器，--nproc-per-node=2：第二个进程连 CUDA 都还没有碰。"""
    for name, value in {"is_available": True, "device_count": 1}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: pytest.fail("碰了 CUDA"))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ValueError, match=r"1 块 GPU.*--nproc-per-node=1"), team():
        pass


def test_the_missing_variable_is_noticed():
    assert may_hang({"TORCHELASTIC_MAX_RESTARTS": "3"})
    assert not may_hang({"TORCHELASTIC_MAX_RESTARTS": "0"})
    assert not may_hang({"TORCHELASTIC_MAX_RESTARTS": "3", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})


@pytest.mark.skipif(sys.platform == "win32", reason="要发 SIGINT")
def test_an_interrupted_command_is_resumed(tmp_path):
    environment = os.environ | {"COMPANION_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *command_line("--num-epochs", "3", "--resume")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    wait_until(lambda: checkpoints(tmp_path), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1 and "中断" in out and "--resume" in out and "Traceback" not in error
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0 and "从存档接着训练" in done.stdout
    broken, run = saved_runs(folder=Path(tmp_path))
    assert broken.ended == "interrupted" and run.finished and run.points[:len(broken.points)] == broken.points


@pytest.mark.skipif(sys.platform == "win32", reason="要发 SIGINT")
def test_an_interrupted_team_keeps_a_checkpoint_and_is_quiet(tmp_path):
    process = subprocess.Popen(
        [*TORCHRUN, *ONE_HOST, *command_line("--num-epochs", "3")], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"COMPANION_RUNS": str(tmp_path)})
    wait_until(lambda: checkpoints(tmp_path), process)
    [checkpoint] = checkpoints(tmp_path)
    before = checkpoint.stat().st_mtime_ns
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert checkpoint.stat().st_mtime_ns > before and "接着训练：同样的命令" in said
    assert "RuntimeError" not in said and "[rank" not in said  # 0 号先走，别的进程不该报错
