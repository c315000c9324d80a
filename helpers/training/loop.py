"""唯一的训练循环。"""

import gc
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.arguments import brief, flag, number
from helpers.data.split import Split
from helpers.machine.cuda_graph import GraphedStep, Step, may_graph, require_cuda_graph
from helpers.machine.device import check_dtype, fast_dtype
from helpers.machine.dice import Dice, rolling
from helpers.machine.gauge import Gauge
from helpers.machine.memory import keep_memory, release_memory
from helpers.machine.team import all_sum, parallel, together, world_size
from helpers.network.answer import answered, blame, home
from helpers.network.borrow import evaluating
from helpers.network.memory_order import order_of, prefer_channels_last
from helpers.training.checks import check_output, check_scoring, check_training

Rate = float | Callable[[], float]
Turns = Generator["Point | None", None, None]  # 一步一步的训练：该报告时给出一点，不该时是 None


@dataclass(frozen=True)
class Point:
    """曲线上的一点。

    epoch: 已经训练的轮数，如 2.4。
    loss: 上一点到此刻的平均训练损失（交叉熵，单位 nat；随机猜 10 类是 ln 10 ≈ 2.303）。
    train_acc: 上一点到此刻的训练精度，0–1，在更新参数之前预测，与书上的算法相同。
    test_acc: 测试精度，0–1；只有一轮结束时才有，其余为 None。
    lr: 此刻的学习率；没有记就是 None。
    epoch_loss, epoch_acc: 整轮的平均损失和训练精度，书上报告的就是它们；只有一轮结束时才有，没有算也是 None。
    """

    epoch: float
    loss: float
    train_acc: float
    test_acc: float | None = None
    lr: float | None = None
    epoch_loss: float | None = None
    epoch_acc: float | None = None

    @property
    def whole(self) -> "Point":
        """表格和判断用的：一轮结束时，损失和训练精度换成整轮的；一轮中间的（和没有算的）就是它自己。"""
        if self.epoch_loss is None or self.epoch_acc is None:
            return self
        return replace(self, loss=self.epoch_loss, train_acc=self.epoch_acc)


@dataclass
class Position:
    """训练走到了哪里；每一步之后都是准的，存下来就能从这里接着训练。

    epoch: 训练完的轮数；batch: 这一轮走完的批数；order: 这一轮的次序，还没有开始就是 None；
    sums: 上一点到此刻的 (损失之和, 答对的张数)，float32；seen: 上一点到此刻看过的张数；都是这个进程自己的。
    earlier_sums, earlier_seen: 这一轮在上一点之前的，同样的两样。
    lr: 最后一步的学习率。
    """

    epoch: int = 0
    batch: int = 0
    order: Tensor | None = None
    sums: Tensor | None = None
    seen: int = 0
    earlier_sums: Tensor | None = None
    earlier_seen: int = 0
    lr: float | None = None


def fit(net: nn.Module, train: Split, test: Split, *, lr: Rate, num_epochs: int, dtype: torch.dtype | None = None,
        gauge: Gauge | None = None, cuda_graph: bool | None = None) -> Iterator[Point]:
    """用小批量随机梯度下降训练 net，每轮给出五个点左右；网络留在数据所在的设备上。

    train, test: 训练和测试的两半，如 `fashion_mnist` 给出的；每批 X 为 (B, C, H, W) float32，y 为 (B,) int64。
    lr: 学习率，大于 0；也可以是一个函数，每一步都重新问它（例如一个滑块）。
    num_epochs: 轮数。
    dtype: 卷积和矩阵乘法的精度；默认在擅长 bfloat16 的硬件上自动混合精度，其余用 float32。
    gauge: 给了就把时间记进去：data、steps、evaluation，以及调用者用掉的 drawing。
    cuda_graph: 要不要把一步录成 CUDA graph 再重放，省下逐个启动核函数的时间。默认自己决定：一块 NVIDIA GPU 上，
        GPU 在等主机、显存有余、forward 不等 GPU（例如 .item()）、不在 Python 里留下什么，才录。重放时 forward 里的
        Python 不再运行：它若看别处会变的值（全局变量、滑块），就写 False。True 是一定要录，录不成抛出 ValueError。
    参数不合适时抛出 ValueError；损失变成 NaN 或无穷大时抛出 FloatingPointError，写明第几轮、什么学习率；
    内存或显存不够时抛出 MemoryError，写明试什么批量，占用的已经释放。
    """
    return _points(steps(net, train, test, lr=lr, num_epochs=num_epochs, dtype=dtype, gauge=gauge,
                         cuda_graph=cuda_graph))


def _points(turns: Turns) -> Iterator[Point]:
    with closing(turns):
        for point in turns:
            if point is not None:
                yield point


def steps(net: nn.Module, train: Split, test: Split, *, lr: Rate, num_epochs: int, dtype: torch.dtype | None = None,
          gauge: Gauge | None = None, cuda_graph: bool | None = None, reports: int = 5,
          position: Position | None = None, dice: Dice | None = None) -> Turns:
    """与 `fit` 相同，但每一步（训练或评估的一个批量）都交还一次控制：不该报告时给出 None。

    随时可以停：关闭这个迭代器，网络回到原来的模式，权重是最后一步的。
    reports: 每轮报告几次；position: 从哪里开始，默认从头；走到哪里也记在里面。
    dice: 图片的次序、网络抽的随机数从这里来；默认是公共的，由 torch.manual_seed 决定。
    几个进程一起训练时（见 `team`），各走各的那一份，梯度、损失和精度是全体的。
    """
    num_epochs = check_training(net, train, test, num_epochs)
    if not callable(lr):
        rate_now(lr)
    if cuda_graph is not None and flag("cuda_graph", cuda_graph):
        require_cuda_graph(train.device)
    dtype = check_dtype(dtype, fast_dtype(train.device))
    update = Update(net, train, dtype, gauge or Gauge(train.device), position or Position(), dice)
    step: Step = update
    if cuda_graph or (cuda_graph is None and may_graph(train.device)):
        step = GraphedStep(update, dice and dice.generator(train.device), None if cuda_graph else net)
    return _epochs(update, step, train, test, lr, num_epochs, reports)


def _epochs(update: "Update", step: Step, train: Split, test: Split, lr: Rate, num_epochs: int,
            reports: int) -> Turns:
    here, gauge = update.position, update.gauge
    gauge.lap("drawing")  # 在这以前画好的坐标轴
    keep_memory()
    for epoch in range(here.epoch, num_epochs):
        yield from _train(update, step, train, lr, reports)
        hits = yield from _evaluate(update.net, test, update.dtype, gauge, update.dice)
        last_part = update.means()
        update.mark()
        here.epoch, here.order = epoch + 1, None
        yield Point(epoch + 1.0, *last_part, hits.item() / test.images, here.lr, *update.epoch_means())
        gauge.lap("drawing")


class Update:
    """一步更新：前向、损失、反向、更新，把更新之前的 (损失之和, 答对的张数) 加进 position.sums。

    用法是 update(X, y)，返回更新之前的平均损失，设备上的 0 维张量。从头到尾不等设备，形状只看 X、y，所以能录成
    CUDA graph。学习率和累计量也留在设备上：GPU 不必每一步都等主机，录下的一步也看得到新的值。
    """

    def __init__(self, net: nn.Module, train: Split, dtype: torch.dtype, gauge: Gauge, position: Position,
                 dice: Dice | None):
        device, self.classes = train.device, len(train.classes)
        prefer_channels_last(net.to(device), (1, train.channels, train.size, train.size))
        self.order = order_of(net)
        self.net, self.dtype, self.gauge, self.position = net, dtype, gauge, position
        self.dice, self.parallel = dice, parallel(net, device)
        self.answer = rolling(self.parallel, dice)
        self.lr = torch.ones((), device=device)
        self.sums, self.earlier = (torch.zeros(2, device=device) if sums is None else sums.to(device)
                                   for sums in (position.sums, position.earlier_sums))
        position.sums, position.earlier_sums = self.sums, self.earlier
        self.optimizer = torch.optim.SGD(net.parameters(), lr=self.lr, fused=True)

    def __call__(self, X: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(X.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.answer(X.to(memory_format=self.order))
            check_output(logits, y, self.classes)
            loss = F.cross_entropy(logits, y)
        self.gauge.sample()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss, hits = loss.detach(), (logits.detach().argmax(1) == y).sum()
        self.sums += torch.stack((loss * len(y), hits))
        return loss

    def means(self) -> tuple[float, float]:
        """上一点到此刻，全体进程的平均损失和精度。"""
        return _means(self.sums, self.position.seen)

    def epoch_means(self) -> tuple[float, float]:
        """这一轮到上一点，全体进程的平均损失和精度。"""
        return _means(self.earlier, self.position.earlier_seen)

    def mark(self) -> None:
        """这里是一点：以后的从头数起。"""
        here = self.position
        self.earlier += self.sums
        here.earlier_seen += here.seen
        self.sums.zero_()
        here.seen = 0

    def start_epoch(self) -> None:
        """新的一轮：一切从头数起。"""
        here = self.position
        here.batch = here.seen = here.earlier_seen = 0
        self.sums.zero_()
        self.earlier.zero_()


def _means(sums: Tensor, seen: int) -> tuple[float, float]:
    loss, acc = (all_sum(sums.clone()) / (seen * world_size())).tolist()
    return loss, acc


def _train(update: Update, step: Step, train: Split, lr: Rate, reports: int) -> Iterator[Point | None]:
    """一轮（或者它剩下的一半），每批交还一次控制；最后一批不报告，评估之后再说。"""
    here, gauge = update.position, update.gauge
    if here.order is None:
        here.order = rolling(train.order, update.dice)()
        update.start_epoch()
    update.parallel.train()
    for X, y in train.batches(here.order, here.batch):
        gauge.lap("data")
        here.lr = rate_now(lr)
        update.lr.fill_(here.lr)
        loss = _step(step, X, y, update)
        here.batch += 1
        here.seen += len(y)
        gauge.lap("steps")
        epoch, point = here.epoch + here.batch / len(train), None
        if here.batch * reports // len(train) > (here.batch - 1) * reports // len(train):  # 最后一批总是成立
            point = Point(epoch, *update.means(), lr=here.lr)
            gauge.lap("steps")
        _check_finite(loss, point, epoch, here.lr)
        if here.batch < len(train):
            if point is not None:
                update.mark()
            yield point
            gauge.lap("drawing")


def rate_now(lr: Rate) -> float:
    """此刻的学习率；不是大于 0 的数就抛出 ValueError。"""
    given = lr() if callable(lr) else lr
    rate = number(given)
    if rate is None or rate <= 0:
        raise ValueError(f"学习率应当是大于 0 的数，收到的是 {brief(given)}。")
    return rate


def _step(step: Step, X: Tensor, y: Tensor, update: Update) -> Tensor:
    """走一步；内存不够就放掉这一步占用的，抛出 MemoryError。"""
    try:
        return step(X, y)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            blame(error, update.net, X)
            raise
    except ValueError as error:
        if len(y) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise ValueError("这一批只有 1 张图（一轮的最后一批常常不满），批量规范化算不出方差；"
                         "换一个批量，让最后一批至少有 2 张，如 plan.change(batch_size=…)。") from error
    # 到了 except 之外：那里的 error 还抓着放不下的张量
    update.optimizer.zero_grad()
    if isinstance(step, GraphedStep):
        step.release()
    gc.collect()  # 互相抓着的也放掉；要四分之一秒，所以只在这里
    release_memory(X.device)
    half, quarter = (max(1, len(y) // part) for part in (2, 4))
    raise MemoryError(f"内存不够：批量 {len(y)} 放不下，占用的内存已经释放。"
                      f"试试批量 {half}、{quarter}，如 plan.change(batch_size={half})。")


def _check_finite(loss: Tensor, point: Point | None, epoch: float, lr: float) -> None:
    """损失溢出就抛出 FloatingPointError。

    CPU 上读一个数不花时间，每一步都查；GPU 上等到报告时再查；几个进程要一起停，也在报告时查。
    """
    cheap = loss.device.type == "cpu" and not together()
    watched = point.loss if point else loss.item() if cheap else 0.0
    if not math.isfinite(watched):
        raise FloatingPointError(f"第 {epoch:.2f} 轮的损失变成了 {watched}：学习率 {lr:g} 太大，"
                                 "参数已经溢出。请减小学习率，重新初始化网络再训练。")


def accuracy(net: nn.Module, data: Split, dtype: torch.dtype | None = None) -> float:
    """net 在 data 上的精度，0–1；在 eval 模式下计算，之后各层回到原来的模式。"""
    check_scoring(net, data)
    device = home(net, data.device)
    scoring = _evaluate(net, data, check_dtype(dtype, fast_dtype(device)), Gauge(device))
    while True:
        try:
            next(scoring)
        except StopIteration as finished:
            return finished.value.item() / data.images


def _evaluate(net: nn.Module, data: Split, dtype: torch.dtype, gauge: Gauge,
              dice: Dice | None = None) -> Generator[None, None, Tensor]:
    """逐批评估，在网络所在的设备上，每批交还一次控制；最后返回全体答对的张数。"""
    device, answer, order = home(net, data.device), rolling(net, dice), order_of(net)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    with evaluating(net):
        for X, y in data:
            # 梯度开关和自动混合精度是整个线程的状态，不能带着它们交还控制
            with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = answered(answer, net, X.to(device, memory_format=order))
                check_output(logits, y, len(data.classes))
                hits += (logits.argmax(1) == y.to(device)).sum()
            gauge.lap("evaluation")
            yield
            gauge.lap("drawing")
    return all_sum(hits)
