"""从活的网络画出这一章的图。"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from helpers.data import LABELS
from helpers.modes import evaluating
from helpers.plotting import GREY, Picture, chinese, picture

# 淡色底、深色字，在亮色和暗色主题里都看得清
_COLORS = {"Conv2d": "#cfe2f3", "Linear": "#f9cb9c", "pool": "#d9ead3", "other": "#eeeeee"}
_ACTIVATIONS = {"ReLU": "ReLU", "Sigmoid": "sigmoid", "Tanh": "tanh"}


def describe(module: nn.Module) -> str:
    """一层的中文说法，参数从模块里读，如「5×5 卷积层 (6)，填充 2」。"""
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d):
        text = f"{_window(module.kernel_size)} 卷积层 ({module.out_channels})"
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        text = f"{_window(module.kernel_size)} {'最大' if 'Max' in kind else '平均'}汇聚层"
    elif isinstance(module, nn.Linear):
        return f"全连接层 ({module.out_features})"
    elif isinstance(module, nn.BatchNorm2d):
        return "批量规范化"
    elif isinstance(module, nn.Dropout):
        return f"暂退法 {module.p:g}"
    else:
        names = {"Flatten": "展平", "AdaptiveAvgPool2d": "全局平均汇聚层", "AdaptiveMaxPool2d": "全局最大汇聚层"}
        return (names | _ACTIVATIONS).get(kind, kind)
    stride, padding = _pair(module.stride)[0], _pair(module.padding)[0]
    default = 1 if isinstance(module, nn.Conv2d) else None
    return text + (f"，步幅 {stride}" if stride != default else "") + (f"，填充 {padding}" if padding else "")


def layer_stacks(nets: dict[str, nn.Sequential], input_text: str = "图像") -> Picture:
    """每个网络画成一列自下而上的方框，一层一框，并排比较。

    nets: 标题到 nn.Sequential；激活函数、展平这样不改变权重的层并入它前面的框。
    """
    columns = []
    for title, net in nets.items():
        boxes = [(input_text, "other")]
        for module in net:
            if isinstance(module, nn.Flatten):
                continue
            if type(module).__name__ in _ACTIVATIONS or isinstance(module, nn.Dropout):
                boxes[-1] = (f"{boxes[-1][0]}，{describe(module)}", boxes[-1][1])
                continue
            kind = type(module).__name__
            boxes.append((describe(module), "pool" if "Pool" in kind else kind))
        columns.append((title, boxes))
    tallest = max(len(boxes) for _, boxes in columns)
    with chinese():
        figure = Figure(figsize=(4 * len(columns), 0.42 * tallest + 0.4), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(columns)), ylim=(-0.2, tallest + 0.7))
        axes.axis("off")
        for i, (title, boxes) in enumerate(columns):
            for j, (text, kind) in enumerate(boxes):
                axes.add_patch(FancyBboxPatch((i + 0.06, j + 0.15), 0.88, 0.5, edgecolor="#888888",
                                              facecolor=_COLORS.get(kind, _COLORS["other"]),
                                              boxstyle="round,pad=0,rounding_size=0.03"))
                axes.text(i + 0.5, j + 0.4, text, ha="center", va="center", fontsize=9)
                if j:
                    axes.annotate("", (i + 0.5, j + 0.15), (i + 0.5, j - 0.35),
                                  arrowprops={"arrowstyle": "->", "color": "#666666"})
            axes.text(i + 0.5, len(boxes) + 0.1, title, ha="center", va="center", fontsize=12)
    return picture(figure, "、".join(title for title, _ in columns) + " 的各层")


def data_flow(net: nn.Sequential, X: Tensor) -> Picture:
    """一张图像怎样流过网络：每一级的特征图都是网络此刻真的算出来的。

    net: nn.Sequential；X: (1, C, H, W)，与 net 在同一设备。形状改变一次就是一级，最多画前 6 个通道。
    """
    stages = [("输入", X)]
    with torch.no_grad(), evaluating(net):
        for layer in net:
            before, X = X, layer(X)
            if X.shape == before.shape:
                stages[-1] = (stages[-1][0] + "\n" + describe(layer), X)
            else:
                stages.append((describe(layer).replace("，", "\n"), X))
    with chinese():
        figure = Figure(figsize=(1.5 * len(stages), 3), dpi=100)
        for i, (text, maps) in enumerate(stages):
            left = (i + 0.04) / len(stages)
            _draw_stage(figure, left, 0.84 / len(stages), maps[0].float().cpu())
            figure.text(left, 0.93, _shape_text(maps), fontsize=10)
            figure.text(left, 0.02, text, fontsize=8, color="#555555", va="bottom")
            if i:
                figure.text(left - 0.04 / len(stages), 0.55, "→", fontsize=12, color=GREY, ha="right")
    return picture(figure, "数据怎样流过网络")


def image_grid(X: Tensor, titles: Sequence[str], wrong: Sequence[bool] = (), columns: int = 9) -> Picture:
    """一格一张图像，标题写在上面；wrong 为真的标题是红色。X: (N, 1, H, W)。"""
    rows = -(-len(X) // columns)
    with chinese():
        figure = Figure(figsize=(columns * 1.15, rows * 1.5), dpi=100)
        cells = figure.subplots(rows, columns, squeeze=False).flat
        for i, axes in enumerate(cells):
            axes.axis("off")
            if i < len(X):
                axes.imshow(X[i, 0].float().cpu().numpy(), cmap="gray_r")
                axes.set_title(titles[i], fontsize=8, color="#d62728" if i < len(wrong) and wrong[i] else "black")
        figure.subplots_adjust(0.01, 0.01, 0.99, 0.88, hspace=0.45)
    return picture(figure, "测试图像与标签")


def confusion_matrix(y: Tensor, y_hat: Tensor) -> Picture:
    """混淆矩阵：行是真实类别，列是预测，格子里是占这一类的百分比。y, y_hat: (N,) int64，0–9。"""
    counts = torch.zeros(10, 10).index_put_((y.cpu(), y_hat.cpu()), torch.ones(len(y)), accumulate=True)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    names = [label.split()[0] for label in LABELS]
    with chinese():
        figure = Figure(figsize=(6, 5.2), dpi=100)
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(10, 10):
            if share[i, j] >= 0.005:
                axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if share[i, j] > 0.6 else "black")
        axes.set_xticks(range(10), names, rotation=45)
        axes.set_yticks(range(10), names)
        axes.set(xlabel="预测", ylabel="真实")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.tight_layout()
    return picture(figure, "混淆矩阵")


def _draw_stage(figure: Figure, left: float, width: float, maps: Tensor) -> None:
    """特征图 (C, H, W) 画成一叠，向量 (n,) 画成一条。"""
    if maps.dim() == 1:
        height = 0.12 + 0.13 * np.log10(len(maps))
        axes = figure.add_axes((left + 0.3 * width, 0.55 - height / 2, 0.16 * width, height))
        axes.imshow(maps[:, None].numpy(), aspect="auto", cmap="viridis")
        axes.set(xticks=[], yticks=[])
        return
    count = min(len(maps), 6)
    # 边长按平方根缩放：28 像素和 5 像素都看得清
    side = width * (0.35 + 0.3 * min(1.0, (maps.shape[-1] / 28) ** 0.5))
    aspect = figure.get_figwidth() / figure.get_figheight()
    for k in reversed(range(count)):
        shift = k * 0.06 * width
        axes = figure.add_axes((left + shift, 0.55 - side * aspect / 2 + shift * aspect, side, side * aspect))
        axes.imshow(maps[k].numpy(), cmap="viridis")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="white", linewidth=0.5)


def _shape_text(X: Tensor) -> str:
    sizes = list(X.shape[1:])
    return f"{sizes[0]} @ {sizes[1]}×{sizes[2]}" if len(sizes) == 3 else str(sizes[0])


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value


def _window(size: int | tuple[int, ...]) -> str:
    return "×".join(map(str, _pair(size)))
