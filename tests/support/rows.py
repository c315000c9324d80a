"""每一行怎样对照：我们的与朴素的。"""

import subprocess
import sys
import textwrap

import pytest

NAIVE = pytest.mark.xfail(strict=True, reason="朴素的实现经不起这个故障")


def against(ours, naive):
    """同一个测试跑两遍：我们的应当通过，朴素的应当通不过。"""
    return pytest.mark.parametrize("subject", [
        pytest.param(ours, id="ours"), pytest.param(naive, id="naive", marks=NAIVE)])


def python(code, *arguments, **options):
    """在另一个 Python 进程里运行一段代码。"""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True,
                          timeout=180, **options)
