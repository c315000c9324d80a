"""书上 `from d2l import torch as d2l` 的几个名字：只有与它比的那几段用得着。"""

from types import SimpleNamespace

import torch
from torch import nn

from helpers.data.fashion import fashion_mnist


class Loader:
    """像 DataLoader：图片在 dataset.data，(N, 28, 28) uint8；一批一批缩放。"""

    def __init__(self, split, batch_size, resize):
        self.split, self.batch_size, self.size = split, batch_size, resize or 28
        self.dataset = SimpleNamespace(data=split.X[:, 0], targets=split.y)

    def __len__(self):
        return -(-len(self.dataset.data) // self.batch_size)

    def __iter__(self):
        for X, y in zip(self.dataset.data.split(self.batch_size), self.dataset.targets.split(self.batch_size),
                        strict=True):
            yield nn.functional.interpolate(X[:, None] / 255, self.size, mode="bilinear"), y


def load_data_fashion_mnist(batch_size, resize=None):
    """(训练集, 测试集)。"""
    return tuple(Loader(split, batch_size, resize) for split in fashion_mnist(batch_size, device="cpu"))


class Animator:
    """曲线；不画。"""

    def add(self, x, y):
        """加一点。"""


def train_ch6(net, train_iter, test_iter, num_epochs, lr, device):
    """书上的循环：每一轮报告五次，损失和精度是这一轮到此刻的平均。"""
    def init_weights(m):
        if type(m) in (nn.Linear, nn.Conv2d):
            nn.init.xavier_uniform_(m.weight)
    net.apply(init_weights)
    net.to(device)
    optimizer, loss, animator = torch.optim.SGD(net.parameters(), lr=lr), nn.CrossEntropyLoss(), Animator()
    num_batches = len(train_iter)
    for epoch in range(num_epochs):
        total = hits = seen = 0
        net.train()
        for i, (X, y) in enumerate(train_iter):
            optimizer.zero_grad()
            X, y = X.to(device), y.to(device)
            y_hat = net(X)
            l = loss(y_hat, y)  # noqa: E741  书上的名字
            l.backward()
            optimizer.step()
            with torch.no_grad():
                total, hits, seen = total + float(l) * len(y), hits + int((y_hat.argmax(1) == y).sum()), seen + len(y)
            if (i + 1) % (num_batches // 5) == 0 or i == num_batches - 1:
                animator.add(epoch + (i + 1) / num_batches, (total / seen, hits / seen, None))
        net.eval()
        with torch.no_grad():
            right = [(net(X.to(device)).argmax(1) == y.to(device)).float() for X, y in test_iter]
        test_acc = torch.cat(right).mean().item()
        animator.add(epoch + 1, (None, None, test_acc))
    print(f"loss {total / seen:.3f}, train acc {hits / seen:.3f}, test acc {test_acc:.3f}")
