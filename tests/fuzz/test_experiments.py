"""计划、训练的文件、存档：随机的东西要么不收，一句中文；要么收下，样样对得上。"""

import copy
import json
import math
import random
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from support.odd import mutated, runs, values, words
from support.recorded import BROKEN, HEALTHY
from torch import nn

from helpers import budget, export_csv, load, saved_runs
from helpers.experiments.checkpoint import load_checkpoint, save_checkpoint
from helpers.experiments.recipe import CHANGEABLE
from helpers.experiments.settings import plain
from helpers.experiments.store import save
from helpers.training.loop import Point, Position

LENET = budget(load("7.1").lenet, lr=0.9)
DENSENET = budget(load("7.7").densenet)
CHINESE = re.compile("[一-鿿]")


@pytest.fixture(scope="module")
def folder():
    """这个文件共用的一个文件夹；每一例用之前清空。"""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()
    return folder


names = st.sampled_from([*CHANGEABLE, "c1", "c2", "h1", "window", "activation", "in_channels", "num_classes", "make"])


@given(st.sampled_from([LENET, DENSENET]), st.dictionaries(names | words, values, max_size=3))
def test_any_change_of_a_plan(plan, changes):
    try:
        changed = plan.change(**changes)
    except ValueError as error:
        assert CHINESE.search(str(error))
        return
    recipe = changed.recipe
    assert all(type(number) is int and number >= 1 for number in (recipe.batch_size, recipe.size, recipe.num_epochs))
    assert type(recipe.lr) is float and 0 < recipe.lr < math.inf and (recipe.images is None or recipe.images >= 10)
    assert json.dumps(plain(changed.settings)) and changed.book_recipe is plan.book_recipe
    assert changed.is_book == (changed.settings == plan.book.settings)
    back = {name: plan.settings[name] for name in changes if name != "images"} | (
        {"images": plan.recipe.images} if "images" in changes else {})
    assert changed.change(**back).settings == plan.settings and plan.change(**changes) == changed


@given(st.dictionaries(st.sampled_from(["c1", "c2", "h1", "h2", "window", "activation", "size"]), values, max_size=2))
def test_any_change_that_is_taken_gives_a_network_or_a_reason(changes):
    try:
        net = LENET.change(**changes).meta()
    except ValueError as error:
        assert CHINESE.search(str(error)) and len(str(error)) < 2_000
        return
    assert isinstance(net, nn.Module) and all(parameter.is_meta for parameter in net.parameters())


@given(runs)
def test_a_run_comes_back_as_it_was(folder, run):
    path = save(run, emptied(folder))
    assert path.parent == folder and [*folder.iterdir()] == [path]
    assert saved_runs(folder=folder) == [run] and saved_runs(run.network, folder)[-1:] == [run]
    assert saved_runs(folder=folder)[0].condition == run.condition
    assert len(export_csv([run], folder / "runs.csv").read_text("utf-8-sig").splitlines()) >= 1 + len(run.points)


FILES = [json.loads(json.dumps(asdict(run))) for run in (HEALTHY[0], HEALTHY[-1], BROKEN[0][1])]
for content in FILES:
    content["points"] = content["points"][:3]


@given(st.sampled_from(FILES).flatmap(mutated))
@example(FILES[0] | {"findings": [""]})
@example(FILES[0] | {"points": [FILES[0]["points"][0] | {"epoch": -1}]})
@example(FILES[0] | {"points": [FILES[0]["points"][0] | {"epoch": 1e308}]})
def test_any_file_among_the_runs(folder, content):
    """读不出来的跳过、记下名字；读出来的，卡片、判断、比较用的名字样样都有，存回去还是它。"""
    emptied(folder)
    good = save(HEALTHY[0], folder)
    (folder / "z.json").write_text(json.dumps(content), encoding="utf-8")
    found = saved_runs(folder=folder)
    assert found[0] == HEALTHY[0] and len(found) + len(found.skipped) == 2
    for run in found[1:]:
        assert repr(run) and run.name and run.condition and run.verdict and run.throughput and run.steps >= 0
        good.unlink()
        (folder / "z.json").unlink()
        save(run, folder)
        assert repr(saved_runs(folder=folder)) == repr([run])


SETTINGS = {"num_epochs": 3, "images": 6, "batch_size": 4}
NET = nn.Linear(2, 2)
PARTS = {"net": dict(NET.state_dict()), "random": torch.get_rng_state(), "random_cuda": None,
         "points": [[0.5, 1.0, 0.5]], "settings": SETTINGS, "seconds": {"steps": 1.0},
         "position": vars(Position(1, 1, torch.arange(6), torch.ones(2), 4, torch.ones(2), 4, 0.5))}
# weights_only 读得出来的
storable = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4) | st.builds(
    torch.zeros, st.integers(0, 4), dtype=st.sampled_from([torch.float32, torch.int64, torch.uint8]))


def taken_or_refused(path):
    """读进一个新的网络：不收就一点也没有改。"""
    net = nn.Linear(2, 2)
    before = copy.deepcopy(net.state_dict())
    try:
        return load_checkpoint(path, net, dict(SETTINGS)), net
    except ValueError as error:
        assert CHINESE.search(str(error)) and all(torch.equal(net.state_dict()[name], before[name]) for name in before)
        return None, net


@given(mutated(PARTS, storable))
@example(PARTS | {"settings": SETTINGS | {"images": torch.zeros(0)}})
def test_any_parts_of_a_checkpoint(folder, parts):
    path = emptied(folder) / "a.pt"
    torch.save(parts, path)
    found, _ = taken_or_refused(path)
    if found is not None:
        position, points, seconds = found
        assert position.epoch <= 3 and all(isinstance(point, Point) for point in points) and isinstance(seconds, dict)


def stored():
    """一份存档的字节。"""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.pt"
        save_checkpoint(path, NET, Position(**PARTS["position"]), [Point(0.5, 1.0, 0.5)], SETTINGS, {"steps": 1.0})
        return path.read_bytes()


BYTES = stored()


@given(st.randoms(use_true_random=False), st.integers(1, 3), st.booleans())
def test_any_damage_to_a_checkpoint(folder, dice: random.Random, count, cut):
    """改几位，或者截断：不收，或者读到的与存下的一样。"""
    spoiled = bytearray(BYTES)
    for _ in range(count):
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
    path = emptied(folder) / "a.pt"
    path.write_bytes(spoiled[:dice.randrange(len(spoiled))] if cut else spoiled)
    found, net = taken_or_refused(path)
    if found is not None:
        position, points, seconds = found
        assert all(torch.equal(net.state_dict()[name], value) for name, value in NET.state_dict().items())
        assert points == [Point(0.5, 1.0, 0.5)] and seconds == {"steps": 1.0}
        assert (position.epoch, position.batch, position.seen, position.lr) == (1, 1, 4, 0.5)
        assert torch.equal(position.order, torch.arange(6)) and torch.equal(position.sums, torch.ones(2))
