"""每一行怎样对照：我们的与朴素的；以及一个用消息驱动的真内核。"""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from jupyter_client.manager import KernelManager

NAIVE = pytest.mark.xfail(strict=True, reason="朴素的实现经不起这个故障")


def against(ours, naive):
    """同一个测试跑两遍：我们的应当通过，朴素的应当通不过。"""
    return pytest.mark.parametrize("subject", [
        pytest.param(ours, id="ours"), pytest.param(naive, id="naive", marks=NAIVE)])


def python(code, *arguments, **options):
    """在另一个 Python 进程里运行一段代码。"""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True,
                          timeout=180, **options)


class Kernel:
    """一个真的 Jupyter 内核，用消息驱动。"""

    def __init__(self, env):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=os.environ | env)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def send(self, code):
        """发出一个单元格，返回它的编号，不等结果。"""
        return self.client.execute(code)

    def messages(self, parent, timeout=60, enough=lambda found: False):
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

    def run(self, code, timeout=60):
        """运行一个单元格，返回它印出的文字；出错时抛出 AssertionError。"""
        messages = self.messages(self.send(code), timeout)
        errors = [message["content"] for message in messages if message["msg_type"] == "error"]
        assert not errors, errors
        return "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")

    def move(self, model, **state):
        """像网页里的滑块那样送来一个新的值。"""
        message = self.client.session.msg("comm_msg", {
            "comm_id": model, "data": {"method": "update", "state": state, "buffer_paths": []}})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def close(self):
        """关掉内核。"""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
