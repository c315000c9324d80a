"""让一个形状走过网络：先在 meta 设备上，不分配内存，也不做计算；一路记下每一层。"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from helpers.network.borrow import Loan, hooked, rewinding
from helpers.network.dispatch import PRODUCTS, Convolution, Watcher, aten, tensors
from helpers.network.layer import Layer, Shape
from helpers.network.receptive_field import Tracker
from helpers.network.shape_errors import Place, ShapeError, diagnose


@contextmanager
def walking(net: nn.Module, depth: int) -> Iterator[Callable[[Shape], "Meter"]]:
    """借网络一用，给出一个函数：让一个形状走一趟，返回记录，走不通就抛出 ShapeError。

    离开 with 后（出错也一样）网络和随机数都回到原来的样子。depth 见 `trace`。还没有形状的 Lazy 层抛出 ValueError。
    """
    if any(map(is_lazy, net.parameters())):
        raise ValueError("网络里有 Lazy 层，参数的形状还没有定。请先用 net(torch.zeros(形状)) 运行一次。")
    with torch.inference_mode(False), torch.no_grad(), Loan(net) as loan:
        yield _Walk(net, depth, loan)


class _Walk:
    """一个借来的网络，可以走许多趟。"""

    def __init__(self, net: nn.Module, depth: int, loan: Loan):
        self.net, self.loan = net, loan
        self.names = {module: name or type(module).__name__ for name, module in _frontier(net, "", depth)}
        owned = [*net.parameters(), *net.buffers()]
        self.home = owned[0].device if owned else torch.device("cpu")
        self.dtype = next((tensor.dtype for tensor in owned if tensor.is_floating_point()), None)
        twins: dict[int, Tensor] = {}  # 共享的参数换成同一个替身
        self.device = torch.device("meta")
        self.clear: int | None = None  # 真算的时候，前几层用不到数值
        loan.dress(lambda tensor: twins.setdefault(id(tensor), tensor.detach().to("meta")))

    def __call__(self, shape: Shape) -> "Meter":
        """先在 meta 上走；不能在 meta 上运行的网络（例如形状取决于数据）就在它自己的设备上真算一遍。"""
        try:
            return self._run(shape)
        except ShapeError as stop:
            error = stop
            if self.device == self.home or "meta" not in str(error.__cause__).lower():
                raise
        self.device, self.clear = self.home, len(error.layers)
        self.loan.dress(lambda tensor: tensor if isinstance(tensor, nn.Parameter) else tensor.clone())
        return self._run(shape)

    def _run(self, shape: Shape) -> "Meter":
        self.loan.reset()
        with rewinding(self.home) as remember:
            meter = Meter(remember, self.clear)
            try:
                X = torch.zeros(shape, dtype=self.dtype, device=self.device)
                meter.fields.begin(X)
                with hooked(self.names, enter=meter.enter, leave=meter.leave), meter:
                    self.net(X)
            except Exception as error:
                raise meter.stuck(shape, error) from error
        return meter


def _frontier(module: nn.Module, name: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    """要列出的模块：展开到 depth 层，再没有子模块的就是它自己。"""
    children = list(module.named_children())
    if not children or depth == 0:
        yield name, module
        return
    for child_name, child in children:
        # ModuleList 这样的容器从不被调用，不算一层
        callable_ = type(child).forward is not nn.Module.forward
        yield from _frontier(child, f"{name}.{child_name}" if name else child_name, depth - callable_)


@dataclass
class _Call:
    """还没有返回的一层。"""

    name: str
    module: nn.Module
    in_shape: Shape
    macs: int = 0


class Meter(Watcher):
    """一趟的记录：乘加次数记到所在的层，感受野随张量传下去。

    layers: 每一层的每次调用，按返回的次序；macs: 全部运算的乘加次数。
    clear: 过了前几层，数值就可能从 Python 里走（例如 item()），看得到哪里说不清了；None 是一路都说得清。
    """

    def __init__(self, remember: Callable[[], None], clear: int | None = None):
        super().__init__()
        self.layers: list[Layer] = []
        self.macs = 0
        self.fields, self.clear = Tracker(), clear
        self._open: list[_Call] = []
        self._counted: set[int] = set()  # 已经计过的参数
        self._remember = remember

    def before_random(self) -> None:
        """要抽随机数：记住它走到哪里。"""
        self._remember()

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """一层开始了。"""
        self._open.append(_Call(name, module, _shape(inputs)))

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """一层返回了，记一行。"""
        call = self._open.pop()
        fresh = {id(p): p.numel() for p in module.parameters() if id(p) not in self._counted}
        self._counted.update(fresh)
        known = self.clear is None or len(self.layers) < self.clear
        field = self.fields.field(next(tensors(output), None) if known else None)
        self.layers.append(Layer(name, type(module).__name__, call.in_shape, _shape(output), sum(fresh.values()),
                                 call.macs, field))

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了。"""
        macs = _macs(op, args, out)
        self.macs += macs
        if self._open:
            self._open[-1].macs += macs
        self.fields.spread(op, args, kwargs, out)

    def stuck(self, shape: Shape, error: Exception) -> ShapeError:
        """这一趟停在 error：在哪一层，为什么。"""
        place, fault = None, diagnose(error, self.running)
        if self._open:
            call = self._open[-1]
            place = Place(call.name, type(call.module).__name__, call.in_shape)
            fault = diagnose(error, self.running, call.module, call.in_shape)
        return ShapeError(shape, fault, place, self.layers)


def _macs(op: Any, args: tuple, out: Any) -> int:
    """一个运算的乘加次数：卷积的每个输出（转置卷积是每个输入）乘以一个核，矩阵乘法的每个输出乘以一行。"""
    if op is aten.convolution:
        call = Convolution(*args)
        return (call.X if call.transposed else out).numel() * call.weight.shape[1:].numel()
    return out.numel() * args[-1].shape[-2] if op in PRODUCTS else 0


def _shape(value: Any) -> Shape:
    """value 里第一个张量的形状；没有张量就是 ()。"""
    tensor = next(tensors(value), None)
    return tuple(tensor.shape) if tensor is not None else ()
