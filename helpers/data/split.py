"""训练集或测试集要会的事；几个进程一起训练时，各取哪一份。"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from helpers.machine.team import rank, world_size


class Split(ABC):
    """训练集或测试集：一遍一遍按批量给出 (X, y)；`Batches` 和 `Folder` 是它的两种。

    X 是 (B, channels, size, size)、float32、取值 [0, 1]；y 是 (B,)、int64、取值 0 到类别数减一；都在 device 上。
    再加一种数据集，要有下面这几项，会 `order`、`batches`、`some` 三件事：

    images: 张数；channels: 通道数；classes: 类别的名字。
    batch_size: 每个进程的批量；size: 边长（像素）；device: 在哪个设备上给出。
    shuffle: 每一遍是不是重新打乱，次序由 torch.manual_seed（或者训练的种子）决定；训练集是，测试集不是。
    """

    images: int
    channels: int
    classes: tuple[str, ...]
    batch_size: int
    size: int
    device: torch.device
    shuffle: bool

    def __len__(self) -> int:
        """这个进程一遍给出几批。"""
        return share_count(self.images, self.batch_size, even=self.shuffle)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches(self.order())

    @abstractmethod
    def order(self) -> Tensor:
        """这一遍的次序，(images,) 或 (images, 几) 的 int64，第一列是下标；各个进程得到的相同。

        存下来再给 `batches`，走的是同样的一遍：随机裁剪的种子之类，也要写在里面。
        """

    @abstractmethod
    def batches(self, order: Tensor, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """按 order 的次序一批一批给出这个进程的那一份（见 `shares`），跳过前 skip 批。"""

    @abstractmethod
    def some(self, images: int) -> Iterator[Tensor]:
        """images 张图（没有这么多就是全部），64 张一批的 X；每次都是同样的。"""


def shares(order: Tensor, batch_size: int, *, even: bool, skip: int = 0) -> Iterator[Tensor]:
    """order 里的图片，一批一批，这个进程该取的那一份，跳过前 skip 批；没有一张取两次。

    各个进程合起来的一批，是 order 里接着的 world_size × batch_size 个，轮流分，所以 2 个进程、批量 64 与 1 个进程、
    批量 128 走过同样的图片。even: 训练时各个进程必须一样多（梯度是平均的），最后分不匀的不到 world_size 个这一遍不用。
    """
    for rows in islice(order.split(batch_size * world_size()), skip, None):
        if even:
            rows = rows[:len(rows) // world_size() * world_size()]
        if len(part := rows[rank()::world_size()]):
            yield part


def share_count(images: int, batch_size: int, *, even: bool) -> int:
    """images 张图，`shares` 给出几批。"""
    full, rest = divmod(images, batch_size * world_size())
    return full + (rest >= world_size() if even else rest > rank())
