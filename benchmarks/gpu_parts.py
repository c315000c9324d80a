"""`make gpu` 的各个部分。每一部分在自己的进程里做：显卡出了错，只停下这一部分。

    python benchmarks/gpu_parts.py 部分 设备 结果文件 秒数

一部分是一个生成器，给出一个个 (名字, 读数)，读数是能写进 JSON 的字典；出了错的是 {"error": 一句话}，后面的照做。
设备是参数，所以没有显卡也能试它们。
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cells
import torch
from bench import ROOT, Bench, machine, unpack, value
from torch import nn

from helpers import NETWORKS, Session, fashion_mnist, forecast, load, saved_runs, xavier
from helpers.doctor import installed
from helpers.experiments.run import Run
from helpers.machine.device import fast_dtype, memory_limit, pick_device
from helpers.machine.dice import Dice
from helpers.machine.gauge import Gauge, reset_peak
from helpers.machine.memory import release_memory
from helpers.training.loop import Point, steps

Readings = Iterator[tuple[str, dict[str, Any]]]
STEPS, EPOCHS = 20, 4  # 轨迹走几步；比 CUDA graph 时走几轮：第一轮里录，以后最快的一轮才算时间
NUDGES = 2  # CPU 上差一个舍入的轨迹，走几条
FEW, MORE = 5, 15  # 训练一轮之前，先训练几批，看一张图要多久


def attempt(act: Callable[..., dict[str, Any]], *arguments: Any, **options: Any) -> dict[str, Any]:
    """act 的读数；出了错就是 {"error": 一句话}。"""
    try:
        return act(*arguments, **options)
    except Exception as error:
        return {"error": f"{type(error).__name__}：{' '.join(str(error).split())}"[:500]}


def this_machine(device: torch.device, seconds: float) -> Readings:
    """什么机器，什么显卡，此刻空闲多少显存。"""
    yield "machine", machine()
    yield "device", {"asked": device.type, "used": pick_device().type}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        yield "gpu", {"name": properties.name, "capability": f"{properties.major}.{properties.minor}",
                      "total": properties.total_memory, "free": memory_limit(device), "cuda": torch.version.cuda,
                      "cudnn": torch.backends.cudnn.version()}


def tests(device: torch.device, seconds: float, where: tuple[str, ...] = ("tests",)) -> Readings:
    """标着 cuda 的测试，别处都跳过的那些：每个测试过没过。where: 在哪里找。"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.xml")
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider",
                               f"--junitxml={path}", *where], cwd=ROOT, capture_output=True, text=True, timeout=seconds)
        if done.returncode not in (0, 1):  # 不是有没有通过，而是没有跑成
            raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
        for case in ElementTree.parse(path).iter("testcase"):
            bad = [*case.iter("failure"), *case.iter("error")]
            outcome = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
            yield (f"{case.get('classname')}::{case.get('name')}",
                   {"outcome": outcome, **({"said": bad[0].get("message", "")[:500]} if bad else {})})


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """这个 with 里卷积和矩阵乘法真的用 float32：PyTorch 在 30 系以后的显卡上默认让卷积用 TF32。"""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def trajectory(section: str, device: torch.device, *, size: int | None = None, widths: dict[str, Any] | None = None,
               seed: int | None = None) -> list[float]:
    """书上的网络、float32、批量 16 的 20 步，每一步的损失。两个设备的随机数不同，所以暂退法关掉、图片不打乱。

    seed: 给了，每个权重都先挪一个舍入，见 `nudge`。
    """
    plan = load(section).plan.book
    train, test = fashion_mnist(16, size or plan.size, 16 * 5, device=device)
    train.shuffle = False
    torch.manual_seed(0)
    net = plan.make(**plan.widths | (widths or {})).apply(xavier)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if seed is not None:
        nudge(net, seed)
    turns = steps(net, train, test, lr=plan.lr, num_epochs=STEPS // 5, dtype=torch.float32)
    return [point.loss for point in turns if point is not None]  # 一轮五批、报告五次：一批一个点


def nudge(net: nn.Module, seed: int) -> None:
    """每个权重变成 float32 里与它相邻的数，往上还是往下由 seed 定。"""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            up = torch.rand(weight.shape, generator=dice) < 0.5
            weight.copy_(torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf)))


def trajectories(device: torch.device, seconds: float, sections: tuple[str, ...] = (*NETWORKS,), **options: Any
                 ) -> Readings:
    """七条 20 步的轨迹，与 CPU 相差多少；tf32: 显卡照平常的设置。options: 见 `trajectory`。

    spread: CPU 上权重只差一个舍入的几条，到每一步为止至多差多少：差这么多，说明不了什么。
    """
    def differ(section: str) -> dict[str, Any]:
        expected = trajectory(section, torch.device("cpu"), **options)
        nudged = [trajectory(section, torch.device("cpu"), seed=seed, **options) for seed in range(NUDGES)]
        with exact_float32():
            found = trajectory(section, device, **options)
        usual = trajectory(section, device, **options)
        return {"difference": worst(found, expected), "tf32": worst(usual, expected), "cpu": expected, "device": found,
                "spread": [max(worst(each[:i], expected[:i]) for each in nudged) for i in range(1, len(expected) + 1)]}
    for section in sections:
        yield section, attempt(differ, section)


def worst(one: list[float], other: list[float]) -> float:
    """两条轨迹最大的差。"""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def follow(section: str, device: torch.device, *, cuda_graph: bool | None, batches: int = 10, **changes: Any
           ) -> dict[str, Any]:
    """照平常的精度训练 EPOCHS 轮，每轮 batches 批、最后一批不满：损失，一步的秒数，PyTorch 留过的内存。"""
    plan = load(section).plan.book.change(**changes)
    data = fashion_mnist(plan.batch_size, plan.size, (batches - 1) * plan.batch_size + plan.batch_size // 2,
                         device=device)
    torch.manual_seed(0)
    net = plan.make(**plan.widths).apply(xavier)
    reset_peak(device)
    gauge, points, ends = Gauge(device), [], []
    # 有自己的骰子，与 train(seed=0) 相同：暂退法的掩码也要重放得对
    for turn in steps(net, *data, lr=plan.lr, num_epochs=EPOCHS, gauge=gauge, cuda_graph=cuda_graph, dice=Dice(0)):
        if isinstance(turn, Point):
            points.append(turn)
            if turn.test_acc is not None:
                ends.append(gauge.seconds["steps"])
    return {"losses": [point.loss for point in points],
            "step": min(after - before for before, after in pairwise(ends)) / batches,
            "reserved": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0}


def graph(device: torch.device, seconds: float, sections: tuple[str, ...] = (*NETWORKS,), **options: Any) -> Readings:
    """CUDA graph 与照常的一步：损失差多少，时间和内存各多少；chosen: 录不录由训练自己决定。

    照常的走两遍，两遍之间的差是显卡自己的。options: 见 `follow`。
    """
    def differ(section: str) -> dict[str, Any]:
        first, again, replayed, chosen = (follow(section, device, cuda_graph=on, **options)
                                          for on in (False, False, True, None))
        return {"noise": worst(first["losses"], again["losses"]), "scale": max(again["losses"]),
                "difference": max(worst(each["losses"], again["losses"]) for each in (replayed, chosen)),
                "plain": again["step"], "graph": replayed["step"], "chosen": chosen["step"],
                "plain_memory": again["reserved"], "graph_memory": replayed["reserved"],
                "chosen_memory": chosen["reserved"]}
    for section in sections:
        yield section, attempt(differ, section)
        release_memory(device)


def walk(session: Session) -> Run:
    """走完一次训练。"""
    with session:
        for _ in session:
            pass
    return session.finish()


def practise(section: str, batch_size: int, device: torch.device, images: int = 0, **options: Any) -> Run:
    """书上的网络训练一轮；images: 默认两批。"""
    plan = load(section).plan.book.change(batch_size=batch_size)
    net = plan.make(**plan.widths).to(device).apply(xavier)
    data = fashion_mnist(batch_size, plan.size, min(60_000, images or 2 * batch_size), device=device)
    return walk(Session(net, *data, lr=1e-3, num_epochs=1, plan=plan, **options))


def largest_batch(section: str, device: torch.device, limit: float) -> int:
    """limit 字节放得下的最大批量，至多是全部图片的一半：两批才量得到最大值。"""
    plan = load(section).plan.book
    with torch.device("meta"):
        net = plan.make(**plan.widths)
    return min(30_000, forecast(net, plan.shape, 1, dtype=fast_dtype(device)).largest_batch(limit))


def memory(device: torch.device, seconds: float, sections: tuple[str, ...] = (*NETWORKS,)) -> Readings:
    """书上的批量（放不下就减小）训练两批，内存的峰值与预计的。"""
    def measure(section: str) -> dict[str, Any]:
        batch = min(load(section).plan.book.batch_size, largest_batch(section, device, memory_limit(device)))
        run = practise(section, batch, device)
        return {"batch": batch, "ended": run.ended, **run.memory}
    for section in sections:
        yield section, attempt(measure, section)
        release_memory(device)


def out_of_memory(device: torch.device, seconds: float, section: str = "7.4", limit: float | None = None,
                  graphs: tuple[bool, ...] | None = None) -> Readings:
    """真的用完显存：预计放得下的最大批量是不是真的放得下；两倍的批量怎样结束，放掉没有，之后还能不能训练。

    limit: 当作有多少内存，默认是此刻空闲的；graphs: 要不要也录成 CUDA graph，默认有 CUDA 就录。
    """
    practise("7.1", 64, device)  # 先把库都装进来
    batch = largest_batch(section, device, limit or memory_limit(device))
    yield "largest", attempt(_fits, section, batch, device)
    for on in graphs or ((False, True) if device.type == "cuda" else (False,)):
        yield f"twice{' graph' if on else ''}", attempt(_overflow, section, 2 * batch, device, cuda_graph=on)


def _fits(section: str, batch: int, device: torch.device) -> dict[str, Any]:
    """从 batch 起一成一成地减，减到真的放得下。"""
    for tenths in range(10, 4, -1):
        run = practise(section, max(1, batch * tenths // 10), device)
        release_memory(device)
        if run.ended == "done":
            return {"batch": batch, "fits": tenths / 10, **run.memory}
    return {"batch": batch, "fits": 0.0}


def _overflow(section: str, batch: int, device: torch.device, *, cuda_graph: bool) -> dict[str, Any]:
    before = memory_limit(device)
    # 五批才录得下一步；第一步就放不下，所以并不会走那么多步
    run = practise(section, batch, device, images=5 * batch, cuda_graph=cuda_graph)
    lost = before - memory_limit(device)
    after = practise("7.1", 64, device)
    return {"batch": batch, "ended": run.ended, "finding": run.findings[0].kind if run.findings else "",
            "said": str(run.findings[0]) if run.findings else "", "lost": lost, "after": after.ended}


def nccl(device: torch.device, seconds: float, options: tuple[str, ...] = ("--images", "6000", "--num-epochs", "1")
         ) -> Readings:
    """torchrun 起一个进程（有 CUDA 时是 NCCL），与不用 torchrun 的同样一次训练。options: 训练的设置。"""
    command = ["-m", "helpers", "run", "7.1", "--dtype", "float32", *options]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    losses: dict[str, list[float]] = {}
    for name, start in (("alone", []), ("torchrun", torchrun)):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, *start, *command], cwd=ROOT, capture_output=True, text=True,
                                  timeout=seconds, env=os.environ | {"COMPANION_RUNS": folder})
            runs = saved_runs(folder=Path(folder))
            losses[name] = [point.loss for point in runs[-1].points] if runs else []
        yield name, {"code": done.returncode, "device": runs[-1].device if runs else "",
                     **({"said": (done.stdout + done.stderr)[-500:]} if done.returncode or not runs else {})}
    if all(losses.values()):
        yield "difference", {"difference": worst(losses["alone"], losses["torchrun"])}


def epochs(device: torch.device, seconds: float, sections: tuple[str, ...] = (*NETWORKS,),
           start: Callable[[], contextlib.AbstractContextManager[Any]] | None = None) -> Readings:
    """七个网络各训练一轮，连同评估和曲线，与 d2l 的 `train_ch6`（装了才比）：图片张数按时间定，各边相同。

    start: 怎样起一个内核，测试时换掉。显存小，所以我们的和 d2l 的各只有一个内核，轮到一个，另一个已经放掉它留着的。
    """
    deadline = time.monotonic() + seconds
    sides = {"ours": "ours", **({"plain": "ours"} if device.type == "cuda" else {}),
             **({"d2l": "d2l"} if installed("d2l") else {})}
    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))
        bench = Bench(1, Path(folder))
        with Kernels(start or (lambda: bench.kernel(cells.TRAIN))) as kernels:
            for i, section in enumerate(sections):
                share = (deadline - time.monotonic()) / (len(sections) - i)
                yield section, attempt(_epoch, kernels, sides, section, share)


class Kernels:
    """各边的内核，用作 with；出过错的关掉（它占着的显存也放掉），下次另起一个。start: 起一个，也用作 with。"""

    def __init__(self, start: Callable[[], contextlib.AbstractContextManager[Any]]):
        self.start, self.open = start, {}

    def __enter__(self) -> "Kernels":
        return self

    def __exit__(self, *_: Any) -> None:
        for name in [*self.open]:
            self.close(name)

    def ask(self, name: str, expression: str) -> Any:
        """在名叫 name 的内核里求值。"""
        if name not in self.open:
            running = self.start()
            self.open[name] = running, running.__enter__()
        try:
            return value(self.open[name][1], expression)
        except BaseException:
            self.close(name)
            raise

    def close(self, name: str) -> None:
        """关掉一个内核。"""
        self.open.pop(name)[0].__exit__(None, None, None)


def _epoch(kernels: Kernels, sides: dict[str, str], section: str, share: float) -> dict[str, Any]:
    """在 share 秒之内，各边训练同样的一轮；一边出错，别的照做。"""
    batch, began, readings = load(section).plan.book.batch_size, time.monotonic(), {}

    def do(side: str, images: int) -> dict[str, Any]:
        return attempt(kernels.ask, sides[side], f"tidy({side}({section!r}, {images}))")
    costs = {}
    for side in sides:
        do(side, FEW * batch)  # 第一次要备好卷积算法
        few, more = (do(side, count * batch) for count in (FEW, MORE))
        readings[side] = more
        if "error" not in few and "error" not in more:
            costs[side] = cost(few["seconds"], more["seconds"], batch)
    start, rate = (sum(each) for each in zip(*costs.values(), strict=True)) if costs else (0.0, 0.0)
    images = affordable(share - (time.monotonic() - began) - start, rate, batch)
    if images > MORE * batch:
        readings |= {side: do(side, images) for side in costs}
    return {"images": max(images, MORE * batch), **readings}


def cost(few: float, more: float, batch: int) -> tuple[float, float]:
    """(开头要几秒, 以后一张图几秒)。few, more: FEW 批、MORE 批各用了几秒；分不开的都算作一张张的。"""
    rate = (more - few) / ((MORE - FEW) * batch)
    start = few - FEW * batch * rate
    return (start, rate) if rate > 0 and start > 0 else (0.0, more / (MORE * batch))


def affordable(seconds: float, rate: float, batch: int) -> int:
    """seconds 秒里训练得了多少张：整批的，至多全部 60000 张。rate: 一张图各边一共要几秒。"""
    return min(60_000, int(max(0.0, seconds) / rate) // batch * batch) if rate else 0


PARTS: dict[str, Callable[..., Readings]] = {
    "machine": this_machine, "tests": tests, "trajectories": trajectories, "graph": graph, "memory": memory,
    "out_of_memory": out_of_memory, "nccl": nccl, "epochs": epochs}


def main() -> None:
    """在这个进程里做一部分，每得到一个读数就写一行。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("device", type=torch.device)
    parser.add_argument("out", type=Path)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    with options.out.open("a", encoding="utf-8") as file:
        for name, reading in PARTS[options.part](options.device, options.seconds):
            print(f"  {name}  {short(reading)}", flush=True)
            print(json.dumps([name, reading], ensure_ascii=False), file=file, flush=True)


def short(reading: dict[str, Any]) -> str:
    """一个读数，一行里看得完。"""
    return "，".join(f"{name} {each:.4g}" if isinstance(each, float) else f"{name} {each}"
                    for name, each in reading.items() if not isinstance(each, list | dict))[:200]


if __name__ == "__main__":
    main()
