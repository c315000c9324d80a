"""7.1 LeNet 的练习和先猜。"""

from typing import Any

import torch
from torch import Tensor, nn

from helpers.book.sections import load
from helpers.exercises.coding import Code
from helpers.exercises.contests import Contest
from helpers.exercises.designing import Design, convs_at_least, field_at_least, gives, params_at_most
from helpers.exercises.guesses import Guess
from helpers.exercises.judging import Claims, Statement
from helpers.exercises.miscounts import Piece, pieces, side, sides
from helpers.exercises.predicting import Number
from helpers.exercises.verdict import Mistake
from helpers.network.trace import Trace, trace


def lenet(**widths: Any) -> nn.Sequential:
    """这一节的网络。"""
    return load("7.1").lenet(**widths)


def _rows(**widths: Any) -> Trace:
    return trace(lenet(**widths), (1, 1, 28, 28))


def _second() -> list[Piece]:
    """第二个卷积层，收到的是 6×14×14。"""
    return pieces(lenet()[3:4], (1, 6, 14, 14))


SECOND_CONV = Number(
    section="7.1", name="second-conv",
    question="第二个卷积层 `nn.Conv2d(6, 16, kernel_size=5)` 有几个参数？先算，再用 `trace` 看。",
    hints=("一个输出通道要看所有的输入通道。", "一个输出通道有 6 个 5×5 的窗口，再加一个偏置。",
           "16 × (6 × 5 × 5 + 1)。"),
    explanation="16 个输出通道，每个有 6 个 5×5 的窗口和一个偏置：16 × (6 × 25 + 1)。",
    code='from helpers import load, trace\n\n'
         'answer = trace(load("7.1").lenet(), (1, 1, 28, 28))[3].params',
    picture=_rows, parts=_second, remark="窗口、输入通道、输出通道相乘，再加偏置。")

ONLY_CHANNELS = Mistake("only_channels", "只数了通道；展平把每个通道的高和宽也排进去。")
ONLY_PIXELS = Mistake("only_pixels", "只数了一个通道的像素；有 16 个通道。")
ONE_DIRECTION = Mistake("one_direction", "只乘了一条边；高和宽都要乘。")
AS_BEFORE = Mistake("as_before", "这是 28×28 的输入展平的长度；输入变了，它也变。")
BEFORE_POOLING = Mistake("before_pooling", "漏了最后一个汇聚层。")


def _flattened(n: int) -> int:
    return 16 * n * n


ORIGINAL_INPUT = Number(
    section="7.1", name="original-input",
    question="原版 LeNet-5 的输入是 32×32。\n"
             "这一节的 `lenet` 别的都不改（第一个卷积层仍填充 2），32×32 的图展平之后有多长？\n"
             "第一个全连接层的输入要改成这个数。",
    hints=("先只看高和宽：卷积、汇聚、卷积、汇聚，逐层算 ⌊(n + 2p − k) / s⌋ + 1。",
           "32 → 32 → 16 → 12 → ？", "最后是 16 个通道的 6×6。"),
    explanation="32 → 32（填充 2）→ 16 → 12（没有填充）→ 6，展平是 16 × 6 × 6。\n"
                "原版的第一个卷积层没有填充，32 → 28，后面就与这里 28×28 的输入一样，展平还是 400。",
    code='from helpers import load, trace\n\n'
         'answer = trace(load("7.1").lenet()[:7], (1, 1, 32, 32))[-1].out_shape[1]',
    mistakes={
        **{mistake: lambda mistake=mistake: _flattened(sides(lenet()[:7], 32)[mistake])
           for mistake in sides(nn.Sequential(), 1)},
        AS_BEFORE: lambda: _flattened(side(lenet()[:7], 28)),
        ONLY_CHANNELS: lambda: 16,
        ONLY_PIXELS: lambda: side(lenet()[:7], 32) ** 2,
        ONE_DIRECTION: lambda: 16 * side(lenet()[:7], 32),
        BEFORE_POOLING: lambda: _flattened(side(lenet()[:4], 32)),
    },
    remark="只有第一个全连接层写死了输入的大小。")


def correlate(X: Tensor, K: Tensor, b: float) -> Tensor:
    """对照用：一个通道的卷积层。"""
    return nn.functional.conv2d(X[None, None], K[None, None])[0, 0] + b


def _images() -> list[tuple[Tensor, Tensor, float]]:
    dice = torch.Generator().manual_seed(1)
    return [(torch.randn(h, w, generator=dice), torch.randn(m, n, generator=dice), b)
            for h, w, m, n, b in ((3, 3, 2, 2, 0.5), (5, 4, 3, 2, -1.0), (4, 6, 1, 3, 2.0), (3, 3, 3, 3, 1.0))]


FLIPPED = Mistake("flipped", "核翻转了：那是数学里的卷积；深度学习里的卷积层不翻转（互相关）。")
FORGOT_BIAS = Mistake("forgot_bias", "忘了加偏置。")
SHORT = Mistake("short", "少了最后一行和最后一列：窗口能放 n − k + 1 次，不是 n − k 次。")
BIAS_TWICE = Mistake("bias_each_weight", "偏置加到了窗口里的每一项上；一个输出只加一次。")
TRANSPOSED = Mistake("transposed", "行和列弄反了。")
SAME_SIZE = Mistake("same_size", "输出与输入一样大：这里没有填充。")

CONVOLVE = Code(
    section="7.1", name="convolve",
    question="写出卷积层在一个通道上做的事：`X` 是 (高, 宽) 的图像，`K` 是核，`b` 是偏置；没有填充，步幅 1。\n"
             "用两个循环，不用 `nn.Conv2d`。",
    hints=("输出的高是 `X.shape[0] - K.shape[0] + 1`，宽同理。",
           "输出的 (i, j) 是 `X` 里从 (i, j) 开始、与核一样大的窗口，逐项乘上核再加起来。",
           "`Y[i, j] = (X[i:i + h, j:j + w] * K).sum() + b`，h、w 是核的高和宽。"),
    explanation="窗口逐项乘上核，加起来，再加一次偏置。",
    signature="def convolve(X, K, b):",
    code='import torch\n\n'
         'def convolve(X, K, b):\n'
         '    h, w = K.shape\n'
         '    Y = torch.zeros(X.shape[0] - h + 1, X.shape[1] - w + 1)\n'
         '    for i in range(Y.shape[0]):\n'
         '        for j in range(Y.shape[1]):\n'
         '            Y[i, j] = (X[i:i + h, j:j + w] * K).sum() + b\n'
         '    return Y\n\n'
         'answer = convolve',
    inputs=_images,
    misled={
        FLIPPED: lambda X, K, b: correlate(X, K.flip(0, 1), b),
        FORGOT_BIAS: lambda X, K, b: correlate(X, K, 0),
        SHORT: lambda X, K, b: correlate(X, K, b)[:-1, :-1],
        BIAS_TWICE: lambda X, K, b: correlate(X, K, b * K.numel()),
        TRANSPOSED: lambda X, K, b: correlate(X, K, b).T,
        SAME_SIZE: lambda X, K, b: nn.functional.conv2d(X[None, None], K[None, None], padding="same")[0, 0] + b,
    })

HALF = Design(
    section="7.1", name="half",
    question="用至多一半的参数（30,853）设计一个认 28×28 灰度图、十类的网络：至少两个卷积层，"
             "展平以前有一个位置至少看得到 16×16，与书上的 LeNet 一样。\n"
             "从 `lenet(c1=…, c2=…, h1=…, h2=…)` 改起，或者自己写；训练一下，看精度差多少。",
    hints=("参数多半在第一个全连接层：`c2 × 5 × 5 × h1`。", "感受野由窗口和步幅定，通道数不影响它。",
           "`lenet(h1=40)` 已经够了；减 c2 也行。"),
    explanation="第一个全连接层占了大半，减它最省。感受野不变，因为窗口和步幅没有动。",
    covers=("6.6.2",),
    code='from helpers import load\n\nanswer = load("7.1").lenet(h1=40)',
    others=('from helpers import load\n\nanswer = load("7.1").lenet(c2=6)',
            'from torch import nn\n\n'
            'answer = nn.Sequential(\n'
            '    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),\n'
            '    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),\n'
            '    nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),\n'
            '    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))'),
    shape=(1, 1, 28, 28),
    limits=(params_at_most(30_853), convs_at_least(2), field_at_least(16), gives(10)))

POOLING_CONTEST = Contest(
    section="7.1", name="pooling",
    question="把平均汇聚换成最大汇聚，测试精度变高还是变低？差别比换一个种子大吗？\n"
             "用小的训练（2,000 张图、3 轮、批量 32、学习率 0.1、ReLU、Kaiming 初始化，测试用全部 10,000 张）"
             "各做五个种子，再下结论；看不出也是结论。",
    hints=("`lenet(activation=\"ReLU\", pooling=\"MaxPool2d\")` 换汇聚层，`trials(measure, seeds=5)` 做五个种子。",
           "同一个种子的两次成一对，`first.versus(second)` 给出差和它的区间。",
           "区间里没有 0，就是平均数大的那一组；有 0，就是看不出。"),
    explanation="精度看 `trials` 的差和区间，不看一次训练的两个数。",
    covers=("6.6.1",),
    arms=("平均汇聚", "最大汇聚"), quantity="测试精度", slow=True,
    code='import torch\n'
         'from helpers import accuracy, fashion_mnist, fit, kaiming, load, trials\n\n'
         '_, every_test_image = fashion_mnist(batch_size=500, device="cpu")\n\n'
         'def accuracy_with(pooling):\n'
         '    def measure(seed):\n'
         '        torch.manual_seed(seed)\n'
         '        data = fashion_mnist(batch_size=32, size=28, images=2_000, device="cpu")\n'
         '        net = load("7.1").lenet(activation="ReLU", pooling=pooling).apply(kaiming)\n'
         '        list(fit(net, *data, lr=0.1, num_epochs=3, dtype=torch.float32))\n'
         '        return accuracy(net, every_test_image, torch.float32)\n'
         '    return measure\n\n'
         'first, second = (trials(accuracy_with(name), seeds=5) for name in ("AvgPool2d", "MaxPool2d"))')


def _share(of: str, kind: str) -> float:
    """一种层占全网的几分之几。of: "params" 或 "macs"。"""
    rows = _rows()
    return sum(getattr(row, of) for row in rows if row.kind == kind) / getattr(rows, of)


CLAIMS = Claims(
    section="7.1", name="claims",
    question="哪几句成立？",
    hints=("每一句都可以用一行代码看：`trace(lenet(), (1, 1, 28, 28))`。",
           "参数看「参数」一列，计算看「乘加」一列；sigmoid 的输出总在 0 和 1 之间。",
           "MNIST 也是 28×28 的灰度图、十类；汇聚层没有参数。"),
    explanation="每一句都由网络自己回答：",
    covers=("6.6.3", "6.6.4"),
    statements=(
        Statement("linear_params", "LeNet 的参数九成以上在全连接层。",
                  lambda: _share("params", "Linear") > 0.9,
                  lambda: f"全连接层占参数的 {_share('params', 'Linear'):.1%}。"),
        Statement("linear_macs", "LeNet 的乘加多半也在全连接层。",
                  lambda: _share("macs", "Linear") > 0.5,
                  lambda: f"卷积层占乘加的 {_share('macs', 'Conv2d'):.1%}，同一个权重在每个位置都用。"),
        Statement("pooling_params", "把平均汇聚换成最大汇聚，参数会变多。",
                  lambda: _rows(pooling="MaxPool2d").params > _rows().params,
                  lambda: f"两种都是 {_rows(pooling='MaxPool2d').params:,} 个，汇聚层没有参数。"),
        Statement("mnist", "换成 MNIST 的手写数字，这个网络一层也不用改。",
                  lambda: _rows()[-1].out_shape == (1, 10),
                  lambda: "MNIST 也是 1×28×28、十类："
                          f"{_rows()[0].in_shape[1:]} 进去，出来 {_rows()[-1].out_shape[1:]}。"),
        Statement("negative", "sigmoid 之后的激活里，暗的地方是负数。",
                  lambda: bool((_activation() < 0).any()),
                  lambda: f"sigmoid 的输出在 0 和 1 之间；随机的图上，第一层的是 {_activation().min():.2f} 到 "
                          f"{_activation().max():.2f}。"),
    ))


def _activation() -> Tensor:
    """第一个 sigmoid 的输出，一张随机的图，随机的权重。"""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return lenet()[:2](torch.randn(1, 1, 28, 28))


EXERCISES = (SECOND_CONV, ORIGINAL_INPUT, CONVOLVE, HALF, POOLING_CONTEST, CLAIMS)


def _block() -> Trace:
    return trace(load("7.1").lenet_block(1, 6, padding=2), (1, 1, 28, 28))


GUESSES = (
    Guess(section="7.1", name="block",
          question="一张 28×28 的图像进去，`lenet_block(1, 6, padding=2)` 出来是什么形状（通道×高×宽）？",
          truth=lambda: _block()[-1].out_shape[1:], shows=_block,
          mistakes=lambda: {mistake: (6, n, n) for mistake, n in
                            sides(load("7.1").lenet_block(1, 6, padding=2), 28).items()}),
)
