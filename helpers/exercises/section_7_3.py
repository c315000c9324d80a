"""7.3 VGG 的练习和先猜。"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, convs_at_least, field_at_least, gives, params_at_most, sizes_include
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import NO_PADDING, NO_POOLING, side, sides
from helpers.exercises.nets import book_net
from helpers.exercises.predicting import Number
from helpers.exercises.verdict import Mistake
from helpers.network.trace import Trace, trace

SIXTEEN = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


@cache
def _rows(**options: Any) -> Trace:
    return trace(book_net("7.3", **options), (1, 1, 224, 224), depth=9)


@cache
def _alexnet() -> Trace:
    return trace(book_net("7.2"), (1, 1, 224, 224))


def _count(kind: str, arch: tuple[tuple[int, int], ...] = SIXTEEN) -> int:
    return sum(row.kind == kind for row in _rows(conv_arch=arch))


NO_LINEAR = Mistake("no_linear", "漏了全连接层，它们也有权重。")
NO_CONV = Mistake("blocks", "一个块只数了一层；块里有几个卷积层就是几层。")
WITH_POOLING = Mistake("with_pooling", "把汇聚层也数了进去；名字里只数有权重的层。")
WITH_RELU = Mistake("with_relu", "把激活也数了进去；名字里只数有权重的层。")
ONE_LINEAR = Mistake("one_linear", "全连接层只数了一个；有三个。")
AS_ELEVEN = Mistake("as_eleven", "这是书上的 VGG-11；这里的块里卷积层更多。")

WEIGHTED = Number(
    section="7.3", name="weighted-layers",
    question="`conv_arch = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))` 的网络，有权重的层有几个？\n"
             "（`trace` 不展开时，一个块只有一行；书上打印的 VGG-11 也因此「少」了三层。）",
    hints=("每对数的前一个，是这个块里的卷积层数。", "再加上三个全连接层；汇聚、ReLU、暂退法都没有权重。",
           "2 + 2 + 3 + 3 + 3 + 3。"),
    explanation="块里的卷积层 2 + 2 + 3 + 3 + 3，加三个全连接层：这就是 VGG-16。\n"
                "VGG-11 的 8 个卷积层装在 5 个块里，逐块打印只看得到 5 行，少的 3 行在块里面。",
    covers=("7.2.1", "7.2.4"),
    code='from helpers import load, trace\n\n'
         'net = load("7.3").vgg11(conv_arch=((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)))\n'
         'answer = sum(row.params > 0 for row in trace(net, (1, 1, 224, 224), depth=2))',
    mistakes={NO_LINEAR: lambda: _count("Conv2d"), NO_CONV: lambda: len(SIXTEEN) + _count("Linear"),
              WITH_POOLING: lambda: _count("Conv2d") + _count("Linear") + _count("MaxPool2d"),
              WITH_RELU: lambda: _count("Conv2d") + _count("Linear") + _count("ReLU"),
              ONE_LINEAR: lambda: _count("Conv2d") + 1,
              AS_ELEVEN: lambda: sum(row.params > 0 for row in _rows())})

AS_224 = Mistake("as_224", "这是 224×224 的输入的；96 除以 32 只剩 3×3。")
NARROW = Mistake("narrow", "这是 `ratio=4` 的窄网络的；这里的通道数没有除以 4。")
ONE_SIDE = Mistake("one_side", "只乘了一条边；高和宽都要乘。")
CHANNELS = Mistake("channels", "只数了通道。")
PIXELS = Mistake("pixels", "只数了像素，漏了 512 个通道。")
FOUR_POOLS = Mistake("four_pools", "少了一次汇聚；五个块各减半一次。")


def _inputs(n: int, channels: int = 512) -> int:
    return channels * n * n


def _blocks(n: int, **options: Any) -> int:
    return side(book_net("7.3", **options)[:5], n)


AT_96 = Number(
    section="7.3", name="at-96",
    question="输入改成 96×96，块不动，`vgg11()` 的第一个全连接层的输入要改成多长（`7 * 7 * 512` 换成几）？",
    hints=("每个块只有末尾的汇聚把边长减半。", "96 减半五次。", "512 × 3 × 3。"),
    explanation="96 → 48 → 24 → 12 → 6 → 3，512 × 3 × 3。\n"
                "参数少了，是因为第一个全连接层短了；卷积层的参数与输入大小无关，它们的乘加和激活只有约五分之一。\n"
                "图本来只有 28×28，放大到 224 没有多出信息。",
    covers=("7.2.3",),
    code='from helpers import load, trace\n\n'
         'answer = trace(load("7.3").vgg11()[:6], (1, 1, 96, 96))[-1].out_shape[1]',
    mistakes={AS_224: lambda: _inputs(_blocks(224)), NARROW: lambda: _inputs(_blocks(96), 512 // 4),
              ONE_SIDE: lambda: 512 * _blocks(96), CHANNELS: lambda: 512, PIXELS: lambda: _blocks(96) ** 2,
              FOUR_POOLS: lambda: _inputs(side(book_net("7.3")[:4], 96)),
              NO_PADDING: lambda: _inputs(sides(book_net("7.3")[:5], 96)[NO_PADDING]),
              NO_POOLING: lambda: _inputs(sides(book_net("7.3")[:5], 96)[NO_POOLING])})

ADDED_WINDOWS = Mistake("added_windows", "把窗口加了起来；两层 3×3 的窗口有重叠，每层只多看 k − 1 个。")
MULTIPLIED_WINDOWS = Mistake("multiplied_windows", "把窗口乘了起来；每层只多看 (k − 1) × 步幅之积。")
IGNORED_STRIDE = Mistake("ignored_stride", "没有管步幅；前面走过几格，后面的窗口就隔几格看一个。")
OWN_STRIDE = Mistake("own_stride", "把这一层自己的步幅也乘了进去；它只影响后面的层。")
NO_FIRST = Mistake("no_first", "漏了起点的那一个像素：从 1 加起。")
OWN_ONLY = Mistake("own_only", "乘的是这一层自己的步幅；要乘的是前面各层的步幅之积。")
LAST_STRIDE = Mistake("last_stride", "只乘了前一层的步幅；前面各层的步幅要连乘。")


def _field(layers: list[tuple[int, int]], *, own: bool = False, start: int = 1, chain: bool = True,
           strides: bool = True) -> int:
    """感受野；各个参数是想错的几种。"""
    seen, step = start, 1
    for k, s in layers:
        after = (step * s if chain else s) if strides else 1
        seen += (k - 1) * (after if own else step)
        step = after
    return seen


def _product(layers: list[tuple[int, int]]) -> int:
    found = 1
    for k, _ in layers:
        found *= k
    return found


RECEPTIVE_FIELD = Code(
    section="7.3", name="receptive-field",
    question="`layers` 是一串 (窗口, 步幅)，从前往后；写出最后的一个位置看得到输入的几个像素（一个方向）。\n"
             "两个 3×3、步幅 1 是 5；`trace` 的「感受野」一列也这样算。",
    hints=("从 1 个像素开始，每过一层多看一些。", "一层多看 (窗口 − 1) × 前面各层步幅之积。",
           "循环里：`seen += (k - 1) * step`，再 `step *= s`；开始时两个都是 1。"),
    explanation="每一层多看 (k − 1) 个，每个隔着前面各层步幅之积那么远。",
    signature="def receptive_field(layers):",
    code='def receptive_field(layers):\n    seen = step = 1\n    for k, s in layers:\n        seen += (k - 1) * step\n'
         '        step *= s\n    return seen\n\nanswer = receptive_field',
    inputs=lambda: [([(3, 1), (3, 1)],), ([(5, 1)],), ([(3, 2), (3, 1), (2, 2), (3, 1)],), ([(11, 4), (3, 2), (5, 1)],),
                    ([],)],
    misled={ADDED_WINDOWS: lambda layers: sum(k for k, _ in layers), MULTIPLIED_WINDOWS: _product,
            IGNORED_STRIDE: lambda layers: _field(layers, strides=False),
            OWN_STRIDE: lambda layers: _field(layers, own=True),
            OWN_ONLY: lambda layers: _field(layers, own=True, chain=False),
            NO_FIRST: lambda layers: _field(layers, start=0),
            LAST_STRIDE: lambda layers: _field(layers, chain=False)})

LIGHT = Design(
    section="7.3", name="light",
    question="VGG-11 的第一个全连接层有一亿个参数。\n"
             "设计一个至少八个卷积层、至多 12,000,000 个参数的网络，展平以前至少看得到 150×150，"
             "96 和 224 的边长都走得通。",
    hints=("边长不同而参数相同：展平以前把高和宽变成固定的大小。", "`nn.AdaptiveAvgPool2d(1)` 之后只有 512 个数。",
           "五个块照旧，`AdaptiveAvgPool2d(1)`、`Flatten`、`Linear(512, 10)`。"),
    explanation="全局平均汇聚以后，第一个全连接层从 25,088 个输入变成 512 个；下一节的 NiN 走的就是这条路。",
    code='from torch import nn\nfrom helpers import load\n\n'
         'answer = nn.Sequential(*load("7.3").vgg11(hidden=8)[:5], nn.AdaptiveAvgPool2d(1), nn.Flatten(), '
         'nn.Linear(512, 10))',
    others=('from torch import nn\nfrom helpers import load\n\n'
            'blocks = load("7.3").vgg11(ratio=4, hidden=8)[:5]\n'
            'answer = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(7), nn.Flatten(), '
            'nn.Linear(128 * 49, 256), nn.ReLU(), nn.Linear(256, 10))',),
    shape=(1, 1, 224, 224),
    limits=(params_at_most(12_000_000), convs_at_least(8), field_at_least(150), gives(10), sizes_include(96, 224)))


def _conv(before: int, after: int, k: int) -> int:
    """一个卷积层的参数。"""
    return sum(p.numel() for p in nn.Conv2d(before, after, k, device="meta").parameters())


def _alexnet_window() -> int:
    with torch.device("meta"):
        return load("7.2").alexnet()[0].kernel_size[0]


def _composed_gap() -> float:
    """两个 3×3 的核先后做，与它们合成的一个 5×5 差多少。"""
    dice = torch.Generator().manual_seed(0)
    X, one, two = (torch.randn(1, 1, n, n, generator=dice) for n in (9, 3, 3))
    correlate: Callable[..., torch.Tensor] = nn.functional.conv2d
    five = correlate(nn.functional.pad(two, (2, 2, 2, 2)), one.flip(2, 3))
    return (correlate(correlate(X, one), two) - correlate(X, five)).abs().max().item()


CLAIMS = Claims(
    section="7.3", name="claims",
    question="哪几句成立？",
    hints=("乘加、参数都用 `trace` 比，窗口看网络的第一层。", "通道数不变时数 9 + 9 与 25，翻倍时数 9 + 18 与 25。",
           "没有 ReLU 时，两层的核可以先合起来；反过来，一个任意的 5×5 有 25 个自由的数，两个 3×3 只有 18 个。"),
    explanation="都从网络算：",
    covers=("7.2.2",),
    statements=(
        Statement("eight_times", "VGG-11 的乘加是 AlexNet 的七倍以上。",
                  lambda: _rows().macs > 7 * _alexnet().macs,
                  lambda: f"{_rows().macs / _alexnet().macs:.1f} 倍：高和宽大的时候，通道就已经很多。"),
        Statement("first_window", "AlexNet 的第一层用 7×7 的窗口，VGG 换成 3×3，每个核的参数更多，显存就要得多。",
                  lambda: _alexnet_window() == 7,
                  lambda: f"AlexNet 的第一层是 {_alexnet_window()}×{_alexnet_window()}；3×3 的核参数更少，"
                          "多要的显存是各层的激活。"),
        Statement("same_channels", "通道数不变时，两个 3×3 的卷积层比一个 5×5 的参数少。",
                  lambda: 2 * _conv(64, 64, 3) < _conv(64, 64, 5),
                  lambda: f"64 个通道：{2 * _conv(64, 64, 3):,} 对 {_conv(64, 64, 5):,}。"),
        Statement("doubled_channels", "通道数翻倍的地方也是：两个 3×3（64→128→128）比一个 5×5（64→128）少。",
                  lambda: _conv(64, 128, 3) + _conv(128, 128, 3) < _conv(64, 128, 5),
                  lambda: f"{_conv(64, 128, 3) + _conv(128, 128, 3):,} 对 {_conv(64, 128, 5):,}：后一层输入也翻倍。"),
        Statement("linear_pair", "两个 3×3 中间没有 ReLU（也没有填充）时，总可以写成一个 5×5。",
                  lambda: _composed_gap() < 1e-4,
                  lambda: f"两种做法最多差 {_composed_gap():.0e}；反过来不行，5×5 的自由度更多。"),
        Statement("pretrained", "把输入改成 96，精度会降，因为书上的 VGG 是在 224×224 的 ImageNet 上训练好的。",
                  lambda: _rows()[0].in_shape[1] == 3,
                  lambda: f"书上的网络从随机的权重开始，只有 {_rows()[0].in_shape[1]} 个输入通道，与 ImageNet 无关。"),
    ))


DEEP_OR_WIDE = Contest(
    section="7.3", name="deep-or-wide",
    question="整个网络的参数一样多，每块三个 3×3 的卷积层与一个 5×5 的，哪一组的测试精度高？\n"
             "用记录过的 `depths`，或者自己做：`trials` 至少三个种子。",
    hints=("`recorded(\"7.3\", \"depths\")[\"测试精度\"]` 给出每一组的 Trials。",
           "`first.versus(second)` 是成对的差，看区间里有没有 0。",
           "差的区间整个在 0 的上面。"),
    explanation="三个 3×3 的高：层多，看得也更远。可是乘加也多四成，所以还说不清是哪一样的功劳。",
    arms=("三个 3×3", "一个 5×5"), quantity="测试精度",
    code='from helpers import recorded\n\n'
         'scores = recorded("7.3", "depths")["测试精度"]\n'
         'first, second = scores["三个 3×3"], scores["一个 5×5"]')

EXERCISES = (WEIGHTED, AT_96, RECEPTIVE_FIELD, LIGHT, DEEP_OR_WIDE, CLAIMS)


def _block() -> nn.Module:
    return load("7.3").vgg_block(1, 1, 64)


def _example() -> Trace:
    return trace(_block(), (1, 1, 224, 224))


GUESSES = (
    Guess(section="7.3", name="block",
          question="一张 224×224 的图像进 `vgg_block(1, 1, 64)`，出来是什么形状（通道×高×宽）？"
                   "换成 `vgg_block(3, 1, 64)`，形状变不变？",
          truth=lambda: _example()[-1].out_shape[1:], shows=_example,
          mistakes=lambda: {mistake: (64, n, n) for mistake, n in sides(_block(), 224).items()}),
)
