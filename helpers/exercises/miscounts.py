"""数错的办法：每一种错误的数都是从网络算出来的，照着那样想的人会得到什么。"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from helpers.exercises.verdict import Mistake
from helpers.network.trace import trace

Rule = Callable[[int, int, int, int], int]  # 边长、窗口、填充、步幅到新的边长

NO_BIAS = Mistake("no_bias", "漏了偏置：每个输出通道（每个输出）还有一个。")
POOLING = Mistake("pooling", "把汇聚层的窗口也数了进去；汇聚只取平均或最大，没有参数。")
MACS = Mistake("macs_for_params", "这是乘加次数，不是参数：同一个权重在每个位置都用一次，参数只数一次。")
PARAMS = Mistake("params_for_macs", "这是参数的个数，不是乘加：同一个权重在输出的每个位置都要乘一次。")
NO_INPUTS = Mistake("no_in_channels", "漏了输入通道：每个输出通道对每个输入通道各有一个窗口。")
ONE_SIDE = Mistake("window_side", "窗口只乘了一条边：k×k 的窗口有 k² 个权重。")
BIAS_PER_MAP = Mistake("bias_per_kernel", "给每对输入、输出通道各算了一个偏置；一个输出通道只有一个。")
BIAS_PER_PIXEL = Mistake("bias_per_pixel", "给输出的每个像素各算了一个偏置；一个输出通道的所有位置共用一个。")
RGB = Mistake("rgb", "第一层按三个颜色通道数了；这里的图像是灰度的，只有一个通道。")
ONLY_CONV = Mistake("only_conv", "只数了卷积层，漏了全连接层。")
ONLY_LINEAR = Mistake("only_linear", "只数了全连接层，漏了卷积层。")
NO_NORM = Mistake("no_norm", "漏了批量规范化：每个通道有一个 γ、一个 β。")
RUNNING = Mistake("running_statistics", "把运行均值和运行方差也数了进去；它们不是学出来的，不算参数。")
BYTES = Mistake("bytes", "这是 float32 的字节数；一个参数占 4 个字节。")
FLOPS = Mistake("flops", "乘法和加法分开数了；一次乘加只算一次。")
INPUT_PIXELS = Mistake("input_pixels", "乘的是输入的像素数；窗口放几次，看输出有几个像素。")
ONE_ROW = Mistake("one_row", "只乘了输出的一条边；高和宽都要乘。")
BIASED = Mistake("bias_added", "把加偏置也当成了乘加；它只有加法。")
BATCH = Mistake("batch", "把批量也乘了进去；问的是一张图。")

CEIL = Mistake("ceil", "除不尽时向上取了整；最后一个放不满的窗口不放，要向下取整。")
NO_PLUS_ONE = Mistake("no_plus_one", "漏了加 1：走了几步，要加上起点的那一个窗口。")
ONE_PADDING = Mistake("one_padding", "只填充了一边；填充 p 是两边各填 p。")
NO_PADDING = Mistake("no_padding", "忘了填充。")
NO_STRIDE = Mistake("no_stride", "忘了步幅。")
NO_POOLING = Mistake("no_pooling", "忘了汇聚层，它也改变高和宽。")


def right(n: int, k: int, p: int, s: int) -> int:
    """⌊(n + 2p − k) / s⌋ + 1。"""
    return (n + 2 * p - k) // s + 1


RULES: dict[Mistake, Rule] = {
    CEIL: lambda n, k, p, s: math.ceil((n + 2 * p - k) / s) + 1,
    NO_PLUS_ONE: lambda n, k, p, s: (n + 2 * p - k) // s,
    ONE_PADDING: lambda n, k, p, s: (n + p - k) // s + 1,
    NO_PADDING: lambda n, k, p, s: (n - k) // s + 1,
    NO_STRIDE: lambda n, k, p, s: n + 2 * p - k + 1,
}


@dataclass(frozen=True)
class Piece:
    """一个卷积、全连接、汇聚或规范化层的一次调用。

    kind: "conv"、"linear"、"pool" 或 "norm"；inputs, outputs: 通道数（全连接层是特征数）；
    k: 窗口的边长；bias: 有没有偏置；before, after: 输入、输出的 (高, 宽)，全连接层是 (1, 1)。
    """

    kind: str
    inputs: int
    outputs: int
    k: int
    bias: bool
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def weighs(self) -> bool:
        """有没有权重。"""
        return self.kind in ("conv", "linear")

    @property
    def weights(self) -> int:
        """权重的个数，没有偏置。"""
        return self.inputs * self.outputs * self.k ** 2 if self.weighs else 0

    @property
    def biases(self) -> int:
        """偏置的个数。"""
        return self.outputs if self.bias else 0

    @property
    def params(self) -> int:
        """参数的个数；规范化的是 γ 和 β。"""
        return 2 * self.outputs if self.kind == "norm" else self.weights + self.biases

    @property
    def macs(self) -> int:
        """乘加次数。"""
        return self.weights * math.prod(self.after)


def pieces(net: nn.Module, shape: Sequence[int]) -> list[Piece]:
    """一个网络的各层，按走过的次序；激活、展平、暂退法不在内，自适应的汇聚也不在内。"""
    found = []
    for layer in trace(net, shape, depth=99):
        module, before, after = net.get_submodule(layer.name), layer.in_shape, layer.out_shape
        kind, k = _kind(module)
        if kind:
            found.append(Piece(kind, before[1], after[1], k, getattr(module, "bias", None) is not None,
                               _sides(before), _sides(after)))
    return found


def _kind(module: nn.Module) -> tuple[str, int]:
    """哪一种层，窗口的边长；别的层是空的。"""
    match module:
        case nn.Conv2d():
            return "conv", module.kernel_size[0]
        case nn.Linear():
            return "linear", 1
        case nn.BatchNorm2d():
            return "norm", 1
        case nn.MaxPool2d() | nn.AvgPool2d():
            k = module.kernel_size
            return "pool", k if isinstance(k, int) else k[0]
    return "", 1


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)


Count = Callable[[list[Piece]], float]


def _sum(of: Callable[[Piece], float]) -> Count:
    return lambda parts: sum(map(of, parts))


MISCOUNTED_PARAMS: dict[Mistake, Count] = {
    NO_BIAS: _sum(lambda p: p.weights if p.weighs else p.params),
    POOLING: _sum(lambda p: p.params + (p.k ** 2 * p.outputs if p.kind == "pool" else 0)),
    MACS: _sum(lambda p: p.macs),
    NO_INPUTS: _sum(lambda p: p.weights // p.inputs + p.biases if p.kind == "conv" else p.params),
    ONE_SIDE: _sum(lambda p: p.weights // p.k + p.biases if p.weighs else p.params),
    BIAS_PER_MAP: _sum(lambda p: p.params + p.biases * (p.inputs - 1) if p.kind == "conv" else p.params),
    BIAS_PER_PIXEL: _sum(lambda p: p.params + p.biases * (math.prod(p.after) - 1) if p.weighs else p.params),
    RGB: lambda parts: sum(p.params for p in parts) + (2 * parts[0].weights if parts[0].inputs == 1 else 0),
    ONLY_CONV: _sum(lambda p: p.params if p.kind != "linear" else 0),
    ONLY_LINEAR: _sum(lambda p: p.params if p.kind == "linear" else 0),
    NO_NORM: _sum(lambda p: p.params if p.kind != "norm" else 0),
    RUNNING: _sum(lambda p: p.params * (2 if p.kind == "norm" else 1)),
    BYTES: _sum(lambda p: 4 * p.params),
}

MISCOUNTED_MACS: dict[Mistake, Count] = {
    PARAMS: _sum(lambda p: p.params),
    FLOPS: _sum(lambda p: 2 * p.macs),
    INPUT_PIXELS: _sum(lambda p: p.weights * math.prod(p.before)),
    ONE_ROW: _sum(lambda p: p.weights * p.after[0]),
    BIASED: _sum(lambda p: p.macs + p.biases * math.prod(p.after)),
    NO_INPUTS: _sum(lambda p: p.macs // p.inputs if p.kind == "conv" else p.macs),
    ONE_SIDE: _sum(lambda p: p.macs // p.k),
    POOLING: _sum(lambda p: p.macs + (p.k ** 2 * p.outputs * math.prod(p.after) if p.kind == "pool" else 0)),
    ONLY_CONV: _sum(lambda p: p.macs if p.kind == "conv" else 0),
    ONLY_LINEAR: _sum(lambda p: p.macs if p.kind == "linear" else 0),
}


def side(net: nn.Module, n: int, rule: Rule = right, pooling: bool = True) -> int:
    """照一条规则，边长 n 走过一串卷积和汇聚之后的边长。pooling: 算不算汇聚层。"""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) or (pooling and isinstance(layer, nn.MaxPool2d | nn.AvgPool2d)):
            numbers = [_one(getattr(layer, name)) for name in ("kernel_size", "padding", "stride")]
            n = rule(n, *numbers)
    return n


def _one(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def sides(net: nn.Module, n: int) -> dict[Mistake, int]:
    """照每一条错的规则走，各得到什么。"""
    return {mistake: side(net, n, rule) for mistake, rule in RULES.items()} | {NO_POOLING: side(net, n, pooling=False)}
