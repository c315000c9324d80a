"""没有 GPU 也能试的 CUDA graph。"""

import pytest
from support.tape import record_on_tapes


@pytest.fixture
def tapes(monkeypatch):
    """这个测试里录下的。"""
    return record_on_tapes(monkeypatch)
