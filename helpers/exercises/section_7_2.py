"""7.2 AlexNet 的练习和先猜。"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, convs_at_least, gives, macs_at_most, params_at_most, sizes_include
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import NO_POOLING, RULES, Rule, right, side, sides
from helpers.exercises.nets import book_net
from helpers.exercises.predicting import Number
from helpers.exercises.verdict import Mistake
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace


@cache
def _rows() -> Trace:
    return trace(book_net("7.2"), (1, 1, 224, 224))


def _sum(of: str, kind: str) -> int:
    """一种层的参数或乘加。"""
    return sum(getattr(row, of) for row in _rows() if row.kind == kind)


SHARE_OF_PARAMS = Mistake("share_of_params", "这是全连接层占参数的百分之几；它的权重每张图只用一次，卷积的处处都用。")
COMPLEMENT = Mistake("complement", "这是卷积层占的，反过来了。")
OVER_CONV = Mistake("over_conv", "除的是卷积层的乘加；问的是占全部的百分之几。")
FRACTION = Mistake("fraction", "这是小数；问的是百分之几，要乘 100。")
ONLY_FIRST = Mistake("only_first", "只算了第一个全连接层；有三个。")
ONLY_HIDDEN = Mistake("only_last", "漏了第一个全连接层，它最大。")
SEVERAL_TIMES = Mistake("several_times", "把全连接层当成了卷积层的好几倍，像参数那样；乘加正相反。")


def _linear(i: int) -> int:
    return [row.macs for row in _rows() if row.kind == "Linear"][i]


LINEAR_SHARE = Number(
    section="7.2", name="linear-share", within=0.02,
    question="AlexNet 的三个全连接层占全部乘加的百分之几（224×224，一张图）？"
             "写一个数，如 37.5，相对误差不到 2 % 就行。",
    hints=("`trace(alexnet(), (1, 1, 224, 224))` 的每一行有 `kind` 和 `macs`。",
           "全连接层的乘加就是它的权重个数：6400 × 4096、4096 × 4096、4096 × 10。",
           "约 0.43 亿，除以全部的 9.38 亿，再乘 100。"),
    explanation="全连接层有九成多的参数，却只有不到二十分之一的乘加：每个权重每张图只用一次，卷积层的在每个位置都用。",
    covers=("7.1.4",),
    code='from helpers import load, trace\n\n'
         'rows = trace(load("7.2").alexnet(), (1, 1, 224, 224))\n'
         'answer = 100 * sum(row.macs for row in rows if row.kind == "Linear") / rows.macs',
    mistakes={SHARE_OF_PARAMS: lambda: 100 * _sum("params", "Linear") / _rows().params,
              COMPLEMENT: lambda: 100 * _sum("macs", "Conv2d") / _rows().macs,
              OVER_CONV: lambda: 100 * _sum("macs", "Linear") / _sum("macs", "Conv2d"),
              FRACTION: lambda: _sum("macs", "Linear") / _rows().macs,
              ONLY_FIRST: lambda: 100 * _linear(0) / _rows().macs,
              ONLY_HIDDEN: lambda: 100 * (_linear(1) + _linear(2)) / _rows().macs,
              SEVERAL_TIMES: lambda: 100 * _sum("params", "Linear") / _sum("params", "Conv2d")},
    picture=_rows)


def _smallest(rule: Rule = right, pooling: bool = True, wanted: int = 5, padding: int = 2) -> int:
    """照一条规则，第一层填充 padding 时，展平之前边长恰好是 wanted 的最小输入；没有就是 0。"""
    def features(n: int) -> int:
        return side(book_net("7.2")[1:13], rule(n, 11, padding, 4), rule, pooling)

    return next((n for n in range(1, 600) if features(n) == wanted), 0)


FIELD = Mistake("field", "这是展平之前一个位置的感受野；没有填充的话，它才是能得到 1×1 的最小输入。")
THE_BOOKS = Mistake("the_books", "这是书上用的输入；填充改成 2，它给出的是 6×6。")
NOT_CHANGED = Mistake("not_changed", "这是填充 1 时的；填充多一圈，左右各多一列，输入就可以再小一些。")
PAPERS = Mistake("papers", "这是别的实现里常用的 227：那里第一层没有填充，展平之前是 6×6。")
ANY_SIZE = Mistake("any_size", "这样的输入到展平之前只剩 1×1；第一个全连接层写死了 256 × 5 × 5，要的是 5×5。")

SMALLEST = Number(
    section="7.2", name="smallest",
    question="把书上的 AlexNet 第一层的填充从 1 改成 2，别的不动。\n"
             "走得通的最小的正方形输入，边长是几？\n先从 5×5 一层层往回推，再用 `input_sizes` 看。",
    hints=("展平之前一定要是 5×5：第一个全连接层写死了 256 × 5 × 5。",
           "往回推：汇聚之后是 5，汇聚之前最小是 (5 − 1) × 2 + 3 = 11；3×3、5×5 的卷积都不改变边长。",
           "11 → 23 → 47，最后 (47 − 1) × 4 + 11 − 2 × 2。"),
    explanation="往回推，每一步取最小的：5 ← 11 ← 23 ← 47 ← (47 − 1) × 4 + 11 − 4 = 191。",
    code='from helpers import input_sizes, load\n\n'
         'net = load("7.2").alexnet()\nnet[0].padding = (2, 2)\n'
         'answer = input_sizes(net, (1, 1, 224, 224))[0]',
    mistakes={**{mistake: lambda rule=rule: _smallest(rule) for mistake, rule in RULES.items()},
              NO_POOLING: lambda: _smallest(pooling=False),
              FIELD: lambda: int(_rows()[12].receptive_field.height or 0),
              THE_BOOKS: lambda: _rows()[0].in_shape[2],
              NOT_CHANGED: lambda: _smallest(padding=1),
              PAPERS: lambda: next(n for n in range(224, 600) if (n - 11) % 4 == 0),  # 没有填充，恰好放得满
              ANY_SIZE: lambda: _smallest(wanted=1)})

NOT_SCALED = Mistake("not_scaled", "留下的没有放大：训练时要除以 1 − p，平均起来才与测试时一样大。")
SCALED_BY_P = Mistake("scaled_by_p", "除的是 p；p 是丢掉的比例，留下的比例是 1 − p。")
SHRUNK = Mistake("shrunk", "留下的乘了 1 − p，应当除以它。")
INVERTED = Mistake("inverted", "丢和留弄反了：u < p 的丢掉。")
ALWAYS = Mistake("always", "测试时也丢了；暂退法只在训练时起作用。")
NEVER = Mistake("never", "训练时什么也没有丢。")


def _drop(X: Tensor, u: Tensor, p: float, training: bool, *, scale: Callable[[float], float] = lambda p: 1 / (1 - p),
          keep: Callable[[Tensor, float], Tensor] = lambda u, p: u >= p) -> Tensor:
    """暂退法；各个参数是想错的几种。"""
    return X * keep(u, p) * scale(p) if training else X


def _dropped() -> list[tuple[Tensor, Tensor, float, bool]]:
    dice = torch.Generator().manual_seed(4)
    return [(torch.randn(shape, generator=dice), torch.rand(shape, generator=dice), p, training)
            for shape, p, training in (((2, 3), 0.3, True), ((4,), 0.2, True), ((3, 2), 0.3, False), ((6,), 0.6, True))]


DROPOUT = Code(
    section="7.2", name="dropout",
    question="写出暂退法：`u` 是与 `X` 形状相同、0 到 1 之间的随机数，`u < p` 的那些丢掉（变成 0）；"
             "`training` 为假时什么也不做。",
    hints=("测试时原样返回 X。", "`u >= p` 是一张真假的表，乘上去就把该丢的变成 0。",
           "`X * (u >= p) / (1 - p) if training else X`"),
    explanation="留下的除以 1 − p，训练时的平均就与测试时一样大，测试时不用再改。",
    signature="def dropout(X, u, p, training):",
    code='def dropout(X, u, p, training):\n    return X * (u >= p) / (1 - p) if training else X\n\nanswer = dropout',
    inputs=_dropped,
    misled={
        NOT_SCALED: lambda X, u, p, training: _drop(X, u, p, training, scale=lambda p: 1),
        SCALED_BY_P: lambda X, u, p, training: _drop(X, u, p, training, scale=lambda p: 1 / p),
        SHRUNK: lambda X, u, p, training: _drop(X, u, p, training, scale=lambda p: 1 - p),
        INVERTED: lambda X, u, p, training: _drop(X, u, p, training, keep=lambda u, p: u < p),
        ALWAYS: lambda X, u, p, training: _drop(X, u, p, True),
        NEVER: lambda X, u, p, training: X,
    })

TENTH = Design(
    section="7.2", name="tenth",
    question="设计一个直接认 28×28 灰度图（十类）的 AlexNet：至少五个卷积层，参数不到书上的十分之一（至多 4,676,474），"
             "乘加至多 50,000,000，28 到 32 的边长都走得通。\n训练一下，看精度是多少。",
    hints=("第一层不用 11×11、步幅 4：28 像素经不起，3×3、步幅 1 或 2 就够。",
           "展平之前放一个 `nn.AdaptiveAvgPool2d`，边长就不用写死。",
           "通道 32、64、96、96、64，两个最大汇聚，`AdaptiveAvgPool2d(3)`，全连接 256。"),
    explanation="小图上第一层的窗口和步幅要小；通道和全连接层都窄下来，自适应的汇聚让别的边长也走得通。",
    covers=("7.1.2",),
    code='''from torch import nn

def conv(before, after):
    return nn.Conv2d(before, after, 3, padding=1), nn.ReLU()

answer = nn.Sequential(
    *conv(1, 32), nn.MaxPool2d(3, stride=2), *conv(32, 64), nn.MaxPool2d(3, stride=2),
    *conv(64, 96), *conv(96, 96), *conv(96, 64), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
    nn.Linear(64 * 9, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))''',
    others=('''from torch import nn

layers, before = [], 1
for after in (16, 32, 64, 64, 64):
    layers += [nn.Conv2d(before, after, 3, stride=2 if after == 32 else 1, padding=1), nn.ReLU()]
    before = after
answer = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))''',),
    shape=(1, 1, 28, 28),
    limits=(params_at_most(4_676_474), macs_at_most(50_000_000), convs_at_least(5), gives(10),
            sizes_include(28, 29, 30, 31, 32)))

DROPOUT_CONTEST = Contest(
    section="7.2", name="dropout-contest",
    question="给换成 ReLU 的 LeNet 加上暂退法（0.5，两个隐藏的全连接层之后），测试精度变高还是变低？\n"
             "2,000 张图、3 轮、批量 32、学习率 0.1、Kaiming 初始化，五个种子；看不出也是结论。",
    hints=("在 `lenet(activation=\"ReLU\")` 的两个隐藏层之后各插一个 `nn.Dropout(0.5)`。",
           "两组用同样的种子，`first.versus(second)`。",
           "只有 3 轮时训练精度还不高，谈不上过拟合；看差的区间里有没有 0。"),
    explanation="只训练 3 轮，网络还没有拟合好，谈不上过拟合，种子之间的差别比暂退法的大。\n"
                "只从一次训练说「加了暂退法，泛化更好」，下不了这个结论；多训练几轮再比。",
    covers=("7.1.1", "7.1.5"),
    arms=("有暂退法", "没有暂退法"), quantity="测试精度", slow=True,
    code='''import torch
from torch import nn
from helpers import fashion_mnist, fit, kaiming, load, trials

def network(p):
    *front, last = load("7.1").lenet(activation="ReLU")
    return nn.Sequential(*front[:-2], nn.Dropout(p), *front[-2:], nn.Dropout(p), last).apply(kaiming)

def accuracy_with(p):
    def measure(seed):
        torch.manual_seed(seed)
        data = fashion_mnist(batch_size=32, size=28, images=2_000, device="cpu")
        *_, last = fit(network(p), *data, lr=0.1, num_epochs=3, dtype=torch.float32)
        return last.test_acc
    return measure

first, second = (trials(accuracy_with(p), seeds=5) for p in (0.5, 0))''')


def _activations(kind: type) -> int:
    """一种层的输出一共几个数。"""
    return sum(torch.Size(row.out_shape).numel() for row in _rows() if row.kind == kind.__name__)


@cache
def _forecast(batch: int) -> Forecast:
    return forecast(book_net("7.2"), (1, 1, 224, 224), batch, dtype=torch.float32)


def _fixed(batch: int) -> int:
    """参数和梯度的内存。"""
    found = _forecast(batch)
    return found.weights + found.gradients


def _intensity(kind: str) -> float:
    """每个权重做几次乘加（一张图）。"""
    return _sum("macs", kind) / _sum("params", kind)


CLAIMS = Claims(
    section="7.2", name="claims",
    question="关于 AlexNet 的内存和计算，哪几句成立？",
    hints=("参数、乘加用 `trace`，训练的内存用 `forecast`。", "参数的内存与批量无关，激活的内存与批量成正比。",
           "每个权重用几次 = 乘加 / 参数：卷积层的几百次，全连接层的一次。"),
    explanation="都从 `trace` 和 `forecast` 算：",
    covers=("7.1.3", "7.1.4"),
    statements=(
        Statement("linear_compute", "全连接层的计算量是卷积层的好几倍，是全网的瓶颈。",
                  lambda: _sum("macs", "Linear") > 2 * _sum("macs", "Conv2d"),
                  lambda: f"全连接层的乘加只有卷积层的 {_sum('macs', 'Linear') / _sum('macs', 'Conv2d'):.1%}。"),
        Statement("linear_params", "参数的内存多半是全连接层的，卷积层的不到一成。",
                  lambda: _sum("params", "Conv2d") < 0.1 * _rows().params,
                  lambda: f"卷积层 {_sum('params', 'Conv2d') * 4 / 1e6:.0f} MB，"
                          f"全连接层 {_sum('params', 'Linear') * 4 / 1e6:.0f} MB。"),
        Statement("conv_activations", "一张图存下的激活，卷积层的比全连接层的多。",
                  lambda: _activations(nn.Conv2d) > _activations(nn.Linear),
                  lambda: f"卷积层的输出有 {_activations(nn.Conv2d):,} 个数，"
                          f"全连接层的只有 {_activations(nn.Linear):,} 个。"),
        Statement("batch_params", "批量从 128 到 512，参数和梯度的内存也变成四倍。",
                  lambda: _fixed(512) > _fixed(128),
                  lambda: "参数和梯度的内存与批量无关；变成四倍的是激活："
                          f"{_forecast(512).activations / _forecast(128).activations:.1f} 倍。"),
        Statement("bandwidth", "批量是 1 时，全连接层比卷积层更受内存带宽的限制：读进来一个权重，只用它乘一次。",
                  lambda: _intensity("Linear") < _intensity("Conv2d"),
                  lambda: f"每个权重，全连接层用 {_intensity('Linear'):.1f} 次，"
                          f"卷积层用 {_intensity('Conv2d'):.0f} 次。批量大了，全连接层的权重也能多用几次。"),
    ))

EXERCISES = (LINEAR_SHARE, SMALLEST, DROPOUT, TENTH, DROPOUT_CONTEST, CLAIMS)


def _block() -> nn.Module:
    return load("7.2").alexnet_block(1, 96, kernel_size=11, stride=4, padding=1)


def _example() -> Trace:
    return trace(_block(), (1, 1, 224, 224))


GUESSES = (
    Guess(section="7.2", name="block",
          question="一张 224×224 的图像进去，`alexnet_block(1, 96, kernel_size=11, stride=4, padding=1)` "
                   "出来是什么形状（通道×高×宽）？",
          truth=lambda: _example()[-1].out_shape[1:], shows=_example,
          mistakes=lambda: {mistake: (96, n, n) for mistake, n in sides(_block(), 224).items()}),
)
