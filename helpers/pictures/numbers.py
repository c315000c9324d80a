"""统计图：曲线、散点、热图、台阶、代价。"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from helpers.book.official import Band
from helpers.network.trace import Trace
from helpers.pictures.canvas import BLUE, GREEN, GREY, ORANGE, Picture, chinese, picture


def dots(values: dict[str, Sequence[float]], label: str) -> Picture:
    """每个名字一行，每次测量一个点，竖线是平均数；比较差别与波动哪个大。label: 横轴的量和单位。"""
    with chinese():
        figure = Figure(figsize=(8.4, 0.45 * len(values) + 0.9), dpi=100)
        axes = figure.subplots()
        for i, numbers in enumerate(values.values()):
            axes.plot(numbers, [i] * len(numbers), "o", ms=7, color=BLUE, alpha=0.5, mew=0)
            axes.plot([np.mean(numbers)] * 2, [i - 0.3, i + 0.3], color=ORANGE, lw=2)
            axes.text(np.mean(numbers), i + 0.32, f"{np.mean(numbers):.3g}", ha="center", va="top", fontsize=8)
        axes.set(ylim=(len(values) - 0.3, -0.5), xlabel=label)
        axes.set_yticks(range(len(values)), list(values))
        axes.grid(axis="x", alpha=0.25)
        figure.tight_layout()
    return picture(figure, label + "：" + "、".join(values))


def _plain_numbers(axis: Axis) -> None:
    """对数刻度不写成 10 的幂：数学字体的负号不在字库里。"""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def line_chart(series: dict[str, Sequence[float]], x: Sequence[float], xlabel: str, ylabel: str, *, log: bool = False,
               span: tuple[float, float] | None = None) -> Picture:
    """几条折线，图例在右边。

    x: 横轴，与每条线等长；log: 纵轴用对数刻度，0 不画；span: 横轴上要加绿色底的一段。
    """
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        axes = figure.subplots()
        for name, values in series.items():
            whole = all(isinstance(value, int) for value in values)  # 整数画成台阶
            axes.plot(x, values, marker="o" if len(x) < 40 else None, ms=3.5, label=name,
                      drawstyle="steps-mid" if whole else "default")
            if whole:
                axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if span:
            axes.axvspan(*span, color=GREEN, alpha=0.2, lw=0)
        if log:
            axes.set_yscale("log", nonpositive="mask")
            _plain_numbers(axes.yaxis)
        axes.set(xlabel=xlabel)
        axes.set_title(ylabel, loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return picture(figure, f"{ylabel}：{'、'.join(series)}")


def cost_shares(tables: dict[str, Trace]) -> Picture:
    """每个网络一行：左边参数、右边乘加各在哪些层；条长是占全网的百分比，条上写着个数。tables: 标题到清单。"""
    layers = {title: [layer for layer in table if layer.params] for title, table in tables.items()}
    with chinese():
        figure = Figure(figsize=(8.8, sum(0.27 * len(rows) + 0.75 for rows in layers.values())), dpi=100)
        grid = figure.subplots(len(tables), 2, squeeze=False, height_ratios=[len(rows) for rows in layers.values()])
        for pair, (title, rows) in zip(grid, layers.items(), strict=True):
            for axes, field, text in zip(pair, ("params", "macs"), ("个参数", "次乘加"), strict=True):
                total = getattr(tables[title], field)
                values = [getattr(layer, field) for layer in rows]
                bars = axes.barh([f"{layer.name} {layer.kind}" for layer in rows], [value / total for value in values],
                                 color=[BLUE if "Conv" in layer.kind else ORANGE for layer in rows], height=0.7)
                axes.bar_label(bars, [f"{value:,}（{100 * value / total:.1f} %）" for value in values],
                               padding=3, fontsize=8)
                axes.set(xlim=(0, 1.6 * max(values) / total), xticks=[])
                axes.invert_yaxis()
                axes.spines["bottom"].set_visible(False)
                axes.tick_params(axis="y", length=0, labelsize=8)
                axes.set_title(f"{title}：{total:,} {text}", loc="left", fontsize=10)
            axes.set_yticks([])
        figure.tight_layout()
    return picture(figure, "、".join(tables) + " 的参数和乘加在哪些层")


def heat_maps(tables: dict[str, Tensor], rows: Sequence[str], columns: Sequence[str], label: str,
              middle: float = 1.0) -> Picture:
    """几张并排的热图，格子里写数字，颜色的刻度共用，middle 是白色；NaN 是空格。tables: 标题到 (行, 列) 的张量。"""
    reach = max(0.1, *(float((table - middle).abs().nan_to_num().max()) for table in tables.values()))
    with chinese():
        figure = Figure(figsize=(2.5 * len(tables) + 0.8, 3.2), dpi=100)
        for k, (axes, (title, table)) in enumerate(zip(figure.subplots(1, len(tables), squeeze=False)[0],
                                                       tables.items(), strict=True)):
            axes.imshow(table.numpy(), cmap="RdBu_r", vmin=middle - reach, vmax=middle + reach)
            for i, j in (~table.isnan()).nonzero().tolist():
                axes.text(j, i, f"{round(float(table[i, j]), 2) + 0.0:.2f}", ha="center", va="center", fontsize=8,
                          color="white" if abs(table[i, j] - middle) > 0.65 * reach else "black")
            axes.set_title(title, fontsize=10)
            axes.set_xticks(range(len(columns)), columns, fontsize=8)
            axes.set_yticks(range(len(rows)), rows if k == 0 else [], fontsize=9)
            axes.spines[:].set(visible=True, color=GREY, lw=0.5)
            axes.tick_params(length=0)
        figure.supxlabel(label, fontsize=9)
        figure.tight_layout()
    return picture(figure, label)


def staircase(stairs: dict[str, Sequence[int]], edges: Sequence[int] = (), label: str = "通道数") -> Picture:
    """通道数怎样一层一层变：每条线是一个网络，最后一条是主角，前面的是灰色的对照。

    stairs: 名字到每一层的通道数；edges: 主角在第几层之前换了一级，画竖线。
    """
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        axes = figure.subplots()
        *others, main = stairs
        for name in others:
            axes.step(range(len(stairs[name])), stairs[name], where="mid", color=GREY, lw=1.2, label=name)
        axes.step(range(len(stairs[main])), stairs[main], where="mid", color=BLUE, lw=2, label=main)
        axes.fill_between(range(len(stairs[main])), stairs[main], step="mid", color=BLUE, alpha=0.12)
        top = 1.12 * max(map(max, stairs.values()))
        for k, value in enumerate(stairs[main]):
            axes.text(k, value + 0.02 * top, str(value), ha="center", fontsize=8, color=BLUE)
        for edge in edges:
            axes.axvline(edge - 0.5, color=GREY, lw=0.8, ls=":")
        axes.set(ylim=(0, top), xlabel="从前往后的各层", ylabel=label, xticks=[])
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=2, frameon=False, fontsize=9, borderpad=0)
        figure.tight_layout()
    return picture(figure, label)


def partial_sum(x: Sequence[float], f: Sequence[float], terms: dict[str, Sequence[float]], title: str) -> Picture:
    """左：函数 f 和各项的和；右：各项分开画。x: 横轴；terms: 每一项的写法到它在 x 上的值。"""
    total = np.sum(list(terms.values()), axis=0)
    with chinese():
        figure = Figure(figsize=(8.4, 3.4), dpi=100)
        left, right = figure.subplots(1, 2)
        left.plot(x, f, color="black", lw=2, label="f(x)")
        left.plot(x, total, color=ORANGE, lw=2, ls="--", label="各项的和")
        left.fill_between(x, f, total, color=ORANGE, alpha=0.15)
        for i, (name, values) in enumerate(terms.items()):
            right.plot(x, values, color=f"C{i % 10}", label=name)
        for axes, text in ((left, "相加：只留下和"), (right, "连结：每一项都留着")):
            axes.set(ylim=(min(f) - 0.6, max(f) + 0.6), xlim=(x[0], x[-1]))
            axes.set_title(text, loc="left", fontsize=10)
            axes.legend(frameon=False, fontsize=8, ncols=2 if axes is right else 1)
            axes.grid(alpha=0.25)
        figure.suptitle(title, fontsize=11, x=0.02, ha="left")
        figure.tight_layout()
    return picture(figure, title)


def trade_offs(costs: dict[str, dict[str, float]], bands: dict[str, Band], lines: dict[str, float],
               own: dict[str, float]) -> Picture:
    """几个网络的精度对每一种代价（对数刻度），一种代价一格；竖条是官方运行的 5–95 %，圆点是中位数。

    costs: 代价的名字到 {网络: 值}；bands: 网络到官方区间；lines: 要画的参考线；own: 这台机器上的精度，画成叉。
    """
    rows = -(-len(costs) // 2)
    with chinese():
        figure = Figure(figsize=(8.4, 3.3 * rows), dpi=100)
        cells = figure.subplots(rows, 2, squeeze=False, sharey=True).flat
        bottom = 0.76
        for axes, (label, values) in zip(cells, costs.items(), strict=False):
            for i, (text, height) in enumerate(lines.items()):  # 第一条的字在线上面，其余的在下面
                axes.axhline(height, color=GREY, lw=0.8, ls="--")
                axes.text(0.01, height, text, transform=axes.get_yaxis_transform(), fontsize=8, color="#666666",
                          va="top" if i else "bottom")
            for i, (name, value) in enumerate(values.items()):
                band = bands[name]
                axes.plot([value] * 2, [max(band.low, bottom), band.high], color=f"C{i}", lw=4, alpha=0.35,
                          solid_capstyle="butt")
                axes.plot(value, band.median, "o", color=f"C{i}", ms=6)
                crowded = any(value < other < 3 * value and abs(bands[neighbour].median - band.median) < 0.015
                              for neighbour, other in values.items())  # 右边有别的名字，写到左边
                axes.annotate(name, (value, band.median), (-5 if crowded else 5, 0), textcoords="offset points",
                              fontsize=8, va="center", ha="right" if crowded else "left")
                if name in own:
                    axes.plot(value, own[name], "x", color="black", ms=7)
            low, high = min(values.values()), max(values.values())
            axes.set(xscale="log", xlabel=label, xlim=(low / 2, high * (high / low) ** 0.22), ylim=(bottom, 0.94))
            _plain_numbers(axes.xaxis)
            axes.grid(alpha=0.25)
        figure.supylabel("测试精度", fontsize=10)
        figure.tight_layout()
    return picture(figure, "七个网络：精度与代价")
