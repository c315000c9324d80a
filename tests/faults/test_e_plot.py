"""E：画图。朴素的曲线是书上的 Animator：清掉输出，再显示整张图。"""

import os

import numpy as np
from support.rows import against, python

from helpers import LivePlot, Point, line_chart
from helpers.pictures import canvas
from helpers.pictures.curves import Curves

POINTS = """
points = [Point(i / 20, 2.3 / (1 + i / 50), i / 200, i / 200 if i % 20 == 0 else None) for i in range(1, 201)]
"""
ANIMATOR = """
from IPython import display
from matplotlib import pyplot as plt
class Animator:
    # 书上的写法
    def __init__(self):
        self.fig, self.axes = plt.subplots(figsize=(3.5, 2.5))
        self.X, self.Y = [], []
    def add(self, x, y):
        self.X.append(x); self.Y.append(y)
        self.axes.cla()
        self.axes.plot(self.X, self.Y)
        self.axes.set_title("损失 %.3f" % self.Y[-1])
        display.display(self.fig)
        display.clear_output(wait=True)
"""
OURS = """
import time
from helpers import LivePlot, Point
""" + POINTS + """
drawing, started = 0.0, time.perf_counter()
with LivePlot(10) as plot:
    for point in points:
        time.sleep(0.01)
        before = time.perf_counter()
        plot.add(point)
        drawing += time.perf_counter() - before
print(drawing / (time.perf_counter() - started), time.perf_counter() - started)
"""
NAIVE = ANIMATOR + """
import time
from helpers import Point
""" + POINTS + """
drawing, started, plot = 0.0, time.perf_counter(), Animator()
for point in points:
    time.sleep(0.01)
    before = time.perf_counter()
    plot.add(point.epoch, point.loss)
    drawing += time.perf_counter() - before
print(drawing / (time.perf_counter() - started), time.perf_counter() - started)
"""


@against(OURS, NAIVE)
def test_E1_two_hundred_points(subject, kernel):
    messages = kernel.messages(kernel.send(subject), timeout=120)
    kinds = [message["msg_type"] for message in messages]
    said = "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")
    share, seconds = map(float, said.split())
    assert kinds.count("display_data") == 1 and "clear_output" not in kinds
    assert kinds.count("update_display_data") <= 2 + 10 * seconds
    assert share < 0.1  # 目标是 2 %；这里机器忙时也不能红
    frames = [message["content"]["metadata"] for message in messages if "display_data" in message["msg_type"]]
    assert frames == len(frames) * [{"image/png": {"width": 840}}]  # 最后一帧像素更多，一样大


NO_FONTS = """
import matplotlib.font_manager as manager
manager.findSystemFonts = lambda *args, **options: []
import warnings
warnings.simplefilter("error")
import matplotlib
matplotlib.use("agg")
"""
DRAW_OURS = """
from helpers import Point
from helpers.pictures.curves import Curves
Curves(3).draw([Point(1, 2.0, 0.3)], "损失与精度")
"""
DRAW_NAIVE = """
from matplotlib import pyplot as plt
figure, axes = plt.subplots()
axes.set_title("损失与精度")
figure.canvas.draw()
"""


@against(DRAW_OURS, DRAW_NAIVE)
def test_E2_no_chinese_font(subject, tmp_path):
    done = python(NO_FONTS + subject, env={"PATH": "", "MPLCONFIGDIR": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_E2_glyphs_are_not_boxes():
    one, other = (np.frombuffer(Curves(3).draw([], text), np.uint8) for text in ("损", "失"))
    assert one.shape != other.shape or (one != other).any()


def ours(points):
    """我们的曲线。"""
    frames = []
    with LivePlot(3, show=frames.append) as plot:
        for point in points:
            plot.add(point)
    return frames[-1]


def last_in_the_title(points):
    """把最后一个点写进标题。"""
    with canvas(4, 3, "") as drawn:
        axes = drawn.figure.subplots()
        axes.plot([point.loss for point in points])
        axes.set_ylim(0, max(point.loss for point in points))
        axes.set_title(f"{points[-1].loss:.3f}")
    return drawn.png


@against(ours, last_in_the_title)
def test_E3_no_points_one_point_nan_points(subject):
    for points in ([], [Point(1, 2.0, 0.1, 0.1)], [Point(1, float("nan"), 0.1)], [Point(1, float("inf"), 0.1)]):
        assert subject(points).startswith(b"\x89PNG")


PLAIN = """
from helpers import fashion_mnist, train
from helpers import load
run = train(load("7.1").lenet(), *fashion_mnist(32, images=320), lr=0.1, num_epochs=2)
"""
PLAIN_NAIVE = "import matplotlib; matplotlib.use('agg')\n" + ANIMATOR + """
animator = Animator()
for i in range(10):
    animator.add(i, 2.0)
"""


@against(PLAIN, PLAIN_NAIVE)
def test_E4_plain_python(subject, tmp_path):
    done = python(subject, env=os.environ | {"COMPANION_RUNS": str(tmp_path)})
    assert done.returncode == 0 and "Figure" not in done.stdout and "第 2/2 轮" in done.stdout
    assert done.stderr == ""


def log_chart(series):
    """matplotlib 自己的对数刻度。"""
    with canvas(4, 3, "") as drawn:
        axes = drawn.figure.subplots()
        axes.plot(series)
        axes.set_yscale("log")


@against(lambda series: line_chart({"a": series}, range(3), "x", "y", log=True), log_chart)
def test_E5_negative_powers_on_a_logarithmic_axis(subject, caplog):
    subject([1e-3, 1e-6, 0.1])
    assert not caplog.records  # 字库里没有数学负号，matplotlib 会在 stderr 里抱怨
