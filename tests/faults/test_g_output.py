"""G7：输出到一半没有了。"""

import os
import subprocess
import sys

import pytest
from support.rows import against

OURS = [sys.executable, "-m", "helpers", "run", "7.1", "--num-epochs", "2", "--images", "320", "--batch-size", "32"]
# 随处可见的写法：每轮印一行，最后存下来
NAIVE = [sys.executable, "-c", """
import json, os, sys
for epoch in range(1000):
    print(f"epoch {epoch}, loss {1 / (epoch + 1):.3f}", "." * 60)
    print("step", epoch, file=sys.stderr)
sys.stdout.flush()
json.dump({"epochs": 1000}, open(os.environ["COMPANION_RUNS"] + "/run.json", "w"))
"""]


@pytest.mark.skipif(sys.platform == "win32", reason="要 sh 和 /dev/full")
@pytest.mark.parametrize("where", ["| head -c 1", "> /dev/full", ">&- 2>&-"])
@against(OURS, NAIVE)
def test_G7_an_output_that_is_gone_costs_no_run(subject, where, tmp_path):
    environment = os.environ | {"COMPANION_RUNS": str(tmp_path)}
    done = subprocess.run(["sh", "-c", f'"$@" {where}', "sh", *subject], capture_output=True, text=True,
                          env=environment)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr[-2000:]
    assert [*tmp_path.glob("*.json")]
