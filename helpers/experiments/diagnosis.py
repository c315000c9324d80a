"""曲线正常吗？不正常是为什么，接着试什么。"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from helpers.data.fashion import Half
from helpers.network.borrow import evaluating, hooked
from helpers.training.loop import Point

if TYPE_CHECKING:
    from helpers.experiments.run import Run


def diagnose(run: "Run", net: nn.Module | None = None, data: Half | None = None) -> list[str]:
    """这次训练有什么毛病，接着试什么；一句一条，没有毛病就是空的。

    net, data: 训练完的网络和它的数据；给了才数得出死掉的 ReLU 和从不预测的类别。
    阈值取自实际的训练：正常的 35 次不报，塌缩的都报（tests/support/recorded_runs.json）。
    """
    last = run.last
    if run.ended == "diverged":
        return [f"损失溢出：学习率 {_lr(run):g} 太大{_book_lr(run)}，参数一步步变大直到没有数；"
                f"从 {_lr(run) / 3:.2g} 试起，重新初始化再训练。"]
    if run.ended == "memory":
        batch, fits = run.recipe["batch_size"], run.memory["largest_batch"]
        return [f"内存不够：批量 {batch} 放不下；预计放得下的最大批量是 {min(fits, batch // 2) or 1}，"
                "减小批量、输入边长或宽度再训练。"]
    if too_short(run):
        return []
    best, chance = max(point.train_acc for point in run.points), 1 / _classes(run)
    if last.train_acc < 1.5 * chance and best > 3 * chance:
        return [f"塌缩：精度到过 {best:.2f}，又跌回随机猜的水平；学习率 {_lr(run):g} 太大，"
                "减小到三分之一，重新初始化再训练。"]
    with torch.autocast(run.device, getattr(torch, run.dtype), enabled=run.dtype != "float32"):  # 与训练时一样快
        if last.train_acc < 1.5 * chance:
            return [_stuck(run, net, data)]
        return _missing(net, data) or [*_bumps(run), *_slow(run), *_overfit(run)]


def too_short(run: "Run") -> bool:
    """走得太短，还看不出毛病：不到半轮，或者不到 20 步。"""
    return run.last is None or run.last.epoch < 0.5 or _steps(run) < 20


def _lr(run: "Run") -> float:
    return next((p.lr for p in reversed(run.points) if p.lr is not None), run.recipe["lr"])


def _book_lr(run: "Run") -> str:
    return f"（书上是 {run.book['lr']:g}）" if run.book and _lr(run) != run.book["lr"] else ""


def _stuck(run: "Run", net: nn.Module | None, data: Half | None) -> str:
    """停在随机猜的原因，从确定的到可能的；10 类时损失是 ln 10，精度是 1/10。"""
    lr, book, recipe, classes = _lr(run), run.book, run.recipe, _classes(run)
    where = (f"没有学：损失停在 {run.last.loss:.3f}（ln {classes} ≈ {math.log(classes):.3f}），"
             f"精度停在 {run.last.train_acc:.3f}，就是随机猜")
    dead = dead_relus(net, data) if net is not None and data is not None else []
    if dead and dead[-1].is_output and dead[-1].dead == dead[-1].units:
        return (f"{where}；最后一个 ReLU 的 {dead[-1].units} 个通道全死了，每个对数几率都是 0，梯度恰好是 0："
                "再训练也没有用，换一个种子或减小学习率，重新初始化。")
    if worst := [layer for layer in dead if layer.dead > 0.9 * layer.units]:
        return (f"{where}；第 {worst[0].name} 层 ReLU 的 {worst[0].units} 个通道死了 {worst[0].dead} 个，"
                f"信号到这里就断了：学习率 {lr:g} 太大{_book_lr(run)}，减小到三分之一，重新初始化。")
    if recipe["init"] == "default" and book.get("init") == "xavier":
        return f"{where}；权重是 PyTorch 默认的初始化，比 Xavier 小，信号一层层变弱：建好网络之后加上 .apply(xavier)。"
    sigmoid = run.network == "lenet"
    if book and lr < 0.2 * book["lr"]:
        return f"{where}；学习率 {lr:g} 太小{_book_lr(run)}，梯度推不动它：加大到 {min(10 * lr, book['lr']):g}。"
    if sigmoid and _steps(run) <= 350:
        return "第一轮停在 0.100 是正常的：LeNet 用 sigmoid，起步慢，走过几百步才学起来；接着训练。"
    if book and lr > 2 * book["lr"]:
        return (f"{where}；学习率 {lr:g} 太大{_book_lr(run)}，头几步就把激活推到了不动的地方："
                "减小到三分之一，重新初始化。")
    if sigmoid:
        return f"{where}；sigmoid 起步慢，走完的 {_steps(run):,} 步可能不够：多训练几轮，还是不动就换一个种子。"
    return (f"{where}；没有批量规范化的深网络开头会这样停一阵，走完的 {_steps(run):,} 步可能不够："
            "多训练几轮，或者换 kaiming 初始化；还是不动就换一个种子。")


def _classes(run: "Run") -> int:
    return run.recipe.get("num_classes", 10)


def _steps(run: "Run") -> int:
    return round(run.last.epoch * run.recipe["images"] / run.recipe["batch_size"])


@dataclass(frozen=True)
class DeadReLU:
    """一个 ReLU 层里，对一批图像的每个位置都输出 0 的通道。

    name: 层的名字；dead: 死了几个；units: 一共几个；is_output: 它后面没有卷积层和全连接层了。
    """

    name: str
    dead: int
    units: int
    is_output: bool


def dead_relus(net: nn.Module, data: Half, images: int = 256) -> list[DeadReLU]:
    """每个 ReLU 层死了几个通道，按在网络里的次序；用 data 的前 images 张图数。"""
    alive: dict[str, Tensor] = {}

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        positive = (output > 0).transpose(0, 1).flatten(1).any(dim=1)
        alive[name] = alive.get(name, positive) | positive

    order = [name for name, module in net.named_modules() if isinstance(module, nn.ReLU | nn.Conv2d | nn.Linear)]
    relus = {module: name for name, module in net.named_modules() if isinstance(module, nn.ReLU)}
    with torch.no_grad(), evaluating(net), hooked(relus, leave=count):
        for X in data.some(images):
            net(X)
    return [DeadReLU(name, int((~flags).sum()), len(flags), is_output=name == order[-1])
            for name, flags in alive.items()]


def _missing(net: nn.Module | None, data: Half | None) -> list[str]:
    """从不预测的类别。"""
    if net is None or data is None:
        return []
    predicted = set()
    with torch.no_grad(), evaluating(net):
        for X in data.some(512):
            predicted.update(net(X).argmax(1).tolist())
            if len(predicted) == len(data.classes):
                return []
    missing = [name for i, name in enumerate(data.classes) if i not in predicted]
    dead = dead_relus(net, data)
    reason = (f"，最后一个 ReLU 死了 {dead[-1].dead} 个通道，它们再也学不到" if dead and dead[-1].is_output
              and dead[-1].dead else "")
    return [f"只认得 {len(predicted)} 类：从不预测{'、'.join(missing)}{reason}；"
            "换一个种子，或减小学习率，重新初始化再训练。"]


def _ends(run: "Run") -> list[Point]:
    """每一轮最后的一点。"""
    return [point for point in run.points if point.test_acc is not None]


def _bumps(run: "Run") -> list[str]:
    """损失升了一截。"""
    ends = _ends(run)
    for before, after in pairwise(ends):
        if after.loss > 1.25 * before.loss and after.loss > 0.3:
            return [f"第 {after.epoch:.0f} 轮的损失从 {before.loss:.2f} 升到 {after.loss:.2f}："
                    f"学习率 {_lr(run):g} 偏大，减半试试。"]
    return []


def _slow(run: "Run") -> list[str]:
    """打算训练的都训练完了，还远没有学够：是还在降，还是停住了。别的数据集该学到多少，这里不知道。"""
    ends = _ends(run)
    if "folder" in run.recipe or not run.finished or len(ends) < 2 or ends[-1].train_acc > 0.65:
        return []
    last, fall = ends[-1], 1 - ends[-1].loss / ends[-2].loss
    if run.book and _lr(run) < 0.2 * run.book["lr"]:
        return [f"{last.epoch:.0f} 轮之后训练精度才 {last.train_acc:.2f}："
                f"学习率 {_lr(run):g} 偏小{_book_lr(run)}，加大到三倍试试。"]
    if fall > 0.03:
        return [f"训练精度才 {last.train_acc:.2f}，损失还在降（最后一轮降了 {fall:.0%}）：多训练几轮。"]
    return [f"平台期：损失停在 {last.loss:.2f}，最后一轮只降了 {fall:.1%}；"
            "改学习率（先试三倍，再试三分之一），或者换一个种子。"]


def _overfit(run: "Run") -> list[str]:
    """训练精度远高于测试精度；测试精度会跳，取最后三轮最高的。"""
    ends = _ends(run)
    if not ends:
        return []
    best = max(point.test_acc for point in ends[-3:])
    gap = ends[-1].train_acc - best
    if gap < 0.12:
        return []
    return [f"过拟合：训练精度 {ends[-1].train_acc:.2f}，测试精度只有 {best:.2f}；图片太少或轮数太多："
            "加大 images，或者少训练几轮、用暂退法。"]
