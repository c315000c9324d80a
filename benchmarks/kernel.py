"""一个用消息驱动的真内核：故障测试和基准都用它。"""

import json
import os
import time
from collections.abc import Callable, Sequence
from queue import Empty
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

    def send(self, code: str, cell: str | None = None) -> str:
        """发出一个单元格，返回消息的编号，不等结果。cell: 单元格的编号，JupyterLab 每次都送。"""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                   "stop_on_error": True}
        return self._shell("execute_request", content, metadata={"cellId": cell} if cell else {})

    def _shell(self, kind: str, content: dict[str, Any], subshell: str | None = None,
               metadata: dict[str, Any] | None = None, buffers: Sequence[bytes] = ()) -> str:
        session = self.client.session
        message = session.msg(kind, content, metadata=metadata)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        session.send(self.client.shell_channel.socket, message, buffers=list(buffers))
        return message["header"]["msg_id"]

    def messages(self, parent: str, timeout: float = 60,
                 enough: Callable[[list[Message]], bool] = lambda found: False) -> list[Message]:
        """这个单元格引起的消息，到内核空闲为止，或者到 enough(已有的消息) 为止。"""
        found, deadline = [], time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=min(timeout, 1))
            except Empty:
                if not self.manager.is_alive():
                    raise RuntimeError("内核死了") from None
                continue
            if message["parent_header"].get("msg_id") != parent:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return found
            found.append(message)
            if enough(found):
                return found
        raise TimeoutError("内核没有空闲下来")

    def run(self, code: str, timeout: float = 60, cell: str | None = None) -> str:
        """运行一个单元格，返回它印出的文字；出错时抛出 AssertionError。"""
        return printed(self.messages(self.send(code, cell), timeout))

    def move(self, model: str, subshell: str | None = None, **state: Any) -> str:
        """像网页里的滑块那样送来一个新的值，返回消息的编号。subshell: 送到哪个子 shell，见 `open_subshell`。"""
        return self._comm(model, {"method": "update", "state": state, "buffer_paths": []}, subshell)

    def click(self, model: str, subshell: str | None = None) -> str:
        """像网页里那样按一下按钮，返回消息的编号。"""
        return self._comm(model, {"method": "custom", "content": {"event": "click"}}, subshell)

    def ask(self, model: str, content: dict[str, Any], subshell: str | None = None,
            buffers: Sequence[bytes] = ()) -> str:
        """像网页里的小组件那样送来一句话和一些字节，返回消息的编号。"""
        return self._comm(model, {"method": "custom", "content": content}, subshell, buffers)

    def _comm(self, model: str, data: dict[str, Any], subshell: str | None,
              buffers: Sequence[bytes] = ()) -> str:
        return self._shell("comm_msg", {"comm_id": model, "data": data}, subshell, buffers=buffers)

    def open_subshell(self) -> str:
        """开一个子 shell，返回它的编号：JupyterLab 让小组件的消息走这里，在另一个线程里处理，单元格忙时也有回应。"""
        return self._control("create_subshell_request")["subshell_id"]

    def close_subshell(self, subshell: str) -> None:
        """关掉一个子 shell，网页里最后一个小组件没有了就这样。"""
        self._control("delete_subshell_request", subshell_id=subshell)

    def _control(self, kind: str, **content: Any) -> dict[str, Any]:
        message = self.client.session.msg(kind, content)
        self.client.control_channel.send(message)
        while (reply := self.client.get_control_msg(timeout=10))["parent_header"]["msg_id"] != message["msg_id"]:
            pass
        assert reply["content"]["status"] == "ok", reply["content"]
        return reply["content"]

    def interrupt(self) -> None:
        """■：中断内核。"""
        self.manager.interrupt_kernel()

    def wait_for_update(self, model: str, name: str, timeout: float = 10) -> None:
        """等到这个小组件的这一项送来新的值。"""
        while True:
            content = self.client.get_iopub_msg(timeout=timeout)["content"]
            if content.get("comm_id") == model and name in content["data"].get("state", {}):
                return

    def wait_for_answer(self, model: str, number: Any, timeout: float = 30) -> dict[str, Any]:
        """等到这个小组件送来编号是 number 的一句话。"""
        while True:
            content = self.client.get_iopub_msg(timeout=timeout)["content"]
            said = content.get("data", {}).get("content", {}) if content.get("comm_id") == model else {}
            if said.get("number") == number:
                return said

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
