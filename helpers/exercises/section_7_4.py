"""7.4 NiN 的练习和先猜。"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, field_at_least, gives, params_at_most, sizes_include, without
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import RGB, RULES, Piece, pieces, side, sides
from helpers.exercises.nets import book_net
from helpers.exercises.predicting import Number
from helpers.exercises.verdict import Mistake
from helpers.experiments.records import recorded
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace
from helpers.pictures.canvas import Picture
from helpers.pictures.charts import dots
from helpers.pictures.networks import block_stacks


@cache
def _rows() -> Trace:
    return trace(book_net("7.4"), (1, 1, 224, 224))


def _parts() -> list[Piece]:
    return pieces(book_net("7.4"), (1, 1, 224, 224))


RGB_NO_BIAS = Mistake("rgb_no_bias", "第一层按三个颜色通道数了，又漏了偏置；这里的图像是灰度的。")
ONE_BY_ONE = Mistake("one_by_one", "漏了 1×1 的卷积层，每块有两个。")
ONE_EACH = Mistake("one_each", "每块只数了一个 1×1 的卷积层；有两个。")


def _kept(keep: Callable[[int, Piece], bool]) -> int:
    return sum(part.params for i, part in enumerate(part for part in _parts() if part.weighs) if keep(i, part))


PARAMS = Number(
    section="7.4", name="params",
    question="书上的 NiN（一个输入通道，十类）有几个参数？",
    hints=("四个块，每块一个 k×k 的卷积层、两个 1×1 的；汇聚没有参数。",
           "一个卷积层是 输出 × (输入 × k² + 1)。",
           "第一块：96 × (1 × 121 + 1) + 2 × 96 × (96 + 1)；后面三块同样算。"),
    explanation="逐块加：k×k 的卷积层，再加两个 1×1 的，每个输出通道一个偏置。",
    covers=("7.3.3",), parts=_parts, picture=_rows,
    code='from helpers import load\n\nanswer = sum(p.numel() for p in load("7.4").nin().parameters())',
    mistakes={RGB_NO_BIAS: lambda: sum(part.weights for part in _parts()) + 2 * _parts()[0].weights,
              ONE_BY_ONE: lambda: _kept(lambda i, part: i % 3 == 0),
              ONE_EACH: lambda: _kept(lambda i, part: i % 3 < 2)})

ROUNDED_UP = Mistake("rounded_up", "边长按 54、27、13、1 算了（应当是 54、26、12、5），还按三个颜色通道数了。")


def _published() -> int:
    """每块的权重（三个颜色通道）乘以块的输出：汇聚向上取整，再向下取整，最后一块当作 1×1。"""
    weighs = [part for part in _parts() if part.weighs]
    first = side(book_net("7.4")[0], 224)
    second = RULES_UP(first, 3, 0, 2)
    sizes = (first, second, (second - 3) // 2 + 1, 1)
    blocks = [weighs[i:i + 3] for i in range(0, 12, 3)]
    total = sum(size ** 2 * sum(part.weights for part in block) for size, block in zip(sizes, blocks, strict=True))
    return total + 2 * first ** 2 * weighs[0].weights


[RULES_UP] = [rule for mistake, rule in RULES.items() if mistake.key == "ceil"]


MACS = Number(
    section="7.4", name="macs", counting="macs",
    question="一张 224×224 的灰度图走过书上的 NiN，要几次乘加？",
    hints=("每个卷积层：权重的个数 × 输出的像素数（偏置不算）。", "四块的输出是 54×54、26×26、12×12、5×5。",
           "第一块 (121 × 96 + 2 × 96²) × 54²，后面三块同样算，加起来。"),
    explanation="每个权重在输出的每个位置乘一次：权重数 × 54²、26²、12²、5²。",
    covers=("7.3.3",), parts=_parts, picture=_rows,
    code='from helpers import load, trace\n\nanswer = trace(load("7.4").nin(), (1, 1, 224, 224)).macs',
    mistakes={ROUNDED_UP: _published, RGB: lambda: sum(p.macs for p in _parts()) + 2 * _parts()[0].macs})

AVERAGED = Mistake("averaged", "把通道平均了：1×1 的卷积不是汇聚，每个输出通道有自己的一组权重。")
FORGOT_BIAS = Mistake("forgot_bias", "忘了加偏置。")
ONE_OUTPUT = Mistake("one_output", "所有输出通道都用了第一组权重。")
WITH_RELU = Mistake("with_relu", "多做了 ReLU；卷积层自己没有激活。")
PIXELS_MIXED = Mistake("pixels_mixed", "混合了像素；1×1 的窗口只看自己的那一个像素。")


def _pixelwise(X: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """1×1 的卷积层。"""
    return nn.functional.conv2d(X, W[:, :, None, None], b)


def _pixels() -> list[tuple[Tensor, Tensor, Tensor]]:
    dice = torch.Generator().manual_seed(5)
    return [(torch.randn(n, c, h, w, generator=dice), torch.randn(o, c, generator=dice),
             torch.randn(o, generator=dice)) for n, c, h, w, o in ((1, 3, 1, 2, 2), (2, 4, 3, 5, 3), (1, 2, 4, 4, 5))]


PIXELWISE = Code(
    section="7.4", name="pixelwise",
    question="不用卷积，写出 1×1 的卷积层。\n"
             "`X` 是 (批量, 输入通道, 高, 宽)，`W` 是 (输出通道, 输入通道)，`b` 是 (输出通道,)。",
    hints=("每个像素是一个长为输入通道数的向量，乘上 W。",
           "`torch.einsum` 的下标：批量 n、通道 c、高 h、宽 w、输出 o。",
           '`torch.einsum("oc,nchw->nohw", W, X) + b[:, None, None]`'),
    explanation="同一个全连接层用在每个像素上：通道混合，像素不混合。",
    signature="def pixelwise(X, W, b):",
    code='import torch\n\ndef pixelwise(X, W, b):\n'
         '    return torch.einsum("oc,nchw->nohw", W, X) + b[:, None, None]\n\nanswer = pixelwise',
    inputs=_pixels,
    misled={
        AVERAGED: lambda X, W, b: X.mean(1, keepdim=True) + b[:, None, None],
        FORGOT_BIAS: lambda X, W, b: _pixelwise(X, W, torch.zeros_like(b)),
        ONE_OUTPUT: lambda X, W, b: _pixelwise(X, W[:1].expand_as(W), b),
        WITH_RELU: lambda X, W, b: _pixelwise(X, W, b).relu(),
        PIXELS_MIXED: lambda X, W, b: _pixelwise(X.mean((2, 3), keepdim=True).expand_as(X), W, b),
    })

WITH_BLOCK = Mistake("with_block", "这是第四块的参数；问的是少了多少。")
LEFT = Mistake("left", "这是剩下的参数；问的是少了多少。")
ONLY_FIRST_LAYER = Mistake("only_first_layer", "只算了第四块的第一层；后面还有两个 1×1。")
NINE = Mistake("nine", "把 1×1 的也按 3×3 算了。")


def _fourth() -> list[Piece]:
    return [part for part in _parts() if part.weighs][9:]


def _one_step() -> int:
    return 384 * 10 + 10


ONE_STEP = Number(
    section="7.4", name="one-step",
    question="第四块把 384×5×5 变成 10×5×5。\n把整个第四块换成一个 1×1 的卷积层（384 → 10，有偏置），参数少了多少？",
    hints=("第四块：3×3 的 384 → 10，两个 1×1 的 10 → 10。", "换上的：384 × 10 + 10。",
           "10 × (384 × 9 + 1) + 2 × 10 × 11 − 3,850。"),
    explanation="少的几乎都是 3×3 对 1×1 的九分之八。\n"
                "代价是最后一步不再看邻居，384 个特征到类别也只有一次线性的混合。",
    covers=("7.3.4",),
    code='from torch import nn\nfrom helpers import load\n\n'
         'def count(net):\n    return sum(p.numel() for p in net.parameters())\n\n'
         'answer = count(load("7.4").nin()[7]) - count(nn.Conv2d(384, 10, 1))',
    mistakes={WITH_BLOCK: lambda: sum(part.params for part in _fourth()), LEFT: _one_step,
              ONLY_FIRST_LAYER: lambda: _fourth()[0].params - _one_step(),
              NINE: lambda: sum(part.params for part in _fourth()) - 9 * 384 * 10 - 10,
              Mistake("no_bias", "漏了偏置：每个输出通道还有一个。"):
                  lambda: sum(part.weights for part in _fourth()) - 384 * 10})

SMALL = Design(
    section="7.4", name="small",
    question="设计一个没有全连接层的网络：灰度图，十类，至多 300,000 个参数，汇聚成一个数之前至少看得到 60×60，"
             "边长 67、96、224 都走得通。",
    hints=("`nin(c1=…, c2=…, c3=…)` 窄下来。", "第三块的 3×3 和第二块的 5×5 最费：参数随通道数的平方变。",
           "`nin(32, 64, 96)` 已经够了。"),
    explanation="通道数除以三到四，参数就除以十三；感受野不变。",
    covers=("7.3.1",),
    code='from helpers import load\n\nanswer = load("7.4").nin(32, 64, 96)',
    others=('''from torch import nn

layers, before = [], 1
for after in (16, 32, 64, 64, 64):
    layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(after, after, 1), nn.ReLU()]
    before = after
answer = nn.Sequential(*layers, nn.Conv2d(64, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())''',),
    shape=(1, 1, 96, 96),
    limits=(params_at_most(300_000), field_at_least(60), gives(10), without(nn.Linear, "全连接层"),
            sizes_include(67, 96, 224)))

SHUFFLED = Contest(
    section="7.4", name="shuffled",
    question="每张图的像素都按同一个次序打乱再训练：三层 3×3 的与三层 1×1 的卷积网络，哪一个的测试精度高？\n"
             "用记录过的 `shuffles`，或者自己做。",
    hints=("`recorded(\"7.4\", \"shuffles\")[\"结果\"]` 给出每一组的 Trials。", "`first.versus(second)` 是成对的差。",
           "打乱了，3×3 的窗口里还是九个像素，每张图都取自同样的九处；1×1 的只有一个。"),
    explanation="邻居打乱了，3×3 的窗口看到的仍是固定的几处像素，合起来比一个像素说得多；\n"
                "1×1 加全局平均，只知道各种灰度的像素有多少。3×3 的参数也多，分不开是哪一样。",
    arms=("三层 3×3", "三层 1×1"), quantity="测试精度",
    code='from helpers import recorded\n\nfound = recorded("7.4", "shuffles")["结果"]\n'
         'first, second = found["3×3，打乱"], found["1×1，打乱"]')


@cache
def _forecast() -> Forecast:
    return forecast(book_net("7.4"), (1, 1, 224, 224), 128, dtype=torch.float32)


def _shorter() -> nn.Sequential:
    """每块删去最后一个 1×1 和它的 ReLU。"""
    return nn.Sequential(*(layer[:4] if isinstance(layer, nn.Sequential) else layer for layer in book_net("7.4")))


@cache
def _shorter_rows() -> Trace:
    return trace(_shorter(), (1, 1, 224, 224))


def _matrix_gap() -> float:
    """两个 1×1、中间没有 ReLU，与一个合起来的 1×1 差多少。"""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        one, two, X = nn.Conv2d(3, 5, 1, bias=False), nn.Conv2d(5, 4, 1, bias=False), torch.randn(2, 3, 4, 4)
        whole = torch.einsum("oc,ci->oi", two.weight[:, :, 0, 0], one.weight[:, :, 0, 0])
        return (two(one(X)) - nn.functional.conv2d(X, whole[:, :, None, None])).abs().max().item()


CLAIMS = Claims(
    section="7.4", name="claims",
    question="哪几句成立？",
    hints=("删去一个 1×1 之后，用 `trace` 看参数、乘加和感受野。",
           "训练的内存用 `forecast` 看：激活按批量算，参数只有一份。",
           "没有 ReLU，两个矩阵连乘还是一个矩阵。"),
    explanation="都从网络算：",
    covers=("7.3.2", "7.3.3"),
    statements=(
        Statement("field", "每块删去一个 1×1 的卷积层，感受野不变。",
                  lambda: _before_pool(_shorter_rows()) == _before_pool(_rows()),
                  lambda: f"都是 {_before_pool(_rows())}：1×1 只看自己的那一个像素。"),
        Statement("half", "每块删去一个 1×1 的卷积层，参数少了一半以上。",
                  lambda: _shorter_rows().params < _rows().params / 2,
                  lambda: f"只少了 {1 - _shorter_rows().params / _rows().params:.0%}，乘加少 "
                          f"{1 - _shorter_rows().macs / _rows().macs:.0%}：多数参数在 5×5 和 3×3 里。"),
        Statement("one_matrix", "两个 1×1 的卷积层中间若没有 ReLU，有没有偏置都等于一个 1×1 的卷积层。",
                  lambda: _matrix_gap() < 1e-5, lambda: f"两种做法最多差 {_matrix_gap():.0e}：矩阵连乘还是矩阵。"),
        Statement("memory", "训练时（批量 128）多数内存是参数和梯度占的。",
                  lambda: _forecast().weights + _forecast().gradients > _forecast().total / 2,
                  lambda: f"参数和梯度 {(_forecast().weights + _forecast().gradients) / 1e6:.0f} MB，"
                          f"存下的激活 {_forecast().activations / 1e6:.0f} MB；预测时不用存激活。"),
        Statement("any_input", "NiN 没有写死边长的层，96×96 和 224×224 的图用同一组参数。",
                  lambda: trace(book_net("7.4"), (1, 1, 96, 96)).params == _rows().params,
                  lambda: f"两种大小都是 {_rows().params:,} 个参数：末尾是全局平均汇聚。"),
    ))


def _before_pool(rows: Trace) -> str:
    """全局汇聚之前的感受野。"""
    return str(rows[7].receptive_field)


EXERCISES = (PARAMS, MACS, PIXELWISE, ONE_STEP, SMALL, SHUFFLED, CLAIMS)


def _block() -> nn.Module:
    return load("7.4").nin_block(1, 96, kernel_size=11, stride=4)


def _example() -> Trace:
    return trace(_block(), (1, 1, 224, 224))


def _biggest() -> str:
    """参数最多的卷积层；两个 1×1 的一样多。"""
    first, second, third = (row.params for row in _example() if row.kind == "Conv2d")
    return THREE[0] if first > second else THREE[1] if second == third else THREE[2]


THREE = ("11×11 的那一个", "两个 1×1，一样多", "最后一个 1×1")
DENSE, WIDE, SINGLE = "全连接层", "三层 3×3", "三层 1×1"


def _most_hurt() -> str:
    """打乱之后平均精度降得最多的。"""
    found = recorded("7.4", "shuffles")["结果"]
    names = {DENSE: "全连接", WIDE: "3×3", SINGLE: "1×1"}
    return max(names, key=lambda name: found[f"{names[name]}，原图"].mean - found[f"{names[name]}，打乱"].mean)


def _shuffles() -> Picture:
    return dots(recorded("7.4", "shuffles")["结果"], "测试精度")


def _example_drawn() -> Picture:
    """形状，没有参数：参数最多的是哪一层，还要猜。"""
    return block_stacks({"NiN 块": nn.Sequential(_block())}, (1, 1, 224, 224))


def _ending() -> Trace:
    return trace(book_net("7.4")[7:], (1, 384, 5, 5), depth=2)


def _last_layer() -> str:
    """三个网络的最后一个卷积或全连接层后面，只有哪一个还有 ReLU。"""
    with torch.device("meta"):
        others = [load("7.2").alexnet(), load("7.3").vgg11()]
    ends = [isinstance([*net.modules()][-1], nn.ReLU) for net in others]
    own = isinstance([*book_net("7.4")[7].children()][-1], nn.ReLU)
    return "有 ReLU" if own and not any(ends) else "没有不同"


GUESSES = (
    Guess(section="7.4", name="block",
          question="一张 224×224 的图像进 `nin_block(1, 96, kernel_size=11, stride=4)`，出来是什么形状（通道×高×宽）？",
          truth=lambda: _example()[-1].out_shape[1:], shows=_example_drawn,
          mistakes=lambda: {mistake: (96, n, n) for mistake, n in sides(_block(), 224).items()}),
    Guess(section="7.4", name="biggest", question="这个块的三个卷积层里，哪一个的参数最多？",
          options=THREE, truth=_biggest, shows=_example),
    Guess(section="7.4", name="shuffled", question="每张图的像素都按同一个次序打乱，哪一种网络的精度降得最多？",
          options=(DENSE, WIDE, SINGLE), truth=_most_hurt, shows=_shuffles),
    Guess(section="7.4", name="last-layer",
          question="官方运行里，AlexNet 和 VGG 一次也没有停在 ln 10；"
                   "NiN 的最后一个卷积层后面，与它们的最后一个全连接层后面，有什么不同？",
          options=("有 ReLU", "通道更多", "没有不同"), truth=_last_layer, shows=_ending),
)
