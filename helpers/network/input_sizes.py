"""一个网络走得通多大的输入：逐个边长试。

一千多个边长试得快，靠合并：走到哪一层，形状相同的边长，往后就都一样，只走一趟。
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from helpers.arguments import between, brief
from helpers.network.borrow import rewinding
from helpers.network.dispatch import Watcher, tensors
from helpers.network.layer import Shape
from helpers.network.shape_rules import Plain, follow_rules, ruled
from helpers.network.sizes import Sizes
from helpers.network.walk import Walk, checked_shape, count_macs, walking

_LIMIT = 1024  # 最大试到多少像素
_BATCH = 64  # 一次试多少个边长
WORK = 1.5e9  # 乘加和输出的数，合计试到这么多为止
CALL = 10_000  # 一个运算至少算这么多，在 meta 上也一样


def input_sizes(net: nn.Module, shape: Sequence[int], limit: int = _LIMIT) -> Sizes:
    """走得通的边长（像素，高和宽相等）：一对数 (最小, 最大)，最大为 None 表示试到的都行；中间有走不通的，见 Sizes。

    shape: (B, C, H, W)，其中 H、W 不起作用；limit: 最大试到多少，要真算的网络可能试不到那么大。
    没有任何边长走得通时抛出 ValueError；说得出停在哪一层的，是 ShapeError。别的同 `trace`。
    """
    shape, limit = checked_shape(shape), between("limit", limit, 1, 1_000_000)
    if len(shape) != 4:
        raise ValueError(f"shape 应当是 (B, C, H, W) 四个正整数，收到的是 {brief(shape)}。")
    with walking(net, depth=1) as walk:
        sizes = find_sizes(walk, shape, limit)
        if sizes is None:
            walk(shape)  # 说得出是哪一层的话，由它来抛
            raise ValueError(f"没有任何 1 到 {limit} 之间的边长走得通。")
    return sizes


def find_sizes(walk: Walk, shape: Shape, limit: int = _LIMIT) -> Sizes | None:
    """`input_sizes` 的结果；没有任何边长走得通就是 None。"""
    shapes = {size: (*shape[:2], size, size) for size in range(1, limit + 1)}
    found = _together(walk, shapes) if walk.on_meta else None
    fits, limit = found if found and _confirmed(walk, shapes, *found) else _one_by_one(walk, shapes)
    return Sizes(fits, limit) if fits else None


def _confirmed(walk: Walk, shapes: dict[int, Shape], fits: list[int], tried: int) -> bool:
    """抽几个边长从头走一趟，与一起走时说的相同。存下前面的、后面再取出来的网络，一起走就错了，走完却看不出。"""
    edges = {fits[0] - 1, fits[0], fits[0] + 1, fits[-1], fits[-1] + 1} if fits else {1, 10, 28, 32, 96, tried}
    with rewinding(walk.home) as remember:
        for size in edges & {*range(1, tried + 1)}:
            walk.reset()
            with _Work(walk, remember):
                if (walk.runs(walk.net, walk.zeros(shapes[size])) is not None) != (size in fits):
                    return False
    return walk.on_meta


class _Work(Watcher):
    """做了多少：在 meta 上只数运算，真算时还数乘加和输出。"""

    def __init__(self, walk: Walk, remember: Callable[[], None]):
        super().__init__()
        self.done, self._real, self.before_random = 0, not walk.on_meta, remember

    def watch(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了。"""
        self.done += CALL
        if self._real:
            self.done += count_macs(op, args, out) + sum(tensor.numel() for tensor in tensors(out))


def _one_by_one(walk: Walk, shapes: dict[int, Shape]) -> tuple[list[int], int]:
    """(走得通的边长, 试到多大)：每个边长从头走一趟。"""
    fits, size = [], 0
    with rewinding(walk.home) as remember:
        work = _Work(walk, remember)
        for size, shape in shapes.items():
            walk.reset()
            with work:
                if walk.runs(walk.net, walk.zeros(shape)):
                    fits.append(size)
            if work.done > WORK:
                break
    return fits, size


def _together(walk: Walk, shapes: dict[int, Shape]) -> tuple[list[int], int] | None:
    """同上，形状相同的边长一起走；网络自己会记事，或者不能在 meta 上运行，就是 None。"""
    walk.reset()
    follow_rules(walk.net)
    chain = _chain(walk.net)
    if chain == [walk.net]:
        _remember(walk.net)
    before, fits, sizes = walk.loan.signature(), [], [*shapes]
    with rewinding(walk.home) as remember, _Work(walk, remember) as work:
        for tried in range(_BATCH, len(sizes) + _BATCH, _BATCH):
            batch = sizes[tried - _BATCH:tried]
            groups = {shapes[size]: (walk.plain(shapes[size]), [size]) for size in batch}
            for layer in chain:
                groups = _step(walk, layer, groups)
            fits += sorted(size for _, same in groups.values() for size in same)
            if work.done > WORK or not walk.on_meta:
                break
    return (fits, batch[-1]) if walk.on_meta and walk.loan.signature() == before else None


def _chain(net: nn.Module) -> list[nn.Module]:
    """一层接一层的各层，只有前一层的输出传给后一层；nn.Sequential 翻开，别的模块是一层。"""
    hooks = net._forward_hooks or net._forward_pre_hooks
    if type(net) is not nn.Sequential or hooks or "forward" in vars(net):
        return [net]
    return [layer for child in net for layer in _chain(child)]


def _step(walk: Walk, layer: nn.Module, groups: dict[Any, tuple[Any, list[int]]]) -> dict[Any, tuple[Any, list[int]]]:
    """走过一层：输出相同的边长合在一起，走不通的去掉。groups: 输入的形状到 (输入, 哪些边长)。

    照公式走的，输出只是一个 Plain：造一个张量比算一个形状慢得多。
    """
    rule, after = ruled(layer), {}
    for X, sizes in groups.values():
        out = rule and rule.after(X)
        out = (out,) if out else walk.runs(layer, X.made() if isinstance(X, Plain) else X)
        if out:
            key = _key(out[0])
            after.setdefault(key if key is not None else object(), (out[0], []))[1].extend(sizes)
    return after


def _remember(net: nn.Module) -> None:
    """从此刻起记住 net 里各个模块（不算它自己）的调用：收到同样的形状，就交出同样的形状。net 应当是借来的。"""
    for module in net.modules():
        if module is not net:
            vars(module)["forward"] = _remembering(module.forward)


def _remembering(forward: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def remembering(*args: Any, **kwargs: Any) -> Any:
        key = _key((args, kwargs))
        if key is None:  # 说不准
            return forward(*args, **kwargs)
        if key in known:
            if isinstance(known[key], Exception):
                raise known[key].with_traceback(None)
            return alias(known[key])
        try:
            out = forward(*args, **kwargs)
        except Exception as error:
            known[key] = RuntimeError(str(error))
            raise
        if key == _key((args, kwargs)) and _key(out) is not None:
            known[key] = alias(out)
        return out
    return remembering


def _key(value: Any) -> Any:
    """两次调用的参数的这个相同，交出的形状就相同；说不准就是 None。"""
    if isinstance(value, Plain):
        return value
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, tuple | list):
        parts = tuple(map(_key, value))
        return None if None in parts else parts
    return (type(value), value) if value is None or isinstance(value, int | float | str) else None


def alias(value: Any) -> Any:
    """内容相同的另一个：里面的张量是新的，谁也改不着谁的形状。"""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: alias(item) for name, item in value.items()}
    return type(value)(map(alias, value)) if type(value) in (tuple, list) else value
