"""folder.py：从 Fashion-MNIST 导出的真图片；损坏的、空的、对不上的都说得清楚。"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import NETWORKS, fashion_mnist, load, saved_runs
from helpers.__main__ import main
from helpers.data.fashion import LABELS
from helpers.data.folder import find_splits, image_folder

NAMES = [label.split()[1] for label in LABELS]  # t-shirt、trouser……


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """每类 20 张训练、5 张测试，大小不一，彩色、灰度和带透明的都有。"""
    root = tmp_path_factory.mktemp("图片 文件夹")
    for split, data, count in zip(("train", "val"), fashion_mnist(images=600, device="cpu"), (20, 5), strict=True):
        for label, name in enumerate(NAMES[:4]):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i, image in enumerate(data.X[data.y == label][:count]):
                picture = Image.fromarray(image[0].numpy()).convert(("L", "RGB", "RGBA")[i % 3])
                picture.resize((28 + 7 * (i % 4), 28 + 5 * (i % 3))).save(folder / f"{i}.png")
    return root


@pytest.fixture
def root(exported, tmp_path):
    """自己的一份，可以弄坏。"""
    return shutil.copytree(exported, tmp_path / "图片")


def test_batches_are_rgb_and_cover_every_image(exported):
    train, test = image_folder(exported, 16, 32, "cpu")
    assert (train.images, test.images, len(train), len(test)) == (80, 20, 5, 2)
    assert train.classes == tuple(sorted(NAMES[:4]))
    batches = list(train)
    X = torch.cat([X for X, _ in batches])
    assert X.shape == (80, train.channels, 32, 32) == (80, 3, 32, 32)
    assert X.dtype == torch.float32 and X.min() >= 0 and 0.9 < X.max() <= 1
    assert torch.cat([y for _, y in batches]).bincount().tolist() == [20] * 4
    assert next(y for _, y in test).tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    assert next(test.some(8)).shape == (8, 3, 32, 32)


def test_crops_change_every_epoch_and_repeat_with_the_seed(exported):
    train, test = image_folder(exported, 80, 32, "cpu")
    torch.manual_seed(0)
    (first, _), (second, _) = next(iter(train)), next(iter(train))
    assert not torch.equal(first.sum(0), second.sum(0))
    torch.manual_seed(0)
    assert torch.equal(next(iter(train))[0], first) and torch.equal(next(iter(train))[0], second)
    assert torch.equal(next(iter(test))[0], next(iter(test))[0])


def test_the_crops_do_not_depend_on_the_processes_that_read(exported):
    """工作进程里读的，与在这里一张一张读的相同。"""
    train, _ = image_folder(exported, 16, 32, "cpu")
    order = train.order()
    X = torch.cat([X for X, _ in train.batches(order)])
    assert torch.equal(X, torch.stack([train.data[index, seed][0] for index, seed in order.tolist()]))


def test_reading_leaves_the_random_numbers_of_others_alone(exported):
    train, _ = image_folder(exported, 16, 32, "cpu")
    before = torch.get_rng_state()
    [first], [again] = train.some(30), train.some(30)
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_skipping_gives_the_rest(exported):
    train, _ = image_folder(exported, 16, 32, "cpu")
    order = train.order()
    whole, rest = list(train.batches(order)), list(train.batches(order, skip=3))
    assert len(rest) == 2 and all(torch.equal(a[0], b[0]) for a, b in zip(whole[3:], rest, strict=True))


def test_the_middle_is_what_torchvision_cuts(exported):
    from torchvision import transforms
    _, test = image_folder(exported, 5, 28, "cpu")
    expected = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor()])
    images = [expected(Image.open(path).convert("RGB")) for path, _ in test.files.samples[:5]]
    assert (next(iter(test))[0] - torch.stack(images)).abs().max() < 0.02  # 张量与 PIL 的缩放差一点舍入


def test_a_damaged_image_is_named_and_training_goes_on(root):
    bad = root / "train" / NAMES[0] / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    (root / "train" / NAMES[1] / "0.png").write_bytes(b"")
    train, _ = image_folder(root, 16, 32, "cpu")
    with pytest.warns(UserWarning, match="读不出来.*后面的一张代替") as said:
        sizes = [len(y) for _, y in train]
        list(train)
    said = [str(each.message) for each in said if each.category is UserWarning]  # 3.12 起，起进程也会提醒
    assert sizes == [16] * 5 and len(said) == 2 and any(str(bad) in each for each in said)


def test_twenty_damaged_in_a_row_are_too_many(root):
    train, _ = image_folder(root, 16, 32, "cpu")
    paths = [path for path, _ in train.data.files.samples[3:23]]
    for path in paths[:-1]:
        Path(path).write_bytes(b"")
    assert train.data[3, 0][2] == paths[:-1]
    Path(paths[-1]).write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(paths[0])):
        train.data[3, 0]


def test_the_batch_is_the_books(exported):
    assert image_folder(exported, device="cpu")[0].batch_size == fashion_mnist()[0].batch_size == 256


@pytest.mark.parametrize("spoil, says", [
    (lambda root: [path.unlink() for path in (root / "train" / NAMES[1]).iterdir()], f"一张图也没有：{NAMES[1]}"),
    (lambda root: shutil.rmtree(root / "val" / NAMES[2]), f"只在一个里有 {NAMES[2]}"),
    (lambda root: shutil.rmtree(root / "val"), "一类一个文件夹"),
    (lambda root: shutil.rmtree(root), "一类一个文件夹")])
def test_what_cannot_work_is_said_before_it_starts(root, spoil, says, capsys):
    spoil(root)
    with pytest.raises(ValueError, match=says):
        image_folder(root)
    assert main(["run", "7.6", "--data", str(root)]) == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [
    {"batch_size": 0}, {"batch_size": "a"}, {"batch_size": True}, {"size": 0}, {"size": 2.5}, {"size": 10**9},
    {"device": "cudax"}])
def test_bad_arguments_are_refused_in_words(exported, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) if "device" not in wrong else "设备 'cudax'"):
        image_folder(exported, **wrong)


@pytest.mark.parametrize("root", [None, 3, b"photos", ["photos"]])
def test_a_folder_is_a_path(root):
    with pytest.raises(TypeError, match="图片文件夹应当是一个路径"):
        image_folder(root)


def test_numbers_of_numpy_are_numbers(exported):
    train, _ = image_folder(exported, np.int64(16), np.int32(20), "cpu")
    assert type(train.batch_size) is type(train.size) is int and len(train) == 5
    assert next(iter(image_folder(exported, 1, 1, "cpu")[1]))[0].shape == (1, 3, 1, 1)


def test_the_folder_may_start_with_a_tilde(exported, monkeypatch):
    monkeypatch.setenv("HOME", str(exported.parent))
    assert find_splits(f"~/{exported.name}") == (exported / "train", exported / "val")


def test_hidden_folders_and_files_are_neither_classes_nor_images(root):
    """JupyterLab 放下 .ipynb_checkpoints，macOS 放下 ._1.jpg。"""
    before = image_folder(root, 16, 32, "cpu")[0]
    (root / "train" / ".ipynb_checkpoints").mkdir()
    copies = root / "train" / NAMES[0] / ".ipynb_checkpoints"
    copies.mkdir()
    shutil.copy(root / "train" / NAMES[0] / "0.png", copies / "0-checkpoint.png")
    (root / "train" / NAMES[0] / "._0.png").write_bytes(b"\0\5\x16\7")
    after = image_folder(root, 16, 32, "cpu")[0]
    assert after.classes == before.classes and after.files.samples == before.files.samples
    assert load("7.6").plan.on(root).settings["num_classes"] == 4


def test_the_test_set_is_val_or_else_test(root):
    assert find_splits(root) == (root / "train", root / "val")
    (root / "test" / NAMES[0]).mkdir(parents=True)
    assert find_splits(root)[1] == root / "val"
    shutil.rmtree(root / "val")
    assert find_splits(root)[1] == root / "test"


SMALL = ["--size", "32", "--batch-size", "16", "--num-epochs", "2", "--c1", "8", "--c2", "8", "--c3", "8", "--c4", "8"]


@pytest.mark.parametrize("command", [
    [sys.executable], [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]],
    ids=["一个进程", "两个进程"])
@pytest.mark.slow
def test_the_command_trains_on_it(command, exported, tmp_path):
    done = subprocess.run(
        [*command, "-m", "helpers", "run", "7.6", "--data", exported, *SMALL], capture_output=True, text=True,
        timeout=300, env=os.environ | {"COMPANION_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    [run] = saved_runs(folder=tmp_path)
    assert run.recipe["num_classes"] == 4 and run.recipe["images"] == 80 and run.last.epoch == 2
    assert run.band is None and "不与官方结果比较" in run.verdict


def test_images_and_data_together_are_refused(exported, capsys):
    assert main(["run", "7.6", "--data", str(exported), "--images", "60"]) == 2
    assert "不能再给 --images" in capsys.readouterr().err


def test_every_network_takes_the_folder(exported):
    for section in NETWORKS:
        plan = load(section).plan.on(str(exported))
        assert plan.shape[1] == 3 and plan.settings["num_classes"] == 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert plan.meta()(torch.zeros(2, *plan.shape[1:], device="meta")).shape == (2, 4)


def test_synchronized_batch_norm_wants_a_gpu(capsys, monkeypatch):
    from helpers.__main__ import synchronized
    monkeypatch.setattr("helpers.__main__.pick_device", lambda: torch.device("cpu"))
    with pytest.raises(ValueError, match="要 GPU"):
        synchronized(torch.nn.BatchNorm2d(3))
    monkeypatch.setattr("helpers.__main__.pick_device", lambda: torch.device("cuda"))
    net = synchronized(torch.nn.Sequential(torch.nn.BatchNorm2d(3)))
    assert isinstance(net[0], torch.nn.SyncBatchNorm)
