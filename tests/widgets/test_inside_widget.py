"""inside.py：消息来了就答，编号原样送回；没有内核时的图；关掉。真的内核、真的网页在 test_kernel、test_view。"""

import ipywidgets as widgets
import pytest
import torch
from support.nets import lenet
from support.pixels import pixels

from helpers import Inside, fashion_mnist

registry = widgets.widgets.widget._instances


@pytest.fixture(scope="module")
def test_data():
    return fashion_mnist(images=600, device="cpu")[1]


def send(shown, content, buffers=()):
    """像网页那样送来一句，返回送回去的。"""
    sent = []
    shown.page.send = lambda answer, buffers: sent.append((answer, buffers))
    shown.page._handle_custom_msg(content, list(buffers))
    return sent


def test_a_question_is_answered_with_its_number(test_data):
    shown = Inside(lenet(), test_data)
    [(answer, [seen])] = send(shown, {"ask": "start", "number": "me-1"})
    assert answer["number"] == "me-1" and answer["ask"] == "start" and len(answer["steps"]) == 13
    assert len(seen) == 784 and answer["drawable"] and answer["images"] == test_data.images
    [(refused, _)] = send(shown, {"ask": "cell", "cell": [99, 0, 0, 0], "number": 7})
    assert refused["error"] and refused["number"] == 7
    assert send(shown, "nonsense") == [] and send(shown, None) == []


def test_a_closed_one_says_nothing(test_data):
    before = set(registry)
    shown = Inside(lenet(), test_data)
    page = shown.page
    shown.close()
    assert set(registry) == before and send(shown, {"ask": "start"}) == [] and page.comm is None


def test_without_a_kernel_there_is_a_picture_and_the_same_text_every_time(test_data):
    (data, metadata), (again, _) = (Inside(lenet(), test_data)._repr_mimebundle_() for _ in range(2))
    assert data["text/plain"] == again["text/plain"] == "Inside(Sequential，12 步)"
    assert pixels(data["image/png"]).shape[1] == metadata["image/png"]["width"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_any_images_will_do():
    shown = Inside(lenet(), torch.rand(3, 1, 28, 28))
    [(answer, _)] = send(shown, {"ask": "start"})
    assert answer["images"] == 3 and answer["label"] is None and not answer["neighbours"]


def test_what_is_not_a_network_or_not_images_is_refused(test_data):
    with pytest.raises(TypeError, match="网络"):
        Inside(test_data, test_data)
    with pytest.raises(TypeError, match="测试集"):
        Inside(lenet(), [1, 2])
    with pytest.raises(TypeError, match="train 应当是训练集"):
        Inside(lenet(), test_data, "train")
    for images in (torch.rand(3), torch.rand(0, 1, 28, 28), torch.empty(1, 1, 28, 28, device="meta")):
        with pytest.raises(ValueError, match="images "):
            Inside(lenet(), images)
    for net, words in ((torch.nn.Linear(3, 4), "走不通"), (torch.nn.ReLU(), "对数几率")):
        with pytest.raises(ValueError, match=words):
            Inside(net, test_data)
