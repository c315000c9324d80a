"""录下的真实训练，由 tools/record_runs.py 产生：正常的和弄坏的。"""

import json
from dataclasses import replace
from pathlib import Path

from helpers.experiments.run import Run
from helpers.training.loop import Point

RECORDS = json.loads((Path(__file__).parent / "recorded_runs.json").read_text(encoding="utf-8"))


def restore(content, **changes):
    """录下的一次训练。"""
    return replace(Run(**content | {"points": [Point(**point) for point in content["points"]]}), **changes)


HEALTHY = [restore(content) for content in RECORDS["healthy"]]
BROKEN = [(record["expected"], restore(record["run"])) for record in RECORDS["broken"]]
