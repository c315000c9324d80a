"""7.6 ResNet（和书上 7.5 的批量规范化）的练习和先猜。"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, Limit, gives, params_at_most
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import NO_STRIDE, ONE_PADDING, pieces, side
from helpers.exercises.nets import params
from helpers.exercises.predicting import Number, Shape
from helpers.exercises.verdict import Mistake
from helpers.experiments.records import recorded
from helpers.network.trace import Trace, trace
from helpers.pictures.canvas import Picture
from helpers.pictures.charts import dots

_DEEPER = '''from torch import nn
from helpers import load

book = load("7.6")

def resnet(counts, channels=(64, 128, 256, 512)):
    stem = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3)
    layers, before = [stem, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)], 64
    for count, after in zip(counts, channels):
        for i in range(count):
            layers.append(book.Residual(before, after, stride=2 if i == 0 and after > 64 else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))
'''


@cache
def _resnet() -> Callable[..., nn.Sequential]:
    """造 ResNet-18、34 的函数，就是答案里的那一个。"""
    names: dict[str, Any] = {}
    exec(compile(_DEEPER, "〔7.6 的答案〕", "exec"), names)
    return names["resnet"]


@cache
def _resnet34() -> nn.Sequential:
    with torch.device("meta"):
        return _resnet()((3, 4, 6, 3))


def _like(*counts: int) -> int:
    """每级放这么多个残差块的参数。"""
    with torch.device("meta"):
        return params(_resnet()(counts))


FOUR_EACH = Mistake("four_each", "每级放了 4 个块；34 层是 3、4、6、3 个。")
EIGHTEEN = Mistake("eighteen", "这是 ResNet-18 的参数。")
NO_SHORTCUT = Mistake("no_shortcut", "漏了捷径上的 1×1 卷积：换级的三个块各有一个。")
ALL_SHORTCUTS = Mistake("all_shortcuts", "每个块的捷径都放了 1×1 卷积；只有形状变了的块才要。")
DOUBLED = Mistake("doubled", "把 ResNet-18 的翻了一倍；开头和最后的全连接层不变，各级的块数也不是都翻倍。")


def _shortcuts(net: nn.Module) -> int:
    """各个捷径上的参数。"""
    return sum(params(block.shortcut) for block in _blocks(net))


def _blocks(net: nn.Module) -> list[Any]:
    """里面的残差块。"""
    return [module for module in net.modules() if isinstance(module, load("7.6").Residual)]


def _with_all_shortcuts() -> int:
    widths = [block.body[3].out_channels for block in _blocks(_resnet34())
              if isinstance(block.shortcut, nn.Identity)]
    return params(_resnet34()) + sum(width * width + width for width in widths)


RESNET34 = Number(
    section="7.6", name="resnet34",
    question="每级放 3、4、6、3 个残差块就是 ResNet-34。\n"
             "照这一节的写法（卷积层有偏置），它有几个参数？写一个函数造出来，再数。",
    hints=("`stage` 只放两个块；写一个循环，每级放 `count` 个。",
           "每级的第一个块负责换通道数和步幅（第一级除外），其余的 `Residual(c, c)`。",
           "`Residual(before, after, stride=2 if i == 0 and after > 64 else 1)`，再 `before = after`。"),
    explanation="只有第二、三、四级的第一个块，捷径上有 1×1 卷积；其余的块形状不变，捷径是一条线。",
    covers=("7.6.2",),
    code=_DEEPER + '\nanswer = sum(p.numel() for p in resnet((3, 4, 6, 3)).parameters())',
    parts=lambda: pieces(_resnet34(), (1, 1, 96, 96)),
    mistakes={FOUR_EACH: lambda: _like(4, 4, 4, 4), EIGHTEEN: lambda: _like(2, 2, 2, 2),
              DOUBLED: lambda: 2 * _like(2, 2, 2, 2),
              NO_SHORTCUT: lambda: params(_resnet34()) - _shortcuts(_resnet34()),
              ALL_SHORTCUTS: _with_all_shortcuts},
    remark="比 ResNet-18 多不到一倍：多出来的块都在形状不变的地方。")

CONCATENATED = Mistake("concatenated", "通道数加了起来；残差块是逐项相加，形状不变，连结是下一节的事。")
KEPT_CHANNELS = Mistake("kept_channels", "通道数没有变；第一个卷积层和捷径都把它变成 6。")
FLOORED = Mistake("floored", "7 除以 2 直接舍去了；⌊(7 + 2 − 3) / 2⌋ + 1 是 4。")


def _uneven() -> nn.Module:
    return load("7.6").Residual(3, 6, stride=2)


def _uneven_mistakes() -> dict[Mistake, tuple[int, ...]]:
    body = _uneven().body
    assert isinstance(body, nn.Sequential)
    n, one = side(body, 7), side(body[:1], 7, lambda n, k, p, s: (n + p - k) // s + 1)
    return {CONCATENATED: (4, 9, n, n), KEPT_CHANNELS: (4, 3, n, n), FLOORED: (4, 6, 7 // 2, 7 // 2),
            NO_STRIDE: (4, 6, 7, 7), ONE_PADDING: (4, 6, one, one)}


ODD_SIDE = Shape(
    section="7.6", name="odd-side", batch=True,
    question="4 张 3 通道的 7×7 图进去，`Residual(3, 6, stride=2)` 出来是什么形状（批量也写上）？\n"
             "两条路都要走到同样的形状才能相加：捷径上的 1×1 卷积没有填充，步幅也是 2。",
    hints=("主路：3×3、填充 1、步幅 2；捷径：1×1、步幅 2。", "⌊(7 + 2 − 3) / 2⌋ + 1，⌊(7 − 1) / 2⌋ + 1。",
           "两条路的高和宽都是 4；通道数是第二个参数。"),
    explanation="主路 ⌊(7 + 2 − 3) / 2⌋ + 1 = 4，捷径 ⌊(7 − 1) / 2⌋ + 1 = 4，正好相同：边长是奇数也加得上。",
    code='from helpers import load, trace\n\n'
         'answer = trace(load("7.6").Residual(3, 6, stride=2), (4, 3, 7, 7))[-1].out_shape',
    mistakes=_uneven_mistakes)

OVER_ALL = Mistake("over_all", "所有通道一起求了均值和方差；每个通道各求各的。")
PER_IMAGE = Mistake("per_image", "每张图各求各的；批量规范化是同一个通道在整个批量、所有位置上求。")
UNBIASED = Mistake("unbiased", "方差除的是 n − 1；规范化用的是除以 n 的（运行方差才用 n − 1）。")
NO_SCALE = Mistake("no_scale", "漏了 γ 和 β。")
NO_CENTER = Mistake("no_center", "没有减去均值。")
EPS_OUTSIDE = Mistake("eps_outside", "ε 加在了开方之后；它加在方差上，再开方。")
NOT_ROOTED = Mistake("not_rooted", "除的是方差，没有开方。")


def _normalized(X: Tensor, gamma: Tensor, beta: Tensor, eps: float, *, dims: tuple[int, ...] = (0, 2, 3),
                center: bool = True, unbiased: bool = False,
                divide: Callable[[Tensor, float], Tensor] = lambda var, eps: (var + eps).sqrt()) -> Tensor:
    """批量规范化，训练模式；各个参数是想错的几种。"""
    mean, var = X.mean(dims, keepdim=True), X.var(dims, keepdim=True, correction=int(unbiased))
    Y = (X - mean if center else X) / divide(var, eps)
    return gamma[:, None, None] * Y + beta[:, None, None]


def _batches() -> list[tuple[Tensor, Tensor, Tensor, float]]:
    dice = torch.Generator().manual_seed(2)
    return [(torch.randn(n, c, h, w, generator=dice) * 2 + 3, torch.rand(c, generator=dice) + 0.5,
             torch.randn(c, generator=dice), eps)
            for n, c, h, w, eps in ((2, 1, 2, 2, 1e-5), (3, 4, 5, 2, 1e-5), (4, 2, 1, 1, 0.1))]


BATCH_NORM = Code(
    section="7.6", name="batch-norm",
    question="写出训练模式的批量规范化：`X` 是 (批量, 通道, 高, 宽)，`gamma`、`beta` 是 (通道,)，`eps` 加在方差上。\n"
             "不用 `nn.BatchNorm2d` 和 `F.batch_norm`。",
    hints=("每个通道一个均值、一个方差：在批量、高、宽三维上求。",
           "`X.mean((0, 2, 3), keepdim=True)`；方差用 `correction=0`（除以 n）。",
           "`gamma[:, None, None] * (X - mean) / (var + eps).sqrt() + beta[:, None, None]`"),
    explanation="每个通道在批量、高、宽上求均值和方差，减均值，除以 √(方差 + ε)，再乘 γ 加 β。",
    covers=("7.5.5",),
    signature="def batch_norm(X, gamma, beta, eps):",
    code='def batch_norm(X, gamma, beta, eps):\n'
         '    mean = X.mean((0, 2, 3), keepdim=True)\n'
         '    var = X.var((0, 2, 3), keepdim=True, correction=0)\n'
         '    return gamma[:, None, None] * (X - mean) / (var + eps).sqrt() + beta[:, None, None]\n\n'
         'answer = batch_norm',
    inputs=_batches,
    misled={
        OVER_ALL: lambda X, g, b, e: _normalized(X, g, b, e, dims=(0, 1, 2, 3)),
        PER_IMAGE: lambda X, g, b, e: _normalized(X, g, b, e, dims=(2, 3)),
        UNBIASED: lambda X, g, b, e: _normalized(X, g, b, e, unbiased=True),
        NO_SCALE: lambda X, g, b, e: _normalized(X, torch.ones_like(g), torch.zeros_like(b), e),
        NO_CENTER: lambda X, g, b, e: _normalized(X, g, b, e, center=False),
        EPS_OUTSIDE: lambda X, g, b, e: _normalized(X, g, b, e, divide=lambda var, eps: var.sqrt() + eps),
        NOT_ROOTED: lambda X, g, b, e: _normalized(X, g, b, e, divide=lambda var, eps: var + eps),
    })

MULTIPLIED = Mistake("multiplied", "两条路相乘了；残差块是相加。")
NO_PATH = Mistake("no_path", "没有加捷径，这是普通的块。")
RELU_FIRST = Mistake("relu_first", "先做了 ReLU 再相加；这一节的块是相加之后再做 ReLU。")
NO_RELU = Mistake("no_relu", "漏了最后的 ReLU。")
ONLY_X = Mistake("raw_input", "加的是 X 自己，没有走捷径；形状变了时，捷径上有 1×1 卷积。")


def _half(X: Tensor) -> Tensor:
    return 0.5 * X


def _cube(X: Tensor) -> Tensor:
    return X ** 3 - 1


def _residual_inputs() -> list[tuple[Any, ...]]:
    dice = torch.Generator().manual_seed(3)
    X, Y = torch.randn(2, 3, generator=dice), torch.randn(1, 2, 2, 2, generator=dice)
    return [(X, _cube, nn.Identity()), (X, _half, torch.neg), (Y, torch.sin, _half)]


RESIDUAL = Code(
    section="7.6", name="residual",
    question="写出残差块的前向：`body` 和 `shortcut` 是两条路（函数），返回块的输出。",
    hints=("两条路的输入都是 X。", "两条路的结果逐项相加，最后是 ReLU。", "`(body(X) + shortcut(X)).relu()`"),
    explanation="相加之后再做 ReLU。`shortcut` 是恒等映射、`body` 的输出是 0 时，非负的 X 原样通过。",
    covers=("7.6.1",),
    signature="def residual(X, body, shortcut):",
    code='def residual(X, body, shortcut):\n    return (body(X) + shortcut(X)).relu()\n\nanswer = residual',
    inputs=_residual_inputs,
    misled={
        MULTIPLIED: lambda X, body, shortcut: (body(X) * shortcut(X)).relu(),
        NO_PATH: lambda X, body, shortcut: body(X).relu(),
        RELU_FIRST: lambda X, body, shortcut: body(X).relu() + shortcut(X),
        NO_RELU: lambda X, body, shortcut: body(X) + shortcut(X),
        ONLY_X: lambda X, body, shortcut: (body(X) + X).relu(),
    })


def _looks_around(net: nn.Module, rows: Trace) -> str:
    """里面至少有一个看得到邻居的卷积。"""
    wide = any(isinstance(module, nn.Conv2d) and min(module.kernel_size) >= 3 for module in net.modules())
    return "" if wide else "没有 3×3 的卷积：每个位置看不到邻居。"


def _skips(net: nn.Module, rows: Trace) -> str:
    """权重都是 0 时，非负的输入原样通过（相加之后的 ReLU 不算改变）。"""
    X = torch.rand(1, 256, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    training = net.training
    try:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
            Y = net.eval()(X)
            passes = Y.shape == X.shape and torch.allclose(Y, X)
    finally:
        net.load_state_dict(kept)
        net.train(training)
    return "" if passes else "所有权重和偏置都是 0 时，非负的输入没有原样通过：捷径不在。"


BOTTLENECK = Design(
    section="7.6", name="bottleneck",
    question="设计一个瓶颈残差块：256×8×8 进，256×8×8 出，至多 80,000 个参数，里面有 3×3 的卷积，"
             "捷径是恒等映射（所有权重是 0 时，非负的输入原样通过）。\n"
             "普通的残差块 `Residual(256, 256)` 要 1,181,184 个参数。",
    hints=("先用 1×1 卷积把通道数降下来，做 3×3，再用 1×1 升回去。",
           "降到 64：256 × 64 + 9 × 64 × 64 + 64 × 256 ≈ 7 万。",
           "写一个 nn.Module：`body` 是三个卷积（中间有规范化和 ReLU），`forward` 返回 `(body(X) + X).relu()`。"),
    explanation="1×1 降到 64 个通道，3×3 在窄的地方做，1×1 升回来：参数是普通块的约十七分之一。",
    covers=("7.6.3",),
    code='''from torch import nn

class Bottleneck(nn.Module):
    def __init__(self, channels=256, narrow=64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, X):
        return (self.body(X) + X).relu()

answer = Bottleneck()''',
    others=('''from torch import nn

class Grouped(nn.Module):  # 每个通道自己的 3×3，再用 1×1 混合
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(256, 256, 3, padding=1, groups=256), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 256, 1))

    def forward(self, X):
        return self.body(X) + X

answer = Grouped()''',),
    shape=(1, 256, 8, 8),
    limits=(params_at_most(80_000), gives(256, 8, 8), Limit("neighbours", _looks_around), Limit("shortcut", _skips)))

DEPTH_CONTEST = Contest(
    section="7.6", name="depths",
    question="没有跨层连接、没有规范化的朴素网络（He 初始化），从 2 个块加到 6 个块，训练损失变大还是变小？\n"
             "用记录过的 `depths`，或者自己做：`trials` 至少三个种子。哪一组的训练损失大？",
    hints=("`recorded(\"7.6\", \"depths\")[\"训练损失\"]` 给出每一组的 Trials。",
           "`first.versus(second)` 是成对的差，看区间里有没有 0。", "更大的函数类没有拟合得更好：损失大的是 6 个块。"),
    explanation="训练损失变大了，不是过拟合：更深的朴素网络更难优化。\n"
                "有规范化的，从 2 个块到 6 个看不出，到 16 个才看得出。",
    arms=("6 个块", "2 个块"), quantity="训练损失", span=(0.0, 100.0),
    code='from helpers import recorded\n\n'
         'losses = recorded("7.6", "depths")["训练损失"]\n'
         'first, second = losses["朴素，He，无规范化，6 个块"], losses["朴素，He，无规范化，2 个块"]')


def _bias_shift() -> float:
    """卷积的偏置加 5，批量规范化（训练模式）的输出变了多少。"""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        X, conv, norm = torch.randn(8, 3, 6, 6), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        before = norm(conv(X))
        assert conv.bias is not None
        conv.bias += 5
        return (norm(conv(X)) - before).abs().max().item()


def _noise() -> float:
    """同一张图，与不同的图一起做批量规范化，输出差多少。"""
    with torch.no_grad():
        dice = torch.Generator().manual_seed(0)
        X, others, norm = torch.randn(1, 2, 4, 4, generator=dice), torch.randn(2, 7, 2, 4, 4, generator=dice), \
            nn.BatchNorm2d(2)
        one, two = (norm(torch.cat((X, rest)))[0] for rest in others)
        return (one - two).abs().max().item()


def _group_gap() -> float:
    """GroupNorm(1) 与在一张图的通道、高、宽上做的 LayerNorm 差多少。"""
    with torch.no_grad():
        X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        return (nn.GroupNorm(1, 3)(X) - nn.LayerNorm([3, 4, 4])(X)).abs().max().item()


def _single_pixel_fails() -> bool:
    try:
        nn.BatchNorm2d(2)(torch.zeros(1, 2, 1, 1))
    except ValueError:
        return True
    return False


NORM_CLAIMS = Claims(
    section="7.6", name="norm-claims",
    question="关于批量规范化（书上的 7.5 节），哪几句成立？",
    hints=("每一句都可以造一个小的 `nn.BatchNorm2d` 来试。", "减去均值之后，前一层加上的常数还在不在？",
           "统计量来自整个批量：换一批同伴，同一张图的输出就变；一个数的方差是 0。"),
    explanation="每一句都用几行代码试过：",
    covers=("7.5.1", "7.5.2", "7.5.3", "7.5.4", "7.5.6", "7.5.7"),
    statements=(
        Statement("bias", "卷积层后面紧接着批量规范化，训练时卷积层的偏置不起作用，可以删去。",
                  lambda: _bias_shift() < 1e-4,
                  lambda: f"偏置加 5，规范化之后的输出最多变 {_bias_shift():.0e}：均值减掉了它，β 代替它。"),
        Statement("deterministic", "训练模式下，一张图的输出只由它自己决定，与同批的图无关。",
                  lambda: _noise() < 1e-6,
                  lambda: f"换一批同伴，同一张图的输出最多差 {_noise():.2f}：这种随机有一点正则的作用，"
                          "但不是暂退法的替身，两样可以都要。"),
        Statement("layer_norm", "把一张图的所有通道合成一组的 GroupNorm，就是在通道、高、宽上做的 LayerNorm。",
                  lambda: _group_gap() < 1e-5, lambda: f"两种的输出最多差 {_group_gap():.0e}。"),
        Statement("one_value", "32×32 的图，批量是 1，训练模式的 `resnet18` 走得通：均值和方差总可以求。",
                  lambda: not _single_pixel_fails(),
                  lambda: "最后一级只剩 1×1，每个通道只有一个数，方差是 0，PyTorch 拒绝；"
                          "评估模式用运行统计量，走得通。"),
        Statement("whitening", "把 512 个通道完全去相关（全秩协方差），要估计的统计量与批量规范化一样多。",
                  lambda: 512 * 512 == 2 * 512,
                  lambda: f"协方差矩阵有 512 × 512 = {512 * 512:,} 个数（对称，一半多一点不同），"
                          f"批量规范化只要 {2 * 512:,} 个。"),
        Statement("every_layer", "书上的 ResNet-18 每一层后面都加批量规范化，包括最后的全连接层。",
                  lambda: _norm_after_last(), lambda: "书上的 ResNet-18 最后的全连接层和捷径的 1×1 卷积后面都没有。"),
    ))


def _norm_after_last() -> bool:
    with torch.device("meta"):
        return isinstance([*load("7.6").resnet18()][-1], nn.BatchNorm1d)


def _identity_gap() -> float:
    """在 ReLU 之后插进一个权重全是 0 的残差块，输出变了多少。"""
    with torch.no_grad():
        block = load("7.6").Residual(4, 4).eval()
        for parameter in block.body[-1].parameters():
            parameter.zero_()
        X = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        return (block(X) - X).abs().max().item()


def _pre_activation_gap() -> float:
    """预激活的块（规范化、ReLU、卷积，再相加，没有最后的 ReLU），最后一个卷积是 0，有正有负的输入变了多少。"""
    with torch.no_grad():
        last = nn.Conv2d(4, 4, 3, padding=1)
        for parameter in last.parameters():
            parameter.zero_()
        body = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
                             nn.BatchNorm2d(4), nn.ReLU(), last).eval()
        X = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        return (body(X) + X - X).abs().max().item()


CLAIMS = Claims(
    section="7.6", name="claims",
    question="哪几句成立？",
    hints=("嵌套保证的是拟合，不是泛化。", "把块最后的权重设成 0，看输入怎样通过；预激活的块末尾没有 ReLU。",
           "形状不变的块，捷径上没有参数；Inception 的几条路连结，残差块的两条路相加。"),
    explanation="每一句的依据：",
    covers=("7.6.1", "7.6.4", "7.6.5"),
    statements=(
        Statement("identity", "在 ReLU 之后插进一个新的残差块，把它最后的批量规范化的 γ、β 设成 0，网络的输出不变。",
                  lambda: _identity_gap() < 1e-6, lambda: f"非负的输入最多变 {_identity_gap():.0e}。"),
        Statement("pre_activation", "改成预激活（规范化、ReLU、卷积）以后，插进去的恒等块仍要求输入非负。",
                  lambda: _pre_activation_gap() > 1e-6,
                  lambda: f"有正有负的输入最多变 {_pre_activation_gap():.0e}：相加之后没有 ReLU，负的也原样通过。"),
        Statement("overfitting", "函数类嵌套了，加大它就不会过拟合，所以不用限制复杂度。",
                  lambda: _nested()[3] < _nested()[2],
                  lambda: "三次多项式是十二次的一部分；从 15 个带噪声的点拟合，训练误差 {:.3f} 降到 {:.3f}，"
                          "测试误差 {:.3f} 升到 {:.3f}：嵌套只保证拟合。".format(*_nested())),
        Statement("two_paths", "把 Inception 块删到只剩两条路，一条换成恒等映射，一条换成残差块里的卷积和规范化，"
                  "连结换成相加，再做 ReLU，就是残差块。",
                  lambda: _two_paths_gap() < 1e-6,
                  lambda: f"这样算出来的与 `Residual(4, 4)` 最多差 {_two_paths_gap():.0e}；"
                          "相加要两条路的通道数相同，连结不要。"),
        Statement("free_shortcut", "通道数和步幅都不变时，跨层连接不增加参数。",
                  lambda: params(load("7.6").Residual(8, 8)) == params(load("7.6").Residual(8, 8).body),
                  lambda: f"`Residual(8, 8)` 的 {params(load('7.6').Residual(8, 8)):,} 个参数都在 `body` 里。"),
        Statement("vanishing", "残差块解决的只是梯度消失；用了批量规范化，梯度不消失，朴素网络加深就不会变差。",
                  lambda: _deeper_plain() <= 0,
                  lambda: f"有批量规范化的朴素网络，16 个块的训练损失仍比 6 个块的大 {_deeper_plain():.2f}。"),
    ))


@cache
def _nested() -> tuple[float, float, float, float]:
    """三次和十二次多项式的训练误差，再是它们的测试误差（均方）。"""
    dice = np.random.default_rng(0)
    x, grid = np.linspace(-1, 1, 15), np.linspace(-0.95, 0.95, 200)
    y = np.sin(3 * x) + 0.3 * dice.standard_normal(15)
    fits = [np.polynomial.Polynomial.fit(x, y, degree) for degree in (3, 12)]
    train, test = ([float(np.mean((fit(at) - wanted) ** 2)) for fit in fits]
                   for at, wanted in ((x, y), (grid, np.sin(3 * grid))))
    return train[0], train[1], test[0], test[1]


def _two_paths_gap() -> float:
    """两条路，一条是残差块的 body，一条恒等，相加再做 ReLU；与残差块差多少。"""
    with torch.no_grad():
        block = load("7.6").Residual(4, 4).eval()
        X = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        paths = [block.body, nn.Identity()]
        return (torch.stack([path(X) for path in paths]).sum(0).relu() - block(X)).abs().max().item()


@cache
def _deeper_plain() -> float:
    """记录过的：有批量规范化的朴素网络，16 个块比 6 个块的训练损失大多少。"""
    losses = recorded("7.6", "depths")["训练损失"]
    return losses["朴素，16 个块"].mean - losses["朴素，6 个块"].mean


EXERCISES = (RESNET34, ODD_SIDE, BATCH_NORM, RESIDUAL, BOTTLENECK, DEPTH_CONTEST, NORM_CLAIMS, CLAIMS)


def _example() -> Trace:
    return trace(load("7.6").Residual(3, 6, stride=2), (4, 3, 6, 6))


def _depths() -> Picture:
    found = recorded("7.6", "depths")["训练损失"]
    arms = [f"{name}，{depth} 个块" for name in ("朴素", "残差") for depth in (6, 16)]
    return dots({arm: found[arm] for arm in arms}, "训练损失")


BOTH, PLAIN_ONLY, NEITHER = "两种都变大", "只有朴素网络变大", "两种都变小"


def _grown() -> str:
    """记录过的：哪种网络从 6 个块加到 16 个块，训练损失的区间整个变大。"""
    losses = recorded("7.6", "depths")["训练损失"]
    plain, residual = (losses[f"{name}，16 个块"].versus(losses[f"{name}，6 个块"]).larger == 0
                       for name in ("朴素", "残差"))
    return BOTH if plain and residual else PLAIN_ONLY if plain else NEITHER


FRONT, MIDDLE_LAST, SAME = "去掉前面的块", "去掉最后一块", "差不多"


def _without_one() -> dict[str, float]:
    """残差网络去掉最前、最后一块（统计量重算过）的平均精度。"""
    found = recorded("7.6", "blocks")
    return {FRONT: found["去掉 1，重算"]["残差"].mean, MIDDLE_LAST: found["去掉 8，重算"]["残差"].mean}


def _deleted() -> Picture:
    found = recorded("7.6", "blocks")
    return dots({f"残差，{name}": found[name]["残差"] for name in ("完整", "去掉 1，重算", "去掉 8，重算")}, "测试精度")


GUESSES = (
    Guess(section="7.6", name="block",
          question="4 张 3 通道、6×6 的图进去，`Residual(3, 6, stride=2)` 出来是什么形状（批量×通道×高×宽）？",
          truth=lambda: _example()[-1].out_shape, shows=_example,
          mistakes=lambda: {CONCATENATED: (4, 9, 3, 3), KEPT_CHANNELS: (4, 3, 3, 3), NO_STRIDE: (4, 6, 6, 6)}),
    Guess(section="7.6", name="depths",
          question="这么小的实验里，从 6 个块加到 16 个块，训练损失会变大吗？",
          options=(BOTH, PLAIN_ONLY, NEITHER), truth=_grown, shows=_depths),
    Guess(section="7.6", name="deleted",
          question="训练好的残差网络去掉一个块，去掉前面的和去掉后面的，哪个让精度降得多？",
          options=(FRONT, MIDDLE_LAST, SAME), truth=lambda: min(_without_one(), key=lambda k: _without_one()[k]),
          shows=_deleted),
)
