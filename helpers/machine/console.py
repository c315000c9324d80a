"""终端：什么编码、什么样的管道，都不该让一句话，更不该让一次训练断掉。"""

import os
import sys
from contextlib import suppress
from typing import Any


class Patient:
    """一个输出：写不出的字换成转义；管道关了、磁盘满了，就不再写。别的与原来的相同。"""

    def __init__(self, stream: Any):
        self.stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  关掉的输出是 None
        with suppress(AttributeError):  # 不是文件的没有编码
            self.stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """写；写不出去就算了。"""
        return self._try(self.stream.write, text) or len(text)

    def flush(self) -> None:
        """送出去；送不出去就算了。"""
        self._try(self.stream.flush)

    def _try(self, act: Any, *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # 从此送进空洞：解释器退出时还要再送一次
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def be_patient() -> None:
    """从此 stdout、stderr 都是 Patient。"""
    sys.stdout, sys.stderr = Patient(sys.stdout), Patient(sys.stderr)
