"""测试里的训练存进临时文件夹，不与读者自己的混在一起；随机测试跑多少例也在这里定。"""

import os
import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

# make test 每次跑同样的 300 例，红了能重现；make fuzz 每次新抽 10000 例，变异测试 50 例。快慢看机器，所以不限时间
UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("test", max_examples=300, derandomize=True, database=None, **UNHURRIED)
settings.register_profile("fuzz", max_examples=10_000, print_blob=True, **UNHURRIED)
settings.register_profile("mutants", max_examples=50, derandomize=True, database=None, **UNHURRIED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

# 脚本在后台（&）起的进程不理 Ctrl+C，它起的进程也不理；测试里中断的那些要理
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def runs_folder(tmp_path, monkeypatch):
    """这个测试的训练存在哪里。"""
    folder = tmp_path / "runs"
    monkeypatch.setenv("COMPANION_RUNS", str(folder))
    return folder


# 几个进程分文件时，先分的：做网站的（别的网页测试要用它做好的），然后是有很慢的文件的文件夹，最后才不会只剩一个在跑
FIRST = ("site/test_site_pages.py", "notebooks", "machine", "faults", "site", "widgets", "tests", "fuzz", "network")


def turn(path):
    """这个测试文件第几个分。"""
    names = (f"{path.parent.name}/{path.name}", path.parent.name)
    return min((FIRST.index(name) for name in names if name in FIRST), default=len(FIRST))


def pytest_collection_modifyitems(items):
    """训练整个网络的、弄坏机器的，make quick 不跑；要显卡的，没有显卡不跑，make gpu 只跑它们。"""
    items.sort(key=lambda item: turn(item.path))
    without = pytest.mark.skipif(not torch.cuda.is_available(), reason="没有 NVIDIA 显卡")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(without)
        if item.path.parent.name in ("faults", "fuzz", "notebooks"):
            item.add_marker(pytest.mark.slow)
