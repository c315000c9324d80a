"""走得通的边长：哪些，怎样说。"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any


class Sizes(tuple[int, int | None]):
    """逐个试出来的走得通的边长；是一对数 (最小, 最大)，最大为 None 表示一直到 limit 都行。

    中间有走不通的，就不等于任何一对数；`size in sizes` 和 `sizes.fits` 总是对的。
    fits: 走得通的全部边长，从小到大，至少一个；limit: 试到多大。
    """

    fits: tuple[int, ...]
    limit: int

    def __new__(cls, fits: Iterable[int], limit: int) -> "Sizes":
        """从走得通的边长做一个。"""
        fits = tuple(sorted(fits))
        sizes = super().__new__(cls, (fits[0], None if fits[-1] == limit else fits[-1]))
        sizes.fits, sizes.limit = fits, limit
        return sizes

    def __getnewargs__(self) -> tuple[tuple[int, ...], int]:
        """存进文件再读出来要的。"""
        return self.fits, self.limit

    @property
    def gapless(self) -> bool:
        """从最小到最大都走得通。"""
        return len(self.fits) == max(self.fits) - min(self.fits) + 1

    def __contains__(self, size: Any) -> bool:
        return size in self.fits

    def __eq__(self, other: object) -> bool:
        return self.fits == other.fits if isinstance(other, Sizes) else self.gapless and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()

    def __repr__(self) -> str:
        return super().__repr__() if self.gapless else self.describe()

    def describe(self) -> str:
        """写成一句话里的一段，如「193 到 224」「67 以上」「32 的倍数」「16 到 31、48 到 63」。"""
        low, last = self.fits[0], self.fits[-1]
        if self.gapless:
            return f"{low}" if low == last else f"{low} 以上" if last == self.limit else f"{low} 到 {last}"
        steps = {b - a for a, b in pairwise(self.fits)}
        if len(steps) == 1 and len(self.fits) > 2:
            return self._progression(steps.pop())
        runs = self._runs()
        shown = "、".join(f"{a} 到 {b}" if a < b else f"{a}" for a, b in runs[:4])
        return shown if len(runs) <= 4 else f"{shown} 等 {len(runs)} 段，最大 {max(self.fits)}"

    def _progression(self, step: int) -> str:
        """隔 step 个一个。"""
        low, last = self.fits[0], self.fits[-1]
        among = f"{step} 的倍数" if low % step == 0 else f"除以 {step} 余 {low % step} 的数"
        if last + step <= self.limit:
            return f"{among}（{low} 到 {last}）"
        return among if low == (low % step or step) else f"{among}（{low} 以上）"

    def _runs(self) -> list[tuple[int, int]]:
        """连成一段的：(头, 尾)。"""
        breaks = [0, *(i for i, (a, b) in enumerate(pairwise(self.fits), 1) if b > a + 1), len(self.fits)]
        return [(self.fits[a], self.fits[b - 1]) for a, b in pairwise(breaks)]
