"""在内核里运行的代码：每件事两边各一段，同样的工作，最后印出一个 JSON。"""

TRAIN = """
import gc, json, re, time
from contextlib import redirect_stdout
from io import StringIO
import torch
from helpers import fashion_mnist, pick_device, train, xavier
from helpers import load

def start(section, images):
    # 书上的网络、边长、批量；两边从同样的权重开始
    plan = load(section).plan.book
    torch.manual_seed(0)
    return plan, plan.make(**plan.widths).apply(xavier), fashion_mnist(plan.batch_size, plan.size, images)

def tidy(reading):
    # 显存只有几 GB，几边轮流用：PyTorch 留着的也还给系统
    gc.collect()
    torch.cuda.empty_cache()
    return reading

def ours(section, images, num_epochs=1, **options):
    plan, net, data = start(section, images)
    started = time.perf_counter()
    run = train(net, *data, lr=plan.lr, num_epochs=num_epochs, **options)
    return {"seconds": time.perf_counter() - started, "loss": run.last.loss, "test_acc": run.test_acc}

def float32(section, images, num_epochs=1):
    return ours(section, images, num_epochs, dtype=torch.float32)

def plain(section, images, num_epochs=1):
    return ours(section, images, num_epochs, cuda_graph=False)

def d2l(section, images, num_epochs=1):
    from d2l import torch as d2l
    plan, net, data = start(section, images)
    loaders = d2l.load_data_fashion_mnist(plan.batch_size, resize=None if plan.size == 28 else plan.size)
    for loader, same in zip(loaders, data):  # 同样的图片
        loader.dataset.data, loader.dataset.targets = same.X[:, 0].cpu(), same.y.cpu()
    said, started = StringIO(), time.perf_counter()
    with redirect_stdout(said):
        d2l.train_ch6(net, *loaders, num_epochs, plan.lr, pick_device())
    seconds = time.perf_counter() - started
    loss, test_acc = re.search(r"loss (\\S+), train acc \\S+, test acc (\\S+)", said.getvalue()).groups()
    return {"seconds": seconds, "loss": float(loss), "test_acc": float(test_acc)}

def trajectories(section):
    # 20 步：每轮 5 批，d2l 每一批都报告；批次、内存布局两边相同，汇聚层才不会因为舍入选到别的像素
    from d2l import torch as d2l
    plan, _, _ = start(section, 50)
    train_data, test_data = fashion_mnist(min(16, plan.batch_size), plan.size, 80)
    train_data.shuffle, losses = False, []
    add = d2l.Animator.add
    def keep(self, x, y):
        losses.append(y[0])
        add(self, x, y)
    d2l.Animator.add = keep
    torch.manual_seed(0)
    net = plan.make(**plan.widths).to(memory_format=torch.channels_last)  # xavier 按内存的次序填
    with redirect_stdout(StringIO()):
        d2l.train_ch6(net, [(X.to(memory_format=torch.channels_last), y) for X, y in train_data], test_data, 4, plan.lr,
                      pick_device())
    d2l.Animator.add = add
    torch.manual_seed(0)
    net = plan.make(**plan.widths).to(memory_format=torch.channels_last).apply(xavier)
    run = train(net, train_data, test_data, lr=plan.lr, num_epochs=4, dtype=torch.float32)
    each = [point.loss for point in run.points]  # d2l 报告的是这一轮到此刻的平均
    return {"d2l": [loss for loss in losses if loss is not None],
            "ours": [sum(each[i - i % 5:i + 1]) / (i % 5 + 1) for i in range(len(each))]}

def memory(section, batch_size):
    plan = load(section).plan.book.change(batch_size=batch_size, images=2 * batch_size)
    return train(plan.build(), *plan.data(), lr=1e-3, num_epochs=1, plan=plan).memory
"""

# 画 200 个点，中间不训练；网页收到多少字节由外面数
FIGURE = """
import json, time
POINTS = [(i / 20, 2.3 / (1 + i / 50), i / 250, i / 260 if i % 20 == 0 else None) for i in range(1, 201)]

# 每一边先导入，返回画的函数
def ours():
    from helpers import LivePlot, Point
    def draw():
        with LivePlot(10) as plot:
            for point in POINTS:
                plot.add(Point(*point))
    return draw

def d2l():
    from d2l import torch as d2l
    def draw():
        animator = d2l.Animator(xlabel="epoch", xlim=[1, 10], legend=["train loss", "train acc", "test acc"])
        for epoch, *values in POINTS:
            animator.add(epoch, values)
    return draw

def livelossplot():
    from livelossplot import PlotLosses
    def draw():
        plot = PlotLosses()
        for _, loss, accuracy, test in POINTS:
            plot.update({"loss": loss, "acc": accuracy} | ({} if test is None else {"val_acc": test}))
            plot.send()
    return draw

def clock(draw):
    started = time.perf_counter()
    draw()
    return time.perf_counter() - started

def frame(count):
    # 已经有 count 个点时，一帧多少秒
    from helpers import Point
    from helpers.pictures.curves import Curves
    curves, points = Curves(10), [Point(10 * i / count, 2.3 / (1 + i), 0.5) for i in range(1, count + 1)]
    curves.draw(points, "")
    return min(clock(lambda: curves.draw(points, "")) for _ in range(20))
"""

TRACE = """
import json, time
import torch
from helpers import trace
from helpers import load

def ours(net, shape):
    trace(net, shape)

def torchinfo(net, shape):
    import torchinfo
    str(torchinfo.summary(net, input_size=shape, depth=1, verbose=0, device="cpu"))

def clock(side, section, repeat=5):
    plan = load(section).plan.book
    net = plan.make(**plan.widths)
    side(net, plan.shape)
    started = time.perf_counter()
    for _ in range(repeat):
        side(net, plan.shape)
    return (time.perf_counter() - started) / repeat

def depth(convolutions):
    net = torch.nn.Sequential(*(torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(convolutions)))
    trace(net, (1, 8, 32, 32))
    started = time.perf_counter()
    for _ in range(5):
        trace(net, (1, 8, 32, 32))
    return (time.perf_counter() - started) / 5
"""

SLIDER = """
from helpers import Explorer
from helpers import load
explorer = Explorer(load(SECTION).plan, **RANGES)
explorer
"""

VIEW = """
import json
import random
from helpers import Inside, fashion_mnist, load
plan = load(SECTION).plan
test = fashion_mnist(size=plan.size, images=600)[1]
inside = Inside(plan.make(**plan.widths).to(test.device), test)
dice = random.Random(0)
def places(count):
    steps = dice.choices(inside.answers.steps[1:], k=count)
    return [[step.number, *step.place((0, *map(dice.randrange, step.value.shape[1:])))] for step in steps]
inside
"""

IMPORT = """
import time
import torch, matplotlib, ipywidgets
started = time.perf_counter()
import helpers
print(time.perf_counter() - started)
"""

LIMITS = """
import json, time
import torch

def best(action, repeat=10):
    action()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)

def product(dtype, n=2048):
    # 每秒多少次浮点运算：n×n 的矩阵乘法是 2n³ 次
    A, B = torch.rand(n, n).to(dtype), torch.rand(n, n).to(dtype)
    return 2 * n**3 / best(lambda: A @ B)

def bandwidth(size=256 * 2**20):
    # 每秒读写多少字节：复制一次读一遍写一遍
    source = torch.zeros(size, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * size / best(lambda: target.copy_(source))
"""
