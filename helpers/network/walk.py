"""让一个形状走过网络：先在 meta 设备上，不分配内存，也不做计算；一路记下每一层。"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from helpers.arguments import between, brief, instance, whole
from helpers.network.borrow import Loan, hooked, parameters, rewinding, submodules
from helpers.network.dispatch import PRODUCTS, Convolution, Watcher, aten, first_tensor, storage_id
from helpers.network.layer import Layer, Shape
from helpers.network.receptive_field import Tracker
from helpers.network.shape_errors import Place, ShapeError, diagnose
from helpers.network.shape_rules import Plain

_LARGEST = 2**60  # 一个张量至多这么多个数，再多 PyTorch 自己就溢出了


@contextmanager
def walking(net: nn.Module, depth: int, *, training: bool = False, dtype: torch.dtype | None = None,
            order: torch.memory_format = torch.preserve_format) -> Iterator["Walk"]:
    """借网络一用，给出一趟怎样走；离开 with 后（出错也一样）网络和随机数都回到原来的样子。

    depth: 见 `trace`；training: 在训练模式下走，求导数；dtype: 小数换成这个精度，默认不换。
    order: 四维的权重和输入在内存里怎样排，默认是权重原来的。
    net 不是网络、看不到里面（torch.jit）时抛出 TypeError；有 Lazy 层、depth 是负数时抛出 ValueError。
    """
    net, depth = _network(net), between("depth", depth, 0)
    with torch.inference_mode(False), torch.set_grad_enabled(training), Loan(net) as loan:
        yield Walk(net, depth, loan, training, dtype, order)


def _network(net: nn.Module) -> nn.Module:
    """看得到里面的网络；torch.compile 过的，是编译之前的那个。"""
    for module in submodules(checked_network(net)):
        if isinstance(module, torch.jit.ScriptModule):
            name = next(name for name, each in net.named_modules() if each is module)
            where = f"第 {name} 层" if name else "这个网络"
            raise TypeError(f"{where}是 torch.jit 编译过的，看不到里面的运算；请用编译之前的网络。")
    inner = getattr(net, "_orig_mod", net)
    return inner if isinstance(inner, nn.Module) else net


def checked_network(net: nn.Module, name: str = "net") -> nn.Module:
    """net 自己；不是网络就抛出 TypeError。name: 在那句话里叫什么。"""
    return instance(net, nn.Module, f"{name} 应当是一个网络",
                    "是网络函数的话，加上括号，如 lenet()。" if callable(net) else "")


def checked_shape(shape: Sequence[int]) -> Shape:
    """输入形状：几个正整数，Python 的整数；别的抛出 TypeError 或 ValueError。"""
    wanted = "shape 应当是一串正整数，如 (1, 1, 28, 28)"
    several = not isinstance(shape, str | Mapping) and getattr(shape, "ndim", 1)  # 0 维的张量不能一个个取
    sizes = [*instance(shape, Iterable, wanted)] if several else []
    whole_sizes = tuple(size for size in map(whole, sizes) if size is not None and size > 0)
    if not sizes or len(whole_sizes) < len(sizes):
        raise ValueError(f"{wanted}，收到的是 {brief(shape)}。")
    if prod(whole_sizes) > _LARGEST:
        raise ValueError(f"shape 太大：{brief(shape)} 超过 {_LARGEST:.1g} 个数。")
    return whole_sizes


class Walk:
    """一个借来的网络，可以走许多趟。params: 有多少个参数；image: 上一趟的输入。"""

    image: Tensor

    def __init__(self, net: nn.Module, depth: int, loan: Loan, training: bool, dtype: torch.dtype | None,
                 order: torch.memory_format):
        self.net, self.loan, self.training, self.order = net, loan, training, order
        self.names = {module: name or type(module).__name__ for name, module in _frontier(net, "", depth)}
        owned = parameters(net)
        self.params = sum(p.numel() for p in owned)
        owned += [buffer for module in loan.modules for buffer in module._buffers.values() if buffer is not None]
        self.home = owned[0].device if owned else torch.device("cpu")
        self.dtype = dtype or next((tensor.dtype for tensor in owned if tensor.is_floating_point()), None)
        self.cast = dtype
        self.device = torch.device("meta")
        self.everywhere = False  # 没有写 device 的张量也造在 meta 上
        self.clear = 0 if training else None  # 看得到哪里，走到第几层为止说得清；None 是一路都说得清
        # 只有 PyTorch 自己的层，一个钩子也没有：不会抽 Python 和 NumPy 的随机数
        self._torchs_own = not loan.hooks.filled and all(
            is_torchs_own(module) and "forward" not in vars(module) for module in loan.modules)
        loan.dress(self._emptied, training)

    def __call__(self, shape: Shape) -> "Meter":
        """先在 meta 上走；不能在 meta 上运行的网络（例如形状取决于数据）就在它自己的设备上真算一遍。

        forward 里造的张量没有写 device 的，先试试也造在 meta 上：真算时看不到融合的运算（如 LSTM）里的乘法。

        走不通就抛出 ShapeError。
        """
        while True:
            try:
                return self._run(shape)
            except ShapeError as error:
                if not self._needs_values(error.__cause__):
                    raise
                if not self.everywhere and self.home.type == "cpu":
                    self.everywhere = True  # forward 里造的张量没有写 device，也造在 meta 上
                else:
                    self._settle(self.clear if self.training else len(error.layers))

    @property
    def on_meta(self) -> bool:
        """此刻在 meta 上走。"""
        return self.device.type == "meta"

    def reset(self) -> None:
        """网络回到刚借来的样子。"""
        self.loan.reset()

    @property
    def own(self) -> set[int]:
        """上一趟里网络自己的张量，它们的存储的号码。"""
        return {storage_id(twin) for twin in self.loan.twins.values() if isinstance(twin, Tensor)}

    def zeros(self, shape: Shape) -> Tensor:
        """这个形状的输入。"""
        make = torch.empty if self.on_meta else torch.zeros  # 在 meta 上没有数值，造零却慢几倍
        return self._ordered(make(shape, dtype=self.dtype, device=self.device))

    def plain(self, shape: Shape) -> Plain:
        """同上，只说是什么样的，不造出来；在 meta 上走时用。"""
        return Plain(shape, self.dtype or torch.get_default_dtype())

    def runs(self, layer: nn.Module, X: Any) -> tuple[Any] | None:
        """(layer(X),)，不记是哪一层；走不通是 None。不能在 meta 上运行，从此就真算，这一次不算走通。"""
        try:
            return (layer(X),)
        except Exception as error:
            if self._needs_values(error):
                self._settle(0)
            return None

    def _needs_values(self, error: BaseException | None) -> bool:
        says = str(error).lower()
        return self.on_meta and self.home.type != "meta" and ("meta" in says or "__format__" in says)

    def _settle(self, clear: int | None) -> None:
        """从此真算。"""
        self.device, self.clear = self.home, clear
        self.loan.dress(self._copied, self.training)

    def _emptied(self, tensor: Tensor) -> Tensor:
        """同样的张量，在 meta 上。"""
        if tensor.is_meta:  # empty_like 在那里要用 Python 推导，慢十几倍
            return self._copied(tensor)
        return self._ordered(torch.empty_like(tensor, dtype=self._dtype(tensor), device=self.device))  # 比 to 快一倍

    def _copied(self, tensor: Tensor) -> Tensor:
        """张量的副本，照这一趟的精度和排法。"""
        return self._ordered(tensor.detach().clone().to(self._dtype(tensor)))

    def _ordered(self, tensor: Tensor) -> Tensor:
        kept = self.order is torch.preserve_format or tensor.dim() != 4
        return tensor if kept else tensor.to(memory_format=self.order)

    def _dtype(self, tensor: Tensor) -> torch.dtype:
        return self.cast if self.cast is not None and tensor.is_floating_point() else tensor.dtype

    def _run(self, shape: Shape) -> "Meter":
        self.reset()
        with rewinding(self.home, python=not self._torchs_own) as remember:
            meter = Meter(remember, self.clear)
            try:
                self.image = X = self.zeros(shape)
                meter.fields.begin(X)
                factories = torch.device("meta") if self.everywhere and self.on_meta else nullcontext()
                with hooked(self.names, enter=meter.enter, leave=meter.leave), factories, meter:
                    self.net(X)
            except Exception as error:
                raise meter.stuck(shape, error) from error
        return meter


def is_torchs_own(module: nn.Module) -> bool:
    """一个 PyTorch 自己的层，不是读者写的类。"""
    return type(module).__module__.startswith("torch.nn.modules.")


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
    clear: 过了前几层，数值可能从 Python 里走（例如 item()），看得到哪里就说不清了；None 是一路都说得清。
    """

    def __init__(self, remember: Callable[[], None], clear: int | None = None):
        super().__init__()
        self.layers: list[Layer] = []
        self.macs = 0
        self.fields, self.clear = Tracker(), clear
        self._open: list[_Call] = []
        self._counted: set[int] = set()  # 已经计过的参数
        self._remember = remember

    @property
    def _known(self) -> bool:
        return self.clear is None or len(self.layers) < self.clear

    def before_random(self) -> None:
        """要抽随机数：记住它走到哪里。"""
        self._remember()

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """一层开始了。"""
        self._open.append(_Call(name, module, _shape(inputs)))

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """一层返回了，记一行。"""
        call = self._open.pop()
        fresh = {id(p): p.numel() for p in parameters(module) if id(p) not in self._counted}
        self._counted.update(fresh)
        field = self.fields.field(first_tensor(output) if self._known else None)
        self.layers.append(Layer(name, type(module).__name__, call.in_shape, _shape(output), sum(fresh.values()),
                                 call.macs, field))

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了。"""
        macs = count_macs(op, args, out)
        self.macs += macs
        if self._open:
            self._open[-1].macs += macs
        if self._known:
            self.fields.spread(op, args, kwargs, out)

    def stuck(self, shape: Shape, error: Exception) -> ShapeError:
        """这一趟停在 error：在哪一层，为什么。"""
        place, fault = None, diagnose(error, self.running)
        if self._open:
            call = self._open[-1]
            place = Place(call.name, type(call.module).__name__, call.in_shape)
            fault = diagnose(error, self.running, call.module, call.in_shape)
        return ShapeError(shape, fault, place, self.layers)


def count_macs(op: Any, args: tuple, out: Any) -> int:
    """一个运算的乘加次数：卷积的每个输出（转置卷积是每个输入）乘以一个核，矩阵乘法的每个输出乘以一行。"""
    if op is aten.convolution:
        call = Convolution(*args)
        return (call.X if call.transposed else out).numel() * call.weight.shape[1:].numel()
    return out.numel() * args[-1].shape[-2] if op in PRODUCTS else 0


def _shape(value: Any) -> Shape:
    """value 里第一个张量的形状；没有张量就是 ()。"""
    tensor = first_tensor(value)
    return tuple(tensor.shape) if tensor is not None else ()
