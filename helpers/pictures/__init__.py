"""图画室：只画图，不训练，不管小组件。一个文件一种来源：曲线、网络、流程、张量、数字；画布和颜色共用。

笔记本从这里取画图的名字；按读者遇到的次序列出。
"""

from helpers.pictures.canvas import BLUE, GREEN, GREY, ORANGE, PATH_COLORS, RULE, Picture, canvas
from helpers.pictures.curves import LivePlot, compare_curves
from helpers.pictures.networks import block_stacks, branches, dense_arcs, layer_stacks, skip_paths, stage_columns
from helpers.pictures.flow import PLUS, Box, Frame, Paths, flow_chart
from helpers.pictures.tensors import (confusion_matrix, data_flow, feature_maps, filter_grid, gallery, heat_overlay,
                                      image_grid, map_grid, mistake_grid, receptive_fields, windows)
from helpers.pictures.convolution import chains_at, convolution_at, pointwise_at
from helpers.pictures.charts import (changes, cost_shares, distributions, dots, heat_maps, line_chart, partial_sum,
                                     staircase, trade_offs, trial_lines)

__all__ = [
    "Picture", "canvas", "BLUE", "GREEN", "GREY", "ORANGE", "PATH_COLORS", "RULE",
    "LivePlot", "compare_curves",
    "layer_stacks", "block_stacks", "branches", "stage_columns", "skip_paths", "dense_arcs",
    "flow_chart", "Box", "PLUS", "Paths", "Frame",
    "data_flow", "image_grid", "mistake_grid", "confusion_matrix", "gallery", "receptive_fields", "map_grid", "windows",
    "filter_grid", "feature_maps", "heat_overlay",
    "convolution_at", "chains_at", "pointwise_at",
    "cost_shares", "line_chart", "dots", "trial_lines", "changes", "distributions", "partial_sum", "staircase",
    "heat_maps", "trade_offs",
]
