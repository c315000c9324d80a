"""Fashion-MNIST 整个放在设备上，逐批缩放；什么都不下载，也没有工作进程。"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.arguments import between
from helpers.data.split import Split, shares
from helpers.machine.device import usable_device
from helpers.machine.team import broadcast
from helpers.paths import FASHION_MNIST

LABELS = ("T恤 t-shirt", "裤子 trouser", "套衫 pullover", "连衣裙 dress", "外套 coat",
          "凉鞋 sandal", "衬衫 shirt", "运动鞋 sneaker", "包 bag", "短靴 ankle boot")

# 文件名：（解压后的字节数, IDX 头的字节数, 解压后内容的 sha256）
# 校验内容而不是 gzip 文件：同样的数据由不同的人压缩，gzip 头会不同。
FILES = {
    "train-images-idx3-ubyte.gz": (47_040_016, 16, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte.gz": (60_008, 8, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte.gz": (7_840_016, 16, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte.gz": (10_008, 8, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}


def read_idx(path: Path) -> Tensor:
    """读一个 IDX 文件，校验内容后去掉文件头。

    返回一维 uint8 张量，在 CPU 上。文件缺失、截断、被改动或与别的文件调换时抛出 ValueError。
    IDX 格式与四个文件出自 https://github.com/zalandoresearch/fashion-mnist 。
    """
    size, header, sha256 = FILES[path.name]
    try:
        with gzip.open(path) as file:
            content = file.read(size + 1)  # 只读到已知的长度：坏文件不会把内存撑满
    except (OSError, EOFError, zlib.error) as error:
        content, reason = b"", error
    else:
        reason = None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"数据文件 {path.name} 缺失或已损坏（在 {path.parent}）。请恢复它："
            "在仓库里运行 git checkout -- helpers/data/fashion_mnist，或者重新克隆仓库。"
        ) from reason
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)


@cache
def _load(folder: Path, prefix: str) -> tuple[Tensor, Tensor]:
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    return images.reshape(-1, 1, 28, 28), labels.long()


class Batches(Split):
    """一个数据集，一遍一遍按批量给出；uint8 原图留在设备上，每批现算。

    每批是 (X, y)：X 为 (B, 1, size, size)、float32、取值 [0, 1]；y 为 (B,)、int64、取值 0–9。
    最后一批可能不满。`shuffle=True` 时每一遍都重新打乱，次序由 torch.manual_seed（或者训练的种子）决定。
    几个进程一起训练时，每个进程给出自己的那一份，见 `shares`。
    """

    channels, classes = 1, tuple(label.split()[0] for label in LABELS)

    def __init__(self, X: Tensor, y: Tensor, batch_size: int, size: int, shuffle: bool):
        self.X, self.y = X, y
        self.batch_size, self.size, self.shuffle = batch_size, size, shuffle

    @property
    def device(self) -> torch.device:
        """数据所在的设备。"""
        return self.X.device

    @property
    def images(self) -> int:
        """图片张数。"""
        return len(self.X)

    def order(self) -> Tensor:
        """这一遍的次序：(images,) int64 的下标。"""
        if not self.shuffle:
            return torch.arange(self.images, device=self.device)
        return broadcast(torch.randperm(self.images, device=self.device))

    def batches(self, order: Tensor, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """按 order 的次序一批一批给出，跳过前 skip 批。"""
        for rows in shares(order, self.batch_size, even=self.shuffle, skip=skip):
            yield self.scale(self.X[rows]), self.y[rows]

    def some(self, images: int) -> Iterator[Tensor]:
        """前 images 张图，缩放好，64 张一批。"""
        for part in self.X[:images].split(64):
            yield self.scale(part)

    def scale(self, X: Tensor) -> Tensor:
        """uint8 的 (B, 1, 28, 28) 变为 [0, 1] 的 float32 (B, 1, size, size)，双线性，与 torchvision 的 Resize 相同。"""
        X = X.float() / 255
        if self.size == X.shape[-1]:
            return X
        # 放大时 antialias 不改变结果，只费时间
        return F.interpolate(X, (self.size, self.size), mode="bilinear", antialias=self.size < X.shape[-1])

    def __repr__(self) -> str:
        return f"Batches({self.images} 张, 批量 {self.batch_size}, {self.size}×{self.size})"


def fashion_mnist(batch_size: int = 256, size: int = 28, images: int | None = None,
                  device: torch.device | str | None = None) -> tuple[Batches, Batches]:
    """Fashion-MNIST 的训练集和测试集，都在设备上。

    batch_size: 批量大小，至少 1。
    size: 边长（像素），1–1024；原图是 28。
    images: 训练图片张数，10–60000，None 为全部；取类别均衡的子集，测试集按同样的 6:1 缩小，每类至少一张。
    device: 数据放在哪里，默认为 pick_device()。
    返回 (train, test)，训练集每遍打乱。参数不合适或数据文件损坏时抛出 ValueError。
    """
    batch_size, size = between("batch_size", batch_size, 1, 60_000), between("size", size, 1, 1024)
    images = between("images", images, 10, 60_000) if images is not None else None
    device = usable_device(device)
    splits = []
    for prefix, shuffle, share in (("train", True, 1), ("t10k", False, 6)):
        X, y = _load(FASHION_MNIST, prefix)
        if images is not None:
            rows = _balanced(y, max(1, images // 10 // share))
            X, y = X[rows], y[rows]
        splits.append(Batches(X.to(device), y.to(device), batch_size, size, shuffle))
    return splits[0], splits[1]


def _balanced(y: Tensor, per_class: int) -> Tensor:
    """每类的前 per_class 张的下标，按原来的次序。"""
    return torch.cat([(y == label).nonzero().flatten()[:per_class] for label in range(10)]).sort().values
