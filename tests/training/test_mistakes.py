"""mistakes.py：对着一次算完再排序的笨办法。"""

import pytest
import torch
from torch import nn

from helpers import accuracy, confident_mistakes, fashion_mnist


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10)).train()


@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_the_surest_mistakes_come_first(net, count, monkeypatch):
    monkeypatch.setattr("helpers.training.mistakes.fast_dtype", lambda device: torch.float32)  # 与笨办法一样的精度
    _, test = fashion_mnist(batch_size=16, images=600, device="cpu")
    X, y = test.scale(test.X), test.y
    with torch.no_grad():
        odds = net.eval()(X).softmax(1)
    net.train()
    wrong = sorted(((odds[i].max().item(), i) for i in range(len(y)) if odds[i].argmax() != y[i]), reverse=True)
    assert len(wrong) > 60 and accuracy(net, test, dtype=torch.float32) == pytest.approx(1 - len(wrong) / len(y))
    found = confident_mistakes(net, test, count)
    assert found.p.tolist() == pytest.approx([p for p, _ in wrong[:count]]) and net.training
    rows = [i for _, i in wrong[:count]]
    for p, i in zip(found.p[:7], rows[:7], strict=False):
        place = (found.p == p).nonzero()[0].item()
        assert torch.equal(found.X[place], X[i]) and found.y[place] == y[i] != found.y_hat[place] == odds[i].argmax()
    assert found.classes == test.classes


def test_twelve_by_default_and_equally_sure_ones_in_the_order_of_the_data():
    _, test = fashion_mnist(batch_size=16, images=600, device="cpu")
    always = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.zeros_(always[1].weight)
    with torch.no_grad():
        always[1].bias.copy_(torch.arange(10.0))
    found = confident_mistakes(always, test)
    assert torch.equal(found.X, test.scale(test.X)[test.y != 9][:12]) and set(found.y_hat.tolist()) == {9}


def test_nothing_wrong_is_an_empty_list():
    _, test = fashion_mnist(batch_size=16, images=600, device="cpu")
    right = iter(test.y.split(16))

    class Right(nn.Module):
        def forward(self, X):
            return nn.functional.one_hot(next(right), 10).float()
    assert confident_mistakes(Right(), test).X.shape == (0, 1, 28, 28)


@pytest.mark.parametrize("count", [0, True, 1.5])
def test_the_count_is_a_positive_integer(net, count):
    with pytest.raises(ValueError, match="count 应当是正整数"):
        confident_mistakes(net, fashion_mnist(images=60)[1], count)
