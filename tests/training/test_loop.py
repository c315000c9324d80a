"""training.py：与最朴素的 PyTorch 循环比较。"""

import pytest
import torch
from torch import nn

from helpers import accuracy, check, fashion_mnist, fit, load, official_band, xavier
from helpers.book.official import verdict
from helpers.training.loop import Point, steps

lenet = load("7.1").lenet


def test_train_accuracy_is_counted_before_the_update():
    train, test = fashion_mnist(batch_size=50, images=50)
    net = lenet().apply(xavier)
    before = accuracy(net, train)
    [point] = list(fit(net, train, test, lr=0.9, num_epochs=1))
    assert point.train_acc == pytest.approx(before)


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 5, 7, 12])
def test_any_number_of_batches_an_epoch(batches):
    train, test = fashion_mnist(batch_size=10, images=10 * batches)
    points = list(fit(lenet(), train, test, lr=0.1, num_epochs=2))
    assert len(points) == 2 * min(5, batches)
    assert [p.epoch for p in points if p.test_acc is not None] == [1.0, 2.0]


@pytest.mark.parametrize("num_epochs", [0, -1, 2.0, True, "3"])
def test_the_number_of_epochs_is_a_positive_integer(num_epochs):
    with pytest.raises(ValueError, match="num_epochs 应当是正整数"):
        next(fit(lenet(), *fashion_mnist(images=10), lr=0.1, num_epochs=num_epochs))


def test_a_network_left_in_eval_mode_is_trained_all_the_same():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10)).eval()
    list(fit(net, *fashion_mnist(10, images=50, device="cpu"), lr=0.1, num_epochs=1))
    assert net[0].running_mean.item() != 0 and net.training


def test_accuracy_counts_the_right_answers_and_restores_modes():
    class Right(nn.Module):
        """看最后一个像素就知道答案的网络。"""

        def __init__(self):
            super().__init__()
            self.frozen = nn.BatchNorm2d(1).eval()

        def forward(self, X):
            return nn.functional.one_hot((X[:, 0, 0, 0] * 255).round().long() % 10, 10).float()

    _, test = fashion_mnist(images=600)
    test.X = test.X.clone()
    test.X[:, 0, 0, 0] = test.y.byte()
    test.X[:25, 0, 0, 0] += 1
    net = Right()
    assert accuracy(net, test) == 0.75
    assert net.training and not net.frozen.training


def test_lr_is_asked_at_every_step():
    train, test = fashion_mnist(batch_size=10, images=50)
    asked = []

    def lr():
        asked.append(len(asked))
        return 1e-30
    net = lenet()
    before = [p.clone() for p in net.parameters()]
    list(fit(net, train, test, lr=lr, num_epochs=2))
    assert len(asked) == 10
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_divergence_says_when_and_with_which_lr():
    data = fashion_mnist(batch_size=10, images=50, device="cpu")
    with pytest.raises(FloatingPointError, match=r"第 1\.40 轮的损失变成了 (nan|inf)：学习率 1e\+38 太大"):
        rates = iter([0.1] * 5 + [1e38] * 5)  # 第二轮的第一步之后参数溢出，第二步看得到
        list(fit(lenet(), *data, lr=lambda: next(rates), num_epochs=2))


def test_one_turn_per_batch_and_stopping_restores_the_mode():
    train, test = fashion_mnist(batch_size=10, images=120)
    net = lenet()
    running = steps(net, train, test, lr=0.1, num_epochs=1)
    turns = list(running)
    assert len(turns) == len(train) + len(test)
    running = steps(net, train, test, lr=0.1, num_epochs=1)
    for _ in range(len(train)):
        next(running)
    assert not net.training  # 正在评估
    running.close()
    assert net.training


# 官方运行的统计表；塌缩到 0.100 的运行不计入
@pytest.mark.parametrize("network, low, median, high", [
    ("lenet", .774, .806, .824), ("alexnet", .864, .880, .885), ("vgg11", .911, .919, .924), ("nin", .484, .851, .878),
    ("googlenet", .857, .889, .897), ("resnet18", .995, .997, .998), ("densenet", .948, .949, .950)])
def test_official_bands(network, low, median, high):
    band = official_band(network)
    assert (band.low, band.median, band.high) == pytest.approx((low, median, high), abs=6e-4)


@pytest.mark.parametrize("value, word", [(0.1, "低于"), (0.8, "落在"), (0.9, "高于"), (None, "没有完成")])
def test_verdict(value, word):
    assert word in verdict(official_band("lenet"), [Point(10, 0.5, 0.82, value)])


def test_check_prints_what_it_is_told(capsys):
    check("一句话", True, 1)
    check("另一句", False)
    assert capsys.readouterr().out == "✓ 一句话 〔1〕\n✗ 另一句\n"
