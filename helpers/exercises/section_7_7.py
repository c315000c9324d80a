"""7.7 DenseNet 的练习和先猜。"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, convs_at_least, field_at_least, gives, macs_at_most, params_at_most
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import pieces
from helpers.exercises.nets import book_net, params
from helpers.exercises.predicting import Number, Shape
from helpers.exercises.verdict import Mistake
from helpers.network.forecast import Forecast, forecast
from helpers.network.trace import Trace, trace

_net, _resnet = partial(book_net, "7.7"), partial(book_net, "7.6")

ADDED = Mistake("added", "新的通道加在了旧的上面；稠密块是连结，每个卷积块多出增长率那么多个通道。")
ONLY_NEW = Mistake("only_new", "只剩新的通道；连结时输入也留着。")
NO_TRANSITION = Mistake("no_transition", "漏了过渡层：块与块之间通道减半。")
ONE_MORE_TRANSITION = Mistake("one_more_transition", "最后一个稠密块后面没有过渡层，多减了一次半。")
ONE_CONV = Mistake("one_conv", "每个稠密块只加了一次增长率；块里有 4 个卷积块。")
DOUBLED = Mistake("doubled", "每个卷积块把通道数翻了一倍；它只加增长率那么多。")
STEM_TOO = Mistake("stem_too", "`b1` 的后面也减半了；过渡层在稠密块之间。")
BOOKS = Mistake("books", "这是书上增长率 32 的。")


def _channels(growth: int = 24, *, convs: int = 4, transitions: Sequence[int] = (0, 1, 2), start: int = 64,
              keep: bool = True) -> int:
    """最后有几个通道；各个参数是想错的几种。"""
    found = start
    for block in range(4):
        found = (found if keep else 0) + convs * growth
        if block in transitions:
            found //= 2
    return found


def _doubling() -> int:
    found = 64
    for block in range(4):
        found = found * 2 ** 4 // (2 if block < 3 else 1)
    return found


CHANNELS = Number(
    section="7.7", name="channels",
    question="增长率改成 24（别的照书上：从 64 个通道开始，4 个稠密块各 4 个卷积块，块之间的过渡层减半），"
             "最后的全局平均汇聚收到几个通道？",
    hints=("一个稠密块加 4 × 24 个通道。", "64 → 160 → 80 → 176 → 88 → ……", "88 → 184 → 92 → ？最后一块后面不减半。"),
    explanation="64 → 160 → 80 → 176 → 88 → 184 → 92 → 188：每块加 96，前三块后面减半。",
    code='from helpers import load, trace\n\n'
         'answer = trace(load("7.7").densenet(growth_rate=24), (1, 1, 96, 96))[-1].in_shape[1]',
    mistakes={ADDED: lambda: _channels(0), ONLY_NEW: lambda: _channels(keep=False),
              NO_TRANSITION: lambda: _channels(transitions=()),
              ONE_MORE_TRANSITION: lambda: _channels(transitions=(0, 1, 2, 3)),
              ONE_CONV: lambda: _channels(convs=1), DOUBLED: _doubling,
              STEM_TOO: lambda: _channels(start=32), BOOKS: lambda: _channels(32)},
    picture=lambda: trace(_net(growth_rate=24), (1, 1, 96, 96)))

HALVED = Mistake("halved", "高和宽减半了；那是过渡层的事，稠密块不改变它们。")


UNIT = Shape(
    section="7.7", name="unit",
    question="一张 3×9×9 的图先过稠密块（2 个卷积块，增长率 10），再过降到 10 个通道的过渡层。\n"
             "出来是什么形状（通道×高×宽）？",
    hints=("稠密块：通道 3 + 2 × 10，高和宽不变。", "过渡层：1×1 卷积到 10 个通道，2×2、步幅 2 的平均汇聚。",
           "⌊(9 − 2) / 2⌋ + 1。"),
    explanation="稠密块之后是 23×9×9；过渡层把通道变成 10，⌊(9 − 2) / 2⌋ + 1 = 4，最后一行一列放不满，丢掉了。",
    code='import torch\nfrom helpers import load\n\nbook = load("7.7")\n'
         'net = torch.nn.Sequential(book.DenseBlock(2, 3, 10), book.transition_block(23, 10)).eval()\n'
         'answer = tuple(net(torch.zeros(1, 3, 9, 9)).shape[1:])',
    mistakes=lambda: {Mistake("ceil", "除不尽时向上取了整；最后一个放不满的窗口不放。"): (10, 5, 5),
                      Mistake("no_pooling", "忘了过渡层里的平均汇聚。"): (10, 9, 9),
                      Mistake("no_conv", "忘了过渡层里的 1×1 卷积：它把通道变成 10。"): (3 + 2 * 10, 4, 4),
                      ADDED: (3, 4, 4), Mistake("no_plus_one", "漏了加 1。"): (10, 3, 3),
                      Mistake("untouched", "这是稠密块的输出；还有过渡层。"): (3 + 2 * 10, 9, 9)})


def _conv_block_params(before: int, growth: int) -> int:
    """没有瓶颈的一个卷积块。"""
    with torch.device("meta"):
        return params(load("7.7").conv_block(before, growth))


def _bottleneck(before: int, growth: int) -> nn.Sequential:
    with torch.device("meta"):
        return nn.Sequential(
            nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, 4 * growth, 1),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1))


def _parts() -> list[Any]:
    return pieces(_bottleneck(512, 32), (1, 512, 6, 6))


BOTTLENECK = Number(
    section="7.7", name="bottleneck",
    question="给卷积块加上瓶颈：规范化、ReLU、1×1 到 4 倍增长率，规范化、ReLU、3×3 到增长率。\n"
             "输入 512 个通道、增长率 32，这样的一块有几个参数（卷积有偏置，规范化有 γ 和 β）？\n"
             "再算没有瓶颈的，看多了还是少了；输入 64 个通道时呢？",
    hints=("第一个规范化 2 × 512；1×1：128 × (512 + 1)。",
           "第二个规范化 2 × 128；3×3：32 × (128 × 9 + 1)。", "四项相加。"),
    explanation="瓶颈把 3×3 的输入固定在 128 个通道：输入很宽时省，输入只有 64 个通道时反而多。",
    covers=("7.7.4",),
    code='from torch import nn\n\n'
         'block = nn.Sequential(\n    nn.BatchNorm2d(512), nn.ReLU(), nn.Conv2d(512, 128, 1),\n'
         '    nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 32, 3, padding=1))\n'
         'answer = sum(p.numel() for p in block.parameters())',
    parts=_parts,
    mistakes={Mistake("no_bottleneck", "这是没有瓶颈的一块：直接 3×3。"): lambda: _conv_block_params(512, 32),
              Mistake("narrow_middle", "中间只有增长率那么宽；瓶颈是它的 4 倍。"):
                  lambda: params(nn.Sequential(nn.BatchNorm2d(512), nn.Conv2d(512, 32, 1), nn.BatchNorm2d(32),
                                                nn.Conv2d(32, 32, 3))),
              Mistake("at_64", "这是输入 64 个通道时的。"): lambda: params(_bottleneck(64, 32))})

LAST_ONLY = Mistake("last_only", "返回的只有最后一个卷积块的输出；输入和前面的也要留着。")
WRONG_ORDER = Mistake("wrong_order", "新的放在了旧的前面；书上是 (X, 新的)。")
SAME_INPUT = Mistake("same_input", "每个卷积块收到的都是最初的 X；它应当收到前面的一切。")
CHAIN = Mistake("chain", "每个卷积块只收到前一个的输出；它应当收到前面的一切。")
BARE = Mistake("bare", "没有连结，只是一个接一个；每一个的输出都要接在前面的一切后面。")
SUMMED = Mistake("summed", "相加了，那是残差块；稠密块是连结。")
NO_INPUT = Mistake("no_input", "输出里没有最初的 X。")


def _first(X: Tensor) -> Tensor:
    return X.sum(1, keepdim=True)


def _twice(X: Tensor) -> Tensor:
    return (2 * X).mean(1, keepdim=True) + X.shape[1]


def _dense(X: Tensor, convs: Sequence[Callable[[Tensor], Tensor]], *, start: int = 0, last: bool = False,
           seen: Callable[[list[Tensor]], Tensor] = lambda found: torch.cat(found, 1)) -> Tensor:
    """稠密块；各个参数是想错的几种。"""
    found = [X]
    for conv in convs:
        found.append(conv(seen(found)))
    return found[-1] if last else torch.cat(found[start:], 1)


def _backwards(X: Tensor, convs: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    for conv in convs:
        X = torch.cat((conv(X), X), 1)
    return X


def _summed(X: Tensor, convs: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    for conv in convs:
        X = X + conv(X)
    return X


def _blocks() -> list[tuple[Tensor, list[Callable[[Tensor], Tensor]]]]:
    dice = torch.Generator().manual_seed(7)
    X, Y = torch.randn(2, 2, 1, 2, generator=dice), torch.randn(1, 3, 2, 2, generator=dice)
    return [(X, [_first, _twice]), (Y, [_twice, _first, _twice]), (X, [])]


DENSE = Code(
    section="7.7", name="dense",
    question="写出稠密块的前向：`convs` 是几个卷积块（函数），每一个收到前面的一切，它的输出连结在后面（通道维）。",
    hints=("循环里，X 越来越宽。", "新的 X 是旧的 X 和 `conv(X)` 的连结。", "`X = torch.cat((X, conv(X)), dim=1)`"),
    explanation="每过一个卷积块，X 就宽一些；最后返回的是全部。",
    covers=("7.7.5",),
    signature="def dense(X, convs):",
    code='import torch\n\ndef dense(X, convs):\n    for conv in convs:\n'
         '        X = torch.cat((X, conv(X)), dim=1)\n    return X\n\nanswer = dense',
    inputs=_blocks,
    misled={LAST_ONLY: lambda X, convs: _dense(X, convs, last=True), WRONG_ORDER: _backwards,
            SAME_INPUT: lambda X, convs: _dense(X, convs, seen=lambda found: found[0]),
            CHAIN: lambda X, convs: _dense(X, convs, seen=lambda found: found[-1]),
            BARE: lambda X, convs: _dense(X, convs, seen=lambda found: found[-1], last=True), SUMMED: _summed,
            NO_INPUT: lambda X, convs: torch.cat([X[:, :0], _dense(X, convs)[:, X.shape[1]:]], 1)})

SAME_BUDGET = Design(
    section="7.7", name="same-budget",
    question="参数和乘加都不超过书上的（758,226 个，96×96 上 129,077,168 次），换一组增长率和深度："
             "至少 25 个卷积层，汇聚之前至少看得到 519×519，与书上的一样。\n训练一下，看精度有没有变高。",
    hints=("`densenet(growth_rate=…, n1=…, n2=…, n3=…, n4=…)`。", "增长率小一些，块就可以深一些。",
           "`densenet(growth_rate=16, n1=4, n2=6, n3=8, n4=8)`。"),
    explanation="增长率减半，同样深的参数不到三分之一，省下来的给深度。",
    covers=("7.7.4",),
    code='from helpers import load\n\nanswer = load("7.7").densenet(growth_rate=16, n1=4, n2=6, n3=8, n4=8)',
    others=('from helpers import load\n\nanswer = load("7.7").densenet(growth_rate=12, n1=6, n2=6, n3=8, n4=12)',),
    shape=(1, 1, 96, 96),
    limits=(params_at_most(758_226), macs_at_most(129_077_168), convs_at_least(25), field_at_least(519), gives(10)))

LINEAR = Mistake("linear", "只乘了边长的倍数；像素数是边长的平方。")
CUBIC = Mistake("cubic", "乘了三次方；通道数没有变，只有高和宽变了。")
UNCHANGED = Mistake("unchanged", "参数的内存不变，激活的变；激活占了大头。")
WITH_MARGIN = Mistake("inverse", "倒过来了：224 的除以 96 的。")


def _activations(size: int) -> Forecast:
    return forecast(_net(), (1, 1, size, size), 64, dtype=torch.float32)


MEMORY = Number(
    section="7.7", name="memory", within=0.02,
    question="输入从 96×96 换成 224×224，一批图存下的激活（`forecast(…).activations`）变成几倍？"
             "相对误差不到 2 % 就行。",
    hints=("激活的大小与像素数成正比，通道数不变。", "像素数变成 (224 / 96)² 倍。", "2.33 的平方。"),
    explanation="激活与像素数成正比：(224 / 96)² ≈ 5.44 倍。\n"
                "DenseNet 存得多，是因为每次连结都又存两份；重新算一遍（检查点）可以省内存，不用换框架。",
    covers=("7.7.3",),
    code='import torch\nfrom helpers import forecast, load\n\nnet = load("7.7").densenet()\n'
         'large, small = (forecast(net, (1, 1, n, n), 64, dtype=torch.float32).activations for n in (224, 96))\n'
         'answer = large / small',
    mistakes={LINEAR: lambda: 224 / 96, CUBIC: lambda: (224 / 96) ** 3, UNCHANGED: lambda: 1.0,
              WITH_MARGIN: lambda: _activations(96).activations / _activations(224).activations,
              Mistake("total", "这是连参数、梯度和余量在内的合计；问的是激活。"):
                  lambda: _activations(224).total / _activations(96).total,
              Mistake("twice", "面积变成的倍数是边长的平方，不是两倍的边长。"): lambda: 2 * 224 / 96})

POOLING_CONTEST = Contest(
    section="7.7", name="pooling",
    question="过渡层里的平均汇聚换成最大汇聚，测试精度变高还是变低？\n"
             "小的试法：两个窄的稠密块、14×14 的 1,000 张图、3 轮，五个种子；看不出也是结论。",
    hints=("`transition_block` 的最后一层换成 `nn.MaxPool2d(2, 2)`。", "两组用同样的种子，`first.versus(second)`。",
           "区间里有 0，就是看不出。"),
    explanation="「平均保留的信息更多」只是一种说法，差别有多大要测。\n"
                "平均汇聚是线性的，与前面的 1×1 卷积可以交换次序；梯度也分给窗口里的每一个像素。",
    covers=("7.7.1",),
    arms=("平均汇聚", "最大汇聚"), quantity="测试精度", slow=True,
    code='''import torch
from torch import nn
from helpers import fashion_mnist, fit, kaiming, load, trials

def network(pooling):
    book = load("7.7")
    transition = book.transition_block(32, 16)
    transition[-1] = pooling(kernel_size=2, stride=2)
    return nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), book.DenseBlock(2, 16, 8), transition,
                         book.DenseBlock(2, 16, 8), nn.BatchNorm2d(32), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).apply(kaiming)

def accuracy_with(pooling):
    def measure(seed):
        torch.manual_seed(seed)
        data = fashion_mnist(batch_size=32, size=14, images=1_000, device="cpu")
        *_, last = fit(network(pooling), *data, lr=0.1, num_epochs=3, dtype=torch.float32)
        return last.test_acc
    return measure

first, second = (trials(accuracy_with(pooling), seeds=5) for pooling in (nn.AvgPool2d, nn.MaxPool2d))''')


def _layers(net: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, kind)]


def _mean(net: nn.Module, name: str) -> float:
    """3×3 卷积层的平均通道数。"""
    found = [getattr(layer, name) for layer in _layers(net, nn.Conv2d) if layer.kernel_size == (3, 3)]
    return sum(found) / len(found)


def _commute_gap() -> float:
    """先 1×1 再平均汇聚，与先平均汇聚再 1×1，差多少。"""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        conv, pool, X = nn.Conv2d(4, 3, 1), nn.AvgPool2d(2), torch.randn(2, 4, 6, 6)
        return (conv(pool(X)) - pool(conv(X))).abs().max().item()


def _dense_mlp_width() -> int:
    """稠密连接的感知机：8 个特征，三层各 4 个，最后一层收到几个。"""
    X = torch.zeros(1, 8)
    for _ in range(3):
        X = torch.cat((X, torch.zeros(1, 4)), 1)
    return X.shape[1]


def _per_sample(net: nn.Module) -> float:
    return forecast(net, (1, 1, 96, 96), 64, dtype=torch.float32).per_sample


CLAIMS = Claims(
    section="7.7", name="claims",
    question="哪几句成立？",
    hints=("数两个网络各部分的参数：卷积、规范化、全连接。", "一个 3×3 卷积层的参数约是 9 × 输入通道 × 输出通道。",
           "DenseNet 的 3×3 卷积只出 32 个通道，ResNet 的出 64 到 512 个。"),
    explanation="都从网络算：",
    covers=("7.7.1", "7.7.2", "7.7.3", "7.7.5"),
    statements=(
        Statement("norm_saves", "DenseNet 的参数比 ResNet-18 少，主要少在批量规范化层和全连接层。",
                  lambda: _saved(nn.BatchNorm2d) + _saved(nn.Linear) > _saved(nn.Conv2d),
                  lambda: f"少的 {params(_resnet()) - params(_net()):,} 个里，卷积层 {_saved(nn.Conv2d):,} 个，"
                          f"规范化 {_saved(nn.BatchNorm2d):,} 个，全连接层 {_saved(nn.Linear):,} 个。"),
        Statement("narrow_outputs", "参数少，主要因为每个 3×3 卷积层的输出只有增长率那么宽。",
                  lambda: _mean(_net(), "out_channels") < _mean(_resnet(), "out_channels") / 4,
                  lambda: f"3×3 卷积层平均的输出通道，DenseNet {_mean(_net(), 'out_channels'):.0f}，"
                          f"ResNet-18 {_mean(_resnet(), 'out_channels'):.0f}；"
                          f"输入通道 {_mean(_net(), 'in_channels'):.0f} 和 {_mean(_resnet(), 'in_channels'):.0f}。"),
        Statement("memory", "参数少，训练要存的激活也就少：每张图比 ResNet-18 少。",
                  lambda: _per_sample(_net()) < _per_sample(_resnet()),
                  lambda: f"每张图 {_per_sample(_net()) / 1e6:.2f} MB 对 {_per_sample(_resnet()) / 1e6:.2f} MB："
                          "反而多，连结起来的通道要反复规范化，每次都存。"),
        Statement("commute", "过渡层里先 1×1 卷积再平均汇聚，与先平均汇聚再 1×1 卷积，结果相同。",
                  lambda: _commute_gap() < 1e-5,
                  lambda: f"最多差 {_commute_gap():.0e}：两样都是线性的；先汇聚还省四分之三的乘加。最大汇聚就不行。"),
        Statement("mlp", "把稠密连接用到感知机上：8 个特征、三个各 4 个输出的隐藏层，输出层收到 12 个特征。",
                  lambda: _dense_mlp_width() == 12,
                  lambda: f"输出层收到 {_dense_mlp_width()} 个：输入和每一层的输出都连结着。"),
        Statement("sgd", "普通的 SGD 没有动量时，优化器不另存东西，换成 Adam 要为每个参数多存两个数。",
                  lambda: _adam_states() == 2,
                  lambda: f"Adam 为每个参数存 {_adam_states()} 个数，两个滑动平均；它们与输入的大小无关，不是激活。"),
    ))


def _saved(kind: type[nn.Module]) -> int:
    """一种层，ResNet-18 的参数比 DenseNet 的多多少。"""
    return sum(params(layer) for layer in _layers(_resnet(), kind)) - sum(
        params(layer) for layer in _layers(_net(), kind))


def _adam_states() -> int:
    """Adam 走一步之后，为一个权重存了几个同样大的张量。"""
    weight = nn.Parameter(torch.ones(3))
    update = torch.optim.Adam([weight])
    weight.sum().backward()
    update.step()
    return sum(value.shape == weight.shape for value in update.state[weight].values())


EXERCISES = (CHANNELS, UNIT, BOTTLENECK, DENSE, SAME_BUDGET, MEMORY, POOLING_CONTEST, CLAIMS)


def _example() -> Trace:
    with torch.device("meta"):
        net = nn.Sequential(load("7.7").DenseBlock(2, 3, 10), load("7.7").transition_block(23, 10))
    return trace(net, (4, 3, 8, 8))


GUESSES = (
    Guess(section="7.7", name="block",
          question="4 张 3 通道的 8×8 图像经过一个稠密块（2 个卷积块，增长率 10），出来是什么形状（批量×通道×高×宽）？"
                   "再经过一个降到 10 个通道的过渡层呢？先猜稠密块的。",
          truth=lambda: _example()[0].out_shape, shows=_example,
          mistakes=lambda: {ADDED: (4, 3, 8, 8), ONLY_NEW: (4, 20, 8, 8), HALVED: (4, 23, 4, 4)}),
)
