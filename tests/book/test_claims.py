"""claims.py：印出的一行。"""

from helpers import check


def test_check_prints_what_it_is_told(capsys):
    check("一句话", True, 1)
    check("另一句", False)
    check("依据是零", True, 0)
    assert capsys.readouterr().out == "✓ 一句话 〔1〕\n✗ 另一句\n✓ 依据是零 〔0〕\n"
