"""看图：一张 PNG 里的像素，和同一种颜色连成的一片。"""

import io
from collections import deque
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image

from helpers.pictures.png import PAGE


def _loaded(png):
    """(每一个像素 (H, W, 3), 网页的一个像素是边长几个像素)。"""
    image = Image.open(io.BytesIO(png))
    return np.asarray(image.convert("RGB")).astype(int), round(image.info["dpi"][0] / PAGE)


def pixels(png):
    """PNG 变成网页的像素，(H, W, 3) 的整数，0–255：图里更密，就取每一格左上角的一个。"""
    image, step = _loaded(png)
    return image[::step, ::step]


def painted(png, color):
    """(H, W)：网页的哪些像素里恰好有这种颜色。color: matplotlib 的写法，如 "#1f77b4"。"""
    image, step = _loaded(png)
    found = (image == np.round(np.array(to_rgb(color)) * 255)).all(2)
    height, width = (-side % step for side in found.shape)
    found = np.pad(found, ((0, height), (0, width)))
    return found.reshape(len(found) // step, step, -1, step).any(axis=(1, 3))


def shade(cmap, value):
    """色表里的一种颜色，value 从 0 到 1。"""
    red, green, blue, _ = colormaps[cmap](value, bytes=True)
    return f"#{red:02x}{green:02x}{blue:02x}"


@dataclass(frozen=True)
class Area:
    """连成一片的像素：左上角和右下角（都在里面），一共几个。"""

    left: int
    top: int
    right: int
    bottom: int
    count: int

    @property
    def width(self):
        """宽，像素。"""
        return self.right - self.left + 1

    @property
    def middle(self):
        """中心 (x, y)。"""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def areas(png, color, least=150):
    """这种颜色连成的各片，从左到右，不到 least 个像素的（例如汉字的一画围住的）不算。"""
    left, found = set(zip(*painted(png, color).nonzero(), strict=True)), []
    while left:
        queue, area = deque([left.pop()]), []
        while queue:
            y, x = queue.popleft()
            area.append((y, x))
            for place in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if place in left:
                    left.remove(place)
                    queue.append(place)
        if len(area) >= least:
            ys, xs = zip(*area, strict=True)
            found.append(Area(min(xs), min(ys), max(xs), max(ys), len(area)))
    return sorted(found, key=lambda area: area.left)
