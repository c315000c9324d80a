"""练习里做起来要久的实验：运行答案的代码，存进 helpers/exercises/recorded.json。

    python tools/record_exercises.py            # 还没有记录的、代码改过的，都做一遍
    python tools/record_exercises.py 7.1        # 只做这一节的
"""

import json
import sys
from datetime import date

import torch

from helpers.exercises.contests import RECORDED, Contest
from helpers.exercises.shelf import SHELF, exercises
from helpers.experiments.atomic import writing
from helpers.machine.device import describe_machine


def main(sections):
    """逐个做，做完一个存一次。"""
    found = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    slow = [each for section in sections or SHELF for each in exercises(section)
            if isinstance(each, Contest) and each.slow]
    for each in slow:
        if found.get(each.key, {}).get("code") == each.code:
            continue
        first, second = each.measure()
        found[each.key] = {"seeds": first.seeds, "first": first.values, "second": second.values, "code": each.code,
                           "machine": describe_machine(), "torch": torch.__version__.split("+")[0],
                           "recorded": date.today().isoformat()}
        print(f"{each.key}：{first.versus(second).describe(*each.arms)}")
        with writing(RECORDED) as file:
            file.write((json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
