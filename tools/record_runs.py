"""录下真实的训练，供诊断的测试用：每个网络的计划各五个种子，应当没有诊断；另有弄坏的，应当都被认出。

约十分钟；写到 tests/support/recorded_runs.json。只在改变计划、训练循环或诊断之后才要重录。
"""

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from helpers import NETWORKS, load, train
from helpers.experiments.plan import Plan
from helpers.experiments.run import Run

FILE = Path(__file__).resolve().parent.parent / "tests" / "support" / "recorded_runs.json"
SEEDS = range(5)


def broken() -> list[tuple[str, str, dict[str, Any], int]]:
    """弄坏的训练：(应当是哪一种诊断, 节, 改了什么, 种子)。"""
    small = {"size": 67, "images": 1_000, "batch_size": 32, "c1": 16, "c2": 32, "c3": 64}
    return [
        ("lr_too_small", "7.1", {"lr": 0.1, "num_epochs": 3}, 0),
        ("weak_initialization", "7.1", {"init": "default", "num_epochs": 3}, 0),
        ("lr_too_large", "7.1", {"lr": 9.0, "num_epochs": 3}, 0),
        ("warming_up", "7.1", {"num_epochs": 1}, 0),
        ("lr_too_small", "7.2", {"lr": 1e-3}, 0),
        ("dead_layer", "7.2", {"lr": 1.0}, 0),
        ("not_started", "7.3", {"init": "xavier", "num_epochs": 2}, 0),
        ("overflow", "7.3", {"lr": 1.0}, 0),
        ("dead_output", "7.4", {**small, "lr": 1.0, "init": "xavier", "num_epochs": 3}, 0),
        ("missing_classes", "7.4", {"init": "kaiming"}, 2),
        ("not_started", "7.5", {"init": "xavier", "num_epochs": 1}, 0),
        ("overfit", "7.6", {"images": 600, "batch_size": 32, "num_epochs": 20}, 0),
        ("lr_too_small", "7.7", {"lr": 1e-4}, 0),
    ]


def once(plan: Plan, seed: int) -> Run:
    """按计划训练一次。"""
    torch.manual_seed(seed)
    net = plan.build()
    return train(net, *plan.data(), lr=plan.lr, num_epochs=plan.num_epochs, plan=plan, seed=seed)


def main() -> int:
    """命令行入口；参数 broken 只重录弄坏的。"""
    os.environ["COMPANION_RUNS"] = tempfile.mkdtemp()
    records = json.loads(FILE.read_text(encoding="utf-8")) if "broken" in sys.argv else {"healthy": []}
    if not records["healthy"]:
        records["healthy"] = [asdict(once(load(section).plan, seed)) for section in NETWORKS for seed in SEEDS]
    records["broken"] = []
    for expected, section, changes, seed in broken():
        run = once(load(section).plan.change(**changes), seed)
        print(f"{'✓' if expected in [finding.kind for finding in run.findings] else '✗'} {expected}：{run.findings}")
        records["broken"].append({"expected": expected, "run": asdict(run)})
    alarms = [(run["network"], run["seed"], run["findings"]) for run in records["healthy"] if run["findings"]]
    print(f"正常的 {len(records['healthy'])} 次，误报 {len(alarms)} 次", *alarms, sep="\n")
    FILE.write_text(json.dumps(records, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
