"""画图的门口：给的画得出就交还，画不出就一句话，说清是哪一样、应当是什么、收到什么。

每个检查都写成 检查(名字, 值, …)；`named` 和 `listed` 拿一个检查，用在里面的每一项上。
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from helpers.arguments import brief, instance, listed, number
from helpers.network.walk import checked_network

Good = TypeVar("Good")
HIGHEST = 1e300  # 再大，坐标轴的刻度就溢出了


def named(name: str, value: Any, check: Callable[..., Good], *rest: Any, least: int = 1,
          **options: Any) -> dict[str, Good]:
    """名字到要画的：每一项都过 check(名字, 值, *rest, **options)。least: 至少几项。"""
    if not hasattr(type(value), "keys"):  # nn.ModuleDict 不是 Mapping
        raise TypeError(f"{name} 应当是一个字典，名字到要画的，如 {{\"甲\": …}}，收到的是 {brief(value)}。")
    if len(value) < least:
        raise ValueError(f"{name} 是空的，没有要画的；至少给一项，如 {{\"甲\": …}}。")
    return {wording(f"{name} 里的名字", key): check(f"{name}[{brief(key)}]", each, *rest, **options)
            for key, each in dict(value).items()}


def of_kind(name: str, value: Any, kind: type[Good], wanted: str) -> Good:
    """一个 kind。wanted: 应当是什么。"""
    return instance(value, kind, f"{name} 应当是{wanted}")


def tensor(name: str, value: Any, *shapes: str, remedy: str = "", **sizes: int) -> Tensor:
    """有数值的实数张量，形状是 shapes 之一，如 "(N, 1, H, W)"：同一个字母一样大，不是 0。

    remedy: 形状不对时还有什么改法；sizes: 已经知道的字母。
    """
    wanted = f"{name} 应当是 {' 或 '.join(shapes)} 的张量" + "".join(f"，{each} 是 {n}" for each, n in sizes.items())
    instance(value, Tensor, wanted)
    if value.is_meta:
        raise ValueError(f"{name} 在 meta 设备上，没有数值；不用 torch.device(\"meta\")，再造一个。")
    if value.is_complex() or value.layout is not torch.strided:
        raise ValueError(f"{wanted}，实数的、稠密的，收到的是 {value.dtype}、{value.layout}。")
    written = [shape.strip("(,)").split(", ") for shape in shapes]
    if not any(_fits(value.shape, letters, sizes) for letters in written):
        dims = "" if value.dim() in map(len, written) else "少一维的，加上 [None]；多一维的，用 [0] 取出一个。"
        raise ValueError(f"{wanted}，收到的是 {tuple(value.shape)}。{dims}{remedy}")
    return value


def _fits(size: torch.Size, letters: list[str], sizes: dict[str, int]) -> bool:
    """大小是不是这几个字母和数。"""
    known = dict(sizes)
    return len(letters) == len(size) and all(
        found > 0 and found == (int(letter) if letter.isdigit() else known.setdefault(letter, found))
        for letter, found in zip(letters, size, strict=True))


def numbers(name: str, value: Any, count: int | None = None, *, least: int = 1, gaps: bool = False) -> Any:
    """一串数：数组就是它自己，张量放到 CPU 上，别的是列表。

    count: 恰好几个，不写就是至少 least 个；gaps: NaN、无穷大和 None 也行，那里不画。
    """
    given, found = value if isinstance(value, np.ndarray | Tensor) else listed(name, value, least=0), None
    with suppress(TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError：meta 张量，要求导数的
        given = given.detach().cpu() if isinstance(given, Tensor) else given
        array = np.asarray(given)
        found = array.astype(float) if array.ndim == 1 and array.dtype.kind in "biufO" else None
    wanted = f"{name} 应当是一串{'' if gaps else '有限的'}数"
    if found is None or (~(np.abs(found) < HIGHEST) & (np.isfinite(found) | (not gaps))).any():
        raise ValueError(f"{wanted}，收到的是 {brief(value)}。")
    if len(found) < least if count is None else len(found) != count:
        raise ValueError(f"{wanted}，{f'至少 {least}' if count is None else count} 个，收到 {len(found)} 个。")
    return given


def amount(name: str, value: Any, above: float = -inf) -> float:
    """一个有限的数，大于 above。"""
    found = number(value)
    if found is None or found <= above:
        raise ValueError(f"{name} 应当是{'' if above == -inf else f'大于 {above:g} 的'}数，收到的是 {brief(value)}。")
    return found


def wording(name: str, value: Any) -> str:
    """写在图上的字：数之类的写成字，None 不写；不成字的（坏文件名里的）写成转义。"""
    if isinstance(value, list | dict | set) or getattr(value, "ndim", 0):
        raise TypeError(f"{name} 应当是文字，收到的是 {brief(value)}。")
    return "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def network(name: str, value: Any) -> nn.Module:
    """一个网络，或者它的一层。"""
    return checked_network(value, name)


def layers(name: str, value: Any, least: int = 0) -> list[nn.Module]:
    """nn.Sequential 里的各层；几层写成一串也行。least: 至少几层。"""
    if not isinstance(value, Iterable):
        instance(network(name, value), nn.Sequential, f"{name} 应当是 nn.Sequential，一层接一层")
    return listed(name, value, network, least=least)
