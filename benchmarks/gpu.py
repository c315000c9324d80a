"""在 NVIDIA 显卡上核对一切，十分钟以内：`make gpu`。

    python benchmarks/gpu.py [--readme] [--only tests graph …] [--seconds 570] [--device cpu]

要显卡的测试；七条 20 步的轨迹与 CPU 比；CUDA graph 与照常的一步比；内存的峰值与预计的比；真的用完显存；NCCL；
七个网络各训练一轮，与 d2l 比（装了才比）。结果写进 benchmarks/results/gpu/，README 里的表由它生成（--readme）。
每一部分在自己的进程里做，哪一部分出了错、太久，只是报告里的一句，别的照做。显卡的设置都不动。
--device cpu 在没有显卡的机器上试这个程序自己，结果写进 build/gpu/。
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gpu_report
import psutil
import torch
from bench import RESULTS, ROOT, results
from gpu_parts import PARTS
from report import write_readme

FOLDER, TRIAL = RESULTS / "gpu", ROOT / "build" / "gpu"  # 显卡上量的；在别的设备上试的
PATHS = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # 原来的路径也留着
SECONDS = 570
# 每一部分至多几秒；训练一轮放在最后，用剩下的时间
LIMITS = {"machine": 60, "tests": 120, "trajectories": 180, "graph": 120, "memory": 60, "out_of_memory": 90, "nccl": 90,
          "epochs": SECONDS}
LEAST = 15  # 剩下不到这么多秒，就不再开始


def do(name: str, device: str, seconds: float, folder: Path) -> dict[str, Any]:
    """在另一个进程里做一部分，至多 seconds 秒；读数写一行是一行，中途死掉，以前的还在。"""
    print(f"{gpu_report.TITLES[name]}……", flush=True)
    out, said, began = folder / f"{name}.jsonl", folder / f"{name}.txt", time.monotonic()
    out.touch()
    with said.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("gpu_parts.py"), name, device, out, str(0.9 * seconds)],
            cwd=ROOT, stderr=errors, env=os.environ | {"COMPANION_RUNS": str(folder / "runs"), "PYTHONPATH": PATHS})
        try:
            code = process.wait(timeout=seconds)
            error = "" if code == 0 else f"出错，退出码 {code}：{_last_line(said)}"
        except subprocess.TimeoutExpired:
            error = f"{seconds:.0f} 秒还没有做完"
        finally:
            end(process)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return {"seconds": time.monotonic() - began, "error": error, "readings": dict(lines)}


def _last_line(path: Path) -> str:
    return next(iter(reversed(path.read_text(encoding="utf-8", errors="replace").strip().splitlines())), "")[:300]


def end(process: subprocess.Popen) -> None:
    """结束一个进程和它起的进程（内核、torchrun）。"""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        for each in (process, *children):
            each.kill()
        process.wait()


def main(arguments: list[str] | None = None) -> int:
    """命令行入口。"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="默认 cuda")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="只做这几部分，其余的留着上次的")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"一共至多几秒，默认 {SECONDS}")
    parser.add_argument("--readme", action="store_true", help="把 README 里的表换成这台机器的")
    options = parser.parse_args(arguments)
    if options.readme and options.device != "cuda":
        parser.error("README 里只写显卡上量的。")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("这里没有可用的 NVIDIA 显卡（或者装的 torch 不带 CUDA），没有什么可量的。")
        return 0
    content = measure([name for name in PARTS if name in {"machine", *options.only}], options.device, options.seconds)
    text = gpu_report.report(content)
    print(f"\n{text}")
    if options.readme:
        write_readme(text, gpu_report.BEGIN, gpu_report.END)
    return 0


def measure(names: list[str], device: str, seconds: float) -> dict[str, Any]:
    """依次做这几部分，每做完一部分就存一次；返回存下的。"""
    deadline, path, content = time.monotonic() + seconds, None, {"parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            left = deadline - time.monotonic()
            if left < LEAST:
                break
            part = do(name, device, min(LIMITS[name], left), Path(folder))
            if name == "machine":
                where = part["readings"].get("machine", {"gpu": "unknown"})
                path = results(where, FOLDER if device == "cuda" else TRIAL)
                if path.exists():
                    content = json.loads(path.read_text(encoding="utf-8"))
            content["parts"][name] = part
            content["findings"] = gpu_report.findings(content["parts"])
            content["graph"] = gpu_report.verdict(content["parts"])
            assert path is not None  # 机器在最前
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return content


if __name__ == "__main__":
    sys.exit(main())
