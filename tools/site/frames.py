"""由滑块控制的图，网页上的：滑块的每一个位置画一张，画好放进网页；太多的少取几个。"""

import ast
import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import nbformat
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from slices import Trained, namespace

from helpers.pictures.canvas import Picture
from helpers.pictures.png import page_width
from helpers.widgets.interactive import Interactive
from helpers.widgets.panel import first_line

MOST = 18  # 一张图至多画几个位置：画一张要十分之几秒，一共十几张图
STAR = 3  # 这么多个滑块，位置乘起来太多：一次只动一个，别的在起点
ACROSS = 7  # 几张并排存成一张：相邻的几张多半一样，合起来小得多；再多，手机解不开
COLORS, BULKY = 64, 40_000  # 几种颜色；这样一张还大过这么多字节，是照片，存成有损的


def plug(section: str, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """每一格由滑块控制的图的数据：单元格的 id 到它的滑块和画好的图；没有就是 {}。

    要训练过的网络才画得出的，不在内：那里是笔记本里的那一张。
    """
    found = {}
    for cell, call in calls(notebook):
        try:
            found[cell.id] = exported(interactive(notebook, cell.id, call))
        except Trained:
            continue
    return found


def calls(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, ast.Call]]:
    """笔记本里由滑块控制的图：(单元格, 那一句)。"""
    for cell in notebook.cells:
        for statement in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            match statement:
                case ast.Expr(ast.Call(func=ast.Name("Interactive")) as call):
                    yield cell, call


def interactive(notebook: nbformat.NotebookNode, cell_id: str, call: ast.Call) -> Interactive:
    """那一句的结果；只运行它要的语句。要训练过的网络时抛出 Trained。"""
    return eval(ast.unparse(call), namespace(notebook, cell_id, call))


@dataclass
class Control:
    """一个滑块。values: 它能取的值，start: 起点是第几个；most: 均匀地取几个，只有数字的滑块会少取。"""

    name: str
    label: str
    values: list[Any]
    start: int
    number: bool
    most: int = field(init=False)

    def __post_init__(self) -> None:
        self.most = len(self.values)

    @property
    def places(self) -> list[int]:
        """取到的是第几个值：均匀地取，两端总在内；起点不在内，就换掉中间离它最近的一个。"""
        gaps, last = max(self.most - 1, 1), len(self.values) - 1
        even = [round(i * last / gaps) for i in range(gaps + 1)]
        if self.start not in even and len(even) > 2:
            even.remove(min(even[1:-1], key=lambda i: abs(i - self.start)))
        return sorted({self.start, *even})

    @property
    def kept(self) -> list[Any]:
        """取到的值。"""
        return [self.values[i] for i in self.places]

    @property
    def origin(self) -> int:
        """起点是取到的值里的第几个。"""
        return self.places.index(self.start)

    def described(self) -> dict[str, Any]:
        """网页要的；图的位置用取到的值里的第几个说。"""
        kind = "check" if isinstance(self.values[0], bool) else "range" if self.number else "select"
        texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in self.kept]
        return {"name": self.name, "label": self.label, "kind": kind, "values": texts,
                "start": self.origin}


def controls(widget: Interactive) -> list[Control]:
    """一张图的滑块，次序不变，取到的位置不多于 MOST。"""
    found = [_control(name, slider) for name, slider in widget.sliders.items()]
    while len([*positions(found)]) > MOST and (numbers := [each for each in found if each.number and each.most > 2]):
        max(numbers, key=lambda each: len(each.kept)).most -= 1
    return found


def _control(name: str, slider: Any) -> Control:
    """一个滑块能取的值。"""
    if hasattr(slider, "options"):
        return Control(name, slider.description, [*slider.options], slider.index, False)
    if isinstance(slider.value, bool):
        return Control(name, slider.description, [False, True], int(slider.value), False)
    count = round((slider.max - slider.min) / slider.step) + 1
    values = [slider.min + i * slider.step for i in range(count)]
    return Control(name, slider.description, values, round((slider.value - slider.min) / slider.step), True)


def positions(found: list[Control]) -> Iterator[tuple[int, ...]]:
    """要画的位置：每个滑块取到的值里的第几个，起点在最前。"""
    start, spans = tuple(each.origin for each in found), [range(len(each.kept)) for each in found]
    yield start
    if len(found) < STAR:
        yield from (place for place in product(*spans) if place != start)
    else:
        yield from ((*start[:k], i, *start[k + 1:]) for k, span in enumerate(spans) for i in span if i != start[k])


def exported(widget: Interactive) -> dict[str, Any]:
    """一张图的数据：滑块、画好的图、每个位置是第几张和它的文字。

    画不出来的位置，第几张是 None，文字是为什么。
    """
    found, pictures = controls(widget), []
    places: dict[bytes, int] = {}
    frames = {}
    for place in positions(found):
        try:
            picture = widget.draw(**{each.name: each.kept[i] for each, i in zip(found, place, strict=True)})
        except Exception as error:  # 与小组件一样：说一句，图不变
            frames[",".join(map(str, place))] = [None, first_line(error)]
            continue
        if picture.png not in places:
            places[picture.png] = len(pictures)
            pictures.append(picture)
        frames[",".join(map(str, place))] = [places[picture.png], picture.title]
    return {"controls": [each.described() for each in found], "frames": frames, "note": _note(found),
            **sheets(pictures)}


def _note(found: list[Control]) -> str:
    """少画了什么，一句话；没有少画就是空的。"""
    thinned = "、".join(f"{each.name} 的 {len(each.values)} 个里取 {len(each.kept)} 个" for each in found
                       if len(each.kept) < len(each.values))
    star = "一次动一个滑块，别的回到起点" if len(found) >= STAR else ""
    said = "；".join(filter(None, (thinned, star)))
    return f"这里是画好的图：{said}。笔记本里每个位置都有。" if said else ""


def sheets(pictures: list[Picture]) -> dict[str, Any]:
    """几张图并排存成一张：地址，一排几张，一张在网页上多大。"""
    pixels = [np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")) for picture in pictures]
    height, width = (max(each.shape[axis] for each in pixels) for axis in (0, 1))
    padded = [np.pad(each, ((0, height - each.shape[0]), (0, width - each.shape[1]), (0, 0)), constant_values=255)
              for each in pixels]
    rows = [np.concatenate(padded[i:i + ACROSS], axis=1) for i in range(0, len(padded), ACROSS)]
    shown = page_width(pictures[0].png)
    return {"sheets": [_address(row) for row in rows], "across": ACROSS, "count": len(pictures), "width": shown,
            "height": round(height * shown / pixels[0].shape[1])}


def _address(pixels: NDArray[np.uint8]) -> str:
    """一排图，写成 data: 的地址。"""
    image, file = Image.fromarray(pixels), io.BytesIO()
    palette = image.resize((image.width // 4, image.height // 4), Image.Resampling.NEAREST).quantize(COLORS)
    colors = np.array(palette.getpalette()).reshape(-1, 3)
    colors[colors.min(axis=1) > 245] = 255  # 白的还是白的
    palette.putpalette(colors.ravel().tolist())
    image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB").save(file, "WEBP", lossless=True)
    if file.tell() > BULKY * ACROSS:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
