"""训练的存档：一轮一份，中断时也存，以后从那里接着训练。"""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.arguments import between
from helpers.experiments.atomic import file_name, writing
from helpers.experiments.run import check_point, require_number
from helpers.experiments.settings import describe_differences, differences, plain
from helpers.machine.dice import Dice
from helpers.machine.interrupt import gentle_stop
from helpers.machine.team import rank
from helpers.network.dispatch import tensors
from helpers.training.loop import Point, Position, Turns

_MAY_CHANGE = ("num_epochs", "lr")  # 接着训练时可以与存档不同的


def checkpoint_file(folder: Path, network: str, settings: dict[str, Any]) -> Path:
    """这种网络、这种设置的存档叫什么：每种各一份，一分钟的小训练盖不掉几天的大训练。轮数和学习率不算在内。"""
    fixed = {name: value for name, value in settings.items() if name not in _MAY_CHANGE}
    digest = hashlib.sha256(json.dumps(plain(fixed), sort_keys=True).encode()).hexdigest()
    return folder / f"{file_name(network)}-{digest[:8]}.pt"


def save_checkpoint(path: Path, net: nn.Module, position: Position, points: list[Point],
                    settings: dict[str, Any], seconds: dict[str, float], dice: Dice | None = None) -> None:
    """存一份，由 0 号进程来存；任何时候被打断，path 都是完整的一份。

    settings: 这次训练的设置，接着训练时核对；seconds: 到此刻花的时间；dice: 随机数从哪里抽，默认是公共的。
    内容全是张量和普通的值，`torch.load(weights_only=True)` 就能读。存不下时说一句，训练接着走。
    """
    if rank() != 0:
        return
    try:
        with writing(path) as file:
            random, random_cuda = (generator and generator.get_state() for generator in _generators(net, dice))
            torch.save({"net": net.state_dict(), "position": vars(position), "random": random,
                        "random_cuda": random_cuda, "points": [astuple(point) for point in points],
                        "settings": settings, "seconds": seconds}, file)
    except (OSError, RuntimeError) as error:  # 写到一半磁盘满了，torch.save 抛的是 RuntimeError
        reason = getattr(error, "strerror", None) or "写到一半写不下了"
        warnings.warn(f"存档没有存下来（{reason}：{path}），上一份还在；训练接着走。", stacklevel=2)


def _generators(net: nn.Module, dice: Dice | None) -> tuple[torch.Generator, torch.Generator | None]:
    """训练 net 时抽随机数的：(CPU 的, GPU 的)；不在 GPU 上就是 None。"""
    device = next(net.parameters()).device
    if dice is not None:
        return dice.generator(torch.device("cpu")), dice.generator(device) if device.type == "cuda" else None
    return torch.default_generator, torch.cuda.default_generators[device.index] if device.type == "cuda" else None


def load_checkpoint(path: Path, net: nn.Module, settings: dict[str, Any],
                    dice: Dice | None = None) -> tuple[Position, list[Point], dict[str, float]]:
    """把存档读进 net，返回 (走到了哪里, 已有的点, 已经花的时间)；随机数也回到那时的样子。

    学习率可以与存档不同，轮数可以更多；别的设置不同、轮数不够或者文件损坏时抛出 ValueError，那时 net 没有改。
    """
    try:
        saved = _read(path, next(net.parameters()).device)
    except Exception as error:  # 截断、改动、别的程序存的，torch.load 抛什么都有
        raise ValueError(f"存档 {path} 读不出来（{type(error).__name__}）；删掉它，从头训练。") from error
    position, then = saved["position"], saved["settings"]
    fixed = {name: value for name, value in then.items() if name not in _MAY_CHANGE}
    if differences(settings, fixed):
        raise ValueError(f"存档 {path} 是另一种设置训练的：这次{describe_differences(settings, fixed)}。"
                         "改回去，或者去掉 --resume 从头训练。")
    if settings["num_epochs"] < position.epoch:
        raise ValueError(f"存档 {path} 已经训练了 {position.epoch} 轮，这次只要 {settings['num_epochs']} 轮；"
                         "加大 num_epochs，或者去掉 --resume 从头训练。")
    if not _fits(saved["net"], net):
        raise ValueError(f"存档 {path} 里的权重与这个网络对不上，网络的定义改过了。"
                         "改回去，或者去掉 --resume 从头训练。")
    net.load_state_dict(saved["net"])
    # 存的是 0 号进程的：别的进程只有暂退法用得到随机数，不必与上次一样；
    # 在一轮中间断的，这一轮前一半的训练精度以 0 号的代表全体
    if rank() == 0:
        for generator, state in zip(_generators(net, dice), (saved["random"], saved["random_cuda"]), strict=True):
            if generator is not None and state is not None:
                generator.set_state(state.cpu())
    return position, saved["points"], saved["seconds"]


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """存档的各个部分；缺了、坏了、彼此对不上，就抛出异常，什么样的都有。"""
    with zipfile.ZipFile(path) as parts:  # torch.load 不看校验和，改掉一位也照样读
        if parts.testzip() is not None:
            raise ValueError("校验和不对")
    saved = torch.load(path, map_location=device, weights_only=True)
    position, settings = Position(**saved["position"]), saved["settings"]
    _require(not tensors(settings))  # 张量与这次的比不出一样不一样
    for count in (position.epoch, position.batch, position.seen, position.earlier_seen, settings["num_epochs"]):
        between("存档里的数", count, 0)
    if position.order is not None:
        rows = position.order.reshape(len(position.order), -1)[:, 0]
        _require(torch.equal(rows.sort().values.cpu(), torch.arange(settings["images"])))
        _require(position.batch * settings["batch_size"] < settings["images"] + settings["batch_size"])
    for sums in (position.sums, position.earlier_sums):
        _require(sums is None or (sums.shape == (2,) and sums.dtype == torch.float32))
    points = [Point(*point) for point in saved["points"]]
    for point in points:
        check_point(point)
    for value in (*saved["seconds"].values(), 0 if position.lr is None else position.lr):
        require_number(value)
    random, random_cuda = saved["random"], saved["random_cuda"]
    torch.Generator().set_state(random.cpu())
    _require(random_cuda is None or random_cuda.dtype == torch.uint8)
    return {"net": saved["net"], "position": position, "random": random, "random_cuda": random_cuda,
            "points": points, "settings": dict(settings), "seconds": saved["seconds"]}


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("各部分对不上")


def _fits(state: dict[str, Tensor], net: nn.Module) -> bool:
    """存下的权重是不是这个网络的：名字、形状和类型都相同。"""
    own = net.state_dict()
    return isinstance(state, Mapping) and state.keys() == own.keys() and all(
        not isinstance(value, Tensor) or (isinstance(state[name], Tensor) and state[name].shape == value.shape
                                          and state[name].dtype == value.dtype) for name, value in own.items())


def kept(turns: Turns, store: Callable[[], None]) -> Turns:
    """走 turns，每一轮和中断时 store() 一次；按了中断，走完这一步、存好，再抛出 KeyboardInterrupt。"""
    with gentle_stop() as stopped, closing(turns):
        try:
            for point in turns:
                yield point
                stop = stopped and rank() == 0  # 别的进程没有什么可存，0 号走了它们就停在求和上
                if stop or (point is not None and point.test_acc is not None):
                    store()
                if stop:
                    raise KeyboardInterrupt
        except RuntimeError as error:
            if stopped and rank() > 0:  # 0 号已经走了，求和求不成
                raise KeyboardInterrupt from error
            raise
