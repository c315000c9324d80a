"""网络都很小：核被别人占着时，两个线程互相等，比一个线程慢几十倍。"""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """这里的测试只用一个线程。"""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
