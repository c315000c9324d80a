"""一个网络的各步画成一列一列：图像在左，特征图在中间，各类的概率在右。"""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from helpers.network.steps import Step
from helpers.pictures.canvas import BLUE, FAINT, IMAGE, LINE, MAPS, ORANGE, Picture, canvas
from helpers.pictures.pen import channels_at, paint, sheet, write

_WIDTH, _HEIGHT = 9.6, 3.2  # 英寸
_LEFT, _RIGHT, _TOP = 1.2, 1.5, 0.55  # 图像、概率占多宽，字占多高
_COLUMNS = 12  # 至多画几列
_LETTERS = 10  # 最多的列里，形状不超过这么多个字才放得下；再长就小一号，不碰到右边的


def network_columns(steps: Sequence[Step], probabilities: Tensor, classes: Sequence[str]) -> Picture:
    """一张图像怎样一步一步变成概率；太深的网络只画其中几列，左上角写着一共几列。

    steps: 见 `helpers.network.steps`；probabilities: (n,)；classes: n 个名字。一列里分几行的，是并行的几条路。
    一步里的各张共用一个刻度，深紫最小，黄最大。
    """
    depth = steps[-1].column
    chosen = sorted({round(i) for i in torch.linspace(1, depth, min(depth, _COLUMNS)).tolist()})
    width = (_WIDTH - _LEFT - _RIGHT) / len(chosen)
    with canvas(_WIDTH, _HEIGHT, "网络里面") as drawn:
        axes = sheet(drawn.figure, (0, _WIDTH), (0, _HEIGHT))
        paint(axes, steps[0].sheets.mean(0), IMAGE, extent=(0.1, 1.05, 1, 1.95), aspect="auto")
        write(axes, 0.1, 2.1, "图像", 8, ha="left")
        for i, column in enumerate(chosen):
            for step in (step for step in steps if step.column == column):
                _draw_step(axes, step, _LEFT + width * i, width - 0.1)
        _draw_answer(axes, probabilities, classes)
        if depth > len(chosen):
            write(axes, 0.1, _HEIGHT - 0.12, f"一共 {depth} 列，这里是其中 {len(chosen)} 列", 8, ha="left", color=FAINT)
        write(axes, 0.1, 0.1, "在 JupyterLab 里运行这一格：点一张特征图，再点一格，看它怎样算出来；也可以自己画一张。",
              8, ha="left", color=FAINT)
        axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))  # 画图像时改过
    return drawn


def _draw_step(axes: Axes, step: Step, left: float, width: float) -> None:
    """一步：上面是它是什么，下面是它的特征图，放得下几张是几张。"""
    height = (_HEIGHT - 0.55) / step.lanes
    top = _HEIGHT - 0.25 - height * step.lane
    if step.lanes == 1:
        name, _, size = step.text.title.replace("层", "").rpartition(" ")
        write(axes, left, top, f"{name}\n{size}" if name else size, 6.5, ha="left", va="top")
        shape = channels_at(step.value.shape[1:])
        write(axes, left, top - 0.36, shape, 6.5 if len(shape) <= _LETTERS else 5.5, ha="left", color=FAINT)
    room = height - (_TOP if step.lanes == 1 else 0.08)
    top -= _TOP if step.lanes == 1 else 0
    sheets = step.sheets
    count, low, high = len(sheets), *sheets[~sheets.isnan()].aminmax()
    across = 1 if step.value.content.dim() < 4 else 2
    share = width / across
    tall = min(room, share * 3) if across == 1 else share
    for k in range(min(count, across * max(1, int(room / tall + 1e-6)))):
        x, y = left + share * (k % across), top - tall * (k // across)
        place = (x, x + 0.92 * share, y - 0.92 * tall, y)
        paint(axes, sheets[k], MAPS, vmin=low, vmax=high, aspect="auto", extent=place)


def _draw_answer(axes: Axes, probabilities: Tensor, classes: Sequence[str]) -> None:
    """各类的概率，至多十类，大的是橙色。"""
    best = int(probabilities.argmax())
    order = sorted(probabilities.topk(min(10, len(probabilities))).indices.tolist())
    left, step = _WIDTH - _RIGHT + 0.55, (_HEIGHT - 0.7) / len(order)
    for i, k in enumerate(order):
        y = _HEIGHT - 0.35 - step * i
        share = float(probabilities[k])
        name = str(classes[k]).split()[0] if k < len(classes) else str(k)
        write(axes, left - 0.05, y, name, 7.5, ha="right", color=ORANGE if k == best else LINE)
        axes.barh(y, 0.6 * share, 0.6 * step, left=left, color=ORANGE if k == best else BLUE)
        write(axes, left + 0.6 * share + 0.03, y, f"{share:.2f}", 7, ha="left")
