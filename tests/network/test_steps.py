"""steps.py：一步从哪里来与 explain 的各项对照，一格画在哪里与张量对照，几条路各在哪一行。"""

import random
from itertools import pairwise

import pytest
import torch
from support.nets import SIZES, Call, Concat, Residual, lenet
from torch import nn

from helpers import load
from helpers.network.inside import Cell
from helpers.network.recording import record
from helpers.network.steps import steps


def walked(net, *shape):
    torch.manual_seed(0)
    X = torch.rand(shape or (1, 1, 28, 28))
    return steps(net, record(net, X))


def planned(section):
    plan = load(section).plan
    return walked(plan.make(**plan.widths), 1, 1, plan.size, plan.size)


def test_a_chain_is_one_step_a_column():
    found = walked(lenet())
    assert [step.column for step in found] == [*range(13)]
    assert [step.sources for step in found[1:]] == [(i,) for i in range(12)]
    assert {(step.lane, step.lanes) for step in found} == {(0, 1)}
    assert [step.text.kind for step in found[:4]] == ["image", "conv", "activation", "pool"]


@pytest.mark.parametrize("section", SIZES)
def test_the_terms_of_a_cell_come_from_the_sources_of_its_step(section):
    found, dice = planned(section), random.Random(0)
    by_value = {step.value: step for step in found}
    reached = {step.number: set() for step in found}
    for step in found:
        for _ in range(24):
            index = (0, *map(dice.randrange, step.value.shape[1:]))
            cells = [term.cell for term in Cell(step.value, index).explain().terms if term.role == "input"]
            reached[step.number] |= {by_value[cell.value].number for cell in cells}
        assert reached[step.number] <= set(step.sources)
        if step.text.title != "连结":  # 一格只来自其中一路，24 格也许没有遇到每一路
            assert reached[step.number] == set(step.sources)


@pytest.mark.parametrize("section", SIZES)
def test_a_step_stands_to_the_right_of_its_sources_and_on_top_of_nobody(section):
    found = planned(section)
    places = [(step.column, step.lane) for step in found]
    assert len(set(places)) == len(places) and all(step.lane < step.lanes for step in found)
    for step in found:
        assert all(found[source].column < step.column for source in step.sources)
    lanes = {step.column: step.lanes for step in found}
    assert len(set((step.column, step.lanes) for step in found)) == len(lanes)


@pytest.mark.parametrize("section", SIZES)
def test_a_cell_is_drawn_where_the_tensor_has_it(section):
    dice = random.Random(0)
    for step in planned(section):
        sheets = step.sheets
        assert int((~sheets.isnan()).sum()) == step.value.content[0].numel()
        for _ in range(10):
            index = (0, *map(dice.randrange, step.value.shape[1:]))
            place = step.place(index)
            assert step.index(*place) == index
            assert sheets[place] == step.value.content[index]


def test_the_four_paths_of_an_inception_block_are_four_lanes():
    block = load("7.5").Inception(8, 4, (4, 4), (4, 4), 4)
    found = walked(block, 1, 8, 6, 6)
    *_, joined = found
    assert joined.text.kind == "join" and len(joined.sources) == 4 and joined.lane == 0
    assert [found[source].lane for source in joined.sources] == [0, 1, 2, 3]
    for step in found[1:-1]:
        assert step.lanes == 4
        [source] = step.sources
        assert source == 0 or found[source].lane == step.lane


def test_a_shortcut_without_a_layer_leads_straight_to_the_sum():
    found = walked(nn.Sequential(nn.Conv2d(1, 2, 3), Residual(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()))))
    assert found[-1].sources == (3, 1) and found[-1].text.title == "相加 +"
    assert [step.lane for step in found] == [0] * 5


@pytest.mark.parametrize(("op", "kind", "title"), [
    (lambda _, X: X.exp(), "other", "exp"), (lambda _, X: X.relu(), "other", "ReLU"),
    (lambda _, X: 2 * X, "join", "相乘 ×")])
def test_what_is_written_in_forward_is_told_by_its_operation(op, kind, title):
    text = walked(Call(op))[-1].text
    assert (text.kind, text.title) == (kind, title)


def test_a_layer_used_twice_is_told_as_that_layer_both_times():
    relu = nn.ReLU()
    found = walked(nn.Sequential(nn.Conv2d(1, 2, 3), relu, nn.Conv2d(2, 2, 3), relu))
    assert [step.text.kind for step in found] == ["image", "conv", "activation", "conv", "activation"]


def test_a_copy_is_not_a_step_of_its_own():
    torch.manual_seed(0)
    net, X = lenet().to(memory_format=torch.channels_last), torch.rand(1, 1, 28, 28)
    found = steps(net, record(net, X))  # 展平之前先要一份连续的副本
    assert len(found) == 13 and [len(step.also) for step in found] == [0] * 6 + [1] + [0] * 6
    [term] = Cell(found[7].value, (0, 77)).explain().terms
    assert term.cell is not None and term.cell.value in found[6].also


def test_parallel_paths_inside_parallel_paths_do_not_collide():
    inner = Concat(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    found = walked(Concat(inner, Concat(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))), 1, 2, 4, 4)
    places = [(step.column, step.lane) for step in found]
    assert len(set(places)) == len(places) == 8


def test_the_steps_are_in_the_order_in_which_they_lead_on():
    for step in planned("7.5"):
        assert all(source < step.number for source in step.sources)
    numbers = [step.number for step in planned("7.7")]
    assert all(b == a + 1 for a, b in pairwise(numbers))


@pytest.mark.parametrize("place", [(0, 28, 0), (6, 0, 0), (0, 0, -1)])
def test_a_cell_that_is_not_there_is_refused(place):
    with pytest.raises(ValueError, match="没有第"):
        walked(lenet())[1].index(*place)


def test_the_empty_cells_after_a_vector_are_refused():
    last = walked(lenet())[-1]
    assert last.index(0, 1, 1) == (0, 9)
    with pytest.raises(ValueError, match="只有 10 个数"):
        last.index(0, 1, 2)
