"""一条损失轨迹：同样的权重、同样的小批量，`fit` 的 20 步等于没有任何花样的 PyTorch 循环。"""

from itertools import chain

import pytest
import torch
from torch import nn

from helpers import NETWORKS, fashion_mnist, fit, load, xavier


def plain_losses(net, train, lr, num_epochs):
    """标准答案：每一步的损失，一轮一个列表。"""
    # 内存布局与 fit 相同：布局不同，舍入就不同；最大汇聚遇到几乎相等的数，一点舍入就改变梯度的去向
    net.train().to(memory_format=torch.channels_last)
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=lr), []
    for _ in range(num_epochs):
        losses.append([])
        for X, y in train:
            loss = nn.functional.cross_entropy(net(X.to(memory_format=torch.channels_last)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    return losses


@pytest.mark.parametrize("section, size, widths, lr", [
    ("7.1", 28, {}, 0.9),
    ("7.2", 193, dict(c1=8, c2=16, c3=16, c4=16, c5=16, h1=32, h2=32), 0.01),
    ("7.3", 224, dict(ratio=32, hidden=32), 0.05),
    ("7.4", 67, dict(c1=8, c2=16, c3=32), 0.1),
    ("7.5", 32, dict(ratio=8), 0.1),
    ("7.6", 32, dict(c1=8, c2=16, c3=16, c4=16), 0.05),
    ("7.7", 32, dict(num_channels=16, growth_rate=8, n1=2, n2=2, n3=2, n4=2), 0.1),
], ids=list(NETWORKS))
def test_twenty_steps_equal_a_plain_loop(section, size, widths, lr):
    train, test = fashion_mnist(batch_size=16, size=size, images=80, device="cpu")
    make = getattr(load(section), NETWORKS[section])

    def start():
        torch.manual_seed(1)
        return make(**widths).apply(xavier)

    expected = plain_losses(start(), train, lr, 4)
    points = list(fit(start(), train, test, lr=lr, num_epochs=4, dtype=torch.float32))
    assert [p.loss for p in points] == pytest.approx([*chain(*expected)], abs=1e-4) and len(points) == 20
    means = [sum(losses) / 5 for losses in expected]
    assert [p.epoch_loss for p in points if p.epoch_loss is not None] == pytest.approx(means, abs=1e-4)
