"""逐层的形状、参数、乘加次数和感受野：在 meta 设备上走一遍，不分配内存，也不做计算。"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from wcwidth import wcswidth

Shape = tuple[int, ...]
aten = torch.ops.aten


@dataclass(frozen=True)
class Layer:
    """一层的一次调用。

    name: 在网络里的名字，如 "3" 或 "4.1"；kind: 类名，如 "Conv2d"。
    in_shape, out_shape: 形状，第 0 维是批量。
    params: 参数个数，共享的参数只在第一次出现时计入。
    macs: 乘加次数，只算卷积和矩阵乘法，对整个批量。
    receptive_field: 输出的一个位置看得到的输入边长（像素）；None 表示整幅图像（展平或全局汇聚之后）。
    """

    name: str
    kind: str
    in_shape: Shape
    out_shape: Shape
    params: int
    macs: int
    receptive_field: int | None


class ShapeError(ValueError):
    """形状走不通。too_small 为 True（输入太小）、False（太大）或 None（与大小无关）。"""

    too_small: bool | None = None


class Trace(list[Layer]):
    """一个网络的逐层清单。`params` 和 `macs` 是整个网络的合计，表外的运算也算在内。"""

    def __init__(self, layers: list[Layer], params: int, macs: int):
        super().__init__(layers)
        self.params, self.macs = params, macs

    def cells(self) -> list[list[str]]:
        """表格的文字：表头、每层一行、合计。"""
        rows = [["层", "种类", "输出形状", "参数", "乘加", "感受野"]]
        for layer in self:
            field = layer.receptive_field
            rows.append([layer.name, layer.kind, "×".join(map(str, layer.out_shape)), f"{layer.params:,}",
                         f"{layer.macs:,}", "全图" if field is None else f"{field}×{field}"])
        rows.append(["合计", "", "", f"{self.params:,}", f"{self.macs:,}", ""])
        return rows

    def __repr__(self) -> str:
        rows = self.cells()
        widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            pads = [" " * (width - wcswidth(text)) for text, width in zip(row, widths, strict=True)]
            parts = [text + pad if i < 2 else pad + text for i, (text, pad) in enumerate(zip(row, pads, strict=True))]
            lines.append("  ".join(parts).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, book: "Trace | None" = None) -> str:
        """HTML 表格；给出 book（书上的网络）时，与它不同的格子加底色和粗体。"""
        rows, base = self.cells(), book.cells() if book is not None else None
        lines = []
        for i, row in enumerate(rows):
            tag = "th" if i in (0, len(rows) - 1) else "td"
            # 层数不同时（例如滑块改变了块数），按从前往后的次序对照
            other = base[-1 if i == len(rows) - 1 else min(i, len(base) - 1)] if base else row
            cells = []
            for j, (text, was) in enumerate(zip(row, other, strict=True)):
                style = f"text-align:{'left' if j < 2 else 'right'}"
                if text != was:
                    style += ";font-weight:bold;background:rgba(255,170,0,.3)"
                cells.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table>{''.join(lines)}</table>"


def trace(net: nn.Module, shape: Shape, depth: int = 1) -> Trace:
    """让一个形状走过网络，返回逐层清单。

    net: 在 CPU、CUDA 或 meta 设备上都可以；网络的权重、模式和统计量都不改变。
    shape: 输入形状 (B, C, H, W)，float32。
    depth: 展开几层子模块；1 是网络的直接子模块，没有子模块的模块不再展开。
    形状走不通时抛出 ShapeError（一种 ValueError），写明哪一层、前后形状和改法。
    """
    try:
        return _run(net, shape, depth)
    except ShapeError as error:
        fits = _sizes(net, shape) if error.too_small is not None else None
        if fits is None:
            raise
        raise ShapeError(f"{error} 高和宽相等时，这个网络走得通的边长是 {describe_sizes(fits)}。") from error.__cause__


def input_sizes(net: nn.Module, shape: Shape) -> tuple[int, int | None]:
    """走得通的最小和最大边长（像素，高和宽相等）；最大为 None 表示到 1024 都行。

    shape: (B, C, H, W)，其中 H、W 不起作用。没有任何边长走得通时抛出 ShapeError。
    """
    fits = _sizes(net, shape)
    if fits is None:
        _run(net, shape, 1)
        raise ShapeError("没有任何 1 到 1024 之间的边长走得通。")
    return fits


def describe_sizes(fits: tuple[int, int | None]) -> str:
    """走得通的边长，写成一句话里的一段，如「193 到 224」。"""
    low, high = fits
    return f"{low} 以上" if high is None else f"{low} 到 {high}" if low < high else f"{low}"


def _sizes(net: nn.Module, shape: Shape, limit: int = 1024) -> tuple[int, int | None] | None:
    """「太小」和「太大」都随边长单调，所以两次二分就够了。"""
    def verdict(size: int) -> bool | None | str:
        try:
            _run(net, (*shape[:2], size, size), 1)
        except ShapeError as error:
            return "broken" if error.too_small is None else error.too_small
        return None

    def first(low: int, reached: Callable[[Any], bool]) -> int:
        high = limit + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(verdict(middle)) else (middle + 1, high)
        return low

    smallest = first(1, lambda v: v is not True)
    if smallest > limit or verdict(smallest) is not None:
        return None
    largest = first(smallest, lambda v: v is False) - 1
    return smallest, None if largest >= limit else largest


def _run(net: nn.Module, shape: Shape, depth: int) -> Trace:
    meter = _Meter(net, depth)
    try:
        meter.walk(shape)
    except Exception as error:
        raise _explain(meter, shape, error) from error
    params = sum(p.numel() for p in net.parameters())
    return Trace(meter.layers, params, meter.macs)


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


@contextmanager
def _undone(net: nn.Module, hooks: list) -> Iterator[None]:
    """eval 模式下运行；钩子和每个模块原来的模式总会还原。"""
    modes = {module: module.training for module in net.modules()}
    try:
        net.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


class _Meter(TorchDispatchMode):
    """看着每个 aten 运算经过：乘加次数记到所在的层，感受野随张量传下去。"""

    def __init__(self, net: nn.Module, depth: int):
        super().__init__()
        self.net = net
        self.shown = {}
        for name, module in _frontier(net, "", depth):
            self.shown.setdefault(module, name or type(module).__name__)
        self.reset()

    def reset(self) -> None:
        self.layers: list[Layer] = []
        self.open: list[tuple[nn.Module, Shape]] = []  # 正在运行、还没有返回的层
        self.macs = 0
        self.open_macs: list[int] = []
        self.seen: set[int] = set()

    def walk(self, shape: Shape) -> None:
        """先在 meta 上走；不能在 meta 上运行的网络（例如形状取决于数据）就在它自己的设备上真算一遍。"""
        tensors = dict(self.net.named_parameters(remove_duplicate=False)) | dict(
            self.net.named_buffers(remove_duplicate=False))
        twins: dict[int, Tensor] = {}
        for tensor in tensors.values():
            twins.setdefault(id(tensor), torch.empty_like(tensor, device="meta"))
        # 共享的参数换成同一个替身，但按原来的身份计数
        self.identity = {id(twins[key]): key for key in twins}
        hooks = []
        with _undone(self.net, hooks), torch.no_grad():
            for module in self.shown:
                hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                hooks.append(module.register_forward_hook(self._leave))
            try:
                with self:
                    X = self._input(shape, "meta")
                    torch.func.functional_call(self.net, {k: twins[id(t)] for k, t in tensors.items()}, (X,))
            except Exception:
                device = next((t.device for t in tensors.values()), torch.device("cpu"))
                if device.type == "meta" or self._shape_problem():
                    raise
                self.reset()
                with self:
                    self.net(self._input(shape, device))

    def _shape_problem(self) -> bool:
        return bool(self.open) and _too_small(*self.open[-1]) is not None

    def _input(self, shape: Shape, device: torch.device | str) -> Tensor:
        X = torch.zeros(shape, device=device)
        X.reach = (1, 1)
        return X

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.open.append((module, _shape((args, kwargs))))
        self.open_macs.append(0)

    def _leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        _, in_shape = self.open.pop()
        params = 0
        for parameter in module.parameters():
            key = self.identity.get(id(parameter), id(parameter))
            if key not in self.seen:
                self.seen.add(key)
                params += parameter.numel()
        tensor = next(_tensors(output), None)
        reach = getattr(tensor, "reach", None)
        self.layers.append(Layer(self.shown[module], type(module).__name__, in_shape, _shape(output), params,
                                 self.open_macs.pop(), reach and reach[0]))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            macs = count(*args, **kwargs, out_val=out) // 2  # 一次乘加 = 两次浮点运算
            self.macs += macs
            if self.open_macs:
                self.open_macs[-1] += macs
        reach = _reach(func._overloadpacket, args)
        for tensor in _tensors(out):
            # 四维以外没有高和宽，一个数就是整幅图像
            tensor.reach = reach if tensor.dim() == 4 else None
        return out


# 汇聚和卷积的 aten 运算：核与步幅在参数里的位置
_WINDOWS = {aten.max_pool2d_with_indices: (1, 2), aten.avg_pool2d: (1, 2), aten.max_pool2d: (1, 2)}
_GLOBAL = {aten.mean, aten.sum, aten.amax, aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d}


def _reach(op: Any, args: tuple) -> tuple[int, int] | None:
    """输出的 (感受野, 相邻两格相距几个输入像素)。

    k×k、步幅 s 的窗口：r ← r + (k - 1)·j，j ← j·s；多条路径汇合时取最大。
    公式见 Araujo 等，Computing Receptive Fields of Convolutional Neural Networks，Distill 2019。
    """
    incoming = [getattr(t, "reach", (0, 0)) for t in _tensors(args)]
    if op in _GLOBAL or not incoming or None in incoming:
        return None
    reach, jump = (max(values) for values in zip(*incoming, strict=True))
    if op is aten.convolution:
        kernel, stride = (args[1].shape[-1] - 1) * args[5][-1] + 1, args[3][-1]
    elif op in _WINDOWS:
        kernel, stride = (list(args[i])[-1] for i in _WINDOWS[op])
    else:
        return reach, jump
    return reach + (kernel - 1) * jump, jump * stride


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _shape(value: Any) -> Shape:
    tensor = next(_tensors(value), None)
    return tuple(tensor.shape) if tensor is not None else ()


def _too_small(module: nn.Module, shape: Shape) -> bool | None:
    """这一层因为输入太小（True）、太大（False）而失败，还是与大小无关（None）。"""
    if isinstance(module, nn.Linear) and shape and shape[-1] != module.in_features:
        return shape[-1] < module.in_features
    if isinstance(module, nn.Conv2d) and len(shape) == 4 and shape[1] != module.in_channels:
        return None
    if hasattr(module, "kernel_size") and len(shape) == 4:
        return True
    return None


def _explain(meter: _Meter, shape: Shape, error: Exception) -> ShapeError:
    """把 PyTorch 的报错换成一句话：哪一层、收到什么、要什么、怎么改。"""
    text = f"输入 {tuple(shape)} 走不通："
    too_small = None
    if meter.open:
        module, received = meter.open[-1]
        text += f"第 {meter.shown[module]} 层 {type(module).__name__} 收到 {received}，"
        too_small = _too_small(module, received)
        if isinstance(module, nn.Linear) and too_small is not None:
            text += (f"而它要最后一维是 {module.in_features}。"
                     f"请{'加大' if too_small else '减小'}输入的高和宽，或者把 in_features 改成 {received[-1]}。")
        elif isinstance(module, nn.Conv2d) and too_small is None and len(received) == 4:
            text += f"而它要 {module.in_channels} 个通道。请把 in_channels 改成 {received[1]}。"
        elif too_small:
            text += f"放不下 {module.kernel_size} 的窗口。请加大输入的高和宽，或者减小窗口、步幅。"
        else:
            text += f"PyTorch 说：{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}。"
    else:
        text += f"{type(error).__name__}：{error}。"
    if meter.layers:
        last = meter.layers[-1]
        text += f" 最后走通的是第 {last.name} 层 {last.kind}：{last.in_shape} → {last.out_shape}。"
    failure = ShapeError(text)
    failure.too_small = too_small
    return failure
