"""看图：一张 PNG 里的像素，和同一种颜色连成的一片。"""

import io
from collections import deque
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image


def pixels(png):
    """PNG 变成 (H, W, 3) 的整数，0–255。"""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def painted(png, color):
    """(H, W)：哪些像素恰好是这种颜色。color: matplotlib 的写法，如 "#1f77b4"。"""
    return (pixels(png) == np.round(np.array(to_rgb(color)) * 255)).all(2)


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
