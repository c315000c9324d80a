"""曲线正常吗？不正常是为什么，接着试什么。"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from helpers.arguments import between, instance
from helpers.data.split import Split
from helpers.experiments.run import Finding, Run
from helpers.network.answer import answered, home
from helpers.network.borrow import evaluating, hooked
from helpers.training.checks import check_scoring
from helpers.training.loop import Point


def diagnose(run: Run, net: nn.Module | None = None, data: Split | None = None) -> list[Finding]:
    """这次训练有什么毛病，接着试什么；没有毛病就是空的。

    net, data: 训练完的网络和它的数据；给了才数得出死掉的 ReLU 和从不预测的类别。
    阈值取自实际的训练：正常的 35 次不报，塌缩的都报（tests/support/recorded_runs.json）。
    """
    instance(run, Run, "要一次训练，如 diagnose(saved_runs('lenet')[-1])")
    if run.ended in _BROKEN_OFF:
        return [_BROKEN_OFF[run.ended](run)]
    if run.last is None or run.too_short:
        return []
    chance, own = 1 / run.classes, [point.train_acc for point in run.points]
    if own[-1] < 1.5 * chance and max(own) > 3 * chance:
        return [_collapse(run)]
    stuck = run.last.train_acc < 1.5 * chance
    with torch.autocast(run.device, getattr(torch, run.dtype), enabled=run.dtype != "float32"):  # 与训练时一样快
        if stuck:
            return [_stuck(run, run.last, net, data)]
        return _missing(run, net, data) or [*_bumps(run), *_slow(run), *_overfit(run)]


def _overflow(run: Run) -> Finding:
    lr = _lr(run)
    return Finding("overflow", f"学习率 {lr:g} 太大{_book_lr(run)}，参数一步步变大直到没有数",
                   f"从 {lr / 3:.2g} 试起，重新初始化再训练")


def _out_of_memory(run: Run) -> Finding:
    batch, fits = run.recipe["batch_size"], run.memory["largest_batch"]
    return Finding("memory", f"批量 {batch} 放不下；预计放得下的最大批量是 {min(fits, batch // 2) or 1}",
                   "减小批量、输入边长或宽度再训练")


_BROKEN_OFF: dict[str, Callable[[Run], Finding]] = {"diverged": _overflow, "memory": _out_of_memory}


def _collapse(run: Run) -> Finding:
    best = max(point.train_acc for point in run.points)
    return Finding("collapse", f"精度到过 {best:.2f}，又跌回随机猜的水平；学习率 {_lr(run):g} 太大",
                   "减小到三分之一，重新初始化再训练")


def _lr(run: Run) -> float:
    """最后一步的学习率。"""
    return run.final_lr or next((p.lr for p in reversed(run.points) if p.lr is not None), run.recipe["lr"])


def _book_lr(run: Run) -> str:
    return f"（书上是 {run.book_recipe['lr']:g}）" if run.book_recipe and _lr(run) != run.book_recipe["lr"] else ""


def _stuck(run: Run, last: Point, net: nn.Module | None, data: Split | None) -> Finding:
    """停在随机猜的原因，从确定的到可能的；10 类时损失是 ln 10，精度是 1/10。"""
    where = (f"损失停在 {last.loss:.3f}（ln {run.classes} ≈ {math.log(run.classes):.3f}），"
             f"精度停在 {last.train_acc:.3f}，就是随机猜；")
    cause = _dead(run, net, data) or _wrong_setting(run) or _needs_more_steps(run)
    return cause if cause.kind == "warming_up" else Finding(cause.kind, where + cause.symptom, cause.remedy)


def _dead(run: Run, net: nn.Module | None, data: Split | None) -> Finding | None:
    """死掉的 ReLU 断了信号。"""
    layers = dead_relus(net, data) if net is not None and data is not None else []
    if layers and layers[-1].is_output and layers[-1].dead == layers[-1].units:
        return Finding("dead_output", f"最后一个 ReLU 的 {layers[-1].units} 个通道全死了，每个对数几率都是 0，"
                       "梯度恰好是 0", "再训练也没有用，换一个种子或减小学习率，重新初始化")
    if worst := next((layer for layer in layers if layer.dead > 0.9 * layer.units), None):
        return Finding("dead_layer", f"第 {worst.name} 层 ReLU 的 {worst.units} 个通道死了 {worst.dead} 个，"
                       f"信号到这里就断了，学习率 {_lr(run):g} 太大{_book_lr(run)}", "减小到三分之一，重新初始化")
    return None


def _wrong_setting(run: Run) -> Finding | None:
    """初始化或学习率与书上差得太远。"""
    lr, book = _lr(run), run.book_recipe
    if run.recipe["init"] == "default" and book.get("init") == "xavier":
        return Finding("weak_initialization", "权重是 PyTorch 默认的初始化，比 Xavier 小，信号一层层变弱",
                       "建好网络之后加上 .apply(xavier)")
    if book and lr < 0.2 * book["lr"]:
        return Finding("lr_too_small", f"学习率 {lr:g} 太小{_book_lr(run)}，梯度推不动它",
                       f"加大到 {min(10 * lr, book['lr']):g}")
    if run.saturating and run.steps <= 350:
        return Finding("warming_up", "第一轮停在 0.100 是正常的，网络用 sigmoid，起步慢，走过几百步才学起来",
                       "接着训练")
    if book and lr > 2 * book["lr"]:
        return Finding("lr_too_large", f"学习率 {lr:g} 太大{_book_lr(run)}，头几步就把激活推到了不动的地方",
                       "减小到三分之一，重新初始化")
    return None


def _needs_more_steps(run: Run) -> Finding:
    """别的都对，也许只是走得不够。"""
    if run.saturating:
        return Finding("not_started", f"sigmoid 起步慢，走完的 {run.steps:,} 步可能不够",
                       "多训练几轮，还是不动就换一个种子")
    return Finding("not_started", f"没有批量规范化的深网络开头会这样停一阵，走完的 {run.steps:,} 步可能不够",
                   "多训练几轮，或者换 kaiming 初始化；还是不动就换一个种子")


@dataclass(frozen=True)
class DeadReLU:
    """一个 ReLU 层里，对一批图像的每个位置都输出 0 的通道。

    name: 层的名字；dead: 死了几个；units: 一共几个；is_output: 它后面没有卷积层和全连接层了。
    """

    name: str
    dead: int
    units: int
    is_output: bool


def dead_relus(net: nn.Module, data: Split, images: int = 256) -> list[DeadReLU]:
    """每个 ReLU 层死了几个通道，按在网络里的次序；用 data 的前 images 张图数。

    一个 ReLU 用在宽度不同的几处，各数各的。
    """
    check_scoring(net, data)
    images = between("images", images, 1)
    alive: dict[tuple[str, int], Tensor] = {}

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        positive = (output > 0).transpose(0, 1).flatten(1).any(dim=1)
        key = name, len(positive)
        alive[key] = alive.get(key, positive) | positive

    order = [name for name, module in net.named_modules() if isinstance(module, nn.ReLU | nn.Conv2d | nn.Linear)]
    relus: dict[nn.Module, str] = {module: name for name, module in net.named_modules() if isinstance(module, nn.ReLU)}
    with torch.no_grad(), evaluating(net), hooked(relus, leave=count):
        for X in data.some(images):
            answered(net, net, X.to(home(net, X.device)))
    return [DeadReLU(name, int((~flags).sum()), len(flags), is_output=name == order[-1])
            for (name, _), flags in alive.items()]


def _learning(run: Run) -> bool:
    """损失还在降：最后两点比再前面两点低百分之三以上；点太少，也当作还在降。"""
    losses = [point.loss for point in run.points[-4:]]
    return len(losses) < 4 or sum(losses[2:]) < 0.97 * sum(losses[:2])


def _missing(run: Run, net: nn.Module | None, data: Split | None) -> list[Finding]:
    """从不预测的类别；还在学的，也许只是训练得短。"""
    if net is None or data is None:
        return []
    predicted = set()
    with torch.no_grad(), evaluating(net):
        for X in data.some(512):
            predicted.update(net(X.to(home(net, X.device))).argmax(1).tolist())
            if len(predicted) == len(data.classes):
                return []
    missing = [name for i, name in enumerate(data.classes) if i not in predicted]
    if _learning(run):
        return [Finding("short", f"才走了 {run.steps:,} 步，损失还在降，{'、'.join(missing)}还没有预测过",
                        "多训练几轮再看")]
    dead = dead_relus(net, data)
    reason = (f"，最后一个 ReLU 死了 {dead[-1].dead} 个通道，它们的卷积核没有梯度" if dead and dead[-1].is_output
              and dead[-1].dead else "")
    return [Finding("missing_classes", f"只认得 {len(predicted)} 类，从不预测{'、'.join(missing)}{reason}",
                    "换一个种子，或减小学习率，重新初始化再训练")]


def _bumps(run: Run) -> list[Finding]:
    """损失升了一截。"""
    for before, after in pairwise(run.ends):
        if after.loss > 1.25 * before.loss and after.loss > 0.3:
            return [Finding("lr_too_large", f"第 {after.epoch:.0f} 轮的损失从 {before.loss:.2f} 升到 {after.loss:.2f}，"
                            f"学习率 {_lr(run):g} 偏大", "减半试试")]
    return []


def _slow(run: Run) -> list[Finding]:
    """打算训练的都训练完了，还远没有学够：是还在降，还是停住了。别的数据集该学到多少，这里不知道。"""
    ends = run.ends
    if "folder" in run.recipe or not run.finished or len(ends) < 2 or ends[-1].train_acc > 0.65:
        return []
    last, fall = ends[-1], 1 - ends[-1].loss / ends[-2].loss
    if run.book_recipe and _lr(run) < 0.2 * run.book_recipe["lr"]:
        return [Finding("lr_too_small", f"{last.epoch:.0f} 轮之后训练精度才 {last.train_acc:.2f}，"
                        f"学习率是 {_lr(run):g}{_book_lr(run)}", "加大到三倍试试")]
    if fall > 0.03:
        return [Finding("still_learning", f"训练精度才 {last.train_acc:.2f}，损失还在降（最后一轮降了 {fall:.0%}）",
                        "多训练几轮")]
    return [Finding("plateau", f"损失停在 {last.loss:.2f}，最后一轮只降了 {fall:.1%}",
                    "改学习率（先试三倍，再试三分之一），或者换一个种子")]


def _overfit(run: Run) -> list[Finding]:
    """训练精度远高于测试精度；测试精度会跳，取最后三轮最高的。"""
    ends = run.ends
    best = max((point.test_acc or 0.0 for point in ends[-3:]), default=1.0)
    if not ends or ends[-1].train_acc - best < 0.12:
        return []
    return [Finding("overfit", f"训练精度 {ends[-1].train_acc:.2f}，测试精度只有 {best:.2f}；图片太少或轮数太多",
                    "加大 images，或者少训练几轮、用暂退法")]
