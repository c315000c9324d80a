"""网页问，这里答：一张图在网络里的每一步，一格怎样算出来，看的是哪里；没有小组件。"""

import threading
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data.fashion import LABELS, Batches
from helpers.data.sketch import Prepared, prepare
from helpers.network.answer import answered, logits_of, placed
from helpers.network.inside import Cell
from helpers.network.neighbours import Neighbours
from helpers.network.recording import Value, record
from helpers.network.steps import Step, steps
from helpers.network.where import grad_cam, occlusion
from helpers.widgets.panel import first_line
from helpers.widgets.terms import arithmetic, strongest

THUMB = 32  # 缩略图至多几格宽：再多网页上也看不清
_NEIGHBOURS = 500  # 在多少张训练图里找像的
_LONGEST = 400  # 回到像素至多走几步

Reply = tuple[dict[str, Any], list[bytes]]


class Answers:
    """一个网络和它此刻看着的一张图；`answer` 在哪个线程里叫都可以，一次答一个。

    net: 留一份副本，eval 模式，与原来的互不相干：别处接着训练，这里不变。
    images: 可以选的图，`Batches` 或者 (N, C, H, W) 的小数；train: 找像的训练图，可以没有。
    """

    def __init__(self, net: nn.Module, images: Batches | Tensor, train: Batches | None = None):
        self.net = deepcopy(net).eval().requires_grad_(False)
        self.images = images
        self._train = train
        self._neighbours: Neighbours | None = None
        self._lock = threading.Lock()
        self._prepared: Prepared | None = None
        self.classes = list(images.classes) if isinstance(images, Batches) else [*LABELS]
        self.look(self.test_image(0))

    def test_image(self, number: int) -> Tensor:
        """第 number 张图，(1, C, H, W)、小数。"""
        if isinstance(self.images, Batches):
            return self.images.scale(self.images.X[number:number + 1])
        return self.images[number:number + 1]

    @property
    def count(self) -> int:
        """有几张图可选。"""
        return self.images.images if isinstance(self.images, Batches) else len(self.images)

    @property
    def drawable(self) -> bool:
        """能不能画一张、放一张照片：网络看灰度的图。"""
        return self.X.shape[1] == 1

    def look(self, X: Tensor) -> None:
        """换一张图。X: (1, C, H, W)，小数。每一步到有人问时才记：画着的时候，先要的是各类的概率。"""
        self.X = placed(self.net, X)
        self.probabilities = self.predict(self.X)
        self._steps: list[Step] = []

    def predict(self, X: Tensor) -> Tensor:
        """网络给一张图各类的概率，(n,)。"""
        with torch.no_grad():
            return logits_of(answered(self.net, self.net, placed(self.net, X)))[0].float().softmax(-1)

    @property
    def steps(self) -> list[Step]:
        """这张图在网络里的每一步。"""
        if not self._steps:
            self._steps = steps(self.net, record(self.net, self.X, own=True))
        return self._steps

    @property
    def by_value(self) -> dict[Value, Step]:
        """每个值是哪一步的。"""
        return {value: step for step in self.steps for value in (step.value, *step.also)}

    def answer(self, question: dict[str, Any], buffers: list[Any]) -> Reply:
        """答一个问题，问什么写在 question["ask"]；答不了的，回答里有一句 error。"""
        try:
            with self._lock:
                return _ANSWERS[question["ask"]](self, question, buffers)
        except Exception as error:  # 回调里的异常没有别处可看
            return {"error": first_line(error)}, []

    def neighbours(self) -> Neighbours:
        """训练图，算到哪里是哪里。"""
        if self._train is None:
            raise ValueError("没有给训练图：写成 Inside(net, test, train)。")
        if self._neighbours is None:
            self._neighbours = Neighbours(self.net, self._train.some(_NEIGHBOURS))
        return self._neighbours

    def sketch(self, pixels: np.ndarray, **how: bool) -> Prepared:
        """换成画的或者拍的一张，整理过；how 见 `prepare`。"""
        self._prepared = prepare(pixels, **how)
        self.look(self.scaled(self._prepared.after))
        return self._prepared

    def scaled(self, X: Tensor) -> Tensor:
        """(1, 1, 28, 28)、uint8 变成网络要的大小。"""
        if isinstance(self.images, Batches):
            return self.images.scale(X.to(self.images.device))
        return F.interpolate(X.float() / 255, self.images.shape[2:], mode="bilinear")

    def training_image(self, number: int) -> Tensor:
        """第 number 张训练图，(28, 28)、uint8。"""
        assert self._train is not None
        return self._train.X[number, 0]

    def training_label(self, number: int) -> int:
        """第 number 张训练图是哪一类。"""
        assert self._train is not None
        return int(self._train.y[number])


def _start(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """网络有哪些步；连同第一张图。"""
    found = [{"sources": step.sources, "column": step.column, "lane": step.lane, "lanes": step.lanes,
              "kind": step.text.kind, "title": step.text.title, "details": step.text.details, "layer": step.value.layer,
              "sheets": list(step.sheets.shape), "shape": list(step.value.shape[1:])} for step in answers.steps]
    image, data = _image(answers, {"image": 0}, [])
    return image | {"steps": found, "classes": answers.classes, "images": answers.count,
                    "drawable": answers.drawable, "neighbours": answers._train is not None}, data


def _image(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """换一张图：第几张，或者画的、拍的 (高, 宽) 的灰度；答网络看到的，各类的概率，整理之前和之后。"""
    extra: dict[str, Any] = {"label": None, "prepared": None}
    data: list[bytes] = []
    if buffers:
        pixels = np.frombuffer(bytes(buffers[0]), np.uint8).reshape(question["size"])
        made = answers.sketch(pixels, **{name: bool(question[name]) for name in ("fill", "centre", "cut")})
        plain = answers.predict(answers.scaled(made.before))
        extra["prepared"] = {"inverted": made.inverted, "filled": made.filled, "plain": plain.tolist()}
        data = [each.numpy().tobytes() for each in (made.before, made.after)]
    else:
        number = min(max(int(question["image"]), 0), answers.count - 1)
        answers.look(answers.test_image(number))
        extra["label"] = int(answers.images.y[number]) if isinstance(answers.images, Batches) else None
    seen = _shades(answers.X[0].float().mean(0), 0, 1)
    return extra | {"probabilities": answers.probabilities.tolist(), "size": list(answers.X.shape[2:])}, [seen, *data]


def _maps(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """几步的几张缩略图：looking 是 [第几步, 从第几张起, 几张]。"""
    found, data = [], []
    for number, first, count in question["looking"]:
        sheets = answers.steps[number].sheets
        low, high = _ends(sheets)
        small = _small(sheets[first:first + count])
        found.append({"step": number, "first": first, "shape": list(small.shape), "low": low, "high": high})
        data.append(_shades(small, low, high))
    return {"maps": found}, data


def _cell(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """一格的算术，和它所在的、它来自的几张特征图。"""
    step, place = _step(answers, question)
    found = Cell(step.value, step.index(*place)).explain()
    answer = arithmetic(found, answers.by_value, question.get("channel"), int(question.get("first", 0)))
    shown = answer["grid"]["cells"] if "grid" in answer else answer["terms"]
    sources = list(dict.fromkeys(tuple(each["to"][:2]) for each in shown if each["to"]))[:3]
    pictures = [_sheet(answers, *each) for each in [(step.number, place[0]), *sources]]
    return answer | {"cell": [step.number, *place], "index": list(found.index),
                     "pictures": [picture for picture, _ in pictures]}, [data for _, data in pictures]


def _trail(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """从一格起，每一步都沿着贡献最大的一项，走到像素。"""
    step, place = _step(answers, question)
    cell, by_value, found = Cell(step.value, step.index(*place)), answers.by_value, []
    for _ in range(_LONGEST):
        term = strongest(cell.explain())
        if term is None or term.cell is None or term.cell.value not in by_value:
            break
        here = by_value[term.cell.value]
        cell = Cell(here.value, term.cell.index)
        found.append([here.number, *here.place(cell.index), term.value])
    return {"cell": [step.number, *place], "trail": found}, []


def _nearest(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """最像的训练图；还没有算完就答算到第几张，网页再问。"""
    neighbours = answers.neighbours()
    if not neighbours.done:
        neighbours.step()
    if not neighbours.done:
        return {"progress": neighbours.count}, []
    numbers, away = neighbours.nearest(answers.X)
    return {"labels": [answers.training_label(i) for i in numbers], "away": away, "among": neighbours.count}, [
        answers.training_image(i).cpu().numpy().tobytes() for i in numbers]


def _where(answers: Answers, question: dict[str, Any], buffers: list[Any]) -> Reply:
    """网络看的是哪里：method 是 "cam" 或 "occlusion"，label 是哪一类。"""
    method = occlusion if question["method"] == "occlusion" else grad_cam
    heat = method(answers.net, answers.X, question.get("label"))
    reach = max(float(heat.abs().max()), 1e-12)
    return {"size": list(heat.shape), "reach": reach}, [_shades(heat, -reach, reach)]


_ANSWERS = {"start": _start, "image": _image, "maps": _maps, "cell": _cell, "trail": _trail, "nearest": _nearest,
            "where": _where}


def _step(answers: Answers, question: dict[str, Any]) -> tuple[Step, tuple[int, int, int]]:
    number, *place = map(int, question["cell"])
    if not 0 <= number < len(answers.steps):
        raise ValueError(f"没有第 {number} 步。")
    sheet, row, column = place
    return answers.steps[number], (sheet, row, column)


def _sheet(answers: Answers, number: int, sheet: int) -> tuple[dict[str, Any], bytes]:
    """一张特征图，一格也不少；刻度是这一步的。"""
    step = answers.steps[number]
    sheets = step.sheets
    low, high = (0.0, 1.0) if step.text.kind == "image" else _ends(sheets)
    return {"step": number, "sheet": sheet, "size": list(sheets.shape[1:]), "low": low, "high": high}, _shades(
        sheets[sheet], low, high)


def _ends(sheets: Tensor) -> tuple[float, float]:
    """最小和最大的数。"""
    low, high = sheets[~sheets.isnan()].aminmax()
    return low.item(), high.item()


def _small(sheets: Tensor) -> Tensor:
    """缩略图：太大的缩小，(张, 高, 宽)。"""
    shrink = -(-max(sheets.shape[1:]) // THUMB)
    if shrink == 1 or sheets.isnan().any():  # 向量一格也不能合并
        return sheets
    return F.avg_pool2d(sheets[None], shrink, ceil_mode=True)[0]


def _shades(values: Tensor, low: float, high: float) -> bytes:
    """0–254 的深浅，一格一个字节；没有数的格是 255。"""
    shades = ((values - low) * (254 / max(high - low, 1e-30))).round().clamp(0, 254).nan_to_num(255)
    return shades.to(torch.uint8).cpu().numpy().tobytes()
