"""一次前向排成一步一步：每一步是一个算出来的张量，从哪几步来，画在第几列第几行。"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from helpers.network.arithmetic import Index
from helpers.network.describe import LayerText
from helpers.network.dispatch import aten
from helpers.network.recording import PASSED, Recording, Value, values

_JOINS: dict[Any, str] = {aten.add: "相加 +", aten.sub: "相减 −", aten.mul: "相乘 ×", aten.cat: "连结"}
_NARROW, _WIDE, _LONG = 8, 64, 400  # 一个向量画成几列：不长的，长的；多长算长


@dataclass(frozen=True, eq=False)
class Step:
    """前向里的一步：图像，或者由它算出来的一个张量。

    value: 那个张量；number: 第几步，从 0（图像）数起，来路总在前面；sources: 从哪几步来。
    text: 这一步是什么；汇合的几步（相加、连结）kind 是 "join"，图像是 "image"。
    also: 它的副本，形状和数都一样，不算另一步（如展平 channels_last 的张量之前）。
    column: 离图像最远要几步；lane: 在那一列的第几行，同一条路的几步在同一行；lanes: 那一列一共几行。
    """

    value: Value
    number: int
    sources: tuple[int, ...]
    text: LayerText
    column: int
    lane: int
    lanes: int
    also: tuple[Value, ...] = ()

    @property
    def sheets(self) -> Tensor:
        """画出来的样子：(张, 高, 宽)，一个通道一张；一个向量是一张，从左到右、从上到下，最后空着的是 nan。"""
        content = self.value.content.detach()[0].float()
        if content.dim() >= 2:
            return content.reshape(-1, *content.shape[-2:])
        padded = nn.functional.pad(content.reshape(-1), (0, -content.numel() % self._width), value=float("nan"))
        return padded.reshape(1, -1, self._width)

    @property
    def _width(self) -> int:
        """一个向量画成几列。"""
        count = self.value.content[0].numel()
        return min(count, _NARROW if count <= _LONG else _WIDE)

    def index(self, sheet: int, row: int, column: int) -> Index:
        """第几张、第几行、第几列，是张量的哪一格。没有这一格就抛出 ValueError。"""
        place, shape = [sheet, row, column], self.value.shape[1:]
        if not all(0 <= i < size for i, size in zip(place, self.sheets.shape, strict=True)):
            raise ValueError(f"第 {self.number} 步没有第 {tuple(place)} 格，它画成 {tuple(self.sheets.shape)}。")
        if len(shape) == 2:
            return 0, row, column
        if len(shape) > 2:
            return 0, *map(int, np.unravel_index(sheet, shape[:-2])), row, column
        at = row * self._width + column
        if at >= self.value.content[0].numel():
            raise ValueError(f"第 {self.number} 步只有 {self.value.content[0].numel()} 个数，没有第 {at} 个。")
        return 0, *([at] if shape else [])

    def place(self, index: Index) -> tuple[int, int, int]:
        """张量的第 index 格，画在第几张、第几行、第几列。"""
        _, *rest = index
        if len(rest) < 2:
            row, column = divmod(rest[0] if rest else 0, self._width)
            return 0, row, column
        sheet = np.ravel_multi_index(rest[:-2], self.value.shape[1:-2]) if rest[2:] else 0
        return int(sheet), rest[-2], rest[-1]


def steps(net: nn.Module, recording: Recording) -> list[Step]:
    """recording（见 `record`）里，从图像到网络的输出的每一步；与图像无关的（如转置过的权重）不算。"""
    modules, path = dict(net.named_modules(remove_duplicate=False)), _path(recording)
    number = {value: i for i, value in enumerate(path)}
    sources = [tuple(dict.fromkeys(number[each] for each in _sources(value) if each in number)) for value in path]
    columns: list[int] = []
    for each in sources:
        columns.append(1 + max((columns[i] for i in each), default=-1))
    lanes = _lanes(sources, columns)
    counts, also = _counts(sources, columns, lanes), _copies(path)
    return [Step(value, i, sources[i], _text(value, modules), columns[i], lanes[i], counts[columns[i]], also[value])
            for i, value in enumerate(path)]


def _used(value: Value) -> list[Value]:
    return [*values(value.args), *values(value.kwargs)]


def _original(value: Value) -> Value:
    """一个副本是谁的；不是副本的就是它自己。"""
    while value.op in (aten.clone, aten._to_copy) and value.args[0].shape == value.shape:
        value = value.args[0]
    return value


def _sources(value: Value) -> list[Value]:
    return [_original(each) for each in _used(value)]


def _copies(path: Sequence[Value]) -> dict[Value, tuple[Value, ...]]:
    """每一步的副本。"""
    found: dict[Value, tuple[Value, ...]] = dict.fromkeys(path, ())
    for value in path:
        for each in _used(value):
            while (original := _original(each)) is not each and original in found:
                found[original] = *found[original], each
                each = each.args[0]
    return found


def _path(recording: Recording) -> list[Value]:
    """图像和由它算出来的、输出用得到的，来路在前；几条并行的路，先用到的在前。"""
    order: list[Value] = []
    alive: dict[Value, bool] = {}  # 从图像来的吗
    stack = [(_original(recording[""]), False)]
    while stack:
        value, ready = stack.pop()
        if ready:
            alive[value] = value is recording.image or any(alive[each] for each in _sources(value))
            order.extend([value] if alive[value] else [])
        elif value not in alive:
            alive[value] = False
            stack.append((value, True))
            stack.extend((each, False) for each in reversed(_sources(value)) if each not in alive)
    return order


def _lanes(sources: Sequence[tuple[int, ...]], columns: Sequence[int]) -> list[int]:
    """每一步在第几行：一条路走到底是同一行，分出的几条从上到下，汇合的回到最上面的一条。"""
    onward = defaultdict(list)
    for i, each in enumerate(sources):
        if len(each) == 1:
            onward[each[0]].append(i)
    lanes: list[int] = []
    taken = set()
    for i, each in enumerate(sources):
        lane = min((lanes[source] for source in each), default=0)
        if len(each) == 1:
            lane += onward[each[0]].index(i)
        while (columns[i], lane) in taken:
            lane += 1
        taken.add((columns[i], lane))
        lanes.append(lane)
    return lanes


def _counts(sources: Sequence[tuple[int, ...]], columns: Sequence[int], lanes: Sequence[int]) -> list[int]:
    """每一列分成几行：从分开到汇合的各列一样多，中间空着的行留给走过的线。"""
    counts = [1] * (1 + max(columns))
    for i, each in enumerate(sources):
        counts[columns[i]] = max(counts[columns[i]], lanes[i] + 1)
        for source in each:
            for column in range(columns[source], columns[i]):
                counts[column] = max(counts[column], lanes[source] + 1)
    start = 0
    for end in range(1, len(counts) + 1):
        if end == len(counts) or (counts[end] > 1) != (counts[start] > 1):
            counts[start:end] = [max(counts[start:end])] * (end - start)
            start = end
    return counts


def _text(value: Value, modules: dict[str, nn.Module]) -> LayerText:
    """这一步是什么：一层的话说那一层，写在 forward 里的说运算。"""
    if value.kind == "image":
        return LayerText("image", "图像")
    module = modules.get(value.layer)
    if module is not None and not list(module.children()) and value.layer:
        return LayerText.of(module)
    if value.op in _JOINS:
        return LayerText("join", _JOINS[value.op])
    return LayerText("other", {PASSED: "照搬", aten.relu: "ReLU"}.get(value.op, getattr(value.op, "__name__", "")))
