"""7.1 LeNet：走得通的边长，能不能把 64 张图背下来。"""

import torch

from helpers import fashion_mnist, fit, input_sizes, load, xavier

lenet = load("7.1").lenet


def test_input_sizes():
    assert input_sizes(lenet(), (1, 1, 28, 28)) == (28, 31)


def test_64_images_are_learned_by_heart():
    train, test = fashion_mnist(batch_size=16, images=640, device="cpu")
    train.X, train.y = train.X[:64], train.y[:64]
    test.X, test.y = test.X[:10], test.y[:10]
    torch.manual_seed(0)
    points = fit(lenet().apply(xavier), train, test, lr=1.0, num_epochs=2_000)
    assert any(point.epoch_acc == 1.0 for point in points)
