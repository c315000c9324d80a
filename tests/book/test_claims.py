"""claims.py：印出的一行。"""

import numpy as np
import pytest
import torch

from helpers import check


def test_check_prints_what_it_is_told(capsys):
    check("一句话", True, 1)
    check("另一句", False)
    check("依据是零", True, 0)
    assert capsys.readouterr().out == "✓ 一句话 〔1〕\n✗ 另一句\n✓ 依据是零 〔0〕\n"


def test_evidence_may_be_an_array(capsys):
    check("一句话", np.True_, np.zeros(2))
    assert capsys.readouterr().out == "✓ 一句话 〔[0. 0.]〕\n"


@pytest.mark.parametrize("holds", [torch.tensor([True, False]), np.zeros(2) == 0])
def test_what_is_neither_true_nor_false_is_refused_in_words(holds):
    with pytest.raises(TypeError, match=r"holds 应当是 True 或 False.*all"):
        check("一句话", holds)
