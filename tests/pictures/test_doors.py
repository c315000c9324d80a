"""每一张图的门口：随便换掉哪一样，要么画得出，要么一句中文；pictures 交出的函数一个也不漏。"""

import inspect
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from helpers import LivePlot, Mistakes, Trials, official_band, pictures, trace
from helpers.pictures import canvas, flow_chart, heat_overlay
from helpers.pictures.png import PAGE
from helpers.training.loop import Point

CONV = nn.Conv2d(1, 2, 3, padding=1)
NET = nn.Sequential(CONV, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 10))
SHAPE = (1, 1, 8, 8)
X, TABLE = torch.rand(SHAPE), trace(NET, SHAPE)
MEASURED, POINTS = Trials((1.0, 2.0)), [Point(0.5, 2.0, 0.1), Point(1.0, 1.0, 0.5, 0.5)]
MISTAKES = Mistakes(X, torch.tensor([0]), torch.tensor([1]), torch.tensor([0.9]), ("甲", "乙"))


def drawn(**options):
    """canvas 用作 with。"""
    with canvas(**options) as picture:
        picture.figure.text(0, 0, "字")
    return picture


def watched(**options):
    """一边训练一边画：一点，最后一帧。"""
    with LivePlot(**options, show=[].append) as plot:
        plot.add(POINTS[0])


# 名字到 (怎样调用, 对的一组参数)
DOORS = {
    "Picture": (pictures.Picture, {"png": b"", "title": "图"}),
    "canvas": (drawn, {"width": 1, "height": 1, "title": "图", "layout": "tight"}),
    "LivePlot": (watched, {"num_epochs": 2, "past": [("旧", POINTS)], "band": official_band("lenet"), "width": 4.8,
                           "median": 0.9, "quiet": False}),
    "compare_curves": (pictures.compare_curves, {"curves": {"甲": POINTS}}),
    "layer_stacks": (pictures.layer_stacks, {"nets": {"甲": NET}, "input_text": "图像"}),
    "block_stacks": (pictures.block_stacks, {"nets": {"甲": NET}, "shape": SHAPE}),
    "branches": (pictures.branches, {"paths": {"甲": CONV, "乙": None}, "shape": SHAPE}),
    "stage_columns": (pictures.stage_columns, {"net": NET, "shape": SHAPE}),
    "skip_paths": (pictures.skip_paths, {"blocks": {"甲": nn.BatchNorm2d(1)}, "X": X}),
    "dense_arcs": (pictures.dense_arcs, {"nodes": ["a", "b"], "arcs": [(0, 1)], "title": "弧"}),
    "flow_chart": (flow_chart, {"charts": {"甲": [CONV]}, "input_text": "x", "output_text": "y"}),
    "Box": (lambda layer: flow_chart({"甲": pictures.Box(layer)}), {"layer": CONV}),
    "Paths": (lambda path: flow_chart({"甲": pictures.Paths(path, CONV)}), {"path": CONV}),
    "Frame": (lambda **frame: flow_chart({"甲": pictures.Frame(**frame)}), {"text": "f", "items": [CONV]}),
    "data_flow": (pictures.data_flow, {"net": NET, "X": X}),
    "image_grid": (pictures.image_grid, {"X": X, "titles": ["a"], "wrong": [True], "columns": 2}),
    "mistake_grid": (pictures.mistake_grid, {"mistakes": MISTAKES, "columns": 2}),
    "confusion_matrix": (pictures.confusion_matrix, {"y": torch.tensor([3, 0]), "y_hat": torch.tensor([3, 9])}),
    "gallery": (pictures.gallery, {"rows": {"甲": X}}),
    "receptive_fields": (pictures.receptive_fields, {"X": X, "table": TABLE, "count": 1, "at": (0.5, 0.5)}),
    "map_grid": (pictures.map_grid, {"X": X, "maps": torch.rand(1, 2, 4, 4), "names": ["a", "b"], "marked": [0]}),
    "windows": (pictures.windows, {"masks": {"甲": torch.eye(3)}}),
    "filter_grid": (pictures.filter_grid, {"weights": {"甲": torch.rand(2, 1, 3, 3)}, "columns": 2}),
    "feature_maps": (pictures.feature_maps, {"X": X, "maps": {"甲": torch.rand(1, 2, 4, 4)}, "columns": 2}),
    "heat_overlay": (heat_overlay, {"X": X, "heats": {"甲": torch.rand(1, 8, 8)}, "titles": ["a"]}),
    "convolution_at": (pictures.convolution_at, {"X": X, "kernel": torch.ones(3, 3), "row": 1, "column": 1,
                                                 "stride": 1, "padding": 1}),
    "chains_at": (pictures.chains_at, {"X": X, "chains": {"甲": [torch.ones(3, 3)]}, "row": 1, "column": 1,
                                       "relu": True}),
    "pointwise_at": (pictures.pointwise_at, {"X": X, "weight": torch.ones(2, 1), "bias": torch.zeros(2), "row": 1,
                                             "column": 1, "names": ["a"]}),
    "cost_shares": (pictures.cost_shares, {"tables": {"甲": TABLE}}),
    "line_chart": (pictures.line_chart, {"series": {"甲": [1.0, 2.0]}, "x": [0, 1], "xlabel": "x", "ylabel": "y",
                                         "log": False, "span": (0, 1), "styles": {"甲": ("C0", "--")}}),
    "dots": (pictures.dots, {"groups": {"甲": MEASURED}, "label": "秒", "log": False}),
    "trial_lines": (pictures.trial_lines, {"series": {"甲": [MEASURED]}, "x": ["a"], "xlabel": "x", "ylabel": "y",
                                           "log": False}),
    "changes": (pictures.changes, {"groups": {"甲": (MEASURED, Trials((3.0, 4.0)))}, "label": "类"}),
    "distributions": (pictures.distributions, {"groups": {"甲": [0.1, 0.2]}, "label": "精度", "step": 0.1}),
    "partial_sum": (pictures.partial_sum, {"x": [0.0, 1.0], "f": [0.0, 1.0], "terms": {"$x$": [0.0, 1.0]},
                                           "second": {"目标": [1.0, 2.0]}, "title": "和"}),
    "staircase": (pictures.staircase, {"stairs": {"甲": [1, 2]}, "edges": [1], "label": "通道"}),
    "heat_maps": (pictures.heat_maps, {"tables": {"甲": torch.eye(2)}, "rows": "ab", "columns": "ab", "label": "x",
                                       "middle": 1.0, "reach": 0.1, "pale": {"甲": torch.eye(2)}}),
    "trade_offs": (pictures.trade_offs, {"costs": {"参数": {"lenet": 1e3}}, "bands": {"lenet": official_band("lenet")},
                                         "lines": {"人": 0.835}, "own": {"lenet": 0.9}}),
}
NAN = float("nan")
BAD = (None, "text", 3, -1, 2.5, NAN, 10**400, True, [], (), {}, {"甲": None}, {3: 3}, b"x",
       [None], [NAN, NAN], ["a", "b"], [[1.0], [2.0, 3.0]], object(), len, nn.Conv2d, nn.Linear(3, 4),
       nn.Sequential(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Sequential(), np.zeros(3), np.array(3.0), np.zeros((2, 2)),
       np.array(["a", "b"]), torch.tensor(3), torch.rand(3), torch.rand(2, 2), torch.rand(2, 3, 4), torch.rand(0),
       torch.rand(1, 1, 0, 8), torch.rand(1, 1, 2, 2, 2), torch.full(SHAPE, NAN), torch.full((1, 8, 8), NAN),
       torch.zeros(SHAPE, dtype=torch.int64), torch.zeros(SHAPE, dtype=torch.complex64), torch.eye(3).to_sparse(),
       torch.rand(2, requires_grad=True), torch.empty(SHAPE, device="meta"), torch.empty(3, device="meta"),
       torch.tensor([12, -1]), Trials((1.0,)), POINTS[0], TABLE)


# 字和真假，多半的东西都写得出、算得出，不必一一画；一串里的一个也是，少画几张
WORDS = (None, "$\\frac$", "\udcff", [], {}, np.zeros(3), torch.rand(3), torch.empty(3, device="meta"))
INSIDE = (None, "text", -1, NAN, 10**400, [], torch.rand(3), torch.empty(SHAPE, device="meta"), object())


def spoiled(value, bad=BAD):
    """换掉了一处的 value：整个，或者里面的第一样。"""
    yield from WORDS if isinstance(value, str | bool) else bad
    if isinstance(value, dict) and value:
        name, *_ = value
        yield from ({**value, name: each} for each in spoiled(value[name]))
        yield {"\udcff": value[name]}
        yield {"x" * 300: None}  # 名字再长，句子也不长
    elif isinstance(value, list | tuple) and value:
        yield from ([each, *value[1:]] for each in spoiled(value[0], INSIDE))


def test_every_function_has_its_row():
    assert set(DOORS) == {name for name in pictures.__all__ if callable(getattr(pictures, name))}
    for name, (_, given) in DOORS.items():
        takes = inspect.signature(getattr(pictures, name)).parameters.values()
        assert name in ("Box", "Paths") or [*given] == [each.name for each in takes if each.name != "show"]


@pytest.mark.parametrize("name", DOORS)
def test_bad_arguments_are_drawn_or_refused_in_one_chinese_sentence(name, monkeypatch):
    quick, curves = sys.modules[canvas.__module__], sys.modules[LivePlot.__module__]
    monkeypatch.setattr(quick, "DPI", 20)  # 小，也不排版：画得快
    monkeypatch.setattr(quick, "Figure", lambda **options: Figure(**options | {"layout": None}))
    monkeypatch.setattr(curves, "DPI", PAGE)
    warnings.simplefilter("ignore")
    draw, given = DOORS[name]
    draw(**given)
    for argument, value in given.items():
        for bad in spoiled(value):
            try:
                draw(**given | {argument: bad})
            except (TypeError, ValueError) as error:
                said = str(error)
                assert re.search("[一-鿿]", said) and len(said) < 300 and "\n" not in said, (argument, bad)
            except Exception as error:
                pytest.fail(f"{argument} = {bad!r}：{type(error).__name__}：{error}")


@pytest.mark.parametrize("draw, words", [
    (lambda: pictures.image_grid(None, "a"), r"X 应当是 \(N, 1, H, W\) 或 .* 的张量，收到的是 None"),
    (lambda: pictures.image_grid(X[0, 0], "a"), "少一维的，加上"),
    (lambda: pictures.image_grid(X.repeat(2, 1, 1, 1), "a"), "titles 应当至少有 2 个，收到 1 个"),
    (lambda: pictures.gallery({"甲": X[:0]}), "一张图像也没有"),
    (lambda: pictures.map_grid(X, torch.rand(2, 2, 4, 4), "ab"), "maps 有 2 行，X 只有 1 张"),
    (lambda: pictures.map_grid(X, torch.rand(1, 2, 4, 4), "abc"), "names 应当有 2 个，收到 3 个"),
    (lambda: pictures.confusion_matrix(torch.tensor([1]), torch.tensor([1, 2])), "两边要一样多"),
    (lambda: pictures.confusion_matrix(torch.rand(3, 10), torch.tensor([1, 2, 3])), r"y 应当是 \(N,\) 的张量"),
    (lambda: pictures.changes({"甲": (MEASURED, Trials((1.0,)))}, "类"), "第几次对第几次"),
    (lambda: pictures.distributions({"甲": [0, 1]}, "精度", 1e-9), "step 大一些"),
    (lambda: pictures.line_chart({"甲": [1, 2, 3]}, [1, 2], "x", "y"), "2 个，收到 3 个"),
    (lambda: pictures.heat_maps({"甲": torch.eye(2)}, "ab", "ab", "x", pale={"乙": torch.eye(2)}), "pale 应当与"),
    (lambda: pictures.trade_offs({"参数": {"nin": 1}}, {}, {}, {}), "bands 里没有 .'nin'"),
    (lambda: pictures.cost_shares({"甲": trace(nn.ReLU(), SHAPE)}), "说不出各层占多少"),
    (lambda: pictures.branches({"甲": None}, SHAPE), "至少要有一条"),
    (lambda: pictures.dense_arcs("ab", [(0, 2)]), "0 到 1 之间的整数，收到的是 2"),
    (lambda: pictures.layer_stacks({"甲": lambda: NET}), "加上括号"),
    (lambda: pictures.data_flow(NET, torch.rand(1, 3, 8, 8)), "走不通"),
    (lambda: pictures.data_flow(nn.Sequential(nn.Flatten(2)), X), r"第 0 层 Flatten 的输出 应当是 \(N, C, H, W\)"),
    (lambda: pictures.skip_paths({"甲": nn.BatchNorm2d(3)}, torch.rand(1, 3, 1, 1)), "一个通道要不止一个数"),
    (lambda: pictures.skip_paths({"甲": CONV}, torch.rand(1, 3, 8, 8)), "走不通"),
    (lambda: pictures.receptive_fields(X, []), "至少有 1 个"),
    (lambda: pictures.convolution_at(X, torch.ones(11, 11), 0, 0, padding=0), "比填充之后的图像"),
    (lambda: pictures.heat_overlay(X, {"甲": torch.full((1, 8, 8), NAN)}), "NaN 或无穷大"),
    (lambda: LivePlot(2, show=3), "show 应当是"),
    (lambda: LivePlot(2, show=len).add(3), "point 应当是"),
    (lambda: drawn(width=300, height=300, title=""), "少画几样"),
    (lambda: pictures.windows({"$\\frac$": torch.eye(2)}), "不成公式")])
def test_the_sentence_says_what_is_wrong(draw, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw()


def test_an_error_inside_the_drawing_is_not_hidden(monkeypatch):
    def broken(*_, **__):
        raise ValueError("a real bug")

    monkeypatch.setattr("matplotlib.axes.Axes.imshow", broken)
    with pytest.raises(ValueError, match="a real bug"):
        pictures.gallery({"甲": X})


def test_what_was_drawn_is_still_drawn():
    """列表、元组、数组、要求导数的、不是文字的名字。"""
    assert pictures.image_grid([X[0], torch.rand(3, 4, 4), torch.rand(1, 5)], np.array(["a", "b", "c"])).png
    assert pictures.gallery({"甲": [X[0], torch.rand(1, 4, 4)], "乙": X[:0]}).png
    assert pictures.feature_maps(X, {"甲": torch.rand(1, 2, 4, 4, requires_grad=True)}).png
    assert pictures.line_chart({1: np.array([1, NAN]), 2: torch.ones(2), 3: (1, None)}, ["一", "二"], "x", None).png
    assert pictures.heat_maps({(1, 2): torch.eye(2)}, range(2), "ab", "x", pale={(1, 2): np.eye(2)}).png
    assert pictures.layer_stacks({"甲": [CONV, nn.ReLU()], "乙": nn.Sequential()}).png
    assert pictures.data_flow(nn.Sequential(nn.Linear(4, 3)), torch.rand(1, 4)).png
    assert pictures.skip_paths({"甲": nn.ReLU()}, X).png
