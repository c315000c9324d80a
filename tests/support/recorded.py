"""录下的真实训练，由 tools/record_runs.py 产生：正常的和弄坏的。"""

import json
from pathlib import Path

from helpers.experiments.store import restore

RECORDS = json.loads((Path(__file__).parent / "recorded_runs.json").read_text(encoding="utf-8"))


HEALTHY = [restore(content) for content in RECORDS["healthy"]]
BROKEN = [(record["expected"], restore(record["run"])) for record in RECORDS["broken"]]


def broken(kind):
    """第一个这样弄坏的。"""
    return next(run for expected, run in BROKEN if expected == kind)
