"""网页里的 LeNet：记录过的权重（lenet.json）、几张图像、各层的种类和大小，给 static/lenet.js 在网页里算。"""

import ast
import base64
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from helpers.book.sections import load
from helpers.book.source import same, source
from helpers.data.fashion import Batches, fashion_mnist
from helpers.network.inside import Cell
from helpers.network.steps import Step
from helpers.widgets.answers import Answers

RECORD = Path(__file__).with_name("lenet.json")
TEST, TRAIN = 100, 500  # 网页里有几张测试图，在几张训练图里找像的：笔记本里也是 500 张


def plug(section: str, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """打开网络的单元格的 id 到它的数据；只有记录过的那一节有。记录过时时抛出 ValueError，见 `trained`。"""
    cells = [cell.id for cell in notebook.cells if cell.cell_type == "code" and _opens(cell.source)]
    return dict.fromkeys(cells, data()) if cells and section == recorded()["section"] else {}


def _opens(code: str) -> bool:
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Inside"
               for node in ast.walk(ast.parse(code)))


@cache
def recorded() -> dict[str, Any]:
    """`tools/record_lenet.py` 记下的一切。"""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def trained() -> nn.Sequential:
    """记录的网络，float32、eval 模式，权重是 float16 舍入过的。网络的代码在记录之后改过时抛出 ValueError。"""
    found = recorded()
    if not same(found["code"], source(found["section"], found["name"])):
        raise ValueError(f"第 {found['section']} 节的 {found['name']} 在记录权重之后改过。重新记录：{found['command']}")
    plan = load(found["section"]).plan.book
    net = plan.make(**plan.widths).eval().requires_grad_(False)
    weights = torch.from_numpy(np.frombuffer(base64.b64decode(found["weights"]), "<f2").astype(np.float32))
    if len(weights) != len(parameters_to_vector(net.parameters())):
        raise ValueError(f"{RECORD.name} 里有 {len(weights)} 个权重，不是这个网络的。重新记录：{found['command']}")
    vector_to_parameters(weights, net.parameters())
    return net


@cache
def data() -> dict[str, Any]:
    """给 lenet.js 的一切，JSON 写得下的。

    layers: 各层，见 `layer`；weights: 全部权重，float16，一层接一层；kinds: 各步的一格怎样说，见 `_told`。
    start: 网页开头问的（`Answers` 的 start），没有第一张图像的；about: 图下面的一句话。
    test, train: {images: uint8 的 (张, 28, 28), labels}；字节都写成 base64。
    """
    net, (train, test) = trained(), (first(each, count) for each, count in zip(
        fashion_mnist(device="cpu"), (TRAIN, TEST), strict=True))
    answers = Answers(net, test, train)
    if any(step.sources != (step.number - 1,) for step in answers.steps[1:]) or len(answers.steps) != len(net) + 1:
        raise ValueError("网页里的前向是一层接一层的，这个网络不是。")
    start, _ = answers.answer({"ask": "start"}, [])
    return {"layers": [layer(each) for each in net], "weights": recorded()["weights"],
            "kinds": [_told(step) for step in answers.steps], "about": _about(),
            "start": {name: start[name] for name in ("steps", "classes", "images", "drawable", "neighbours")},
            "test": _packed(test), "train": _packed(train)}


def layer(module: nn.Module) -> dict[str, Any]:
    """一层：kind 是 static/forward.js 里的一种，shape 是权重的形状，其余是窗口怎样走。不认得的抛出 ValueError。"""
    match module:
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros", padding=(int(), int()), bias=Tensor()):
            return {"kind": "convolution", "shape": [*module.weight.shape], "stride": [*module.stride],
                    "padding": [*module.padding]}
        case nn.AvgPool2d(padding=0 | (0, 0), ceil_mode=False, divisor_override=None):
            return {"kind": "mean", "window": _pair(module.kernel_size), "stride": _pair(module.stride)}
        case nn.Linear(bias=Tensor()):
            return {"kind": "linear", "shape": [*module.weight.shape]}
        case nn.Sigmoid():
            return {"kind": "sigmoid"}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return {"kind": "flatten"}
    raise ValueError(f"网页里没有写 {module} 怎样算；加在 tools/site/static/forward.js 和 tools/site/lenet.py。")


def _pair(size: int | tuple[int, int]) -> list[int]:
    return [size, size] if isinstance(size, int) else [*size]


def _told(step: Step) -> dict[str, Any]:
    """一步的一格：是哪一种（kind、name），补充的一句话按有几项查（notes）：窗口在边上的，项少，话也不同。"""
    sheet, rows, columns = step.sheets.shape
    places = product(range(rows), range(columns)) if sheet > 1 else [(0, 0)]
    found = [Cell(step.value, step.index(0, *place)).explain() for place in places]
    notes = {str(sum(term.role == "input" for term in each.terms)): each.note for each in found}
    return {"kind": found[0].kind, "name": found[0].name, "notes": notes}


def first(half: Batches, count: int) -> Batches:
    """前 count 张。"""
    return Batches(half.X[:count], half.y[:count], half.batch_size, half.size, half.shuffle)


def _packed(half: Batches) -> dict[str, Any]:
    return {"images": base64.b64encode(half.X.numpy().tobytes()).decode(), "labels": half.y.tolist()}


def _about() -> str:
    found = recorded()
    return (f"网页里的这一个是 {found['recorded']} 用书上的配方训练的（种子 {found['seed']}，{found['machine']}，"
            f"torch {found['versions']['torch']}），测试精度 {found['test_acc']:.3f}；"
            f"在你的浏览器里算，画的和拍的不离开这里。测试图是前 {TEST} 张，最像的在前 {TRAIN} 张训练图里找。")
