"""一格的算术，写成网页要画的样子：窗口、核、乘积，各通道的和，或者最大的几项。"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.network.inside import Explanation, Term
from helpers.network.recording import Value
from helpers.network.steps import Step

PAGE = 12  # 一次至多送去几项、几个通道的和
_GRIDS = ("weighted_sum", "maximum", "mean")


def arithmetic(found: Explanation, steps: Mapping[Value, Step], channel: int | None = None,
               first: int = 0) -> dict[str, Any]:
    """一格的算术，JSON 写得下的。

    steps: 每个张量是第几步；channel: 看窗口的哪个通道，默认是和的绝对值最大的；first: 从第几大的一项看起。
    有窗口的（卷积、汇聚）grid 是 {size, channel, cells}，sums 是各通道的和（最大的几个，[通道, 和]）；没有窗口的，
    terms 是绝对值最大的几项。一项的 to 是 [第几步, 第几张, 行, 列]，走不下去的是 None。
    """
    inputs = [term for term in found.terms if term.role == "input"]
    rest = [_term(term, steps) for term in found.terms if term.role != "input"]
    answer = {"kind": found.kind, "name": found.name, "value": found.value, "note": found.note,
              "constants": dict(found.constants or {}), "count": len(inputs), "others": rest,
              "total": math.fsum(term.contribution for term in found.terms)}
    if _has_window(found, inputs):
        return answer | _window(inputs, steps, channel)
    ranked = sorted(inputs, key=lambda term: -abs(term.contribution))
    return answer | {"first": first, "terms": [_term(term, steps) for term in ranked[first:first + PAGE]],
                     "unseen": math.fsum(term.contribution for term in (*ranked[:first], *ranked[first + PAGE:]))}


def _has_window(found: Explanation, inputs: Sequence[Term]) -> bool:
    """从特征图来的、一个窗口里的。"""
    return found.kind in _GRIDS and len(found.index) == 4 and bool(inputs) and all(
        term.cell is not None and len(term.cell.index) == 4 for term in inputs)


def _window(inputs: Sequence[Term], steps: Mapping[Value, Step], channel: int | None) -> dict[str, Any]:
    channels = defaultdict(list)
    for term in inputs:
        assert term.cell is not None
        channels[term.cell.index[1]].append(term)
    sums = {each: math.fsum(term.contribution for term in terms) for each, terms in channels.items()}
    ranked = sorted(sums, key=lambda each: -abs(sums[each]))
    channel = channel if channel in channels else ranked[0]
    cells = [_placed(term, steps) for term in channels[channel]]
    weights = [term.weight_cell.value.shape for term in channels[channel] if term.weight_cell is not None]
    if weights:
        size = weights[0][2:]
    else:  # 汇聚：从窗口左上角数起
        top, left = (min(cell["at"][i] for cell in cells) for i in (0, 1))
        for cell in cells:
            cell["at"] = [cell["at"][0] - top, cell["at"][1] - left]
        size = [1 + max(cell["at"][i] for cell in cells) for i in (0, 1)]
    return {"grid": {"size": list(size), "channel": channel, "cells": cells, "kernel": bool(weights)},
            "channels": len(sums), "sums": [[each, sums[each]] for each in ranked[:PAGE]],
            "unseen": math.fsum(sums[each] for each in ranked[PAGE:])}


def _placed(term: Term, steps: Mapping[Value, Step]) -> dict[str, Any]:
    """窗口里的一项；at 是它在核里的位置，没有核的是在图里的。"""
    assert term.cell is not None
    place = term.weight_cell.index if term.weight_cell is not None else term.cell.index
    return _term(term, steps) | {"at": list(place[-2:])}


def _term(term: Term, steps: Mapping[Value, Step]) -> dict[str, Any]:
    return {"role": term.role, "value": term.value, "weight": term.weight, "contribution": term.contribution,
            "to": _leads_to(term, steps)}


def _leads_to(term: Term, steps: Mapping[Value, Step]) -> list[int] | None:
    if term.cell is None or (step := steps.get(term.cell.value)) is None:
        return None
    return [step.number, *step.place(term.cell.index)]


def strongest(found: Explanation) -> Term | None:
    """贡献的绝对值最大的、走得下去的一项。"""
    leading = [term for term in found.terms if term.role == "input" and term.cell is not None]
    return max(leading, key=lambda term: abs(term.contribution), default=None)
