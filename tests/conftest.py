"""测试里的训练存进临时文件夹，不与读者自己的混在一起。"""

import pytest


@pytest.fixture(autouse=True)
def runs_folder(tmp_path, monkeypatch):
    """这个测试的训练存在哪里。"""
    folder = tmp_path / "runs"
    monkeypatch.setenv("COMPANION_RUNS", str(folder))
    return folder


def pytest_collection_modifyitems(items):
    """训练整个网络的、弄坏机器的，make quick 不跑。"""
    for item in items:
        if item.path.parent.name in ("faults", "notebooks"):
            item.add_marker(pytest.mark.slow)
