"""《现代卷积神经网络》七本笔记本共用的小工具，按读者遇到的次序列出。"""

import signal
import sys

# python -m helpers 的头几秒都在导入：那时按 Ctrl-C 没有什么可丢，静静地走，不要一屏 traceback；__main__ 再收回来
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from helpers.book.sections import NETWORKS, load
from helpers.data.fashion import LABELS, Batches, fashion_mnist
from helpers.machine.device import fast_dtype, pick_device
from helpers.network.layer import Layer
from helpers.network.trace import Trace, trace
from helpers.network.input_sizes import input_sizes
from helpers.network.describe import describe
from helpers.book.claims import check
from helpers.training.loop import Point, accuracy, fit
from helpers.training.mistakes import Mistakes, confident_mistakes
from helpers.network.initialization import kaiming, xavier
from helpers.book.official import official_band, reference_runs
from helpers.pictures import (LivePlot, Picture, block_stacks, branches, compare_curves, confusion_matrix, cost_shares,
                              data_flow, dense_arcs, dots, feature_maps, filter_grid, flow_chart, gallery, heat_maps,
                              image_grid, layer_stacks, line_chart, map_grid, mistake_grid, partial_sum,
                              receptive_fields, skip_paths, stage_columns, staircase, trade_offs, trial_lines, windows)
from helpers.network.forecast import Forecast, forecast
from helpers.network.inside import Explanation, explain
from helpers.network.recording import record
from helpers.network.where import grad_cam, occlusion, where_it_looks
from helpers.experiments.trials import Trials, trials
from helpers.experiments.records import recorded
from helpers.experiments.plan import Plan, budget
from helpers.experiments.diagnosis import dead_relus, diagnose
from helpers.experiments.run import Finding, Run
from helpers.experiments.session import Session, train
from helpers.experiments.store import export_csv, saved_runs
from helpers.experiments.comparison import compare
from helpers.exercises.report import progress
from helpers.exercises.shelf import exercises
from helpers.widgets.guess import guess
from helpers.widgets.interactive import Interactive
from helpers.widgets.explorer import Explorer
from helpers.widgets.inside import Inside

__all__ = [
    "NETWORKS", "load",
    "LABELS", "Batches", "fashion_mnist",
    "fast_dtype", "pick_device",
    "Layer", "Trace", "trace", "input_sizes", "describe",
    "check",
    "Point", "accuracy", "fit", "kaiming", "xavier", "Mistakes", "confident_mistakes",
    "official_band", "reference_runs",
    "LivePlot", "Picture", "compare_curves",
    "block_stacks", "branches", "dense_arcs", "flow_chart", "layer_stacks", "skip_paths", "stage_columns",
    "confusion_matrix", "data_flow", "feature_maps", "filter_grid", "gallery", "image_grid", "map_grid", "mistake_grid",
    "receptive_fields", "windows",
    "cost_shares", "dots", "heat_maps", "line_chart", "partial_sum", "staircase", "trade_offs", "trial_lines",
    "Forecast", "forecast",
    "Explanation", "explain", "record", "grad_cam", "occlusion", "where_it_looks",
    "Trials", "trials", "recorded",
    "Plan", "budget",
    "dead_relus", "diagnose",
    "Finding", "Run", "Session", "train", "export_csv", "saved_runs", "compare",
    "guess", "exercises", "progress",
    "Interactive", "Explorer", "Inside",
]
