"""走得通的边长怎样说；有空当的不冒充区间。"""

import pickle

import pytest

from helpers.network.sizes import Sizes


@pytest.mark.parametrize("fits, text", [
    (range(28, 32), "28 到 31"), (range(5, 65), "5 以上"), ([7], "7"), ([64], "64"), (range(32, 65, 32), "32、64"),
    (range(3, 64, 3), "3 的倍数"), (range(8, 65, 2), "2 的倍数（8 以上）"), (range(9, 32, 3), "3 的倍数（9 到 30）"),
    (range(1, 64, 4), "除以 4 余 1 的数"), ([16, 17, 18, 48, 49], "16 到 18、48 到 49"),
    ([1, 2, 5, 6, 9, 11, 20], "1 到 2、5 到 6、9、11 等 5 段，最大 20")], ids=str)
def test_sizes_are_described(fits, text):
    sizes = Sizes(fits, 64)
    assert sizes.describe() == text
    assert [size for size in range(1, 65) if size in sizes] == list(fits)


def test_an_interval_is_a_pair_and_gaps_are_not():
    whole, gaps = Sizes(range(3, 8), 64), Sizes([3, 5, 7], 64)
    low, high = whole
    assert (low, high) == whole == (3, 7) and repr(whole) == "(3, 7)" and Sizes([63, 64], 64) == (63, None)
    assert gaps != (3, 7) and gaps != whole and gaps == Sizes([7, 5, 3], 64) and repr(gaps) == gaps.describe()
    assert hash(gaps) == hash(Sizes([7, 5, 3], 64))


def test_sizes_survive_pickling():
    again = pickle.loads(pickle.dumps(Sizes([3, 5, 7], 64)))
    assert again == Sizes([3, 5, 7], 64) and again.limit == 64
