"""official.py：与统计表比较；一个精度在区间的哪里。"""

import pytest

from helpers import official_band, reference_runs
from helpers.book.official import Band
from helpers.book.sections import SECTIONS

BAND = Band("train_acc", 0.7, 0.8, 0.9, 12)


# 官方运行的统计表；塌缩到 0.100 的运行不计入
@pytest.mark.parametrize("network, low, median, high", [
    ("lenet", .774, .806, .824), ("alexnet", .864, .880, .885), ("vgg11", .911, .919, .924), ("nin", .484, .851, .878),
    ("googlenet", .857, .889, .897), ("resnet18", .995, .997, .998), ("densenet", .948, .949, .950)])
def test_official_bands(network, low, median, high):
    band = official_band(network)
    assert (band.low, band.median, band.high) == pytest.approx((low, median, high), abs=6e-4)


def test_the_metric_is_the_sections_unless_another_is_asked():
    assert reference_runs()["runs"].keys() == {section.network for section in SECTIONS}
    for section in SECTIONS:
        assert official_band(section.network).metric == section.metric
    tested = official_band("resnet18", "test_acc")
    assert tested.metric == "test_acc" and tested.low < official_band("resnet18").low - 0.05


def test_collapsed_runs_are_left_out():
    values = [test_acc for _, _, test_acc in reference_runs()["runs"]["nin"]]
    assert min(values) <= 0.1 and official_band("nin").runs == sum(value > 0.1 for value in values)


@pytest.mark.parametrize("accuracy, place", [
    (0.69, "below"), (0.7, "within"), (0.85, "within"), (0.9, "within"), (0.91, "above")])
def test_the_ends_belong_to_the_band(accuracy, place):
    assert BAND.place(accuracy) == place


def test_the_sentence_names_the_metric_the_place_and_the_band():
    assert BAND.sentence(0.65) == "训练精度 0.650，低于官方区间 0.700–0.900（12 次运行的 5–95 %）。"
    assert len({BAND.sentence(accuracy)[6:] for accuracy in (0.65, 0.75, 0.95, None)}) == 4


@pytest.mark.parametrize("network", ["vgg19", None, 3, ["lenet"]])
def test_an_unknown_network_is_refused_with_the_known_ones(network):
    with pytest.raises(ValueError, match=r"没有网络 .*lenet、.*densenet"):
        official_band(network)


@pytest.mark.parametrize("metric", ["loss", 3, ["test_acc"]])
def test_an_unknown_metric_is_refused_with_the_known_ones(metric):
    with pytest.raises(ValueError, match="metric 应当是 test_acc 或 train_acc"):
        official_band("lenet", metric)
