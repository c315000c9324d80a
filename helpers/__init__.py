"""《现代卷积神经网络》七本笔记本共用的小工具，按读者遇到的次序列出。"""

from helpers.data import LABELS, Batches, fashion_mnist
from helpers.device import fast_dtype, pick_device
from helpers.trace import Layer, Trace, input_sizes, trace
from helpers.claims import check
from helpers.training import Point, accuracy, fit, kaiming, xavier
from helpers.diagnosis import official_band
from helpers.plotting import LivePlot, Picture, compare_curves
from helpers.figures import confusion_matrix, data_flow, describe, image_grid, layer_stacks
from helpers.figures import block_stacks, dots, receptive_fields
from helpers.figures import flow_chart
from helpers.figures import dense_arcs, heat_maps, partial_sum, skip_paths, staircase, trade_offs
from helpers.figures import cost_shares, gallery, line_chart
from helpers.figures import branches, stage_columns, windows
from helpers.figures import map_grid
from helpers.plan import Plan, budget
from helpers.runs import Run, train
from helpers.sliders import Interactive
from helpers.explorer import Explorer

__all__ = [
    "LABELS", "Batches", "fashion_mnist",
    "fast_dtype", "pick_device",
    "Layer", "Trace", "input_sizes", "trace",
    "check",
    "Point", "accuracy", "fit", "kaiming", "xavier",
    "official_band",
    "LivePlot", "Picture", "compare_curves",
    "confusion_matrix", "data_flow", "describe", "image_grid", "layer_stacks",
    "block_stacks", "dots", "receptive_fields",
    "flow_chart",
    "dense_arcs", "heat_maps", "partial_sum", "skip_paths", "staircase", "trade_offs",
    "cost_shares", "gallery", "line_chart",
    "branches", "stage_columns", "windows",
    "map_grid",
    "Plan", "budget",
    "Run", "train",
    "Interactive", "Explorer",
]
