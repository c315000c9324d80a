"""画的和拍的变成网络认得的样子：抠出来，填满，反色，居中，缩到 28×28。"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIDE = 28  # Fashion-MNIST 的边长
_SMALL = 0.2  # 比最大的一块小这么多倍的，是杂点
_PAINT = 0.75  # 填进轮廓里的有多亮，与轮廓相比：训练的图是一整件，不是一圈线


@dataclass(frozen=True)
class Prepared:
    """整理过的一张图。

    before, after: (1, 1, 28, 28)、uint8，只缩小的和整理过的；inverted: 反过色没有；
    filled: 填进去的占整件的几分之几，0–1。
    """

    before: Tensor
    after: Tensor
    inverted: bool
    filled: float


def prepare(image: NDArray | Tensor, *, fill: bool = True, centre: bool = True, cut: bool = True) -> Prepared:
    """一张画或者照片，整理成 Fashion-MNIST 的样子：黑底，一件，长的一边占满 28 像素，在正中。

    image: (H, W)、uint8，0 是黑，或者 0–1 的小数；(H, W, 3) 是彩色，先变成灰度。
    底色取四边的中位数，比里面亮就反色；与底色差得多的一块块里，留下最大的和不比它小太多的。
    cut: 抠出来（底变成纯黑）；fill: 把封闭的轮廓填满；centre: 缩放、移到正中，不要就只缩小。
    一片同样颜色的图，after 全黑。形状不对时抛出 ValueError。
    做法同 Fashion-MNIST 的论文 (Xiao et al., 2017)：裁到边，长边缩到 28，短边补齐，反色。
    """
    from scipy import ndimage  # 导入要三分之一秒，只有画的和拍的才用得着

    gray = _gray(image)
    ground = float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    inverted = ground > 0.5
    before, tone = _shrunk(_square(gray)), 1 - gray if inverted else gray
    mask = _things(np.abs(gray - ground))
    whole = ndimage.binary_fill_holes(mask) if fill else mask
    assert whole is not None
    inside = whole & ~mask
    garment = np.where(whole if cut else True, tone, 0)
    if inside.any() and _hollow(tone, mask, inside):
        garment[inside] = np.maximum(garment[inside], _PAINT * float(np.median(tone[mask])))
    after = _centred(garment, whole) if centre and whole.any() else _square(garment)
    return Prepared(before, _shrunk(after), inverted, float(inside.sum() / max(1, whole.sum())))


def _hollow(tone: NDArray, mask: NDArray, inside: NDArray) -> bool:
    """里面是空的（与底一样黑），而不是印着深色的花。"""
    return float(np.median(tone[inside])) < 0.25 * float(np.median(tone[mask]))


def _gray(image: NDArray | Tensor) -> NDArray:
    given = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    scaled = given / 255 if given.dtype == np.uint8 else given.astype(np.float64)
    if scaled.ndim == 3 and scaled.shape[-1] == 3:
        scaled = scaled @ np.array([0.299, 0.587, 0.114])
    if scaled.ndim != 2 or min(scaled.shape) < 2:
        raise ValueError(f"一张图应当是 (H, W) 或 (H, W, 3)，收到的是 {given.shape}。")
    return np.clip(np.nan_to_num(scaled), 0, 1)


def _things(difference: NDArray) -> NDArray:
    """与底色不同的地方，去掉杂点。difference: 每个像素与底色差多少，0–1。"""
    from scipy import ndimage

    mask = difference > max(0.04, _threshold(difference))
    labels, count = ndimage.label(mask, np.ones((3, 3)))  # type: ignore[misc]
    if count:
        sizes = np.bincount(labels.ravel())[1:]
        mask = np.isin(labels, 1 + np.flatnonzero(sizes >= _SMALL * sizes.max()))
    return mask


def _threshold(values: NDArray) -> float:
    """分开两群的界线，偏向底色的一边，淡的袖口也留得下；两群由 Otsu (1979) 的办法找。"""
    counts, edges = np.histogram(values, 64, (0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    mass = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (mass[-1] * below / total - mass) ** 2 / (below * (total - below))
    best = int(np.nanargmax(apart)) if np.isfinite(apart).any() else 0
    return float(edges[best + 1]) / 2


def _square(image: NDArray) -> NDArray:
    """短的一边两头补黑，补成正方形；补单数行时上、左多一行，Fashion-MNIST 就是这样。"""
    height, width = image.shape
    more = max(height, width)
    rows, columns = more - height, more - width
    return np.pad(image, ((rows - rows // 2, rows // 2), (columns - columns // 2, columns // 2)))


def _centred(image: NDArray, mask: NDArray) -> NDArray:
    """裁到 mask 的边，再补成正方形。"""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return _square(image[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])


def _shrunk(image: NDArray) -> Tensor:
    """缩到 28×28，(1, 1, 28, 28) uint8。"""
    X = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    if X.shape[-1] != SIDE:
        X = F.interpolate(X, (SIDE, SIDE), mode="bilinear", antialias=True)
    return (255 * X).round().clamp(0, 255).to(torch.uint8)
