"""《现代卷积神经网络》七本笔记本共用的小工具，按读者遇到的次序列出。"""

from helpers.data import LABELS, Batches, fashion_mnist
from helpers.device import fast_dtype, pick_device
from helpers.trace import Layer, Trace, input_sizes, trace
from helpers.claims import check
from helpers.training import Point, accuracy, fit, kaiming, xavier
from helpers.official import official_band, reference_runs
from helpers.plotting import LivePlot, Picture, compare_curves
from helpers.figures import block_stacks, dense_arcs, describe, layer_stacks
from helpers.flowcharts import branches, flow_chart, skip_paths, stage_columns
from helpers.images import confusion_matrix, data_flow, gallery, image_grid, map_grid, receptive_fields, windows
from helpers.charts import cost_shares, dots, heat_maps, line_chart, partial_sum, staircase, trade_offs
from helpers.forecast import Forecast, forecast
from helpers.plan import Plan, budget
from helpers.diagnosis import dead_relus, diagnose
from helpers.runs import Run, compare, export_csv, saved_runs, train
from helpers.sliders import Interactive
from helpers.explorer import Explorer

__all__ = [
    "LABELS", "Batches", "fashion_mnist",
    "fast_dtype", "pick_device",
    "Layer", "Trace", "input_sizes", "trace",
    "check",
    "Point", "accuracy", "fit", "kaiming", "xavier",
    "official_band", "reference_runs",
    "LivePlot", "Picture", "compare_curves",
    "block_stacks", "dense_arcs", "describe", "layer_stacks",
    "branches", "flow_chart", "skip_paths", "stage_columns",
    "confusion_matrix", "data_flow", "gallery", "image_grid", "map_grid", "receptive_fields", "windows",
    "cost_shares", "dots", "heat_maps", "line_chart", "partial_sum", "staircase", "trade_offs",
    "Forecast", "forecast",
    "Plan", "budget",
    "dead_relus", "diagnose",
    "Run", "compare", "export_csv", "saved_runs", "train",
    "Interactive", "Explorer",
]
