"""写一个文件，要么整个在，要么没有。"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


def file_name(name: str) -> str:
    """一个名字，换掉文件名里不能有的字；太长的截断。"""
    return re.sub(r"[^\w.+-]", "_", name)[:40]


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """在这个 with 里写 path：先写在旁边，离开时才改名，任何时候被打断，path 都是完整的一份，或者还是以前的。

    几个进程写同一个文件，各写各的草稿。写不下时抛出 OSError，草稿已经删掉。
    """
    draft = path.with_suffix(f".{uuid4().hex[:6]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
