"""画图时的警告（例如缺字）都算错。"""

import warnings

import pytest


@pytest.fixture(autouse=True)
def no_warning():
    """这个测试里不许有警告。"""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
