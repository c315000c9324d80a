"""A：数据文件和它所在的地方。朴素的读法是 torchvision 的：解开、按头里的大小读，不看内容。"""

import gzip
import hashlib
import multiprocessing
import os
import random
import shutil
import sys
import time
import tracemalloc
from ctypes import CDLL
from pathlib import Path

import pytest
from support.rows import against, python
from torchvision.datasets import mnist

import helpers
from helpers.data.fashion import FILES, read_idx
from helpers.paths import FASHION_MNIST

BLOBS = {name: (FASHION_MNIST / name).read_bytes() for name in FILES}
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"


def ours(name, blob, folder):
    """把 blob 当作文件 name，读它。"""
    (folder / name).write_bytes(blob)
    return read_idx(folder / name)


def torchvision(name, blob, folder):
    """解到旁边，再用 torchvision 的函数读，不校验。"""
    path = folder / name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(blob))
    return (mnist.read_image_file if "images" in name else mnist.read_label_file)(str(path))


def refused(read, name, blob, folder):
    """拒绝，说出文件和该做什么。"""
    with pytest.raises(ValueError, match=f"{name} 缺失或已损坏.*git checkout -- helpers/data/fashion_mnist"):
        read(name, blob, folder)


@against(ours, torchvision)
@pytest.mark.parametrize("name", FILES)
def test_A1_truncated_file(subject, name, tmp_path):
    refused(subject, name, BLOBS[name][:len(BLOBS[name]) // 2], tmp_path)


@against(ours, torchvision)
def test_A2_empty_file(subject, tmp_path):
    refused(subject, TEST_IMAGES, b"", tmp_path)


@against(ours, torchvision)
@pytest.mark.parametrize("name", FILES)
def test_A3_one_byte_changed(subject, name, tmp_path):
    """每个文件 25 处，一共 100 处；gzip 是重新压的，它自己的校验和没有用。"""
    content, dice = bytearray(gzip.decompress(BLOBS[name])), random.Random(name)
    for _ in range(25):
        place = dice.randrange(len(content))
        flip = dice.randrange(1, 256)
        content[place] ^= flip
        refused(subject, name, gzip.compress(bytes(content), 0), tmp_path)
        content[place] ^= flip


@against(ours, torchvision)
@pytest.mark.parametrize("name", FILES)
def test_A4_train_and_test_swapped(subject, name, tmp_path):
    other = name.replace("t10k", "train") if "t10k" in name else name.replace("train", "t10k")
    refused(subject, name, BLOBS[other], tmp_path)


@against(ours, torchvision)
def test_A5_gzip_bomb(subject, tmp_path):
    bomb = gzip.compress(bytes(512 * 2**20), 1)
    tracemalloc.start()
    try:
        refused(subject, "train-images-idx3-ubyte.gz", bomb, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


BLOCKED = """
import socket
def refuse(*args, **options):
    raise OSError("没有网络")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""
LOAD = "import helpers; train, test = helpers.fashion_mnist(); assert train.images == 60_000"
DOWNLOAD = "import sys, torchvision; torchvision.datasets.FashionMNIST(sys.argv[1], download=True)"


@against(LOAD, DOWNLOAD)
def test_A6_no_network(subject, tmp_path):
    done = python(BLOCKED + subject, str(tmp_path))
    assert done.returncode == 0, done.stderr


def without_override():
    """root 也受文件权限约束：放下 CAP_DAC_OVERRIDE。"""
    if os.geteuid() == 0:
        assert CDLL(None).prctl(24, 1, 0, 0, 0) == 0


# 朴素的库第一次用时把数据解在自己的文件夹里
UNPACK = """
import gzip, helpers
from pathlib import Path
folder = Path(helpers.__file__).parent / "data" / "fashion_mnist"
(folder / "t10k-labels").write_bytes(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="要放下 Linux 的权限")
@against(LOAD, UNPACK)
def test_A7_read_only_installation_in_an_odd_path(subject, tmp_path):
    home = tmp_path / "只读 安装"
    shutil.copytree(Path(helpers.__file__).parent, home / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(home.rglob("*"))
    for path in (*before, home):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        code = f"import helpers; assert '只读 安装' in helpers.__file__\n{subject}"
        done = python(code, cwd=home, env=os.environ | {"PYTHONPATH": str(home)}, preexec_fn=without_override)
        assert done.returncode == 0, done.stderr
        assert sorted(home.rglob("*")) == before
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o755)


def load_ours(folder, results):
    """四个进程同时读。"""
    results.put(hashlib.sha256(read_idx(folder / TEST_IMAGES).numpy()).hexdigest())


def load_by_extracting(folder, results):
    """看有没有解开的文件，没有就解，有就读；解的时候一块一块写，中间让一让，别的进程就看得见半个文件。"""
    path = folder / "extracted"
    if not path.exists():
        with path.open("wb") as file:
            content = gzip.decompress((folder / TEST_IMAGES).read_bytes())
            for start in range(0, len(content), 2**20):
                file.write(content[start:start + 2**20])
                file.flush()
                time.sleep(0.02)
    results.put(hashlib.sha256(path.read_bytes()[16:]).hexdigest())


@pytest.mark.skipif(sys.platform == "win32", reason="要 fork")
@against(load_ours, load_by_extracting)
def test_A8_four_processes_at_once(subject, tmp_path):
    (tmp_path / TEST_IMAGES).write_bytes(BLOBS[TEST_IMAGES])
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        (tmp_path / "extracted").unlink(missing_ok=True)
        results = context.Queue()
        processes = [context.Process(target=subject, args=(tmp_path, results)) for _ in range(4)]
        for process in processes:
            process.start()
        seen = {results.get(timeout=60) for _ in processes}
        for process in processes:
            process.join()
        assert len(seen) == 1
