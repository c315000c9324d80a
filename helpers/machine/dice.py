"""自己的骰子：一次训练的随机数从这里抽，与别处的 torch.manual_seed、torch.rand 互不相干。"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.arguments import between

Act = TypeVar("Act", bound=Callable[..., Any])
_aten = torch.ops.aten
_RANDOM = torch.Tag.nondeterministic_seeded


class Dice(TorchDispatchMode):
    """在这个 with 里，这个线程里的 PyTorch 运算要抽随机数，都从自己的生成器抽，每个设备一个，种子都是 seed：

        dice = Dice(seed)
        with dice:
            y = net(X)          # 暂退法、torch.randn_like(X) ……

    别的线程同时怎样抽、怎样 torch.manual_seed，都不改变这里抽到的；这里抽多少，也不改变别处的。
    抽到的与 torch.manual_seed(seed) 之后从头抽的相同（GPU 上的暂退法除外，那里抽法不同）。
    管不到的，仍然从公共的生成器抽：torch.utils.checkpoint 里面的（反向时要重抽一遍，它只认得公共的），
    GPU 上融合的注意力和循环层里的暂退法，以及 Python 和 numpy 的随机数。
    rolls: 抽了几次。
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self.rolls = seed, 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator:
        """一个设备的生成器；第一次用到时才有。「cuda」就是此刻的那块 GPU，与「cuda:0」是同一个。"""
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # 否则第一次运行要花一秒多导入 torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if not _is_random(func) or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.rolls += 1
        if _will_be_repeated():
            return func(*args, **kwargs)
        generator = self.generator(_device(args, kwargs))
        if func is _aten.native_dropout.default:
            return _dropout(*args, generator=generator)
        seeded = _seeded(func)
        return func(*args, **kwargs) if seeded is None else seeded(*args, **kwargs, generator=generator)


def checked_seed(seed: int) -> int:
    """一个种子，Python 的整数；不是不小于 0 的整数就抛出 ValueError。"""
    return between("seed", seed, 0, 2**63 - 1)


def seeded(seed: int | None) -> AbstractContextManager[Any]:
    """在这个 with 里，随机数由 seed 定，别处的不动；None 就从公共的生成器抽。"""
    return nullcontext() if seed is None else Dice(checked_seed(seed))


def rolling(act: Act, dice: Dice | None) -> Act:
    """与 act 一样地用，但里面抽的随机数来自 dice；没有 dice 就是 act 自己。

    看着每个运算要花时间（LeNet 的一步慢百分之几），所以第一次一个也没有抽的，以后不再看。
    """
    if dice is None:
        return act
    watching = True

    def rolled(*args: Any, **kwargs: Any) -> Any:
        nonlocal watching
        if not watching:
            return act(*args, **kwargs)
        before = dice.rolls
        with dice:
            result = act(*args, **kwargs)
        watching = dice.rolls > before
        return result
    return cast("Act", rolled)


@cache
def _is_random(func: Any) -> bool:
    return _RANDOM in func.tags


@cache
def _seeded(func: Any) -> Any:
    """同一个运算，收 generator 的那个重载；没有就是 None。"""
    names = {each.name for each in func._schema.arguments}
    packet = func._overloadpacket
    overloads = [getattr(packet, name) for name in packet.overloads()]
    wanted = names | {"generator"}
    return next((each for each in (func, *overloads) if {a.name for a in each._schema.arguments} == wanted), None)


def _device(args: tuple, kwargs: dict[str, Any]) -> torch.device:
    """在哪个设备上抽。"""
    found = next((each.device for each in args if isinstance(each, Tensor)), torch.device("cpu"))
    return torch.device(kwargs.get("device") or found)


def _dropout(X: Tensor, p: float, train: bool | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """aten.native_dropout：GPU 上暂退法的一个融合的核，不收 generator。"""
    if train is False:
        return X.clone(), torch.ones_like(X, dtype=torch.bool)
    mask = torch.empty_like(X, dtype=torch.bool).bernoulli_(1 - p, generator=generator)
    return X * mask * (1 / (1 - p) if p < 1 else 0.0), mask


def _will_be_repeated() -> bool:
    """是不是在 torch.utils.checkpoint 里面：反向时它照着公共的生成器再走一遍，现在就不能从别处抽。"""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            return True
        frame = frame.f_back
    return False
