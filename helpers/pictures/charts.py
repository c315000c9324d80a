"""从数字画图：散点、曲线、热图、台阶、代价。"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from numbers import Real
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from helpers.arguments import brief, flag, listed
from helpers.book.official import Band
from helpers.network.trace import Trace
from helpers.pictures.canvas import BLUE, EDGE, FAINT, GREEN, GREY, ORANGE, SIGNED, Picture, canvas, kind_color
from helpers.pictures.doors import amount, named, numbers, of_kind, tensor, wording
from helpers.pictures.pen import paint, reference_line

_BARS = 10_000  # 直方图至多几柱
_LOW, _HIGH = 0.76, 0.94  # 七个网络的精度都落在这一段


class Measured(Protocol):
    """几次测量：values 是测得的数，mean 是平均数，low、high 是它的区间的两端，可以是无穷。见 Trials。"""

    @property
    def values(self) -> Sequence[float]: ...
    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def _measured(name: str, value: Any) -> Measured:
    """几次测量。"""
    if not isinstance(getattr(value, "mean", None), Real) or not hasattr(value, "values"):
        raise TypeError(f"{name} 应当是几次测量，如 trials(measure)，收到的是 {brief(value)}。"
                        "只有测得的数，写 Trials(那些数)。")
    return value


def dots(groups: Mapping[str, Measured], label: str, *, log: bool = False) -> Picture:
    """每个名字一行：每次测量一个点，竖线是平均数，横线是平均数的区间。

    groups: 名字到几次测量，如 Trials；label: 横轴的量和单位；log: 横轴用对数刻度，只画大于 0 的。
    """
    groups, label, log = named("groups", groups, _measured), wording("label", label), flag("log", log)
    with canvas(8.4, 0.45 * len(groups) + 0.9, f"{label}：{'、'.join(groups)}", layout="tight") as drawn:
        axes = drawn.figure.subplots()
        for i, group in enumerate(groups.values()):
            axes.plot(group.values, [i] * len(group.values), "o", ms=7, color=BLUE, alpha=0.5, mew=0)
            if math.isfinite(group.high - group.low):
                axes.plot([group.low, group.high], [i] * 2, color=ORANGE, lw=1.5, zorder=3)
            axes.plot([group.mean] * 2, [i - 0.3, i + 0.3], color=ORANGE, lw=2)
            shown = f"{group.mean:,.0f}" if abs(group.mean) >= 1000 else f"{group.mean:.3g}"
            axes.text(group.mean, i + 0.32, shown, ha="center", va="top", fontsize=8)
        if log:
            axes.set_xscale("log", nonpositive="mask")
            _plain_numbers(axes.xaxis)
        axes.set(ylim=(len(groups) - 0.3, -0.5), xlabel=label)
        axes.set_yticks(range(len(groups)), list(groups))
        axes.grid(axis="x", alpha=0.25)
    return drawn


def changes(groups: Mapping[str, tuple[Measured, Measured]], label: str) -> Picture:
    """每个名字一行：每次测量一支箭头，从开始时的数（空心）到结束时的数（实心）；不变的只有一个实心点。

    groups: 名字到 (开始, 结束)，如两个 Trials，第几次对第几次；label: 横轴的量。
    """
    pairs, label = named("groups", groups, listed, _measured, count=2), wording("label", label)
    for name, (before, after) in pairs.items():
        if len(before.values) != len(after.values):
            raise ValueError(f"groups[{brief(name)}] 的开始有 {len(before.values)} 次，结束有 {len(after.values)} 次；"
                             "第几次对第几次，两边要一样多。")
    with canvas(8.4, 0.75 * len(pairs) + 0.8, f"{label}：{'、'.join(pairs)}", layout="tight") as drawn:
        axes = drawn.figure.subplots()
        for i, (before, after) in enumerate(pairs.values()):
            for k, (start, end) in enumerate(zip(before.values, after.values, strict=True)):
                y = i + 0.75 * ((k + 0.5) / len(after.values) - 0.5)  # 一次一行，从上到下
                axes.plot([start, end], [y, y], color=GREY, lw=1, zorder=1)
                axes.plot(start, y, "o", ms=5, mfc="white", mec=BLUE)
                axes.plot(end, y, "o", ms=5, color=BLUE)
            if i:
                axes.axhline(i - 0.5, color=GREY, lw=0.5)
        axes.set(ylim=(len(pairs) - 0.5, -0.5), xlabel=label)
        axes.set_yticks(range(len(pairs)), list(pairs))
        axes.grid(axis="x", alpha=0.25)
    return drawn


def distributions(groups: Mapping[str, Sequence[float]], label: str, step: float) -> Picture:
    """每个名字一行直方图：官方运行的分布。柱高是次数，写在柱上；橙色竖线是中位数。

    groups: 名字到测得的数；label: 横轴的量；step: 一柱有多宽。
    """
    groups, label, step = named("groups", groups, numbers), wording("label", label), amount("step", step, 0)
    low, high = (float(end(end(values) for values in groups.values())) for end in (min, max))
    if high - low > _BARS * step:
        raise ValueError(f"step 是 {step:g}，从 {low:g} 到 {high:g} 要 {(high - low) / step:.3g} 柱；"
                         f"至多 {_BARS:,} 柱，step 大一些。")
    bins = step * np.arange(math.floor(low / step), math.floor(high / step) + 2)
    with canvas(8.4, 0.95 * len(groups) + 0.5, f"{label}：{'、'.join(groups)}", layout="tight") as drawn:
        for axes, (name, values) in zip(drawn.figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0],
                                        groups.items(), strict=True):
            counts, _, bars = axes.hist(values, bins, color=GREEN, rwidth=0.9)
            axes.bar_label(bars, [f"{count:.0f}" if count else "" for count in counts], fontsize=7, zorder=3,
                           path_effects=[withStroke(linewidth=2, foreground="white")])
            axes.axvline(float(np.median(values)), color=ORANGE, lw=1.5)
            axes.set(yticks=[], ylim=(0, 1.25 * max(counts)))
            axes.set_ylabel(f"{name}\n{len(values)} 次", rotation=0, ha="right", va="center")
        axes.set_xlabel(label)
    return drawn


def line_chart(series: Mapping[str, Sequence[float]], x: Sequence[float], xlabel: str, ylabel: str, *,
               log: bool = False, span: tuple[float, float] | None = None,
               styles: Mapping[str, tuple[str, str]] | None = None) -> Picture:
    """几条折线，图例在右边；整数画成台阶。

    x: 横轴，与每条线等长；log: 纵轴用对数刻度，0 不画；span: 横轴上要加绿色底的一段。
    styles: 名字到 (颜色, 线型)，如 ("C0", "--")，默认一条线一种颜色。
    """
    x = _places(x)
    series = named("series", series, numbers, len(x), gaps=True)
    styles = named("styles", {} if styles is None else styles, _style, least=0)
    xlabel, ylabel, log = wording("xlabel", xlabel), wording("ylabel", ylabel), flag("log", log)
    with canvas(8.4, 3.4, f"{ylabel}：{'、'.join(series)}", layout="tight") as drawn:
        axes = drawn.figure.subplots()
        for name, values in series.items():
            whole = all(isinstance(value, int) for value in values)
            color, ls = styles.get(name, (None, "-"))
            axes.plot(x, values, marker="o" if len(x) < 40 else None, ms=3.5, label=name, color=color, ls=ls,
                      drawstyle="steps-mid" if whole else "default")
            if whole:
                axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if span is not None:
            axes.axvspan(*numbers("span", span, 2), color=GREEN, alpha=0.2, lw=0)
        _label(axes, xlabel, ylabel, log)
    return drawn


def trial_lines(series: Mapping[str, Sequence[Measured]], x: Sequence[object], xlabel: str, ylabel: str, *,
                log: bool = False) -> Picture:
    """几条折线，每个横坐标上量过几次：每次一个点，连线是平均数，竖线是平均数的区间；图例在右边。

    series: 每条线的名字到各个横坐标上的几次测量，如 Trials，与 x 等长；
    x: 横坐标，等距排开，照原样写在轴上；几条线左右错开一点；log: 纵轴用对数刻度。
    """
    x = listed("x", x, least=0)
    series, log = named("series", series, listed, _measured, count=len(x)), flag("log", log)
    xlabel, ylabel = wording("xlabel", xlabel), wording("ylabel", ylabel)
    with canvas(8.4, 3.4, f"{ylabel}：{'、'.join(series)}", layout="tight") as drawn:
        axes = drawn.figure.subplots()
        for i, (name, groups) in enumerate(series.items()):
            color, places = f"C{i}", np.arange(len(x)) + 0.12 * (i - (len(series) - 1) / 2)
            axes.plot(places, [group.mean for group in groups], color=color, label=name)
            for place, group in zip(places, groups, strict=True):
                axes.plot([place] * len(group.values), group.values, "o", ms=4, color=color, alpha=0.4, mew=0)
                if math.isfinite(group.high - group.low):
                    axes.plot([place] * 2, [group.low, group.high], color=color, lw=2.5)
        axes.set_xticks(range(len(x)), [wording("x", each) for each in x])
        _label(axes, xlabel, ylabel, log)
    return drawn


def _places(x: Any) -> Any:
    """横轴上的位置：一串数，或者一串名字。"""
    found = listed("x", x, least=0)
    if all(isinstance(each, str) for each in found):
        return found
    return numbers("x", x if isinstance(x, np.ndarray | Tensor) else found, gaps=True)


def _style(name: str, value: Any) -> Any:
    """matplotlib 认得的 (颜色, 线型)。"""
    try:
        color, ls = value
        Line2D([], [], color=color, linestyle=ls)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} 应当是 (颜色, 线型)，如 (\"C0\", \"--\")，收到的是 {brief(value)}。") from error
    return value


def _label(axes: Axes, xlabel: str, ylabel: str, log: bool = False) -> None:
    """折线图的轴；图例在右边，只有一条线就不要。"""
    if log:
        axes.set_yscale("log", nonpositive="mask")
        _plain_numbers(axes.yaxis)
    axes.set(xlabel=xlabel)
    axes.set_title(ylabel, loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3.5)


def _plain_numbers(axis: Axis) -> None:
    """对数刻度不写成 10 的幂：数学字体的负号不在字库里。"""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def heat_maps(tables: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str], label: str,
              middle: float = 1.0, *, reach: float = 0.1, pale: Mapping[str, Tensor] | None = None) -> Picture:
    """几张并排的热图，格子里写数字，颜色的刻度共用，middle 是白色；NaN 是空格。

    tables: 标题到 (行, 列) 的张量；reach: 颜色至少到离 middle 多远，差别小就不该有浓的颜色；
    pale: 标题到 (行, 列) 的真假，为真的格子数字写成灰色，例如区间里有 0 的。
    """
    tables, label, middle = named("tables", tables, tensor, "(R, C)"), wording("label", label), amount("middle", middle)
    rows, columns, pale = listed("rows", rows, wording), listed("columns", columns, wording), _pale(pale, tables)
    away = [float((table - middle).abs().nan_to_num().max()) for table in tables.values()]
    reach = max(amount("reach", reach), *away)
    with canvas(2.5 * len(tables) + 1.2, 3.2, label, layout="constrained") as drawn:
        grid = drawn.figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (title, table) in zip(grid, tables.items(), strict=True):
            last = paint(axes, table, SIGNED, vmin=middle - reach, vmax=middle + reach)
            for i, j in (~table.isnan()).nonzero().tolist():
                strong, light = abs(table[i, j] - middle) > 0.65 * reach, title in pale and pale[title][i, j]
                axes.text(j, i, f"{round(float(table[i, j]), 2) + 0.0:.2f}", ha="center", va="center", fontsize=8,
                          color=FAINT if light else "white" if strong else "black")
            axes.set_title(title, fontsize=10)
            axes.set_xticks(range(len(columns)), columns, fontsize=8)
            axes.set_yticks(range(len(rows)), rows if axes is grid[0] else [], fontsize=9)
            axes.spines[:].set(visible=True, color=GREY, lw=0.5)
            axes.tick_params(length=0)
        drawn.figure.colorbar(last, ax=grid, shrink=0.6, aspect=15).outline.set_linewidth(0)
        drawn.figure.supxlabel(label, fontsize=9)
    return drawn


def _pale(pale: Mapping[str, Tensor] | None, tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """哪些格子的数字是灰色，每张表都有，或者都没有。"""
    found = named("pale", {} if pale is None else pale, lambda name, mask: tensor(
        name, torch.tensor(mask.tolist()) if isinstance(mask, np.ndarray) and mask.dtype.kind in "biuf" else mask,
        "(R, C)"), least=0)
    if found and any(title not in found or found[title].shape != table.shape for title, table in tables.items()):
        raise ValueError(f"pale 应当与 tables 一样，有 {brief([*tables])}，每一张一样大；"
                         f"收到的是 {brief({title: tuple(mask.shape) for title, mask in found.items()})}。")
    return found


def staircase(stairs: Mapping[str, Sequence[int]], edges: Sequence[int] = (), label: str = "通道数") -> Picture:
    """通道数怎样一层一层变：每条线是一个网络，最后一条是主角，前面的是灰色的对照。

    stairs: 名字到每一层的通道数；edges: 主角在第几层之前换了一级，画竖线。
    """
    stairs, edges, label = named("stairs", stairs, numbers), numbers("edges", edges, least=0), wording("label", label)
    *others, main = stairs.items()
    top = 1.12 * max(map(max, stairs.values()))
    with canvas(8.4, 3.4, label, layout="tight") as drawn:
        axes = drawn.figure.subplots()
        for name, heights in others:
            axes.step(range(len(heights)), heights, where="mid", color=GREY, lw=5, label=name)  # 宽：蓝线盖不住
        name, heights = main
        axes.step(range(len(heights)), heights, where="mid", color=BLUE, lw=2, label=name)
        axes.fill_between(range(len(heights)), heights, step="mid", color=BLUE, alpha=0.12)
        for k, value in enumerate(heights):
            axes.text(k, value + 0.02 * top, str(value), ha="center", fontsize=8, color=BLUE)
        for edge in edges:
            axes.axvline(edge - 0.5, color=GREY, lw=0.8, ls=":")
        axes.set(ylim=(0, top), xlabel="从前往后的各层", ylabel=label, xticks=[])
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=2, frameon=False, fontsize=9, borderpad=0)
    return drawn


def partial_sum(x: Sequence[float], f: Sequence[float], terms: Mapping[str, Sequence[float]],
                second: Mapping[str, Sequence[float]], title: str) -> Picture:
    """左：函数 f 和各项的和；中：各项分开画；右：第二个目标，和分别由各项、由和拟合出来的。

    x: 横轴；terms: 每一项的写法到它在 x 上的值；second: 名字到 x 上的值，第一个是目标，画成黑色。
    """
    x, title = numbers("x", x), wording("title", title)
    f, terms = numbers("f", f, len(x)), named("terms", terms, numbers, len(x))
    second = named("second", second, numbers, len(x))
    total, target = np.sum(list(terms.values()), axis=0), next(iter(second.values()))
    reach = 1.15 * max(2.0, np.abs(f).max())  # x 这一项也放得下
    with canvas(10.5, 3.6, title, layout="tight") as drawn:
        left, middle, right = drawn.figure.subplots(1, 3)
        left.plot(x, f, color="black", lw=2, label="f(x)")
        left.plot(x, total, color=ORANGE, lw=2, ls="--", label="各项的和")
        left.fill_between(x, f, total, color=ORANGE, alpha=0.15)
        for i, (name, values) in enumerate(terms.items()):
            middle.plot(x, values, color=f"C{i}", label=name)
        for (name, values), color in zip(second.items(), ("black", "C6", ORANGE), strict=False):
            right.plot(x, values, color=color, lw=2, ls="-" if values is target else "--", label=name)
        for axes, text, low, high in ((left, "相加：只留下和", min(f) - 0.6, max(f) + 0.6),
                                      (middle, "连结：每一项都留着", -reach, reach),
                                      (right, "换一个目标，重新组合", min(target) - 0.6, max(target) + 0.6)):
            axes.set(ylim=(low, high), xlim=(x[0], x[-1]))
            axes.set_title(text, loc="left", fontsize=10)
            axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
            axes.grid(alpha=0.25)
        drawn.figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    return drawn


def cost_shares(tables: Mapping[str, Trace]) -> Picture:
    """每个网络一行：左边参数、右边乘加各在哪些层；条长是占全网的百分比，条上写着个数。tables: 标题到清单。

    各图的横轴都是 0 到 100 %，所以同样的百分比一样长。
    """
    tables = named("tables", tables, of_kind, Trace, "逐层的清单，如 trace(net, (1, 1, 28, 28))")
    for title, table in tables.items():
        if not table.params or not table.macs:
            raise ValueError(f"tables[{brief(title)}] 有 {table.params} 个参数、{table.macs} 次乘加，说不出各层占多少；"
                             "换一个有卷积层或全连接层的网络。")
    rows = [sum(layer.params > 0 for layer in table) for table in tables.values()]
    with canvas(8.8, sum(0.27 * count + 0.75 for count in rows), "、".join(tables) + " 的参数和乘加在哪些层",
                layout="tight") as drawn:
        grid = drawn.figure.subplots(len(tables), 2, squeeze=False, height_ratios=rows)
        for (left, right), (title, table) in zip(grid, tables.items(), strict=True):
            _draw_shares(left, title, table, "params", "个参数")
            _draw_shares(right, title, table, "macs", "次乘加")
            right.set_yticks([])
    return drawn


def _draw_shares(axes: Axes, title: str, table: Trace, field: str, unit: str) -> None:
    """带参数的各层，一层一条：field（"params" 或 "macs"）占全网的百分比。"""
    layers, total = [layer for layer in table if layer.params], getattr(table, field)
    values = [getattr(layer, field) for layer in layers]
    bars = axes.barh([f"{layer.name} {layer.kind}" for layer in layers], [value / total for value in values],
                     color=[kind_color("conv" if "Conv" in layer.kind else "linear") for layer in layers], height=0.7,
                     edgecolor=EDGE, lw=0.5)
    axes.bar_label(bars, [f"{value:,}（{100 * value / total:.1f} %）" for value in values], padding=3, fontsize=8)
    axes.set(xlim=(0, 1.6))  # 100 % 的右边留给数字
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    axes.invert_yaxis()
    axes.spines["bottom"].set_bounds(0, 1)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_title(f"{title}：{total:,} {unit}", loc="left", fontsize=10)


def trade_offs(costs: Mapping[str, Mapping[str, float]], bands: Mapping[str, Band], lines: Mapping[str, float],
               own: Mapping[str, float]) -> Picture:
    """几个网络的精度对每一种代价（对数刻度），一种代价一格；竖条是官方运行的 5–95 %，圆点是中位数。

    costs: 代价的名字到 {网络: 值}；bands: 网络到官方区间；lines: 要画的参考线；own: 这台机器上的精度，画成叉。
    一个网络一种颜色，图例在最下面。
    """
    costs, lines = named("costs", costs, named, amount, 0), named("lines", lines, amount, least=0)
    bands = named("bands", bands, of_kind, Band, "官方区间，如 official_band('lenet')", least=0)
    own = named("own", own, amount, least=0)
    if missing := {*chain(*costs.values())} - {*bands}:
        raise ValueError(f"bands 里没有 {brief(sorted(missing))}；加上它的官方区间，见 official_band。")
    rows = -(-len(costs) // 2)
    with canvas(8.4, 3.3 * rows, "七个网络：精度与代价", layout="constrained") as drawn:
        cells = [*drawn.figure.subplots(rows, 2, squeeze=False, sharey=True).flat]
        for axes, (label, values) in zip(cells, costs.items(), strict=False):
            for text, height in lines.items():
                reference_line(axes, height, text)
            for i, (name, value) in enumerate(values.items()):
                _draw_band(axes, name, value, bands[name], f"C{i}")
                if name in own:
                    axes.plot(value, own[name], "x", color="black", ms=7)
            low, high = min(values.values()), max(values.values())
            axes.set(xscale="log", xlabel=label, xlim=(low / 2, high * 2), ylim=(_LOW, _HIGH))
            axes.xaxis.set_major_formatter(lambda value, _: _in_words(value))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(alpha=0.25)
        handles, names = cells[0].get_legend_handles_labels()
        drawn.figure.legend(handles, names, loc="outside lower center", ncols=7, frameon=False, fontsize=9)
        drawn.figure.supylabel("测试精度", fontsize=10)
    return drawn


def _in_words(value: float) -> str:
    """轴上的数：一万以上用万、亿，不写成 1e+06。"""
    for unit, word in ((1e8, " 亿"), (1e4, " 万")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def _draw_band(axes: Axes, name: str, value: float, band: Band, color: str) -> None:
    axes.plot([value] * 2, [max(band.low, _LOW), band.high], color=color, lw=4, alpha=0.35, solid_capstyle="butt")
    axes.plot(value, band.median, "o", color=color, ms=6, label=name)
