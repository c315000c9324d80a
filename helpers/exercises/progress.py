"""猜过什么，做对了什么：在训练旁边的 exercises/ 里，一题一个 JSON 文件，不离开这台机器。"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.experiments.atomic import file_name, writing
from helpers.paths import runs_folder


def note(key: str, **news: Any) -> str:
    """记下一题的新情况，以前的留着；返回没有记下来的原因，记下了就是空的。key: 如 "7.1 窗口"。"""
    try:
        with writing(_file(key)) as file:
            file.write(json.dumps({"key": key} | noted(key) | news, ensure_ascii=False).encode())
    except OSError as error:
        return f"（这次没有记下来：{error.strerror}：{_file(key).parent}）"
    return ""


def noted(key: str) -> dict[str, Any]:
    """一题记下的；没有记过，或者文件读不出来，就是空的。"""
    with suppress(OSError, ValueError):
        found = json.loads(_file(key).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def note_check(key: str, outcome: str) -> str:
    """记下检查了一次；做对过的，以后再错也还是做对过。"""
    before = noted(key)
    tries = before.get("tries")
    return note(key, tries=(tries if isinstance(tries, int) else 0) + 1,
                solved=before.get("solved") is True or outcome == "对")


def _file(key: str) -> Path:
    return runs_folder() / "exercises" / f"{file_name(key)}.json"
