"""一格激活是怎样算出来的：explain 把它拆成一项一项，每一项又是从哪一格来的，一路回到像素。"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from torch import Tensor, nn

from helpers.arguments import brief, whole
from helpers.network.arithmetic import Index, Part, Split, split
from helpers.network.recording import Recording, Value, record

_KINDS = {
    "weighted_sum": "加权和", "maximum": "最大值", "mean": "平均", "sum": "求和", "normalization": "规范化",
    "activation": "激活", "addition": "相加", "product": "相乘", "concatenation": "连结：照搬其中一路",
    "flatten": "展平：照搬", "movement": "照搬", "dropout": "暂退法：eval 模式下照搬", "identity": "照搬",
    "pixel": "输入的像素", "parameter": "权重", "constant": "常数", "other": "没有拆开"}
_SHOWN = 12  # 印出来至多几项


class Cell(NamedTuple):
    """一个张量里的一格。value: 哪个张量；index: 第几格，批量在内。"""

    value: Value
    index: Index

    @property
    def number(self) -> float:
        """这一格的数。"""
        return self.value.content[self.index].item()

    def explain(self) -> "Explanation":
        """这一格是怎样算出来的。"""
        return _explain(self)

    def __repr__(self) -> str:
        return f"{_name(self.value)} {self.index}"


class Term(NamedTuple):
    """一项：value × weight = contribution；各项的 contribution 加起来就是那一格的数。

    role: "input" 来自上一步的一格，"bias" 偏置，"shift" 规范化里减去的平均数，"constant" 写在代码里的常数。
    value: 来的那一格的数；weight: 乘以多少，不是相乘（如 sigmoid）就是 None；contribution: 算出来的这一项。
    cell: 来自哪一格，常数是 None；weight_cell: weight 在哪个权重的哪一格，不是一个权重就是 None。
    """

    role: str
    value: float
    weight: float | None
    contribution: float
    cell: Cell | None = None
    weight_cell: Cell | None = None

    def __str__(self) -> str:
        product = f"{self.value:.6g}" if self.weight is None else f"{self.value:.6g} × {self.weight:.6g}"
        named = {"bias": "偏置", "shift": "减去平均数", "constant": "常数"}.get(self.role, "")
        source = " ".join(filter(None, (named, self.cell and repr(self.cell))))
        return f"{product} = {self.contribution:.6g}　{source}"


@dataclass(frozen=True, repr=False)
class Explanation:
    """一格怎样算出来的。

    cell: 哪一格；value: 它的数，与网络算的相同。
    kind: "weighted_sum"、"maximum"、"mean"、"sum"、"normalization"、"activation"、"addition"、"product"、
        "concatenation"、"flatten"、"movement"、"dropout"、"identity"，走到头的 "pixel"、"parameter"、"constant"，
        拆不开的 "other"。
    terms: 各项，见 Term；走到头的和拆不开的没有。
    constants: 用到的别的数，名字到值：规范化的 μ、σ、γ、β。
    note: 一句话，补充各项没有说的：多少项来自填充，为什么拆不开。
    """

    cell: Cell
    kind: str
    value: float
    terms: tuple[Term, ...] = ()
    constants: Mapping[str, float] | None = None
    note: str = ""

    @property
    def index(self) -> Index:
        """第几格，批量在内。"""
        return self.cell.index

    @property
    def name(self) -> str:
        """kind 用中文怎样说。"""
        return _KINDS[self.kind]

    @property
    def layer(self) -> str:
        """在哪一层里算的，名字同 named_modules。"""
        return self.cell.value.layer

    def __repr__(self) -> str:
        lines = [f"{self.cell!r} = {self.value:.6g}：{self.name}"]
        if self.constants:
            lines.append("  " + "，".join(f"{name} = {number:.6g}" for name, number in self.constants.items()))
        lines += [f"  {term}" for term in islice(self.terms, _SHOWN)]
        if (rest := len(self.terms) - _SHOWN) > 0:
            total = math.fsum(term.contribution for term in self.terms[_SHOWN:])
            lines.append(f"  另外 {rest} 项，合计 {total:.6g}")
        return "\n".join(lines + ([f"  {self.note}"] if self.note else []))


def explain(net: nn.Module | Recording, X: Tensor | None, layer: str, index: Sequence[int]) -> Explanation:
    """网络对 X 算的时候，layer 的输出里第 index 格是怎样算出来的；网络在 eval 模式下算，什么也不改变。

    net: 一个网络；同一个 X 要问许多次，就先 `recording = record(net, X)`，把它给在这里，X 不再用。
    X: (B, C, H, W)，小数。layer: named_modules 里的名字；用过几次的层，说的是最后一次。
    index: 输出里的位置，每一维一个数，批量在内，从 0 数起。
    没有这一层、没有这一格时抛出 ValueError。一层里有几个运算的，说的是最后一个，其余的顺着各项走下去。
    """
    if not isinstance(net, Recording):
        if X is None:
            raise ValueError("explain 要一批图像 X，或者在 net 的位置给一个 record(net, X)。")
        net = record(net, X)
    value = net[layer]
    place = _whole(index)
    if len(place) != len(value.shape) or not all(0 <= i < size for i, size in zip(place, value.shape, strict=True)):
        raise ValueError(f"第 {layer!r} 层的输出是 {value.shape}，没有第 {brief(place)} 格；每一维从 0 数起。")
    leaf = not any(name.startswith(f"{layer}." if layer else "") for name in net.layers if name != layer)
    return _first_of(Cell(value, place).explain()) if leaf else Cell(value, place).explain()


def _first_of(found: Explanation) -> Explanation:
    """一层自己先算、再换个形状交出去（如四维输入的全连接层）：说算的那一步。"""
    inner = found
    while inner.kind in ("movement", "flatten") and (cell := inner.terms[0].cell) is not None and (
            cell.value.kind == "computed" and cell.value.layer == found.layer):
        inner = cell.explain()
    return found if inner.kind in ("movement", "flatten") else inner


def _whole(index: int | Sequence[int]) -> Index:
    places: Any = index
    with suppress(RuntimeError):  # 没有值的张量：meta 的、稀疏的
        places = index.tolist() if isinstance(index, Tensor) else index
    places = places if isinstance(places, Sequence) else [places]
    found = [whole(i) for i in places]
    if None in found or isinstance(places, str):
        raise ValueError(f"index 应当是几个整数，收到的是 {brief(index)}。")
    return tuple(i for i in found if i is not None)


@lru_cache(maxsize=256)  # 网页里同一格要问好几次
def _explain(cell: Cell) -> Explanation:
    found: Split = split(cell.value, cell.index)
    return Explanation(cell, found.kind, cell.number, tuple(_terms(found)), found.constants, found.note)


def _terms(found: Split) -> Iterator[Term]:
    for part in found.parts:
        yield from _of_part(part)


def _of_part(part: Part) -> Iterator[Term]:
    """来路相同的几项。"""
    for i, number in enumerate(part.numbers):
        weight = part.weights[i] if part.weights is not None else None
        product = number * (1.0 if weight is None else weight)
        yield Term(part.role, number, weight, part.contributions[i] if part.contributions is not None else product,
                   None if part.source is None else Cell(part.source, part.places[i]),
                   None if part.weight_source is None else Cell(part.weight_source, part.weight_places[i]))


def _name(value: Value) -> str:
    if value.kind == "image":
        return "输入"
    return value.layer or "网络"
