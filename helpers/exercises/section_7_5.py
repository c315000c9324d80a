"""7.5 GoogLeNet 的练习和先猜。"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, Limit, gives, params_at_most
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import pieces
from helpers.exercises.nets import book_net, params
from helpers.exercises.predicting import Number, Shape
from helpers.exercises.verdict import Mistake
from helpers.network.borrow import evaluating
from helpers.network.input_sizes import input_sizes
from helpers.network.trace import Trace, trace

FIRST = (192, 64, (96, 128), (16, 32), 32)  # 第一个 Inception 块：输入通道，四条路径
FOURTH = (480, 192, (96, 208), (16, 48), 64)  # 第四段的第一个


def _inception(*widths: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return load("7.5").Inception(*widths, **options)


def _path(i: int) -> nn.Module:
    return _inception(*FIRST, paths=(i,))


NOT_REDUCED = Mistake("not_reduced", "没有先用 1×1 降维，直接做了 3×3 和 5×5。")
NO_REDUCTION = Mistake("no_reduction", "漏了路径 2、3 开头的 1×1 卷积层。")
ONE_PATH = Mistake("one_path", "只数了最大的一条路径；四条都要。")
THREE_PATHS = Mistake("three_paths", "漏了汇聚的那条路径；汇聚之后还有一个 1×1 的卷积层。")


def _without_reduction() -> int:
    """路径 2、3 开头的 1×1 不数。"""
    parts = [part for part in pieces(_inception(*FIRST), (1, 192, 12, 12)) if part.weighs]
    ends = {96, 16}  # 降到的通道数
    return sum(part.params for part in parts if not (part.k == 1 and part.outputs in ends))


BLOCK_PARAMS = Number(
    section="7.5", name="block-params",
    question="第一个 Inception 块：输入 192 个通道，四条路径 64、(96, 128)、(16, 32)、32。它有几个参数？",
    hints=("一共六个卷积层：1×1；1×1 和 3×3；1×1 和 5×5；1×1。",
           "路径 2：192 → 96 的 1×1，96 → 128 的 3×3；偏置各一份。",
           "六个「输出 × (输入 × k² + 1)」相加。"),
    explanation="六个卷积层各数各的再相加；降维以后，3×3 和 5×5 的输入只有 96 和 16 个通道。",
    code='from helpers import load\n\n'
         'block = load("7.5").Inception(192, 64, (96, 128), (16, 32), 32)\n'
         'answer = sum(p.numel() for p in block.parameters())',
    parts=lambda: pieces(_inception(*FIRST), (1, 192, 12, 12)),
    mistakes={NOT_REDUCED: lambda: params(_inception(*FIRST, reduce=False)), NO_REDUCTION: _without_reduction,
              ONE_PATH: lambda: max(params(_path(i)) for i in (1, 2, 3, 4)),
              THREE_PATHS: lambda: sum(params(_path(i)) for i in (1, 2, 3))},
    picture=lambda: trace(_inception(*FIRST), (1, 192, 12, 12), depth=9))

ADDED = Mistake("added", "四条路径逐项相加了；Inception 块在通道维上连结，相加是残差块的事。")
WITH_NARROW = Mistake("with_narrow", "把降维的 1×1 的输出也连结了；它们只通向 3×3 和 5×5。")
KEPT = Mistake("kept", "把输入的通道也连结了；那是 DenseNet 的做法。")
REDUCED_ONLY = Mistake("reduced_only", "路径 2、3 用了降维之后的通道数；出来的是最后一层的。")
SMALLER = Mistake("smaller", "高和宽变小了；四条路径都用填充使高和宽不变，不然连结不起来。")


def _joined(paths: Sequence[int]) -> tuple[int, int, int]:
    return sum(paths), 6, 6


JOINED = Shape(
    section="7.5", name="joined",
    question="`Inception(480, 192, (96, 208), (16, 48), 64)` 收到一张 480×6×6 的图，出来是什么形状（通道×高×宽）？",
    hints=("高和宽：3×3 填充 1、5×5 填充 2、汇聚填充 1，都不变。",
           "通道：四条路径的输出连结起来。", "192 + 208 + 48 + 64。"),
    explanation="四条路径的输出在通道维上连结：192 + 208 + 48 + 64 = 512，高和宽不变。",
    code='import torch\nfrom helpers import load\n\n'
         'block = load("7.5").Inception(480, 192, (96, 208), (16, 48), 64)\n'
         'answer = tuple(block(torch.zeros(1, 480, 6, 6)).shape[1:])',
    mistakes=lambda: {
        ADDED: (max(FOURTH[1], FOURTH[2][1], FOURTH[3][1], FOURTH[4]), 6, 6),
        WITH_NARROW: _joined((FOURTH[1], *FOURTH[2], *FOURTH[3], FOURTH[4])),
        KEPT: _joined((FOURTH[0], FOURTH[1], FOURTH[2][1], FOURTH[3][1], FOURTH[4])),
        REDUCED_ONLY: _joined((FOURTH[1], FOURTH[2][0], FOURTH[3][0], FOURTH[4])),
        SMALLER: (FOURTH[1] + FOURTH[2][1] + FOURTH[3][1] + FOURTH[4], 2, 2)})

ONLY_FIVE = Mistake("only_five", "漏了 1×1 卷积自己的权重：降维也要花 192 × m 个。")
ROUNDED = Mistake("rounded", "向上取了整；要严格地少，取不到的那一个不算。")
OVER_INPUT = Mistake("over_input", "把 25 也乘到了 1×1 上；1×1 的窗口只有一个权重。")
WRONG_WIDTH = Mistake("wrong_width", "用了路径 2 的 128 个输出通道；路径 3 是 32 个。")


def _most(cost: Callable[[int], float], whole: float) -> int:
    """cost(m) < whole 的最大的 m。"""
    return max((m for m in range(1, 2_000) if cost(m) < whole), default=0)


WORTHWHILE = Number(
    section="7.5", name="worthwhile",
    question="路径 3 不降维，5×5 要 25 × 192 × 32 个权重；先降到 m 个通道，是 192 × m + 25 × m × 32（都不算偏置）。\n"
             "m 最大是几，降维才省权重？",
    hints=("解 192 m + 800 m < 153,600。", "m < 153,600 / 992。", "154.8，取整数。"),
    explanation="m < 153,600 / 992 ≈ 154.8，所以最大 154；书上降到 16，省得多得多。",
    code='answer = max(m for m in range(1, 1_000) if 192 * m + 25 * m * 32 < 25 * 192 * 32)',
    mistakes={ONLY_FIVE: lambda: _most(lambda m: 25 * m * 32, 25 * 192 * 32),
              ROUNDED: lambda: _most(lambda m: 192 * m + 800 * m, 25 * 192 * 32) + 1,
              OVER_INPUT: lambda: _most(lambda m: 25 * 192 * m + 800 * m, 25 * 192 * 32),
              WRONG_WIDTH: lambda: _most(lambda m: 192 * m + 25 * m * 128, 25 * 192 * 32),
              Mistake("one_side", "5×5 的窗口只乘了一条边。"):
                  lambda: _most(lambda m: 192 * m + 5 * m * 32, 5 * 192 * 32)})

WRONG_AXIS = Mistake("wrong_axis", "连结的不是通道维；第 0 维是批量，第 1 维才是通道。")
SUMMED = Mistake("summed", "相加了；Inception 块是连结。")
REVERSED = Mistake("reversed_paths", "连结的次序反了。")
CHAINED = Mistake("chained", "把路径一条接一条地做了；它们的输入都是 X。")
ONLY_LAST = Mistake("only_last", "只剩最后一条路径。")


def _joined_paths(X: Tensor, paths: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    return torch.cat([path(X) for path in paths], 1)


def _chained(X: Tensor, paths: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    found = []
    for path in paths:
        X = path(X)
        found.append(X)
    return torch.cat(found, 1)


def _paths() -> list[tuple[Tensor, list[Callable[[Tensor], Tensor]]]]:
    dice = torch.Generator().manual_seed(6)
    X, Y = torch.randn(2, 2, 2, 3, generator=dice), torch.randn(1, 3, 2, 2, generator=dice)
    return [(X, [torch.sin, torch.neg]), (Y, [torch.cos, torch.abs, torch.sin])]


INCEPTION = Code(
    section="7.5", name="inception",
    question="`paths` 是几条路径（函数），写出 Inception 块的前向。\n"
             "都从 `X`（批量, 通道, 高, 宽）开始，在通道维上连结。",
    hints=("每条路径算一次：`[path(X) for path in paths]`。", "`torch.cat(一串张量, dim=…)`。",
           "`torch.cat([path(X) for path in paths], dim=1)`"),
    explanation="每条路径的输入都是 X，结果在通道维（dim=1）上连结。",
    signature="def inception(X, paths):",
    code='import torch\n\ndef inception(X, paths):\n'
         '    return torch.cat([path(X) for path in paths], dim=1)\n\nanswer = inception',
    inputs=_paths,
    misled={WRONG_AXIS: lambda X, paths: torch.cat([path(X) for path in paths], 0),
            SUMMED: lambda X, paths: torch.stack([path(X) for path in paths]).sum(0),
            REVERSED: lambda X, paths: _joined_paths(X, paths[::-1]),
            CHAINED: _chained,
            ONLY_LAST: lambda X, paths: paths[-1](X)})


def _sees_five(net: nn.Module, rows: Trace) -> str:
    """输出的一个位置看得到的恰好是 5×5。"""
    seen = rows[-1].receptive_field
    return "" if seen.window == (5, 5) else f"输出的一个位置看得到 {seen}，应当恰好是 5×5。"


def _bends(net: nn.Module, rows: Trace) -> str:
    """不是线性的。"""
    X = torch.randn(1, 16, 7, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), evaluating(net):
        Y, Z, zero = net(X), net(-X), net(torch.zeros_like(X))
    return "中间没有 ReLU，整个是线性的。" if torch.allclose(Y + Z, 2 * zero, atol=1e-5) else ""


TWO_THREES = Design(
    section="7.5", name="two-threes",
    question="路径 3 的 5×5 卷积层（16 → 32 个通道）有 12,832 个参数。\n"
             "设计一串层代替它：16×7×7 进，32×7×7 出，一个位置恰好看得到 5×5，中间有 ReLU，至多 12,000 个参数。",
    hints=("两个 3×3（填充 1）看得到 5×5。", "16 → 32 → 32 要 13,888 个，反而更多：中间窄一点。",
           "16 → 16 → 32：2,320 + 4,640。"),
    explanation="中间的通道数定胜负：16 → 32 → 32 比一个 5×5 还多，16 → 16 → 32 只有一半多一点。",
    covers=("7.4.1",),
    code='from torch import nn\n\nanswer = nn.Sequential(\n    nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), '
         'nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())',
    others=('from torch import nn\n\nanswer = nn.Sequential(\n'
            '    nn.Conv2d(16, 24, (1, 5), padding=(0, 2)), nn.ReLU(),\n'
            '    nn.Conv2d(24, 32, (5, 1), padding=(2, 0)), nn.ReLU())',),
    shape=(1, 16, 7, 7), limits=(params_at_most(12_000), gives(32, 7, 7), Limit("field", _sees_five),
                                 Limit("linear", _bends)))

NORM_CONTEST = Contest(
    section="7.5", name="norm",
    question="给 Inception 块的每个卷积层后面加上批量规范化（书上的练习列了几个后续版本，这是第一个），"
             "测试精度变高还是变低？\n"
             "小的试法：一个 Inception 块、14×14 的 1,000 张图、3 轮，五个种子；看不出也是结论。",
    hints=("卷积和 ReLU 之间插 `nn.BatchNorm2d`。", "两组用同样的种子，`first.versus(second)`。",
           "没有规范化的只训练 3 轮多半还没有起步。"),
    explanation="同样的轮数，有规范化的走得更远；这个网络浅，又用 Kaiming，信号本来就不逐层变弱，原因没有量。"
                "标签平滑、残差连接也可以这样各做一组。",
    covers=("7.4.1",),
    arms=("有规范化", "没有规范化"), quantity="测试精度", slow=True,
    code='''import torch
from torch import nn
from helpers import fashion_mnist, fit, kaiming, load, trials

def network(norm):
    block = load("7.5").Inception(16, 8, (8, 16), (4, 8), 8)
    if norm:
        for path in block.paths.values():
            for i in range(len(path) - 1, -1, -1):
                if isinstance(path[i], nn.Conv2d):
                    path.insert(i + 1, nn.BatchNorm2d(path[i].out_channels))
    return nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), block,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10)).apply(kaiming)

def accuracy_with(norm):
    def measure(seed):
        torch.manual_seed(seed)
        data = fashion_mnist(batch_size=32, size=14, images=1_000, device="cpu")
        *_, last = fit(network(norm), *data, lr=0.1, num_epochs=3, dtype=torch.float32)
        return last.test_acc
    return measure

first, second = (trials(accuracy_with(norm), seeds=5) for norm in (True, False))''')


def _smallest() -> int:
    return input_sizes(book_net("7.5"), (1, 1, 96, 96), limit=96)[0]


def _linear(section: str) -> int:
    return sum(params(module) for module in book_net(section).modules() if isinstance(module, nn.Linear))


def _smoothed() -> float:
    """标签平滑 0.1 时，预测得完全正确也还有的损失。"""
    logits = torch.full((1, 10), -50.0).index_fill(1, torch.tensor([0]), 50.0)
    return nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1).item()


CLAIMS = Claims(
    section="7.5", name="claims",
    question="哪几句成立？",
    hints=("最小的输入用 `input_sizes` 问。", "数各个网络的全连接层和卷积层的参数。",
           "全局平均汇聚之后，全连接层的输入只有通道数那么长；填充使小图也走得到底。"),
    explanation="都从网络算：",
    covers=("7.4.1", "7.4.2", "7.4.3"),
    statements=(
        Statement("at_least_224", "GoogLeNet 至少要 224×224 的图。",
                  lambda: _smallest() >= 224,
                  lambda: f"{_smallest()}×{_smallest()} 就走得通：每一步都有填充，末尾是全局平均汇聚。"
                          "走得通不等于有意思，太小的图上后面几段只剩一个像素。"),
        Statement("fewer", "AlexNet 和 VGG-11 的参数都是 GoogLeNet 的七倍以上。",
                  lambda: min(params(book_net("7.2")), params(book_net("7.3")))
                  > 7 * params(book_net("7.5")),
                  lambda: f"{params(book_net('7.2')) / params(book_net('7.5')):.1f} 倍和 "
                          f"{params(book_net('7.3')) / params(book_net('7.5')):.1f} 倍。"),
        Statement("parallel_saves", "GoogLeNet 参数少，主要是因为路径并联，与全连接层无关。",
                  lambda: _linear("7.3") < params(book_net("7.3")) / 2,
                  lambda: f"VGG-11 的参数 {_linear('7.3') / params(book_net('7.3')):.0%} 在全连接层，"
                          f"GoogLeNet 的全连接层只有 {_linear('7.5'):,} 个：全局平均汇聚省下最多，"
                          "1×1 降维再省几倍。"),
        Statement("label_smoothing",
                  "用标签平滑（0.1：正确类别的目标是 0.91，其余各 0.01）训练，预测得完全正确、完全有把握时，损失是 0。",
                  lambda: _smoothed() < 0.01,
                  lambda: f"这时损失是 {_smoothed():.1f}：平滑的标签不许完全有把握。"),
        Statement("reduce", "不用 1×1 降维，整个 GoogLeNet 的参数是现在的三倍以上。",
                  lambda: _unreduced() > 3 * params(book_net("7.5")),
                  lambda: f"{_unreduced() / params(book_net('7.5')):.1f} 倍。"),
    ))


@cache
def _unreduced() -> int:
    return params(book_net("7.5", reduce=False))


EXERCISES = (BLOCK_PARAMS, JOINED, WORTHWHILE, INCEPTION, TWO_THREES, NORM_CONTEST, CLAIMS)

PATHS = ("路径 1：1×1", "路径 2：1×1 再 3×3", "路径 3：1×1 再 5×5", "路径 4：汇聚再 1×1")


def _example() -> Trace:
    return trace(_inception(*FIRST), (1, 192, 12, 12), depth=2)


def _out() -> tuple[int, int, int]:
    return load("7.5").Inception(*FIRST).out_channels, 12, 12


GUESSES = (
    Guess(section="7.5", name="block",
          question="网络里的第一个 Inception 块收到 192×12×12，四条路径的输出通道数是 64、128、32、32。"
                   "出来是什么形状（通道×高×宽）？",
          truth=_out, shows=_example, mistakes=lambda: {ADDED: (128, 12, 12), KEPT: (448, 12, 12)}),
    Guess(section="7.5", name="path", question="这四条路径里哪一条的参数最多？", options=PATHS,
          truth=lambda: PATHS[max(range(4), key=lambda i: params(_path(i + 1)))], shows=_example),
)
