"""training.py：与最朴素的 PyTorch 循环比较。"""

import pytest
import torch
from torch import nn

from helpers import Point, accuracy, confident_mistakes, dead_relus, fashion_mnist, fit, kaiming, load, trace, xavier
from helpers.network.memory_order import order_of
from helpers.training.loop import steps

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


def test_a_point_has_its_own_part_and_the_epochs_end_has_the_whole(tmp_path):
    """13 批、最后一批不满：每一段自己的平均，一轮结束时另有整轮的，对着每一批的损失算。"""
    train, test = fashion_mnist(batch_size=16, images=200, device="cpu")
    torch.manual_seed(0)
    net, batches = lenet().apply(xavier), []

    def remember(module, inputs, logits):
        batches.append(logits.detach().clone())
    torch.manual_seed(1)
    labels = [y for _ in range(2) for _, y in train]  # 两轮的次序
    torch.manual_seed(1)
    handle = net.register_forward_hook(lambda *call: remember(*call) if net.training else None)
    points = list(fit(net, train, test, lr=0.5, num_epochs=2, dtype=torch.float32))
    handle.remove()

    def mean(first, last):
        logits, y = torch.cat(batches[first:last]), torch.cat(labels[first:last])
        return nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()
    ends = [0, *(round(13 * point.epoch) for point in points)]
    for first, last, point in zip(ends, ends[1:], points, strict=False):
        assert (point.loss, point.train_acc) == pytest.approx(mean(first, last))
    assert [p.epoch_loss is None for p in points] == [p.test_acc is None for p in points] == 2 * [*4 * [True], False]
    for epoch in (0, 1):
        point = points[5 * epoch + 4]
        assert (point.epoch_loss, point.epoch_acc) == pytest.approx(mean(13 * epoch, 13 * epoch + 13))
        assert (point.whole.loss, point.whole.train_acc) == (point.epoch_loss, point.epoch_acc)


@pytest.mark.parametrize("point", [Point(0.2, 2.3, 0.1, lr=0.5), Point(1.0, 2.0, 0.3, 0.3)],
                         ids=["一轮中间", "自己的循环"])
def test_a_point_without_the_whole_stands_for_itself(point):
    assert point.whole == point


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
    assert all(torch.equal(a, b) for a, b in zip(before, net.cpu().parameters(), strict=True))


@pytest.mark.cuda
def test_a_network_left_on_the_cpu_is_scored_there():
    """数据在显卡上，没有训练过的网络还在 CPU 上。"""
    _, test = fashion_mnist(50, images=500, device="cuda")
    net = lenet().apply(kaiming)
    on_cpu = fashion_mnist(50, images=500, device="cpu")[1]
    assert accuracy(net, test, torch.float32) == accuracy(net, on_cpu, torch.float32)
    assert torch.equal(confident_mistakes(net, test).y, confident_mistakes(net, on_cpu).y)
    vgg = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10))
    assert dead_relus(vgg, test) == dead_relus(vgg, on_cpu) and not next(vgg.parameters()).is_cuda


def test_a_walk_that_is_given_up_is_given_up_now(monkeypatch):
    """Python 3.12 关掉一个生成器，不一定放掉它里面的：网络的模式要等到那时才还。"""
    kept = []
    monkeypatch.setattr("helpers.training.loop.steps", lambda *a, **b: kept.append(steps(*a, **b)) or kept[-1])
    net, data = lenet(), fashion_mnist(10, images=50, device="cpu")
    points = fit(net, *data, lr=0.1, num_epochs=1)
    next(points)
    points.close()
    assert kept[0].gi_frame is None


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


class Viewing(nn.Module):
    """forward 里写 view：通道排在最后就走不通。"""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 4, 5, stride=4), nn.Linear(4 * 36, 10)

    def forward(self, X):
        return self.linear(self.conv(X).view(-1, 4 * 36))


def test_a_network_that_views_is_trained_and_left_usable():
    net, data = Viewing(), fashion_mnist(batch_size=20, images=40, device="cpu")
    before = accuracy(net, data[1], torch.float32)
    assert list(fit(net, *data, lr=0.1, num_epochs=1))
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10) and trace(net, (1, 1, 28, 28))
    assert 0 <= before <= 1 and confident_mistakes(net, data[1]).y.shape[0] > 0


def test_other_networks_are_trained_with_channels_last():
    net, data = lenet(), fashion_mnist(batch_size=20, images=40, device="cpu")
    assert order_of(net) is torch.contiguous_format
    list(fit(net, *data, lr=0.1, num_epochs=1))
    assert order_of(net) is torch.channels_last
    assert net[3].weight.is_contiguous(memory_format=torch.channels_last)
