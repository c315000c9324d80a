"""answers.py、terms.py：网页问的，与网络自己算的对照；整理、改权重、别的线程都在内。"""

import math
import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from support.nets import SIZES, lenet
from torch import nn

from helpers import explain, fashion_mnist, load
from helpers.network.where import grad_cam, occlusion
from helpers.widgets.answers import Answers
from helpers.widgets.terms import PAGE


@pytest.fixture(scope="module")
def data():
    return fashion_mnist(images=600, device="cpu")


@pytest.fixture
def answers(data):
    torch.manual_seed(0)
    train, test = data
    return Answers(lenet(), test, train)


def ask(answers, question, *buffers, **more):
    answer, data = answers.answer({"ask": question, **more}, [*buffers])
    assert "error" not in answer, answer
    return answer, data


def looked(data, size, low=0.0, high=1.0):
    """一个字节一格的深浅，变回数。"""
    return low + (high - low) * np.frombuffer(data, np.uint8).reshape(size) / 254


@pytest.mark.parametrize("section", SIZES)
def test_the_probabilities_are_the_network_s(section):
    plan = load(section).plan
    torch.manual_seed(0)
    net, test = plan.make(**plan.widths), fashion_mnist(size=plan.size, images=60, device="cpu")[1]
    answers = Answers(net, test)
    for number in (0, 5):
        answer, [seen] = ask(answers, "image", image=number)
        X = test.scale(test.X[number:number + 1])
        with torch.no_grad():
            logits = net.eval()(X)[0]
        assert answer["probabilities"] == pytest.approx(logits.softmax(0).tolist(), abs=1e-6)
        last = answers.steps[-1]  # 各步也是这张图的
        cell, _ = ask(answers, "cell", cell=[last.number, *last.place((0, 3))])
        assert cell["value"] == pytest.approx(logits[3].item(), abs=1e-5)
        assert answer["label"] == test.y[number]
        assert np.abs(looked(seen, X.shape[2:]) - X[0, 0].numpy()).max() <= 1 / 254


def test_a_network_that_overwrites_its_input_changes_no_image():
    net, X = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)), torch.randn(2, 1, 4, 4)
    kept = X.clone()
    answers = Answers(net, X)
    assert torch.equal(answers.steps[0].value.content, kept[:1]) and torch.equal(answers.X, kept[:1])
    explain(net, X[:1], "2", (0, 1))
    assert torch.equal(X, kept)


def test_images_that_are_no_fractions_are_refused():
    with pytest.raises(ValueError, match="小数"):
        Answers(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


def test_the_terms_give_torch_s_value_and_lead_to_cells_that_have_theirs(answers):
    X, dice = answers.test_image(0), np.random.default_rng(0)
    values = [X]
    with torch.no_grad():
        for layer in answers.net:
            values.append(layer(values[-1]))
    for step in answers.steps[1:]:
        place = [0, *(int(dice.integers(size)) for size in step.value.shape[1:])]
        answer, pictures = ask(answers, "cell", cell=[step.number, *step.place(tuple(place))])
        value = values[step.number][tuple(place)].item()
        assert answer["value"] == pytest.approx(value) and answer["total"] == pytest.approx(value, abs=1e-5)
        sums = answer["unseen"] + sum(each["contribution"] for each in answer["others"])
        sums += sum(total for _, total in answer["sums"]) if "grid" in answer else sum(
            each["contribution"] for each in answer["terms"])
        assert sums == pytest.approx(value, abs=1e-5)
        for each in answer["grid"]["cells"] if "grid" in answer else answer["terms"]:
            source = answers.steps[each["to"][0]]
            assert source.number == step.number - 1
            assert each["value"] == values[source.number][source.index(*each["to"][1:])].item()
        for picture, shades in zip(answer["pictures"], pictures, strict=True):
            assert len(shades) == math.prod(picture["size"])


def test_the_window_and_the_kernel_are_those_of_the_convolution(answers):
    conv = answers.net[3]
    row, column, channel = 4, 7, 11
    answer, _ = ask(answers, "cell", cell=[4, channel, row, column])
    X = answers.steps[3].value.content[0]
    sums = [float((X[c, row:row + 5, column:column + 5] * conv.weight[channel, c]).sum()) for c in range(6)]
    assert dict(map(tuple, answer["sums"])) == pytest.approx(dict(enumerate(sums)), abs=1e-6)
    assert [abs(total) for _, total in answer["sums"]] == pytest.approx(sorted(map(abs, sums), reverse=True), abs=1e-6)
    assert answer["grid"]["channel"] == answer["sums"][0][0] and answer["grid"]["size"] == [5, 5]
    chosen, _ = ask(answers, "cell", cell=[4, channel, row, column], channel=2)
    for cell in chosen["grid"]["cells"]:
        i, j = cell["at"]
        assert cell["value"] == X[2, row + i, column + j] and cell["weight"] == conv.weight[channel, 2, i, j]
        assert cell["to"] == [3, 2, row + i, column + j]


def test_a_window_at_the_border_shows_what_is_inside(answers):
    answer, _ = ask(answers, "cell", cell=[1, 0, 0, 0])  # 填充 2：窗口里只有 3×3 在图像里
    assert sorted(cell["at"] for cell in answer["grid"]["cells"]) == [[i, j] for i in (2, 3, 4) for j in (2, 3, 4)]
    assert "16" in answer["note"]
    here, image = answer["pictures"]
    assert (image["low"], image["high"]) == (0, 1)  # 图像的黑白总是 0 到 1，特征图的由它的数定
    assert (here["low"], here["high"]) == tuple(each.item() for each in answers.steps[1].value.content.aminmax())


def test_the_many_terms_of_a_linear_layer_come_page_by_page(answers):
    seen = []
    for first in range(0, 400, PAGE):
        answer, _ = ask(answers, "cell", cell=[8, 0, 3, 2], first=first)
        seen += answer["terms"]
    assert len(seen) == 400 and len({tuple(term["to"]) for term in seen}) == 400
    sizes = [abs(term["contribution"]) for term in seen]
    assert sizes == sorted(sizes, reverse=True)


def test_the_trail_follows_the_largest_term_to_a_pixel(answers):
    cell = [12, 0, 0, 4]
    trail = ask(answers, "trail", cell=cell)[0]["trail"]
    assert [each[0] for each in trail] == [*range(11, -1, -1)]
    for *place, value in trail:
        answer, _ = ask(answers, "cell", cell=cell)
        shown = answer.get("terms", [])
        for channel, _ in answer.get("sums", ()):
            shown = shown + ask(answers, "cell", cell=cell, channel=channel)[0]["grid"]["cells"]
        best = max(shown, key=lambda term: abs(term["contribution"]))
        assert best["value"] == value
        cell = place
    assert ask(answers, "cell", cell=cell)[0]["kind"] == "pixel"


def test_only_what_is_looked_at_is_sent(answers):
    answer, data = ask(answers, "maps", looking=[[1, 2, 3], [12, 0, 1]])
    assert [found["shape"] for found in answer["maps"]] == [[3, 28, 28], [1, 2, 8]]
    maps = answers.steps[1].value.content[0]
    found = answer["maps"][0]
    assert found["low"] == maps.min() and found["high"] == maps.max()
    assert np.abs(looked(data[0], (3, 28, 28), found["low"], found["high"]) - maps[2:5].numpy()).max() <= (
        0.51 * (found["high"] - found["low"]) / 254)
    assert data[1][-6:] == b"\xff" * 6 and len(data[1]) == 16  # 10 个数画成 2×8，后面没有数


def test_large_maps_are_sent_small():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.LazyLinear(4))
    X = torch.rand(2, 1, 100, 70)
    net(X)
    answer, [data] = ask(Answers(net, X), "maps", looking=[[1, 0, 3]])
    assert answer["maps"][0]["shape"] == [3, 25, 18] and len(data) == 3 * 25 * 18


def test_a_drawing_is_prepared_and_answered(answers):
    pixels = np.zeros((112, 90), np.uint8)
    pixels[10:60, 20:80] = 255
    how = {"size": [112, 90], "cut": True, "fill": True, "centre": True}
    answer, [seen, before, after] = ask(answers, "image", pixels.tobytes(), **how)
    X = torch.frombuffer(bytearray(after), dtype=torch.uint8).reshape(1, 1, 28, 28) / 255
    with torch.no_grad():
        assert answer["probabilities"] == pytest.approx(answers.net(X).softmax(1)[0].tolist(), abs=1e-6)
        X = torch.frombuffer(bytearray(before), dtype=torch.uint8).reshape(1, 1, 28, 28) / 255
        assert answer["prepared"]["plain"] == pytest.approx(answers.net(X).softmax(1)[0].tolist(), abs=1e-6)
    assert answer["label"] is None and max(seen) == 254
    assert torch.equal(answers.X, answers.steps[0].value.content)
    again, [_, _, same] = ask(answers, "image", memoryview(pixels.tobytes()), **how | {"fill": False, "centre": False})
    assert same != after and again["prepared"]["filled"] == 0


def test_the_nearest_come_in_steps_and_one_of_them_is_itself(data):
    train, _ = data
    answers = Answers(lenet(), train, train)
    ask(answers, "image", image=77)
    counts = []
    while "progress" in (answer := ask(answers, "nearest"))[0]:
        counts.append(answer[0]["progress"])
    found, images = answer
    assert counts[0] == 64 and counts[-1] == 500 == found["among"]
    assert found["away"][0] == pytest.approx(0, abs=1e-3) and found["away"] == sorted(found["away"])
    assert images[0] == train.X[77, 0].numpy().tobytes() and found["labels"][0] == train.y[77]


def test_where_it_looks(answers):
    for method, wanted in (("cam", grad_cam), ("occlusion", occlusion)):
        answer, [heat] = ask(answers, "where", method=method)
        expected = wanted(answers.net, answers.X).numpy()
        reach = np.abs(expected).max()
        assert answer["reach"] == pytest.approx(float(reach), abs=1e-9)
        assert np.abs(looked(heat, (28, 28), -reach, reach) - expected).max() <= reach / 120


def test_the_copy_stays_as_it_was(data):
    net = lenet()
    answers = Answers(net, data[1])
    before = ask(answers, "image", image=3)[0]["probabilities"]
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert ask(answers, "image", image=3)[0]["probabilities"] == before


def test_what_cannot_be_answered_is_said(answers):
    for question in ({}, {"ask": "nothing"}, {"ask": "cell"}, {"ask": "cell", "cell": [99, 0, 0, 0]},
                     {"ask": "cell", "cell": [1, 9, 0, 0]}, {"ask": "cell", "cell": "x"},
                     {"ask": "maps", "looking": [[99, 0, 1]]}):
        assert answers.answer(question, [])[0]["error"]
    assert "训练图" in Answers(lenet(), torch.rand(2, 1, 28, 28)).answer({"ask": "nearest"}, [])[0]["error"]
    ask(answers, "image", image=10**9)
    ask(answers, "image", image=-5)


def test_questions_from_two_threads_do_not_mix(answers):
    wrong = []

    def turn(numbers):
        for number in numbers:
            answer, _ = ask(answers, "image", image=number)
            with torch.no_grad():
                right = expected[number]
            if answer["probabilities"] != pytest.approx(right, abs=1e-6):
                wrong.append(number)
            with suppress(AssertionError):
                ask(answers, "cell", cell=[4, 0, 0, 0])
    with torch.no_grad():
        expected = {i: lenet_of(answers)(answers.test_image(i)).softmax(1)[0].tolist() for i in range(20)}
    threads = [threading.Thread(target=turn, args=(range(start, 20, 2),)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def lenet_of(answers):
    """同样权重的另一个网络。"""
    twin = lenet().eval()
    twin.load_state_dict(answers.net.state_dict())
    return twin


def test_a_pooling_window_is_counted_from_its_own_corner(answers):
    answer, _ = ask(answers, "cell", cell=[3, 2, 5, 7])
    grid = answer["grid"]
    assert grid["size"] == [2, 2] and not grid["kernel"] and grid["channel"] == 2
    assert {(*cell["at"], *cell["to"]) for cell in grid["cells"]} == {
        (i, j, 2, 2, 10 + i, 14 + j) for i in (0, 1) for j in (0, 1)}


def test_a_normalization_names_its_numbers(data):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10)).eval()
    net[0].running_mean.fill_(0.25)
    answer, _ = ask(Answers(net, *reversed(data)), "cell", cell=[1, 0, 3, 3])
    assert 0.25 in answer["constants"].values() and len(answer["constants"]) == 4
