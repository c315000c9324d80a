"""G5、G6：一分钟的训练盖掉几天的，读到写了一半的。G11、G12：存档写到一半磁盘满了，存档坏了一位。"""

import random
import resource
import signal
import sys
import threading

import pytest
import torch
from support.rows import against
from torch import nn

from helpers import Point, budget, load
from helpers.experiments.checkpoint import checkpoint_file, load_checkpoint, save_checkpoint
from helpers.training.loop import Position

SETTINGS = {"num_epochs": 3, "images": 10, "batch_size": 4}


def network(width=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width))


def by_torch_save(path, net, position, points, settings, seconds):
    """随处可见的写法：直接存在最后的名字上。"""
    torch.save({"net": net.state_dict(), "position": vars(position), "points": points, "seconds": seconds}, path)


def by_torch_load(path, net, settings):
    saved = torch.load(path, weights_only=False)
    net.load_state_dict(saved["net"])
    return Position(**saved["position"]), saved["points"], saved["seconds"]


def by_name(folder, name, settings):
    """随处可见的写法：一个网络一个文件。"""
    return folder / f"{name}.pt"


@against(checkpoint_file, by_name)
def test_G5_each_kind_of_training_has_a_file_of_its_own(subject, tmp_path):
    """学习率和轮数可以接着改，别的改了就是另一次训练。"""
    settings = budget(load("7.1").lenet).settings
    names = {subject(tmp_path, "lenet", settings | changes)
             for changes in ({}, {"c1": 8}, {"images": 600}, {"folder": "x"}, {"init": "kaiming"})}
    assert len(names) == 5
    assert subject(tmp_path, "lenet", settings | {"lr": 9, "num_epochs": 3}) in names
    assert subject(tmp_path, "vgg11", settings) not in names


@against((save_checkpoint, load_checkpoint), (by_torch_save, by_torch_load))
def test_G6_two_at_once_never_read_half_a_file(subject, tmp_path):
    """几处存同一份、读同一份：读到的总是完整的一份。"""
    save, load = subject
    net, position = network(200), Position(epoch=1)

    def write():
        for _ in range(30):
            save(tmp_path / "a.pt", net, position, [], SETTINGS, {})
    write()
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        while any(writer.is_alive() for writer in writers):
            load(tmp_path / "a.pt", net, SETTINGS)
    finally:
        for writer in writers:
            writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="要 RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [100, 5_000, 40_000])
@against((save_checkpoint, load_checkpoint), (by_torch_save, by_torch_load))
def test_G11_disk_full_while_a_checkpoint_is_written(subject, room, tmp_path, recwarn):
    """上一份还在，训练接着走；写到一半时 torch.save 抛的不是 OSError。"""
    save, load = subject
    path, net = tmp_path / "a.pt", network(20)  # 63 KB
    save(path, net, Position(epoch=1), [], SETTINGS, {})
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        save(path, net, Position(epoch=2), [], SETTINGS, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert load(path, network(20), SETTINGS)[0].epoch == 1 and [each.name for each in tmp_path.iterdir()] == ["a.pt"]
    assert ["上一份还在" in str(each.message) for each in recwarn.list] == [True]


@against((save_checkpoint, load_checkpoint), (by_torch_save, by_torch_load))
def test_G12_one_flipped_bit_in_a_checkpoint(subject, tmp_path):
    """拒绝，或者读到的与存下的一样；没有读错的，也没有改了一半的网络。"""
    save, load = subject
    dice, path, net = random.Random(0), tmp_path / "a.pt", nn.Linear(3, 2)
    position = Position(1, 1, torch.arange(10), torch.ones(2), 4, torch.ones(2), 4, 0.5)
    save(path, net, position, [Point(0.5, 1.0, 0.5)], SETTINGS, {"steps": 1.0})
    content = path.read_bytes()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(300):
        spoiled = bytearray(content)
        spoiled[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        other = nn.Linear(3, 2)
        before = {name: value.clone() for name, value in other.state_dict().items()}
        try:
            found = load(path, other, SETTINGS)
        except ValueError as error:
            assert "删掉它" in str(error) and same(other.state_dict(), before)
            continue
        assert same(other.state_dict(), weights) and same(vars(found[0]), vars(position))
        assert found[1:] == ([Point(0.5, 1.0, 0.5)], {"steps": 1.0})


def same(a, b):
    """两个字典，张量逐位相同。"""
    return a.keys() == b.keys() and all(
        torch.equal(a[name], value) if isinstance(value, torch.Tensor) else a[name] == value
        for name, value in b.items())


ABSENT = object()


def parts(**changes):
    """一份存档的各个部分，有几处不对；ABSENT 是没有这一部分。"""
    good = {"net": network().state_dict(), "random": torch.get_rng_state(), "random_cuda": None,
            "points": [[1.0, 2.0, 0.3]], "settings": SETTINGS, "seconds": {}, "position": vars(Position(epoch=1))}
    return {name: part for name, part in (good | changes).items() if part is not ABSENT}


@pytest.mark.parametrize("changes, says", [
    *(({"net": net}, "对不上") for net in (network(9).state_dict(), nn.Linear(784, 10).state_dict(), {}, [1],
                                           network().double().state_dict())),
    *(({"position": vars(Position(**wrong))}, "读不出来") for wrong in (
        {"epoch": -1}, {"epoch": 1.5}, {"batch": "3"}, {"seen": None}, {"order": torch.arange(9)},
        {"order": torch.zeros(10, dtype=torch.int64)}, {"order": torch.arange(10), "batch": 9},
        {"sums": torch.ones(3)}, {"earlier_sums": torch.ones(2, dtype=torch.float64)})),
    *((wrong, "读不出来") for wrong in (
        {"position": {"epoch": 1, "odd": 2}}, {"random": torch.zeros(3, dtype=torch.uint8)},
        {"points": [["a", 1.0, 1.0]]}, {"points": 3}, {"seconds": {"steps": "long"}}, {"settings": {}},
        {"settings": None}, {"position": vars(Position(epoch=1, lr="0.1"))}, {"points": [[1.0, "2", 0.3]]},
        {"random_cuda": torch.zeros(3)},
        *({name: ABSENT} for name in ("net", "random", "random_cuda", "points", "settings", "seconds", "position"))))])
def test_G12_parts_that_do_not_fit(changes, says, tmp_path):
    net = network()
    before, path = {name: value.clone() for name, value in net.state_dict().items()}, tmp_path / "a.pt"
    torch.save(parts(), path)
    assert load_checkpoint(path, network(), SETTINGS)[0].epoch == 1
    torch.save(parts(**changes), path)
    with pytest.raises(ValueError, match=says):
        load_checkpoint(path, net, SETTINGS)
    assert same(net.state_dict(), before)
