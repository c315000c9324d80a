"""fashion.py：与 torchvision 的读取和缩放比较；损坏的文件在 faults/test_a_data.py。"""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, Resize, ToTensor

from helpers import LABELS, fashion_mnist, pick_device
from helpers.data.fashion import FILES, read_idx
from helpers.paths import FASHION_MNIST


def test_whole_data_set():
    train, test = fashion_mnist()
    assert (train.images, test.images) == (60_000, 10_000)
    assert train.X.dtype == torch.uint8 and train.y.dtype == torch.int64
    assert train.y.bincount().tolist() == [6_000] * 10 and test.y.bincount().tolist() == [1_000] * 10
    # 出处：原始仓库的 README 说前几张训练图的标签是 9 0 0 3 0
    assert train.y[:5].tolist() == [9, 0, 0, 3, 0]
    assert len(LABELS) == 10 and LABELS[9].startswith("短靴")
    assert train.device.type == pick_device().type and repr(train) == "Batches(60000 张, 批量 256, 28×28)"


def test_first_pixels_equal_the_raw_file():
    with gzip.open(FASHION_MNIST / "t10k-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    assert np.array_equal(fashion_mnist()[1].X.cpu().numpy(), raw)


@pytest.mark.parametrize("size", [14, 20, 28, 64, 96, 224])
def test_resize_equals_torchvision(size):
    _, test = fashion_mnist(batch_size=32, size=size, images=1_200)
    X, _ = next(iter(test))
    reference = Compose([Resize((size, size)), ToTensor()])
    expected = torch.stack([reference(Image.fromarray(x[0].numpy())) for x in test.X[:32].cpu()])
    assert X.shape == (32, 1, size, size) and X.dtype == torch.float32
    assert (X.cpu() - expected).abs().max() <= 1 / 255 + 1e-6


def test_batches_cover_every_image_once_in_a_new_order():
    train, _ = fashion_mnist(batch_size=64, images=500)
    torch.manual_seed(0)
    first, second = [torch.cat([y for _, y in train]) for _ in range(2)]
    assert len(train) == 8 and len(first) == 500
    assert first.bincount().tolist() == [50] * 10 == second.bincount().tolist()
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(first, torch.cat([y for _, y in train]))


def test_images_and_labels_stay_together():
    train, _ = fashion_mnist(batch_size=7, images=100)
    known = {x.numpy().tobytes(): int(label) for x, label in zip(train.X.cpu(), train.y, strict=True)}
    for X, y in train:
        for x, label in zip((X * 255).round().byte().cpu(), y, strict=True):
            assert known[x.numpy().tobytes()] == label


@pytest.mark.parametrize("images", [10, 60, 1_000, 6_000])
def test_subsets_are_balanced_and_six_to_one(images):
    train, test = fashion_mnist(images=images)
    assert train.y.bincount(minlength=10).tolist() == [images // 10] * 10
    assert test.y.bincount(minlength=10).tolist() == [max(1, images // 60)] * 10


@pytest.mark.parametrize("wrong", [
    {"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": 60_001}, {"size": 0}, {"size": "28"}, {"size": 1025},
    {"images": 9}, {"images": 60_001}, {"images": True}])
def test_bad_arguments_are_refused_in_words(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} 应当是 .* 之间的整数"):
        fashion_mnist(**wrong)


@pytest.mark.parametrize("batch_size, size, images", [(1, 1, 10), (60_000, 1024, 60_000)])
def test_the_largest_and_smallest_arguments_are_accepted(batch_size, size, images):
    train, _ = fashion_mnist(batch_size, size, images)
    assert (train.batch_size, train.size, train.images) == (batch_size, size, images)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"labels.* 缺失或已损坏"):
        read_idx(tmp_path / "t10k-labels-idx1-ubyte.gz")


def test_recompressed_files_are_accepted(tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    (tmp_path / name).write_bytes(gzip.compress(gzip.decompress((FASHION_MNIST / name).read_bytes()), 1))
    assert read_idx(tmp_path / name).numel() == FILES[name][0] - 8
