"""split.py：各个进程取的合起来正好一遍；再加一种数据集，只要会三件事。"""

import pytest
import torch
from torch import nn

from helpers import accuracy, fit
from helpers.data.split import Split, share_count, shares


@pytest.fixture
def process(monkeypatch):
    """假装是 world 个进程里的第 rank 个。"""
    def pretend(rank, world):
        monkeypatch.setattr("helpers.data.split.rank", lambda: rank)
        monkeypatch.setattr("helpers.data.split.world_size", lambda: world)
    return pretend


@pytest.mark.parametrize("images, batch_size, world", [(640, 64, 2), (641, 64, 2), (7, 4, 3), (1, 4, 2), (100, 7, 4)])
@pytest.mark.parametrize("even", [True, False])
def test_shares_cover_everything_once(images, batch_size, world, even, process):
    taken, lengths = [], []
    for rank in range(world):
        process(rank, world)
        parts = list(shares(torch.arange(images), batch_size, even=even))
        assert len(parts) == share_count(images, batch_size, even=even)
        assert all(len(part) <= batch_size for part in parts)
        taken += torch.cat(parts).tolist() if parts else []
        lengths.append([len(part) for part in parts])
    assert len(set(taken)) == len(taken) and (len(taken) > images - world if even else len(taken) == images)
    assert not even or all(each == lengths[0] for each in lengths)


@pytest.mark.parametrize("rank, world", [(0, 1), (0, 3), (2, 3)])
@pytest.mark.parametrize("even", [True, False])
def test_skipping_gives_the_rest(rank, world, even, process):
    process(rank, world)
    order = torch.arange(50)
    whole = list(shares(order, 4, even=even))
    for skip in range(len(whole) + 2):
        rest = list(shares(order, 4, even=even, skip=skip))
        assert [part.tolist() for part in rest] == [part.tolist() for part in whole[skip:]]


class Stripes(Split):
    """第三种数据集：横条和竖条。"""

    images, channels, classes, batch_size, size, device = 50, 2, ("横", "竖"), 8, 6, torch.device("cpu")

    def __init__(self, shuffle):
        self.shuffle = shuffle

    def order(self):
        return torch.randperm(self.images) if self.shuffle else torch.arange(self.images)

    def batches(self, order, skip=0):
        for rows in shares(order, self.batch_size, even=self.shuffle, skip=skip):
            yield self.draw(rows), rows % 2

    def some(self, images):
        for rows in torch.arange(min(images, self.images)).split(64):
            yield self.draw(rows)

    def draw(self, rows):
        stripes = torch.arange(self.size).remainder(2).float().expand(len(rows), self.channels, self.size, self.size)
        return torch.where((rows % 2 == 0)[:, None, None, None], stripes.mT, stripes)


def test_a_third_data_set_is_trained_and_scored():
    torch.manual_seed(0)
    train, test = Stripes(shuffle=True), Stripes(shuffle=False)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 6, 2))
    points = list(fit(net, train, test, lr=0.1, num_epochs=2, dtype=torch.float32))
    assert len(train) == len(list(train)) == 7 and points[-1].epoch == 2
    assert points[-1].test_acc == accuracy(net, test, torch.float32) == 1


def test_a_data_set_that_lacks_one_of_the_three_cannot_be_made():
    for name in ("order", "batches", "some"):
        with pytest.raises(TypeError, match=name):
            type("Lacking", (Stripes,), {name: getattr(Split, name)})(shuffle=True)
