"""PNG：像素变成字节，在网页上多大，怎样变小。"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PAGE = 100  # 一英寸在网页上占几个像素；图的大小都用英寸说
DPI = 2 * PAGE  # 一英寸画成几个像素：今天的屏幕上，网页的一个像素是两个

_FREQUENT, _COLORS = 128, 256  # 调色板：最常见的这么多种颜色，再加上离它们最远的，一共至多 256 种


def encode(pixels: NDArray[np.uint8], dpi: float) -> bytes:
    """(H, W, 4) 的像素变成 PNG，里面写着每英寸几个像素；一种颜色也不改。"""
    # 大片是白色，最快的压缩就够小；PIL 比 savefig 快，因为不必重画
    return _saved(Image.fromarray(pixels).convert("RGB"), dpi, 1)


def page_width(png: bytes) -> int:
    """在网页上多宽，单位是网页的像素；没有写每英寸几个像素的，一个算一个。"""
    with Image.open(io.BytesIO(png)) as image:
        return round(image.width * PAGE / _dpi(image))


def bundle(png: bytes, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """显示一张图要的 (数据, 元数据)：有了元数据里的宽，像素再多，在网页上也是原来的大小。text: 看不到图时的文字。"""
    return {"image/png": png, "text/plain": text}, {"image/png": {"width": page_width(png)}}


def squeeze(png: bytes) -> bytes:
    """变小，存进笔记本用：至多 256 种颜色。

    常见的颜色不变，少见的（字和线的边缘）换成最近的一种，眼睛看不出来。
    """
    with Image.open(io.BytesIO(png)) as image:
        dpi, rgb = _dpi(image), np.asarray(image.convert("RGB")).astype(np.uint32)
    colors, ids = _distinct(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])
    table = np.stack((colors >> 16, colors >> 8 & 255, colors & 255), axis=1).astype(np.int32)
    if len(table) > _COLORS:
        chosen = _palette(table, np.bincount(ids.ravel()))
        nearest = np.stack([_distance(table, table[k]) for k in chosen]).argmin(axis=0)
        table, ids = table[chosen], nearest[ids]
    small = Image.fromarray(ids.astype(np.uint8))
    small.putpalette(table.astype(np.uint8).tobytes())
    return _saved(small, dpi, 6)


def _distinct(codes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(各不相同的 24 位数, 每一格是其中第几个)；查表，比 np.unique 快几倍。"""
    seen = np.zeros(1 << 24, dtype=bool)
    seen[codes] = True
    colors = np.flatnonzero(seen)
    place = np.zeros(1 << 24, dtype=np.uint32)
    place[colors] = np.arange(len(colors))
    return colors, place[codes]


def _palette(table: NDArray[np.int32], counts: NDArray[Any]) -> list[int]:
    """选哪 256 种颜色：先是最常见的，再一种一种地加离已有的最远的。"""
    chosen = np.argsort(-counts, kind="stable")[:_FREQUENT].tolist()
    away = np.stack([_distance(table, table[k]) for k in chosen]).min(axis=0)
    while len(chosen) < _COLORS:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, _distance(table, table[chosen[-1]]))
    return chosen


def _distance(table: NDArray[np.int32], color: NDArray[np.int32]) -> NDArray[np.int32]:
    return ((table - color) ** 2).sum(axis=1)


def _dpi(image: Image.Image) -> float:
    return image.info.get("dpi", (PAGE, PAGE))[0]


def _saved(image: Image.Image, dpi: float, level: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=level, dpi=(dpi, dpi))
    return file.getvalue()
