"""7.1 LeNet：走得通的边长，窗口、激活和汇聚换了还走得通，起步怎样数，能不能把 64 张图背下来。"""

from copy import deepcopy

import pytest
import torch

from helpers import Point, fashion_mnist, fit, input_sizes, load, trace, xavier

section = load("7.1")
lenet = section.lenet


def test_input_sizes():
    assert input_sizes(lenet(), (1, 1, 28, 28)) == (28, 31)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 7, 9])
def test_every_window_runs(window):
    assert lenet(window=window)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_activation_and_pooling_change_neither_shapes_nor_parameters():
    book, other = (trace(net, (1, 1, 28, 28)) for net in (lenet(), lenet(activation="ReLU", pooling="MaxPool2d")))
    assert [(a.out_shape, a.params) for a in book] == [(b.out_shape, b.params) for b in other]
    assert [layer.kind for layer in other][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    assert {"Sigmoid", "AvgPool2d"}.isdisjoint(layer.kind for layer in other)


def test_a_start_is_the_first_part_of_an_epoch_below_two(monkeypatch):
    parts = [Point(0.2, 2.3, 0.1), Point(0.4, 2.0, 0.2), Point(0.6, 1.9, 0.3), Point(0.8, 1.0, 0.6)]
    monkeypatch.setitem(section.until_it_starts.__globals__, "fit", lambda *_, **__: iter(parts))
    assert section.until_it_starts(xavier, 0.9, images=640)(0) == 3  # 640 张，批量 128，一轮 5 步


def test_what_never_starts_counts_all_its_steps():
    assert section.until_it_starts(xavier, 1e-6, images=640, num_epochs=2)(0) == 10


def test_dense_xavier_leaves_the_convolutions_alone():
    before = lenet()
    after = deepcopy(before).apply(section.dense_xavier)
    changed = [name for name, p in after.named_parameters() if not torch.equal(p, before.get_parameter(name))]
    assert changed == ["7.weight", "9.weight", "11.weight"]
    assert after[7].weight.abs().max() <= (6 / (400 + 120)) ** 0.5 and after[7].weight.abs().max() > 400**-0.5


def test_64_images_are_learned_by_heart():
    train, test = fashion_mnist(batch_size=16, images=640, device="cpu")
    train.X, train.y = train.X[:64], train.y[:64]
    test.X, test.y = test.X[:10], test.y[:10]
    torch.manual_seed(0)
    points = fit(lenet().apply(xavier), train, test, lr=2.0, num_epochs=1_000)
    assert any(point.epoch_acc == 1.0 for point in points)
