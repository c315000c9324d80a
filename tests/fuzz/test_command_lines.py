"""命令行：随便怎么写，要么训练，要么一句中文、返回 2，没有 traceback。"""

import contextlib
import io
import re
from types import SimpleNamespace
from unittest import mock

from hypothesis import example, given
from support.odd import command_lines

from helpers.__main__ import main
from helpers.experiments.plan import Plan

CHINESE = re.compile("[一-鿿]")


FINISHED = SimpleNamespace(finished=True, ended="done")  # 一次走完了的训练


def typed(words):
    """(返回值, 印在 stderr 的)；计划照样检查，网络只在 meta 上建，不训练。"""
    said = io.StringIO()
    with (mock.patch("helpers.__main__.train", lambda *_, **__: FINISHED),
          mock.patch("helpers.__main__.examine", list),
          mock.patch.object(Plan, "build", lambda plan, seed: plan.meta()),
          contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said)):
        try:
            return main(words), said.getvalue()
        except SystemExit as stopped:
            return stopped.code, said.getvalue()


@given(command_lines)
@example(["run", "7.1", "--lr", "--lr", "\n"])
@example(["run", "7.1", "--data", "x" * 300])
@example(["run", "7.1", "--c1", "1+" * 100_000 + "1"])  # 套得太深，Python 自己也读不了
def test_any_command_line(words):
    code, said = typed(words)
    assert code in (0, 2) and (code == 0) == (said == "")
    assert code == 0 or (CHINESE.search(said) and said.count("\n") == 1), said
