"""B：训练。朴素的循环和曲线照书上的样子写。"""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import nbformat
import normal_form
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from support.recorded import HEALTHY, broken
from support.rows import against, python
from torch import nn

import helpers.machine.device
from helpers import Point, diagnose, fashion_mnist, fit, pick_device, saved_runs, train, xavier
from helpers.book.sections import find, load, loaded
from helpers.experiments.store import save

lenet = load("7.1").lenet


def book_loop(net, data, _, lr, num_epochs):
    """书上的循环：每一轮报告五次，不看损失是不是还有数。"""
    optimizer, num_batches, history = torch.optim.SGD(net.parameters(), lr=0.1), len(data), []
    for epoch in range(num_epochs):
        for i, (X, y) in enumerate(data):
            for group in optimizer.param_groups:
                group["lr"] = lr() if callable(lr) else lr
            loss = nn.functional.cross_entropy(net(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (i + 1) % (num_batches // 5) == 0 or i == num_batches - 1:
                history.append(Point(epoch + (i + 1) / num_batches, loss.item(), 0.1))
    return history


@against(lambda *args: train(*args[:3], lr=args[3], num_epochs=args[4]).points, book_loop)
@pytest.mark.parametrize("batches", [1, 2, 3, 4])
def test_B1_a_few_batches_an_epoch(subject, batches):
    points = subject(lenet(), *fashion_mnist(10, images=10 * batches), 0.1, 2)
    assert points[-1].epoch == 2


def test_B1_five_batches_an_epoch():
    assert train(lenet(), *fashion_mnist(10, images=50), lr=0.1, num_epochs=2).last.epoch == 2


def ours_until_overflow(net, data, test, lr, num_epochs):
    """曲线和诊断。"""
    run = train(net, data, test, lr=lr, num_epochs=num_epochs)
    return run.points, run.findings[0].symptom


@against(ours_until_overflow, lambda *args: (book_loop(*args), ""))
def test_B2_loss_becomes_nan(subject):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    asked = []

    def lr():
        asked.append(0.1 if len(asked) < 50 else 1e30)
        return asked[-1]
    points, said = subject(net, *fashion_mnist(8, images=320, device="cpu"), lr, 3)  # 每八批报告一次
    assert asked.count(1e30) <= 2 and "1e+30" in said  # 更新一次，下一批就看见
    assert len(points) >= 6 and np.isfinite([point.loss for point in points]).all()


@against(lambda run: [finding.kind for finding in diagnose(run)], lambda run: [])
def test_B3_stuck_at_one_tenth(subject):
    healthy = HEALTHY[0]
    start = [point for point in healthy.points if point.epoch <= 1]
    assert healthy.network == "lenet" and subject(replace(healthy, points=start)) == ["warming_up"]
    assert subject(broken("lr_too_small")) == ["lr_too_small"]
    assert subject(healthy) == []


INTERRUPTED = {
    "ours": """
from helpers import fashion_mnist, train, xavier
from helpers import load
net = load("7.1").lenet().apply(xavier)
run = train(net, *fashion_mnist(64, images=6_000), lr=0.9, num_epochs=500)
""",
    "naive": """
import torch
from helpers import fashion_mnist
from helpers import load
net, points, shown = load("7.1").lenet(), [], display(0, display_id=True)
net.train()
optimizer = torch.optim.SGD(net.parameters(), lr=0.9)
for X, y in fashion_mnist(64)[0]:
    loss = torch.nn.functional.cross_entropy(net(X), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    points.append(loss.item())
    shown.update(len(points))
run = points
"""}


def kinds_of(messages):
    """消息的种类。"""
    return [message["msg_type"] for message in messages]


@against("ours", "naive")
def test_B4_interrupt_in_mid_epoch(subject, kernel):
    for _ in range(2):  # 同一格能再运行一次
        cell = kernel.send(INTERRUPTED[subject])
        begun = kernel.messages(cell, 240, lambda found: kinds_of(found).count("update_display_data") > 3)
        kernel.manager.interrupt_kernel()
        kinds = kinds_of(begun + kernel.messages(cell))
        assert "error" not in kinds and kinds.count("display_data") == 1 and kinds.count("stream") == 1
    assert kernel.run("print(len(run.points) > 3, run.ended, any(m._forward_hooks for m in net.modules()), "
                      "net.training)") == "True interrupted False True\n"


FULL = """
import os, resource, sys
import psutil, torch
from torch import nn
from helpers import fashion_mnist, train
from helpers import load
CODE
data = fashion_mnist(64, 224, 640)
net = load("7.4").nin()
go(load("7.1").lenet(), fashion_mnist(64, 28, 640))  # 先把库都装进来
process = psutil.Process()
before = process.memory_info()
resource.setrlimit(resource.RLIMIT_AS, (before.vms + 300 * 2**20, resource.RLIM_INFINITY))
said = go(net, data)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert "内存不够" in said and "批量" in said, said
assert process.memory_info().rss - before.rss < 150e6, process.memory_info().rss - before.rss
go(load("7.1").lenet(), fashion_mnist(64, 28, 640))
"""
CAREFUL = """
def go(net, data):
    return " ".join(map(str, train(net, *data, lr=0.1, num_epochs=1).findings))
"""
CARELESS = """
def go(net, data):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for X, y in data[0]:
        nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    return ""
"""


@pytest.mark.skipif(sys.platform != "linux", reason="要限制进程的地址空间")
@against(CAREFUL, CARELESS)
def test_B5_out_of_memory(subject, tmp_path):
    done = python(FULL.replace("CODE", subject), env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]


def test_B5_cuda_out_of_memory_is_the_same(monkeypatch):
    """没有 GPU 也能试：PyTorch 在显存不够时抛的就是这个。"""
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(torch.optim.SGD, "step", full)
    run = train(lenet(), *fashion_mnist(64, images=640), lr=0.1, num_epochs=1)
    assert run.ended == run.findings[0].kind == "memory" and "批量 64 放不下" in run.findings[0].symptom
    with pytest.raises(MemoryError, match=r"试试批量 32、16，如 plan\.change\(batch_size=32\)"):
        next(fit(lenet(), *fashion_mnist(64, images=640), lr=0.1, num_epochs=1))


def seeded(section):
    """一节到图之前的部分。"""
    notebook = nbformat.read(find(section), as_version=4)
    return notebook.cells[:next(i for i, cell in enumerate(notebook.cells) if "\n## 图\n" in cell.source)]


UNSEEDED = [nbformat.v4.new_code_cell("import torch\nprint(torch.rand(3), id(object()))")]


@against(seeded("7.4"), UNSEEDED)
def test_B6_restart_and_run_all_twice(subject):
    texts = []
    for _ in range(2):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell) for cell in subject])
        NotebookClient(notebook, kernel_name="python3").execute()
        notebook = normal_form.normalize(notebook)  # 小组件的编号每次不同，nbval 也不比
        texts.append(json.dumps([[output.get("text", output.get("data")) for output in cell.outputs]
                                 for cell in notebook.cells if cell.cell_type == "code"]))
    assert texts[0] == texts[1]


def try_gpu():
    """书上的 try_gpu。"""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


@against(pick_device, try_gpu)
@pytest.mark.filterwarnings("ignore:检测到 CUDA")
def test_B7_cuda_reported_but_broken(subject, monkeypatch):
    if not torch.cuda.is_available():  # 真的有 GPU 时它不是坏的
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    real = torch.ones

    def ones(*size, device=None, **options):
        if str(device).startswith("cuda"):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return real(*size, device=device, **options)
    monkeypatch.setattr(helpers.machine.device.torch, "ones", ones)
    pick_device.cache_clear()
    try:
        assert torch.ones(2, device=subject()).sum() == 2
    finally:
        pick_device.cache_clear()


def shuffled_by_numpy(net, data, _):
    """打乱的次序不由 torch 的种子决定。"""
    dice, optimizer = np.random.default_rng(), torch.optim.SGD(net.parameters(), lr=0.9)
    for rows in np.split(dice.permutation(data.images), 10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data.scale(data.X[rows])), data.y[rows]).backward()
        optimizer.step()


@against(lambda net, *data: list(fit(net, *data, lr=0.9, num_epochs=1)), shuffled_by_numpy)
def test_B8_same_seed_same_weights(subject):
    def weights():
        torch.manual_seed(3)
        net = lenet().apply(xavier)
        subject(net, *fashion_mnist(32, images=320, device="cpu"))
        return torch.cat([p.flatten() for p in net.parameters()])
    assert torch.equal(weights(), weights())


# 自己的进程：前面的测试用过的堆，长多少是它们的事
FIFTY = """
import gc, psutil, torch
from matplotlib import pyplot as plt
from helpers import LivePlot, fashion_mnist, fit, load
lenet, process = load("7.1").lenet, psutil.Process()
data, test = fashion_mnist(32, images=64, device="cpu")
CODE
for i in range(50):
    once()
    gc.collect()  # 等它自己收，堆要长到八十多次才够用
    if i == 19:
        before = process.memory_info().rss
print(len(plt.get_fignums()), process.memory_info().rss - before)
"""
WITH_LIVE_PLOT = """
def once():
    with LivePlot(1, show=lambda png: None) as plot:
        for point in fit(lenet(), data, test, lr=0.1, num_epochs=1):
            plot.add(point)
"""
# 书上的画法：每次训练一张 pyplot 的图，不关
A_FIGURE_EACH = """
def once():
    _, axes = plt.subplots()
    axes.plot([point.loss for point in fit(lenet(), data, test, lr=0.1, num_epochs=1)])
"""


@against(WITH_LIVE_PLOT, A_FIGURE_EACH)
def test_B9_fifty_runs_in_one_kernel(subject):
    done = python(FIFTY.replace("CODE", subject), env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"})
    figures, grown = map(int, done.stdout.split())
    assert figures == 0 and grown < 5e6


def write_in_place(run, folder):
    """直接写到最后的名字上。"""
    folder.mkdir(exist_ok=True)
    (folder / f"{run.network}-{len(list(folder.iterdir()))}.json").write_text(json.dumps(asdict(run)), encoding="utf-8")


def long_run():
    """一次点很多的训练，存成文件有 100 KB 以上。"""
    run = HEALTHY[0]
    return replace(run, points=run.points * 30)


@pytest.mark.skipif(sys.platform == "win32", reason="要 fork 和 SIGXFSZ")
@against(save, write_in_place)
def test_B10_killed_while_saving(subject, tmp_path):
    """写到一半时内核真的把进程杀掉：文件超过限额，收到 SIGXFSZ。"""
    folder = tmp_path / "runs"
    for _ in range(3):
        subject(replace(long_run(), started="2026-01-01"), folder)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        subject(long_run(), folder)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ
    runs = saved_runs(folder=folder)
    assert len(runs) == 3 and not runs.skipped


@against(save, write_in_place)
@pytest.mark.filterwarnings("ignore:这次训练没有存下来")
def test_B10_disk_full_while_saving(subject, tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("这里不能挂载小的 tmpfs")
    try:
        kept = 0
        for _ in range(10):
            try:
                kept += subject(long_run(), tmp_path / "runs") is not None or subject is write_in_place
            except OSError:
                break
        runs = saved_runs(folder=tmp_path / "runs")
        assert 1 <= len(runs) == kept < 10 and not runs.skipped
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def load_and_reseed(section):
    """在原地执行单元格，manual_seed 也在内。"""
    cells = (cell.source for cell in nbformat.read(find(section), as_version=4).cells if cell.cell_type == "code")
    exec(next(source for source in cells if "manual_seed" in source), {})


@against(loaded.__wrapped__, load_and_reseed)
def test_B11_loading_a_notebook_does_not_reseed(subject):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    subject("7.1")
    assert torch.equal(torch.rand(1), expected)
