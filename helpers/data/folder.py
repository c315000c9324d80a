"""任何一个图片文件夹：torchvision 的 ImageFolder 布局，由 DataLoader 的工作进程一边读一边裁。"""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension
from torchvision.transforms import v2

from helpers.arguments import between, brief, instance
from helpers.data.split import Split, shares
from helpers.machine.device import usable_device
from helpers.machine.dice import Dice
from helpers.machine.team import broadcast
from helpers.paths import at_home


class Files(ImageFolder):
    """一类一个文件夹；名字以点开头的（.ipynb_checkpoints、macOS 的 ._1.jpg）不是类别，也不是图片。"""

    def __init__(self, root: Path):
        start = len(str(root))
        super().__init__(root, allow_empty=True, is_valid_file=lambda path: (
            has_file_allowed_extension(path, IMG_EXTENSIONS) and f"{os.sep}." not in path[start:]))

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """类别的名字，和它们的号码。"""
        names = class_names(Path(directory))
        return names, {name: i for i, name in enumerate(names)}


class Images(Dataset):
    """(下标, 种子) 对应的一张图：(X, 类别, 读不出来的文件)；随机裁剪由种子决定，与在哪个进程里读无关。

    读不出来的图由后面的一张代替，这样每一批都一样大，几个进程才走得齐。
    """

    def __init__(self, files: Files, transform: v2.Transform):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, int, list[str]]:
        (index, seed), bad = place, []
        for i in range(index, index + 20):
            path, label = self.files.samples[i % len(self.files)]
            try:
                image = self.files.loader(path)
            except (OSError, SyntaxError, ValueError):  # Pillow 对不同的损坏抛不同的异常
                bad.append(path)
                continue
            with _numbers_of(seed):
                return self.transform(image), label, bad
        raise ValueError(f"接连 20 个文件读不出来，从 {bad[0]} 起。请检查这个文件夹。")


class Folder(Split):
    """一个文件夹里的训练集或测试集。

    每批是 (X, y)：X 为 (B, 3, size, size)、float32、取值 [0, 1]；y 为 (B,)、int64。
    训练集照论文的做法：随机裁一块（面积的 8 %–100 %），缩放到 size，一半的机会左右翻转；
    测试集缩放到 size 的 8/7，取中间。
    """

    channels = 3

    def __init__(self, files: Files, batch_size: int, size: int, shuffle: bool, device: torch.device):
        self.files, self.batch_size, self.size, self.shuffle, self.device = files, batch_size, size, shuffle, device
        self.classes = tuple(files.classes)
        cut = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()] if shuffle else [
            v2.Resize(round(size * 8 / 7), antialias=True), v2.CenterCrop(size)]
        self.data = Images(files, v2.Compose([v2.ToImage(), *cut, v2.ToDtype(torch.float32, scale=True)]))
        self._reported: set[str] = set()

    @property
    def images(self) -> int:
        """图片张数。"""
        return len(self.files)

    def order(self) -> Tensor:
        """这一遍的次序：(images, 2) int64，每行是 (下标, 裁剪的种子)。"""
        n = self.images
        if not self.shuffle:
            return torch.stack((torch.arange(n), torch.zeros(n, dtype=torch.int64)), dim=1)
        return broadcast(torch.stack((torch.randperm(n), torch.randint(2**31, (n,))), dim=1).to(self.device)).cpu()

    def batches(self, order: Tensor, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """按 order 的次序一批一批给出，跳过前 skip 批。"""
        places = [part.tolist() for part in shares(order.cpu(), self.batch_size, even=self.shuffle, skip=skip)]
        cuda = self.device.type == "cuda"
        loader = DataLoader(self.data, batch_sampler=places, num_workers=_workers(len(places)), collate_fn=_collate,
                            pin_memory=cuda, generator=torch.Generator())  # 不用全局的随机数：接着训练时才对得上
        for X, y, bad in loader:
            for path in bad:
                if path not in self._reported:
                    self._reported.add(path)
                    warnings.warn(f"图片 {path} 读不出来，用后面的一张代替；训练接着走。", stacklevel=2)
            yield X.to(self.device, non_blocking=cuda), y.to(self.device, non_blocking=cuda)

    def some(self, images: int) -> Iterator[Tensor]:
        """从头到尾均匀地取 images 张图，64 张一批。"""
        rows = torch.linspace(0, self.images - 1, min(images, self.images)).long()
        for part in rows.split(64):
            yield torch.stack([self.data[row, row][0] for row in part.tolist()]).to(self.device)

    def __repr__(self) -> str:
        return f"Folder({self.images} 张, {len(self.classes)} 类, 批量 {self.batch_size}, {self.size}×{self.size})"


def image_folder(root: Path | str, batch_size: int = 256, size: int = 224,
                 device: torch.device | str | None = None) -> tuple[Folder, Folder]:
    """一个图片文件夹的训练集和测试集。

    root: 里面有 train 和 val（或 test）两个文件夹，各自一类一个文件夹，如 root/train/cat/1.jpg。
    batch_size: 每个进程的批量，正整数；size: 边长（像素），1–4096。
    返回 (train, test)。缺一个、有的类一张图也没有、两个的类别不同，参数不合适，抛出 ValueError。
    """
    batch_size, size = between("batch_size", batch_size, 1), between("size", size, 1, 4096)
    device, splits = usable_device(device), find_splits(root)
    train, test = map(Files, splits)
    for folder, files in zip(splits, (train, test), strict=True):
        if empty := sorted(set(range(len(files.classes))) - set(files.targets)):
            raise ValueError(f"{folder} 里有的类一张图也没有：{'、'.join(files.classes[i] for i in empty)}。"
                             "放进图片，或者删掉这个文件夹。")
    if odd := sorted(set(train.classes) ^ set(test.classes)):
        raise ValueError(f"训练集和测试集的类别不同：只在一个里有 {'、'.join(odd)}。")
    return Folder(train, batch_size, size, True, device), Folder(test, batch_size, size, False, device)


def find_splits(root: Path | str) -> tuple[Path, Path]:
    """训练集和测试集的文件夹；不是一类一个文件夹的，抛出 ValueError。不读里面的文件名，百万张图也很快。"""
    root = at_home(instance(root, (str, Path), "图片文件夹应当是一个路径，如 'photos'"))
    try:
        splits = root / "train", root / "val" if (root / "val").is_dir() else root / "test"
        lacking = [folder for folder in splits if not class_names(folder)]
    except OSError as error:  # 名字太长
        raise ValueError(f"没有 {brief(str(root))} 这样的文件夹（{error.strerror}）。") from error
    if lacking:
        raise ValueError(f"{brief(str(lacking[0]))} 里要有一类一个文件夹的图片，如 {Path('train', 'cat', '1.jpg')}；"
                         "测试集放在 val 或 test 里。")
    return splits


def class_names(folder: Path) -> list[str]:
    """一个文件夹里的类别，按名字的次序；没有这个文件夹就是空的。"""
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _numbers_of(seed: int) -> AbstractContextManager[Any]:
    """在这个 with 里，裁剪的随机数由 seed 定。工作进程里没有别人，设公共的种子就行，比骰子快四分之一。"""
    if get_worker_info() is None:
        return Dice(seed)
    torch.manual_seed(seed)
    return nullcontext()


def _collate(samples: list[tuple[Tensor, int, list[str]]]) -> tuple[Tensor, Tensor, list[str]]:
    X, y, bad = zip(*samples, strict=True)
    return torch.stack(X), torch.tensor(y), [path for paths in bad for path in paths]


def _workers(batches: int) -> int:
    """几个工作进程：这台主机的核由各个训练进程平分。"""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(batches, 8, max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
