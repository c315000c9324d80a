"""trials.py：区间对着 scipy 的检验，结论对着模拟。"""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from scipy import stats

from helpers import Trials, trials
from helpers.experiments.trials import Difference


def test_each_seed_is_measured_once_in_order():
    asked = []

    def measure(seed):
        asked.append(seed)
        return seed**2

    found = trials(measure, seeds=4)
    assert asked == [0, 1, 2, 3] == list(found.seeds) and found.values == (0, 1, 4, 9)
    assert trials(measure, seeds=(7, 3)).seeds == (7, 3) and trials(measure).seeds == (0, 1, 2, 3, 4)


def test_the_interval_is_the_one_of_the_t_test():
    found = Trials((1.0, 2.0, 4.0, 4.5), (0, 1, 2, 3))
    interval = stats.ttest_1samp(found.values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(np.mean(found.values))


def test_pairs_are_by_seed():
    noise, jitter = np.random.default_rng(0).normal(size=(2, 6))
    one, other = Trials(2 * noise + 1 + 0.1 * jitter), Trials(2 * noise)
    difference = one.versus(other)
    assert difference.larger == 0 and difference.mean == pytest.approx(1, abs=0.2)
    assert other.versus(one).larger == 1
    assert one.low < other.high  # 两个区间重叠，成对才看得出


def test_the_difference_is_the_paired_t_test():
    a, b = np.random.default_rng(1).normal(size=(2, 8))
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    difference = Trials(a).versus(Trials(b))
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_without_a_difference_few_name_a_winner(seeds):
    pairs = np.random.default_rng(seeds).normal(size=(2_000, seeds))
    named = sum(Difference(tuple(pair)).larger is not None for pair in pairs)
    assert 0.03 * 2_000 < named <= 0.06 * 2_000


def test_a_difference_of_two_standard_deviations_is_found():
    """差自己的标准差的两倍；或者两边各自的，那时差的标准差是它的 √2 倍。"""
    dice = np.random.default_rng(0)
    assert sum(Difference(tuple(pair)).larger == 0 for pair in dice.normal(2, size=(2_000, 8))) > 0.98 * 2_000
    high, low = dice.normal(2, size=(2_000, 8)), dice.normal(size=(2_000, 8))
    assert sum(Trials(a).versus(Trials(b)).larger == 0 for a, b in zip(high, low, strict=True)) > 0.9 * 2_000


def test_a_new_value_is_expected_up_to_the_prediction_interval():
    found = Trials((10.0, 11.0, 9.0, 10.5, 9.5))
    spread = np.std(found.values, ddof=1) * math.sqrt(1 + 1 / 5)  # 新的一次和平均数都在波动
    low, high = stats.t.interval(0.999, 4, loc=found.mean, scale=spread)
    assert found.expects(0.999 * high) and not found.expects(1.001 * high)
    assert found.expects(low + 0.01) and not found.expects(low - 0.01)


def test_what_was_measured_cannot_be_changed():
    found = trials(lambda seed: seed)
    for measured in (found, found.versus(found)):
        with pytest.raises(FrozenInstanceError):
            measured.values = (1.0,)


def test_the_sentences_carry_the_interval():
    found = Trials((1.0, 2.0))
    assert f"{found.low:.3g} 到 {found.high:.3g}" in str(found) and "2 个种子" in str(found)
    two, one = found.versus(found), Trials((1.0,)).versus(Trials((2.0,)))
    assert "区间里有 0" in str(two) and "0 到 0" in str(two)
    assert "没有区间" in str(one) and "区间里有 0" not in str(one)


def test_one_seed_decides_nothing():
    one, other = trials(lambda seed: 1.0, 1), trials(lambda seed: 9.0, 1)
    assert one.low == -math.inf and one.high == math.inf and one.versus(other).larger is None
    assert "inf" not in str(one) + str(one.versus(other)) and "看不出" in str(one.versus(other))


def test_equal_values_are_certain():
    same, more = trials(lambda seed: 5), trials(lambda seed: 6)
    assert same.low == same.high == 5 and more.versus(same).larger == 0 and same.versus(same).larger is None


def test_the_sentence_names_the_larger_or_nobody():
    low, high = trials(lambda seed: seed * 0.01), trials(lambda seed: 1 + seed * 0.02)
    assert high.versus(low).describe("深", "宽").startswith("深")
    assert low.versus(high).describe("深", "宽").startswith("宽")
    assert "看不出" in low.versus(low).describe("深", "宽")


@pytest.mark.parametrize("values, seeds", [((), ()), ((1.0,), (0, 1)), ((1.0, 2.0), (0, 0)), ((1.0, math.nan), (0, 1)),
                                           ((math.inf,), (3,)), ((1e200, 1e200), ()), ((None,), ()), (("x",), ()),
                                           ((torch.ones(2),), ()), (({"精度": 1},), ()), ((10**400,), ())])
def test_odd_measurements_are_refused(values, seeds):
    with pytest.raises(ValueError, match="种子"):
        Trials(values, seeds)


@pytest.mark.parametrize("seeds", [0, -1, True, 2.5, "ab", None, (0, "1"), (0, 1.0), (), 10**400, np.array(2.5)])
def test_odd_seeds_are_refused_before_anything_is_measured(seeds):
    asked = []
    with pytest.raises(ValueError, match="seeds"):
        trials(asked.append, seeds)
    assert not asked


@pytest.mark.parametrize("measure", [None, "text", 3, [], {}, torch.rand(3), Trials((1.0,))])
def test_what_is_no_function_is_refused_in_words(measure):
    with pytest.raises(TypeError, match="measure 应当是一个函数"):
        trials(measure)


@pytest.mark.parametrize("values, seeds", [(None, ()), (3, ()), (np.array(3.0), ()), ((1.0,), None), ((1.0,), 3),
                                           (torch.empty(3, device="meta"), ()), ((1.0,), torch.tensor(3))])
def test_measurements_are_several(values, seeds):
    with pytest.raises(TypeError, match="应当是一串"):
        Trials(values, seeds)


@pytest.mark.parametrize("seeds", [([],), np.zeros((1, 2)), torch.zeros(3, 4, 5)])
def test_a_seed_is_one_thing(seeds):
    with pytest.raises(ValueError, match="一个种子一个数") as said:
        Trials((1.0,), seeds)
    assert len(str(said.value)) < 300


@pytest.mark.parametrize("other", [None, 3, "text", (1.0, 2.0)])
def test_only_trials_are_compared(other):
    with pytest.raises(TypeError, match="应当是 Trials"):
        Trials((1.0, 2.0)).versus(other)


def test_numbers_of_other_libraries_are_numbers():
    found = trials(lambda seed: torch.tensor(0.5) if seed else np.float32(1.5), np.int64(2))
    assert found.values == (1.5, 0.5) and all(type(value) is float for value in found.values) and found.mean == 1


def test_pairs_are_by_seed_in_any_order():
    one, other = Trials((1.0, 2.0, 4.0), (7, 3, 5)), Trials((40.0, 10.0, 20.0), (5, 7, 3))
    assert one.versus(other).values == (-9, -18, -36)


def test_other_seeds_make_no_pair():
    for seeds in (4, (0, 1, 3)):
        with pytest.raises(ValueError, match="成一对"):
            trials(lambda seed: 1, 3).versus(trials(lambda seed: 1, seeds))


def test_a_new_value_is_expected_where_the_others_lie():
    dice = np.random.default_rng(0)
    hits = [Trials(values[:5]).expects(values[5]) for values in dice.normal(10, size=(2_000, 6))]
    assert np.mean(hits) > 0.995
    found = Trials((10.0, 11.0, 9.0, 10.5, 9.5))
    assert found.expects(10.2) and not found.expects(20)
    assert Trials((0.1, 0.1)).expects(0.1) and not Trials((0.1, 0.1)).expects(0.2)
    same, other, dead = Trials((0.3,) * 3), Trials((0.1, 0.3, 0.2)), Trials((0.0,) * 3)
    reach = 0.1 / math.sqrt(2) * stats.t.ppf(0.9995, 2) * math.sqrt(1 + 1 / 3)  # 两组的方差 0 和 0.01，平均 0.005
    for value in (0.999 * reach, -0.999 * reach):
        assert same.expects(0.3 + value, [same, other]) and not same.expects(0.3 + value, [same, dead])
    assert not same.expects(0.3 + 1.001 * reach, [same, other])
    assert not other.expects(0.2 + 2 * reach, [other, Trials((-50.0, 0.0, 50.0))])  # 自己会波动，就看自己的
    for mean in (50.0, 0.02, -3.0):  # 一点也不波动的，百分之一以内也算
        same = Trials((mean,) * 3)
        assert same.expects(1.009 * mean) and not same.expects(1.011 * mean)
