"""与读者今天用的比速度：同样的工作，轮流做，只说比值。

    python benchmarks/bench.py [--rounds 5] [--only train trace figure …] [--readme]

一边做完换另一边（A B A B …），每一边有自己的内核，比值在同一轮里两两相除。
结果写进 benchmarks/results/，每台机器一个文件；README 里的表由它生成（--readme）。
"""

import argparse
import contextlib
import gzip
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import cells
import psutil
import torch
from kernel import Kernel, printed, size
from report import read, report, write_readme

from helpers import NETWORKS, fast_dtype, load, pick_device
from helpers.data.fashion import FILES
from helpers.doctor import installed
from helpers.machine.device import dtype_name, processor
from helpers.paths import FASHION_MNIST

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "matplotlib", "ipywidgets", "d2l", "torchinfo", "livelossplot")
IMAGES = {"7.1": 60_000, "7.2": 640, "7.3": 640, "7.4": 640, "7.5": 640, "7.6": 1280, "7.7": 1280}
# 滑块的范围，与笔记本里的一样；拖第一个
RANGES = {"7.3": {"ratio": [1, 2, 4, 8, 16, 32], "hidden": (64, 4096, 64)},
          "7.5": {"ratio": [1, 2, 4, 8]}, "7.7": {"growth_rate": (4, 64), "num_channels": (8, 128)}}


class Bench:
    """一次比较：每一轮的读数都留着。"""

    def __init__(self, rounds: int, folder: Path):
        self.rounds, self.folder = rounds, folder
        self.readings: dict[str, dict[str, list[Any]]] = {}  # {事情: {哪一边: [每一轮]}}

    def note(self, what: str, side: str, reading: Any) -> None:
        """记下一个读数。"""
        self.readings.setdefault(what, {}).setdefault(side, []).append(reading)
        print(f"{what}  {side}  {reading if isinstance(reading, dict) else f'{reading:.4g}'}", flush=True)

    @contextlib.contextmanager
    def kernel(self, code: str) -> Iterator[Kernel]:
        """一个新的内核，先运行 code；工作目录旁边有 d2l 要的数据。"""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        kernel = Kernel({"COMPANION_RUNS": str(self.folder / "runs")}, cwd=str(work),
                        stderr=subprocess.DEVNULL)
        with contextlib.closing(kernel):
            kernel.run(code, timeout=600)
            yield kernel

    def ask(self, code: str, expression: str) -> Any:
        """在新的内核里求一个表达式。"""
        with self.kernel(code) as kernel:
            return value(kernel, expression)

    def turns(self, what: str, act: Callable[..., Any], *args: Any, sides: Sequence[str] = ("ours",),
              rounds: int | None = None) -> None:
        """几边轮流做 act(哪一边, *args)。"""
        for _ in range(rounds or self.rounds):
            for side in sides:
                self.note(what, side, act(side, *args))


def sides() -> tuple[str, ...]:
    """训练时比哪几边：有 bfloat16 的机器上，我们的另外也用 float32 做一遍；GPU 上再不录 CUDA graph 做一遍。"""
    device = pick_device()
    return ("ours", *["float32"] * (fast_dtype(device) != torch.float32), *["plain"] * (device.type == "cuda"),
            "d2l")


def value(kernel: Kernel, expression: str) -> Any:
    """在内核里求一个表达式。"""
    return json.loads(kernel.run(f"print(json.dumps({expression}))", timeout=3600).strip().splitlines()[-1])


def train(bench: Bench) -> None:
    """训练一轮，评估和曲线都在内；每一边一个内核，先用五批热身，卷积算法和线程都已经备好。"""
    for section, images in IMAGES.items():
        warm = 5 * load(section).plan.book.batch_size
        with contextlib.ExitStack() as open_kernels:
            kernels = {side: open_kernels.enter_context(bench.kernel(f"{cells.TRAIN}{side}({section!r}, {warm})"))
                       for side in sides()}
            bench.turns(f"train {section}", lambda side, kernels, code: value(kernels[side], f"tidy({side}({code}))"),
                        kernels, f"{section!r}, {images}", sides=sides())


def learning(bench: Bench) -> None:
    """算的一样：20 步的损失；LeNet 的全部配方各训练一次。"""
    for section in NETWORKS:
        found = bench.ask(cells.TRAIN, f"trajectories({section!r})")
        worst = max(abs(a - b) for a, b in zip(found["ours"], found["d2l"], strict=True))
        bench.note(f"20 steps {section}", "difference", worst)
    bench.turns("10 epochs 7.1", lambda side: bench.ask(cells.TRAIN, f"{side}('7.1', 60_000, 10)"),
                sides=sides(), rounds=1)


def figure(bench: Bench) -> None:
    """画 200 个点：秒数，和送到网页的字节数。"""
    def draw(side: str) -> dict[str, float]:
        with bench.kernel(cells.FIGURE) as kernel:
            messages = kernel.messages(kernel.send(f"print(clock({side}()))"), timeout=600)
        return {"seconds": float(printed(messages).split()[-1]), "bytes": size(messages)}
    bench.turns("figure", draw, sides=("ours", "d2l", "livelossplot"))


def trace(bench: Bench) -> None:
    """逐层清单。"""
    for section in NETWORKS:
        bench.turns(f"trace {section}", lambda side, section: bench.ask(cells.TRACE, f"clock({side}, {section!r})"),
                    section, sides=("ours", "torchinfo"))


def slider(bench: Bench) -> None:
    """从滑块的消息到形状表的消息，在内核外面量；每一轮 50 次移动的 95 % 分位数。"""
    def drag(_: str, section: str) -> float:
        first, values = next(iter(RANGES[section].items()))
        code = cells.SLIDER.replace("SECTION", repr(section)).replace("RANGES", repr(RANGES[section]))
        with bench.kernel(code) as kernel:
            ids = [kernel.run(f"print({what}.model_id)").strip()
                   for what in (f"explorer.sliders[{first!r}]", "explorer.table")]
            times = []
            for i in range(1, 51):  # 第一格可能就是起点：那里不会有新的表
                choice = {"index": i % len(values)} if isinstance(values, list) else {"value": values[0] + i}
                started = time.perf_counter()
                kernel.move(ids[0], **choice)
                kernel.wait_for_update(ids[1], "value")
                times.append(time.perf_counter() - started)
        return statistics.quantiles(times, n=20)[-1]
    for section in RANGES:
        bench.turns(f"slider {section}", drag, section)


def view(bench: Bench) -> None:
    """打开网络：点一格到它的算术，画一笔到答案，在内核外面量；每一轮各 50 次的中位数和 95 % 分位数，秒。"""
    for section in NETWORKS:
        with bench.kernel(cells.VIEW.replace("SECTION", repr(section))) as kernel:
            model = kernel.run("print(inside.page.model_id)").strip()
            for _ in range(bench.rounds):
                places = value(kernel, "places(50)")
                bench.note(f"click {section}", "ours", answered(kernel, model, [
                    ({"ask": "cell", "cell": place}, ()) for place in places]))
                bench.note(f"stroke {section}", "ours", answered(kernel, model, [
                    ({"ask": "image", "size": [112, 112], "cut": True, "fill": True, "centre": True}, [drawn(k)])
                    for k in range(50)]))


def drawn(length: int) -> bytes:
    """112×112 的画板，上面一笔，越画越长。"""
    return bytes(255 * (40 <= i // 112 < 60 and 20 <= i % 112 < 24 + length) for i in range(112 * 112))


def answered(kernel: Kernel, model: str,
             questions: Sequence[tuple[dict[str, Any], Sequence[bytes]]]) -> dict[str, float]:
    """一个一个地问，各要多久：中位数和 95 % 分位数，秒。"""
    times = []
    for number, (question, buffers) in enumerate(questions):
        started = time.perf_counter()
        kernel.ask(model, question | {"number": number}, buffers=buffers)
        assert "error" not in kernel.wait_for_answer(model, number)
        times.append(time.perf_counter() - started)
    return {"p50": statistics.median(times), "p95": statistics.quantiles(times, n=20)[-1]}


def imports(bench: Bench) -> None:
    """在 torch、matplotlib、ipywidgets 之外，导入 helpers 多用的时间。"""
    bench.turns("import", lambda _: float(subprocess.run(
        [sys.executable, "-c", cells.IMPORT], capture_output=True, text=True, check=True).stdout))


def book(bench: Bench) -> None:
    """make book 一次。"""
    started = time.perf_counter()
    subprocess.run([sys.executable, ROOT / "tools" / "book.py", "--to", bench.folder / "book"], check=True, cwd=ROOT)
    bench.note("book", "ours", time.perf_counter() - started)


def growth(bench: Bench) -> None:
    """代价怎样长：一轮对图片张数，一帧对已有的点，清单对深度，内存对批量。"""
    for images in (7_500, 15_000, 30_000, 60_000):
        bench.note("epoch, images", str(images), bench.ask(
            cells.TRAIN + "ours('7.1', 1280)", f"ours('7.1', {images})")["seconds"])
    for count in (10, 100, 1_000, 10_000):
        bench.note("frame, points", str(count), bench.ask(cells.FIGURE, f"frame({count})"))
    for depth in (8, 16, 32, 64, 128):
        bench.note("trace, layers", str(depth), bench.ask(cells.TRACE, f"depth({depth})"))
    for batch in (32, 64, 128, 256):
        bench.note("memory, batch", str(batch), bench.ask(cells.TRAIN, f"memory('7.2', {batch})"))


def limits(bench: Bench) -> None:
    """这台机器的上限。"""
    for dtype in ("float32", "bfloat16"):
        bench.note("matrix product, FLOP/s", dtype, bench.ask(cells.LIMITS, f"product(torch.{dtype})"))
    bench.note("memory bandwidth, B/s", "copy", bench.ask(cells.LIMITS, "bandwidth()"))


MEASURES = {"limits": limits, "import": imports, "trace": trace, "figure": figure, "slider": slider, "view": view,
            "learning": learning, "growth": growth, "train": train, "book": book}


def unpack(folder: Path) -> None:
    """d2l 的加载器要的四个文件，解开放在 ../data。"""
    raw = folder / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress((FASHION_MNIST / name).read_bytes()))


def machine() -> dict[str, Any]:
    """在什么机器上、用什么版本。"""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": processor(), "cores": cores,
            "memory": psutil.virtual_memory().total, "device": pick_device().type, "date": str(date.today()),
            "gpu": torch.cuda.get_device_name() if pick_device().type == "cuda" else None,
            "dtype": dtype_name(fast_dtype(pick_device())), "system": platform.platform(terse=True),
            "python": platform.python_version(), **{name: installed(name) for name in PACKAGES}}


def results(where: dict[str, Any], folder: Path = RESULTS) -> Path:
    """这台机器的结果写在哪里。"""
    name = where["gpu"] or f"{where['cpu']} {where['cores']} cores"
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def main() -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="每件事几轮，默认 5")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=[*MEASURES], help="只做这几件，其余的留着上次的")
    parser.add_argument("--readme", action="store_true", help="把 README 里的表换成这台机器的")
    options = parser.parse_args()
    where = machine()
    path = results(where)
    content = read(path) if path.exists() else {"machines": {}, "readings": {}}
    with tempfile.TemporaryDirectory() as temporary:
        unpack(Path(temporary))
        for name in options.only:
            bench = Bench(options.rounds, Path(temporary))
            MEASURES[name](bench)
            content["readings"][name], content["machines"][name] = bench.readings, where
            RESULTS.mkdir(exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    text = report(content)
    print(text)
    if options.readme:
        write_readme(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
