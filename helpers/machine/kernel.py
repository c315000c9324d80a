"""Jupyter 内核：在不在里面，主线程的事件循环，正在运行哪一个单元格。"""

import asyncio
import sys
from typing import Any


def running_kernel() -> Any | None:
    """所在的内核；不在内核里就是 None。"""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython(), "kernel", None) if ipython else None


def main_loop() -> asyncio.AbstractEventLoop:
    """内核主线程的事件循环；不在内核里就是正在走的这一个，也没有就抛出 RuntimeError。

    小组件的消息可以在别的线程里处理（JupyterLab 4.4 起的子 shell）：那里的事件循环随最后一个小组件一起关掉，
    要久的事不能托给它。
    """
    loop = getattr(running_kernel(), "io_loop", None)
    return loop.asyncio_loop if loop is not None else asyncio.get_running_loop()


def current_cell() -> tuple[str, str] | None:
    """(正在运行的单元格的编号, 这一次运行的编号)；网页没有送来编号就是 None。"""
    message = getattr(running_kernel(), "get_parent", dict)()
    cell = message.get("metadata", {}).get("cellId")
    return (cell, message["header"]["msg_id"]) if cell else None
