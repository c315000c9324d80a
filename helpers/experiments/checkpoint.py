"""训练的存档：一轮一份，中断时也存，以后从那里接着训练。"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers.experiments.atomic import file_name, writing
from helpers.experiments.settings import describe_differences, differences, plain
from helpers.machine.dice import Dice
from helpers.machine.interrupt import gentle_stop
from helpers.machine.team import rank
from helpers.training.loop import Point, Position

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
    except OSError as error:
        warnings.warn(f"存档没有存下来（{error.strerror}：{path}），上一份还在；训练接着走。", stacklevel=2)


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
    device = next(net.parameters()).device
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        position, points = Position(**saved["position"]), [Point(*point) for point in saved["points"]]
        state, then, seconds = (saved[name] for name in ("net", "settings", "seconds"))
        random, random_cuda = saved["random"].cpu(), saved["random_cuda"]
    except Exception as error:  # 截断、改动、别的程序存的，torch.load 抛什么都有
        raise ValueError(f"存档 {path} 读不出来（{type(error).__name__}）；删掉它，从头训练。") from error
    fixed = {name: value for name, value in then.items() if name not in _MAY_CHANGE}
    if differences(settings, fixed):
        raise ValueError(f"存档 {path} 是另一种设置训练的：这次{describe_differences(settings, fixed)}。"
                         "改回去，或者去掉 --resume 从头训练。")
    if settings["num_epochs"] < position.epoch:
        raise ValueError(f"存档 {path} 已经训练了 {position.epoch} 轮，这次只要 {settings['num_epochs']} 轮；"
                         "加大 num_epochs，或者去掉 --resume 从头训练。")
    net.load_state_dict(state)
    # 存的是 0 号进程的：别的进程只有暂退法用得到随机数，不必与上次一样；
    # 在一轮中间断的，这一轮前一半的训练精度以 0 号的代表全体
    if rank() == 0:
        for generator, state in zip(_generators(net, dice), (random, random_cuda), strict=True):
            if generator is not None and state is not None:
                generator.set_state(state.cpu())
    return position, points, seconds


def kept(turns: Iterator[Point | None], store: Callable[[], None]) -> Iterator[Point | None]:
    """走 turns，每一轮和中断时 store() 一次；按了中断，走完这一步、存好，再抛出 KeyboardInterrupt。"""
    with gentle_stop() as stopped:
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
