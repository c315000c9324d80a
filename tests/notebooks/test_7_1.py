"""7.1 LeNet：走得通的边长，窗口、激活和汇聚换了还走得通，能不能把 64 张图背下来。"""

import pytest
import torch

from helpers import fashion_mnist, fit, input_sizes, load, trace, xavier

lenet = load("7.1").lenet


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


def test_64_images_are_learned_by_heart():
    train, test = fashion_mnist(batch_size=16, images=640, device="cpu")
    train.X, train.y = train.X[:64], train.y[:64]
    test.X, test.y = test.X[:10], test.y[:10]
    torch.manual_seed(0)
    points = fit(lenet().apply(xavier), train, test, lr=1.0, num_epochs=2_000)
    assert any(point.epoch_acc == 1.0 for point in points)
