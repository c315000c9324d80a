"""一个用消息驱动的真内核：故障测试和基准都用它。"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

from jupyter_client.manager import KernelManager

Message = dict[str, Any]


class Kernel:
    """一个真的 Jupyter 内核。env: 另加的环境变量；options: 传给进程的，如 cwd。"""

    def __init__(self, env: dict[str, str], **options: Any):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=os.environ | env, **options)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def send(self, code: str) -> str:
        """发出一个单元格，返回它的编号，不等结果。"""
        return self.client.execute(code)

    def messages(self, parent: str, timeout: float = 60,
                 enough: Callable[[list[Message]], bool] = lambda found: False) -> list[Message]:
        """这个单元格引起的消息，到内核空闲为止，或者到 enough(已有的消息) 为止。"""
        found, deadline = [], time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != parent:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return found
            found.append(message)
            if enough(found):
                return found
        raise TimeoutError("内核没有空闲下来")

    def run(self, code: str, timeout: float = 60) -> str:
        """运行一个单元格，返回它印出的文字；出错时抛出 AssertionError。"""
        return printed(self.messages(self.send(code), timeout))

    def move(self, model: str, **state: Any) -> str:
        """像网页里的滑块那样送来一个新的值，返回消息的编号。"""
        message = self.client.session.msg("comm_msg", {
            "comm_id": model, "data": {"method": "update", "state": state, "buffer_paths": []}})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def wait_for_update(self, model: str, name: str, timeout: float = 10) -> None:
        """等到这个小组件的这一项送来新的值。"""
        while True:
            content = self.client.get_iopub_msg(timeout=timeout)["content"]
            if content.get("comm_id") == model and name in content["data"].get("state", {}):
                return

    def close(self) -> None:
        """关掉内核。"""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def printed(messages: list[Message]) -> str:
    """消息里印出的文字；其中有报错就抛出 AssertionError。"""
    errors = ["\n".join(message["content"]["traceback"]) for message in messages if message["msg_type"] == "error"]
    assert not errors, errors[0]
    return "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")


def size(messages: list[Message]) -> int:
    """这些消息送到网页的字节数。"""
    return sum(len(json.dumps(message["content"])) + sum(len(buffer) for buffer in message["buffers"])
               for message in messages)
