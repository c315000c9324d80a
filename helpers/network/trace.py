"""逐层的形状、参数、乘加次数和感受野：在 meta 设备上走一遍，不分配内存，也不做计算。"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from wcwidth import wcswidth

from helpers.network.dispatch import PADS, POOLS, PRODUCTS, Convolution, Watcher, aten, tensors, window

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """一层的一次调用。

    name: 在网络里的名字，如 "3" 或 "4.1"；kind: 类名，如 "Conv2d"。
    in_shape, out_shape: 形状，第 0 维是批量。
    params: 参数个数，共享的参数只在第一次出现时计入。
    macs: 乘加次数，只算卷积和矩阵乘法，对整个批量。
    receptive_field: 输出的一个位置看得到的输入边长（像素）；None 表示整幅图像（展平或全局汇聚之后），
        或者说不清（上采样、转置卷积之后）。
    """

    name: str
    kind: str
    in_shape: Shape
    out_shape: Shape
    params: int
    macs: int
    receptive_field: int | None


class ShapeError(ValueError):
    """形状走不通：哪一层、前后形状、怎么改。"""


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
                style = f"padding:2px 8px;text-align:{'left' if j < 2 else 'right'}"
                if text != was:
                    style += ";font-weight:bold;background:rgba(255,170,0,.3)"
                cells.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table>{''.join(lines)}</table>"


def trace(net: nn.Module, shape: Shape, depth: int = 1) -> Trace:
    """让一个形状走过网络，返回逐层清单。

    net: 在 CPU、CUDA 或 meta 设备上都可以；网络的权重、模式和统计量都不改变。
    shape: 输入形状 (B, C, H, W)；数值类型与网络的权重相同。
    depth: 展开几层子模块；1 是网络的直接子模块，没有子模块的模块不再展开。
    形状走不通时抛出 ShapeError（一种 ValueError），写明哪一层、前后形状和改法。
    """
    with _metering(net, depth) as meter:
        try:
            meter.walk(shape)
        except Exception as error:
            raise _explain(meter, shape, error) from error
    return Trace(meter.layers, sum(p.numel() for p in net.parameters()), meter.macs)


def input_sizes(net: nn.Module, shape: Shape) -> tuple[int, int | None]:
    """走得通的最小和最大边长（像素，高和宽相等）；最大为 None 表示到 1024 都行。

    shape: (B, C, H, W)，其中 H、W 不起作用。没有任何边长走得通时抛出 ShapeError。
    """
    with _metering(net, 0) as meter:
        fits = _sizes(meter, shape)
    if fits is None:
        trace(net, shape)  # 说得出是哪一层的话，由它来抛
        raise ShapeError("没有任何 1 到 1024 之间的边长走得通。")
    return fits


def describe_sizes(fits: tuple[int, int | None]) -> str:
    """走得通的边长，写成一句话里的一段，如「193 到 224」。"""
    low, high = fits
    return f"{low} 以上" if high is None else f"{low} 到 {high}" if low < high else f"{low}"


def _sizes(meter: "_Meter", shape: Shape, limit: int = 1024) -> tuple[int, int | None] | None:
    """「太小」和「太大」都随边长单调，所以用二分；先在 32 的倍数里找：有的网络只接受某个数的倍数。"""
    verdicts: dict[int, bool | str | None] = {}

    def verdict(size: int) -> bool | str | None:
        """True 太小，False 太大，None 走得通，"broken" 别的原因。"""
        if size not in verdicts:
            try:
                meter.walk((*shape[:2], size, size))
                verdicts[size] = None
            except Exception as error:
                too_small = _diagnose(meter, error)[0]
                verdicts[size] = "broken" if too_small is None else too_small
        return verdicts[size]

    def before(reached: Callable[[int], bool]) -> int:
        """第一个 reached 的边长前面有几个。"""
        low = 0 if reached(32) else 32 * bisect_left(sizes[31::32], True, key=reached)  # 多半不到 32
        return bisect_left(sizes, True, lo=low, hi=min(low + 32, limit), key=reached)

    sizes = range(1, limit + 1)
    start = before(lambda size: verdict(size) is not True)
    smallest = next((size for size in sizes[start:start + 32] if verdict(size) is None), None)
    if smallest is None or verdict(limit) is None:
        return smallest and (smallest, None)
    end = before(lambda size: size > smallest and verdict(size) == verdict(limit))
    return smallest, next(size for size in reversed(sizes[:end]) if verdict(size) is None)


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
def _metering(net: nn.Module, depth: int) -> Iterator["_Meter"]:
    """借网络一用；结束时（出错也一样）网络和随机数都回到原来的样子。"""
    if any(map(is_lazy, net.parameters())):
        raise ShapeError("网络里有 Lazy 层，参数的形状还没有定。请先用 net(torch.zeros(形状)) 运行一次。")
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as undo:
        yield _Meter(net, depth, undo)


# 每个模块的 __dict__ 和其中该有的内容：权重、统计量、模式，还有 forward 里随手存下的属性
State = list[tuple[dict, dict]]


def _restore(state: State) -> None:
    for attributes, contents in state:
        attributes.clear()
        attributes.update(contents)


class _Meter(Watcher):
    """看着每个 aten 运算经过：乘加次数记到所在的层，感受野随张量传下去。"""

    def __init__(self, net: nn.Module, depth: int, undo: ExitStack):
        super().__init__()
        self.net, self.undo, self.forked = net, undo, False
        tensors = [*net.parameters(), *net.buffers()]
        self.home = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)
        self.original: State = [(vars(module), dict(vars(module))) for module in net.modules()]
        undo.callback(_restore, self.original)
        self.shown = {module: name or type(module).__name__ for name, module in _frontier(net, "", depth)}
        for module in self.shown:
            undo.callback(module.register_forward_pre_hook(self.enter, with_kwargs=True).remove)
            undo.callback(module.register_forward_hook(self.leave).remove)
        twins: dict[int, Tensor] = {}  # 共享的参数换成同一个替身
        self._place("meta", lambda tensor: twins.setdefault(id(tensor), tensor.detach().to("meta")))

    def _place(self, device: torch.device | str, convert: Callable[[Tensor], Tensor]) -> None:
        """运行时网络里放什么：换过的参数和缓冲区，eval 模式。"""
        self.device = torch.device(device)
        self.state = [(attributes, contents | {"training": False} | {
            kind: {name: tensor if tensor is None else convert(tensor) for name, tensor in contents[kind].items()}
            for kind in ("_parameters", "_buffers")}) for attributes, contents in self.original]

    def walk(self, shape: Shape) -> None:
        """先在 meta 上走；不能在 meta 上运行的网络（例如形状取决于数据）就在它自己的设备上真算一遍。"""
        try:
            self._run(shape)
        except Exception as error:
            if self.device == self.home or "meta" not in str(error).lower():
                raise
            self._place(self.home, lambda t: t if isinstance(t, nn.Parameter) else t.clone())
            self._run(shape)

    def _run(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self.macs = 0
        self.open: list[list] = []  # 还没有返回的层：[模块, 输入形状, 乘加]
        self.seen: set[int] = set()  # 已经计过的参数
        self.running: tuple[Any, tuple] | None = None  # 正在运行（也就是出错）的运算和它的输入
        _restore(self.state)
        X = torch.zeros(shape, dtype=self.dtype, device=self.device)
        X.reach = (0, 0, 1)
        with self:
            self.net(X)

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.open.append([module, _shape((args, kwargs)), 0])

    def leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        _, in_shape, macs = self.open.pop()
        fresh = {id(p): p.numel() for p in module.parameters() if id(p) not in self.seen}
        self.seen.update(fresh)
        reach = getattr(next(tensors(output), None), "reach", None)
        self.layers.append(Layer(self.shown[module], type(module).__name__, in_shape, _shape(output),
                                 sum(fresh.values()), macs, reach and reach[1] - reach[0] + 1))

    def before_random(self) -> None:
        if not self.forked:
            # 真要抽随机数时才记住状态：另一个线程可能正在训练，不该倒回它的随机数
            devices = [self.home] if self.home.type == "cuda" else []
            self.undo.enter_context(torch.random.fork_rng(devices))
            self.forked = True

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        if op is aten.convolution:
            call = Convolution(*args)
            macs = (call.X if call.transposed else out).numel() * call.weight.shape[1:].numel()
        else:
            macs = out.numel() * args[-1].shape[-2] if op in PRODUCTS else 0
        self.macs += macs
        if self.open:
            self.open[-1][2] += macs
        sources = [tensor for tensor in tensors(args) if hasattr(tensor, "reach")]
        if sources:
            for tensor in tensors(out):
                tensor.reach = _reach(op, args, sources, tensor)


_REORDERS = {aten.permute, aten.transpose, aten.slice}


def _reach(op: Any, args: tuple, sources: list[Tensor], out: Tensor) -> tuple[int, int, int] | None:
    """输出的第 0 格看得到的输入像素的 (起点, 终点)，以及相邻两格相距几个像素；只看宽这一维。

    k×k、步幅 s、填充 p 的窗口：起点 ← 起点 - p·j，终点 ← 终点 + (k - 1 - p)·j，j ← j·s；
    多条路径汇合时取并集。公式见 Araujo 等，Computing Receptive Fields of Convolutional Neural Networks，Distill 2019。
    """
    reaches = [tensor.reach for tensor in sources]
    if None in reaches or out.dim() < 4:
        return None
    starts, ends, jumps = zip(*reaches, strict=True)
    kernel, stride, padding, dilation = 1, 1, 0, 1
    if op is aten.convolution and Convolution(*args).transposed:
        return None
    if op is aten.convolution or op in POOLS:
        kernel, stride, padding, dilation = (part[-1] for part in window(op, args))
    elif op in PADS:
        padding = args[1][0]
    elif op not in _REORDERS and all(out.shape[-2:] != source.shape[-2:] for source in sources):
        return None  # 展平、全局汇聚、上采样
    jump = max(jumps)
    return min(starts) - padding * jump, max(ends) + ((kernel - 1) * dilation - padding) * jump, jump * stride


def _shape(value: Any) -> Shape:
    tensor = next(tensors(value), None)
    return tuple(tensor.shape) if tensor is not None else ()


def _diagnose(meter: _Meter, error: Exception) -> tuple[bool | None, str, str]:
    """刚才为什么走不通：(输入太小、太大还是与大小无关, 毛病, 改法)。"""
    op, args = meter.running or (None, ())
    module, received = meter.open[-1][:2] if meter.open else (None, ())
    shapes = [tuple(tensor.shape) for tensor in tensors(args)]
    if op is aten.convolution:
        have, want = shapes[0][1], shapes[1][0] if args[6] else shapes[1][1] * args[8]
        if have != want:
            return None, f"卷积要 {want} 个通道，来的是 {have} 个", f"把 in_channels 改成 {have}"
        return True, f"放不下 {shapes[1][2:]} 的窗口", "减小窗口、步幅"
    if op in POOLS or op is aten.reflection_pad2d:
        return True, f"放不下 {tuple(args[1])} 的窗口", "减小窗口、步幅"
    if op in PRODUCTS and shapes[-2][-1] != shapes[-1][-2]:
        have, want = shapes[-2][-1], shapes[-1][-2]
        if isinstance(module, nn.Linear) and len(received) == 4:
            return None, f"它要最后一维是 {want}", "在它前面加 nn.Flatten()"
        return have < want, f"它要最后一维是 {want}", f"把 in_features 改成 {have}"
    if isinstance(module, nn.modules.batchnorm._NormBase) and received[1:2] != (module.num_features,):
        return None, f"它要 {module.num_features} 个通道", f"把 num_features 改成 {received[1]}"
    if len(set(shapes)) > 1:
        return None, f"{' 和 '.join(map(str, shapes))} 合不起来", "让它们的通道数、高和宽一致"
    return None, f"{type(error).__name__}：{error}".splitlines()[0], "照这句话检查这一层"


def _explain(meter: _Meter, shape: Shape, error: Exception) -> ShapeError:
    """把 PyTorch 的报错换成一段话：哪一层、收到什么、要什么、怎么改。"""
    too_small, fault, remedy = _diagnose(meter, error)
    where = last = sizes = ""
    if meter.open:
        module, received, _ = meter.open[-1]
        where = f"第 {meter.shown[module]} 层 {type(module).__name__} 收到 {received}，"
    if meter.layers:
        layer = meter.layers[-1]
        last = f"最后走通的是第 {layer.name} 层 {layer.kind}：{layer.in_shape} → {layer.out_shape}。"
    fits = None if too_small is None else _sizes(meter, shape)
    if fits is not None:
        remedy = f"{'加大' if too_small else '减小'}输入的高和宽，或者{remedy}"
        sizes = f"高和宽相等时，这个网络走得通的边长是 {describe_sizes(fits)}。"
    return ShapeError(f"输入 {tuple(shape)} 走不通：{where}{fault}。请{remedy}。{last}{sizes}")
