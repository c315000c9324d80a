"""感受野：一个运算之后，输出的一个位置看得到哪些输入像素。

认得的运算才有规则；不认得的，结果看得到哪里就说不清，从不猜。高和宽各算各的。
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from torch import Tensor

from helpers.network.axis import Axis, Place
from helpers.network.dispatch import (
    ADAPTIVE_POOLS,
    OVERWRITES,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    UPSAMPLING,
    VIEWS,
    Convolution,
    Window,
    aten,
    is_pointwise,
    storage_id,
    tensors,
    window,
)
from helpers.network.layer import Field, Shape
from helpers.network.sight import UNKNOWN, Change, Sight, beside, chained, merged

Look = Callable[[Tensor], Sight | None]  # 一个张量看得到什么，与图像无关是 None
Rule = Callable[[Sight, tuple, Tensor], Sight]  # (第一个参数看得到的, 参数, 输出) → 输出看得到的
JoinRule = Callable[[tuple, Tensor, Look], Sight | None]  # 几个参数都可能看得到图像


class Tracker:
    """一趟里每个张量看得到什么；没有记下的张量与图像无关。"""

    def __init__(self) -> None:
        self._writes: dict[int, int] = {}  # 就地改写过的存储，改写过几次
        self._storages: dict[int, Any] = {}  # 里面有图像的存储；抓着不放，号码才不会给了别人

    def begin(self, X: Tensor) -> None:
        """X 是输入图像 (B, C, H, W)，一格看得到的就是它自己；别的形状没有高和宽可说。"""
        image = X.dim() == 4
        self._set(X, Sight(Axis.of_image(2, X.shape[2]), Axis.of_image(3, X.shape[3])) if image else UNKNOWN)

    def spread(self, op: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """一个运算算完了，把输入看得到的传给输出。"""
        given = tensors((args, kwargs) if kwargs else args)
        seen = [*map(self.look, given)]
        seers = len(seen) - seen.count(None)
        if not seers:  # 与图像无关
            return
        before = dict(zip(map(id, given), seen, strict=True))
        strange = kwargs and any(before[id(tensor)] for tensor in tensors(kwargs))
        rule, join = (None, _strange) if strange else (_RULES.get(op), _follow(op))
        outputs = tensors(out)
        for tensor in outputs:
            if rule:  # 只有第一个参数看得到图像，才有规则
                sight = before[id(args[0])] if seers == 1 else None
                sight = UNKNOWN if sight is None else rule(sight, args, tensor)
            else:
                sight = join(args, tensor, lambda X: before[id(X)])
            self._learn(tensor, sight and sight.checked(), before)
        # 改写了、却不交出来的：什么也不交的（_foreach_add_），和训练时的运行统计量
        hidden = args if not outputs else args[3:5] if op is aten.native_batch_norm and args[5] else ()
        for tensor in tensors(hidden):
            self._learn(tensor, UNKNOWN, before)

    def _learn(self, X: Tensor, sight: Sight | None, before: dict[int, Sight | None]) -> None:
        """X 从此看得到 sight。before: 运算之前各个参数看得到的。"""
        if id(X) in before and not (before[id(X)] == sight and (sight is None or sight.known)):
            # 就地改写：共用这块存储的别的张量也变了
            self._writes[storage_id(X)] = self._writes.get(storage_id(X), 0) + 1
        self._set(X, sight)

    def look(self, X: Tensor) -> Sight | None:
        """X 看得到的输入；与图像无关是 None。没有经过运算就与图像共用存储的（`.data`、nn.Parameter），说不清。"""
        storage = storage_id(X)
        if getattr(X, "sight", None) is None:
            return UNKNOWN if storage in self._storages else None
        sight, written, known = X.sight  # pyright: ignore[reportAttributeAccessIssue]
        return sight if (storage, self._writes.get(storage, 0)) == (known, written) else UNKNOWN

    def field(self, X: Tensor | None) -> Field:
        """X 的感受野；(B, n) 的向量是一个位置。"""
        sight = (self.look(X) if X is not None else None) or UNKNOWN
        return (sight.gathered([X.dim() - 1]) if X is not None and X.dim() < 3 else sight).field()

    def _set(self, X: Tensor, sight: Sight | None) -> None:
        storage = storage_id(X)
        if sight is not None:
            self._storages[storage] = X.untyped_storage()
        X.sight = sight, self._writes.get(storage, 0), storage  # pyright: ignore[reportAttributeAccessIssue]


@cache
def _follow(op: Any) -> JoinRule:
    """几个参数都可能看得到图像时的规则。"""
    return _JOINS.get(op, _together if is_pointwise(op) else _strange)


def _strange(args: tuple, out: Tensor, look: Look) -> Sight:
    """不认得的运算。"""
    return UNKNOWN


# ---------------------------------------------------------------- 几个输入合起来


def _pointwise(sources: Iterable[Tensor], out: Tensor, look: Look) -> Sight | None:
    """一格看得到各个输入的同一格看得到的。"""
    seen = [sight.stretched(X.shape, out.shape) for X in sources if (sight := look(X)) is not None]
    return merged(seen) if seen else None


def _together(args: tuple, out: Tensor, look: Look) -> Sight | None:
    """逐格的运算。"""
    return _pointwise(tensors(args), out, look)


def _overwrite(args: tuple, out: Tensor, look: Look) -> Sight | None:
    """第一个参数原来的数不用，只取它的形状。"""
    return _pointwise(tensors(args[1:]), out, look)


def _where(mask: int) -> JoinRule:
    """按 args[mask] 挑选。"""
    def rule(args: tuple, out: Tensor, look: Look) -> Sight | None:
        total = _pointwise(tensors(args), out, look)
        seen = [_pointwise([X], out, look) if isinstance(X, Tensor) and look(X) else None for X in args]
        chooser = seen.pop(mask)
        # 挑的时候看过的，挑出来的每一格都看得到；挑谁与图像无关，就要每一边都一样
        return total if chooser == total or all(each == total for each in seen) else UNKNOWN
    return rule


def _cat(args: tuple, out: Tensor, look: Look) -> Sight:
    parts, dim = args[0], _argument(args, 1, 0) % out.dim()
    seen = [sight for part in parts if (sight := look(part)) is not None]
    along = any(sight.along(dim) for sight in seen)
    return chained(seen, dim, out.shape[dim]) if along else beside(seen, len(parts), dim, out.dim())


def _stack(args: tuple, out: Tensor, look: Look) -> Sight:
    parts, new = args[0], _argument(args, 1, 0) % out.dim()
    seen = [sight.moved(lambda dim: dim + (dim >= new)) for part in parts if (sight := look(part)) is not None]
    return beside(seen, len(parts), new, out.dim())


def _product(args: tuple, out: Tensor, look: Look) -> Sight:
    """矩阵乘法：左边的每一行、右边的每一列，各自合在一起。"""
    *bias, left, right = args
    if any(map(look, tensors(bias))):
        return UNKNOWN
    rows, columns = look(left), look(right)
    if rows is not None and columns is not None:
        both = [rows.gathered([left.dim() - 1]), columns.gathered([right.dim() - 2])]
        return UNKNOWN if all(any(axis and axis.place for axis in each.axes) for each in both) else merged(both)
    if rows is not None:
        return rows.gathered([left.dim() - 1])._replace(even=rows.even or left.dim() == 2)
    return (columns or UNKNOWN).gathered([right.dim() - 2])


# ---------------------------------------------------------------- 窗口


def _convolve(sight: Sight, args: tuple, out: Tensor) -> Sight:
    call, sliding = Convolution(*args), window(aten.convolution, args)
    return _convolved(sight, *_sides(call.X, out, sliding), sliding, call.transposed, call.groups == 1)


def _pool(op: Any) -> Rule:
    def rule(sight: Sight, args: tuple, out: Tensor) -> Sight:
        sliding = window(op, args)
        return _slide(sight, *_sides(args[0], out, sliding), sliding)
    return rule


def _sides(X: Tensor, out: Tensor, sliding: Window) -> tuple[Shape, Shape]:
    """X 和 out 的形状，窗口不滑过的维都写成 1：它们有多大不相干，记下的结果多半就还用得上。"""
    others = X.dim() - len(sliding.kernel)
    return (1,) * others + X.shape[others:], (1,) * others + out.shape[others:]


@lru_cache(maxsize=256)  # 一个网络要走许多趟（拖滑块时也是），看得到哪里多半没有变
def _convolved(sight: Sight, old: Shape, new: Shape, sliding: Window, transposed: bool, mixing: bool) -> Sight:
    """卷积之后，形状从 old 变成 new。mixing: 通道都相加，不分组。"""
    channels = len(old) - len(sliding.kernel) - 1
    before = sight.each(lambda axis, _: axis.gathered() if mixing else None, [channels])
    moved = (_transpose_slide if transposed else _slide)(before, old, new, sliding)
    if moved.even or not mixing or len(old) != 4:
        return moved
    # 通道都相加，只剩批量和格子：各通道看得到的就一样了
    rows_and_columns = sight.along(2) and sight.along(3) and sight.alone(old, lambda axis, _: axis).placed
    return moved._replace(even=rows_and_columns)


@lru_cache(maxsize=64)
def _slide(sight: Sight, old: Shape, new: Shape, sliding: Window) -> Sight:
    """窗口滑过最后几维。"""
    steps = _steps(old, sliding)
    for dim, (kernel, stride, padding, dilation) in steps.items():
        if sight.along(dim):
            continue
        starts = range(0, new[dim] * stride, stride)  # 每个窗口的第一格，从填充的数起
        used = any(0 <= first + tap * dilation - padding < old[dim] for first in starts for tap in range(kernel))
        if not used or (stride > 1 and not sight.even):  # 只有填充，或者只取几个通道
            return UNKNOWN

    def slid(axis: Axis, place: Place) -> Axis | None:
        return axis.slid(Place(place.dim, 1, new[place.dim]), *steps[place.dim])
    return sight.alone(old, slid, [dim for dim, step in steps.items() if step[:3] != (1, 1, 0)])


def _transpose_slide(sight: Sight, old: Shape, new: Shape, sliding: Window) -> Sight:
    """转置卷积：每一格都有一个窗口那么大的输出看得到它，只要没有裁掉。"""
    steps = _steps(old, sliding)

    def spread(axis: Axis, place: Place) -> Axis | None:
        kernel, stride, padding, dilation = steps[place.dim]
        count = new[place.dim]
        used = all(any(0 <= i * stride + tap * dilation - padding < count for tap in range(kernel))
                   for i in range(place.count))
        return axis.scattered(place.dim, count) if used else None
    return sight.alone(old, spread, steps)


def _steps(shape: Shape, sliding: Window) -> dict[int, tuple[int, ...]]:
    """窗口滑过的每一维：(窗口, 步幅, 填充, 膨胀)。"""
    first = len(shape) - len(sliding.kernel)
    return {first + i: step for i, step in enumerate(zip(*sliding, strict=True))}


def _adapt(sight: Sight, args: tuple, out: Tensor) -> Sight:
    """自适应汇聚：除得尽就是不重叠的窗口。"""
    X, dims = args[0], range(args[0].dim() - len(args[1]), args[0].dim())
    if not sight.even and not all(map(sight.along, dims)):
        return UNKNOWN

    def pooled(axis: Axis, place: Place) -> Axis | None:
        count = out.shape[place.dim]
        times, rest = divmod(place.count, count)
        return axis.gathered() if count == 1 else axis.scattered(place.dim, count) if rest else axis.slid(
            Place(place.dim, 1, count), times, times, 0)
    return sight.alone(X.shape, pooled, dims)


def _pad(edge: Callable[[int, int], int]) -> Rule:
    """填充。edge: 填充的第 i 格用 count 格里的哪一格，不在里面就是 0。"""
    def rule(sight: Sight, args: tuple, out: Tensor) -> Sight:
        X, pads = args[:2]
        sides = {X.dim() - 1 - i: pads[2 * i:2 * i + 2] for i in range(len(pads) // 2) if any(pads[2 * i:2 * i + 2])}
        others = [dim for dim in sides if not sight.along(dim)]
        for dim in others:
            cut = sum(min(side, 0) for side in sides[dim])
            if dim == 0 or X.shape[dim] + cut <= 0 or (cut and not sight.even):  # 只剩填充，或者只取几个通道
                return UNKNOWN
        padded = sight.alone(X.shape, lambda axis, place: axis.cut(
            Place(place.dim, 1, out.shape[place.dim]), -sides[place.dim][0], edge), sides)
        return padded._replace(even=sight.even and not others)
    return rule


def _upsample(sight: Sight, args: tuple, out: Tensor) -> Sight:
    """放大：每一格都用到，哪一格看得到哪里说不清。"""
    X, _, *options = args
    scales = [option for option in options if isinstance(option, float)] or [None, None]
    exact = [dim for dim, scale in zip((2, 3), scales, strict=True)
             if out.shape[dim] >= X.shape[dim] and (scale is None or scale * X.shape[dim] == out.shape[dim])]
    return sight.alone(X.shape, lambda axis, place: axis.scattered(place.dim, out.shape[place.dim])
                       if place.dim in exact else None)


def _pixel_shuffle(sight: Sight, args: tuple, out: Tensor) -> Sight:
    """r² 个通道拼成 r×r 格：放大之后第 i 格是原来的第 i/r 格。"""
    X, times = args
    if not sight.even or not all(map(sight.along, (X.dim() - 2, X.dim() - 1))):
        return UNKNOWN
    return sight.alone(X.shape, lambda axis, place: axis._replace(place=Place(place.dim, times, place.count)))


def _pixel_unshuffle(sight: Sight, args: tuple, out: Tensor) -> Sight:
    """r×r 格拆成 r² 个通道：一格看得到原来 r×r 格看得到的，每个通道只有其中一格。"""
    X, times = args
    if not all(map(sight.along, (X.dim() - 2, X.dim() - 1))):
        return UNKNOWN
    return sight.alone(X.shape, lambda axis, place: axis.slid(
        Place(place.dim, 1, out.shape[place.dim]), times, times, 0))._replace(even=False)


# ---------------------------------------------------------------- 取一部分，换形状


def _slice(sight: Sight, args: tuple, out: Tensor) -> Sight:
    X, dim = args[0], _argument(args, 1, 0) % out.dim()
    if out.shape == X.shape or (not sight.along(dim) and (sight.even or dim == 0)):
        return sight
    if not sight.along(dim):
        return UNKNOWN
    step = _argument(args, 4, 1)
    first, last, _ = slice(_argument(args, 2), _argument(args, 3), step).indices(X.shape[dim])

    def cut(axis: Axis, place: Place) -> Axis | None:
        part = axis.cut(Place(dim, 1, max(0, last - first)), first)
        return part and part.slid(Place(dim, 1, out.shape[dim]), 1, step, 0)
    return sight.alone(X.shape, cut, [dim])


def _one(pick: Change) -> Rule:
    """沿着 args[1] 那一维取一个，这一维没有了。"""
    def rule(sight: Sight, args: tuple, out: Tensor) -> Sight:
        X, gone = args[0], _argument(args, 1, 0) % args[0].dim()
        if not sight.even and (gone == 0 or not sight.along(gone)):
            return UNKNOWN
        return sight.alone(X.shape, pick, [gone]).moved(lambda dim: dim - (dim > gone))
    return rule


def _select(sight: Sight, args: tuple, out: Tensor) -> Sight:
    def pick(axis: Axis, place: Place) -> Axis | None:
        cell = axis.cut(Place(place.dim, 1, 1), args[2] % place.count)
        return cell and cell.gathered()
    return _one(pick)(sight, args, out)


def _split(sight: Sight, args: tuple, out: Tensor) -> Sight:
    dim = _argument(args, 2, 0) % out.dim()
    if out.shape == args[0].shape:
        return sight
    return sight.each(lambda axis, place: None, [dim]) if sight.even or dim == 0 or sight.along(dim) else UNKNOWN


def _view(sight: Sight, args: tuple, out: Tensor) -> Sight:
    old = args[0].shape
    if out.numel() != old.numel() or not out.numel():
        return UNKNOWN
    moved = sight if old == out.shape else sight.each(lambda axis, _: axis.reshaped(old, out.shape))
    # 各个数看得到的不一样，展平还是一个位置；格子与它们挤到一维里，位置就乱了
    apart = moved.placed and all(axis and axis.place and axis.place.alone(out.shape) for axis in moved.axes)
    return moved if sight.even or (out.shape[:1] == old[:1] and (apart or out.dim() == 2)) else UNKNOWN


def _permute(sight: Sight, args: tuple, out: Tensor) -> Sight:
    """permute、transpose 和 t。"""
    order = [*range(out.dim())]
    if len(args) == 2:
        order = _dims(args[1], out.dim())
    else:
        a, b = args[1:] or (0, -1)
        order[a], order[b] = order[b], order[a]
    return sight.moved(order.index) if sight.even or order[0] == 0 else UNKNOWN


def _repeat(sight: Sight, args: tuple, out: Tensor) -> Sight:
    X, times = args
    shift = len(times) - X.dim()
    if shift and not sight.even:
        return UNKNOWN
    return sight.each(lambda axis, place: axis if times[place.dim + shift] == 1 else None).moved(
        lambda dim: dim + shift)


# ---------------------------------------------------------------- 沿着几维


def _argument(args: tuple, i: int, default: Any = None) -> Any:
    return args[i] if len(args) > i else default


def _dims(given: Any, count: int) -> list[int]:
    """参数里的一维或几维，都从 0 数起；不写、写空的是全部。"""
    if given is None or isinstance(given, bool) or given == []:
        return [*range(count)]
    return [dim % max(count, 1) for dim in ([given] if isinstance(given, int) else given)]


def _reduce(i: int) -> Rule:
    """沿着 args[i] 这几维合成一个数。"""
    def rule(sight: Sight, args: tuple, out: Tensor) -> Sight:
        gone = _dims(_argument(args, i), args[0].dim())
        if 0 in gone and not sight.even:
            return UNKNOWN
        kept = out.dim() == args[0].dim()
        return sight.gathered(gone).moved(lambda dim: dim if kept else dim - sum(each < dim for each in gone))
    return rule


def _mix(dims: Callable[[tuple], Sequence[int]]) -> Rule:
    """每个数都看得到这几维的全部，例如规范化、softmax；形状不变。"""
    return lambda sight, args, out: sight.gathered(dims(args)) if out.shape == args[0].shape else UNKNOWN


def _batch_statistics(args: tuple) -> Sequence[int]:
    """批量规范化用这一批的统计量，就看得到每个通道的全部；用运行的统计量，就是逐格的。"""
    training = args[5]
    return [dim for dim in range(args[0].dim()) if dim != 1] if training else []


def _spoil(i: int) -> Rule:
    """沿着 args[i] 这几维，哪一格看得到哪里说不清了，例如翻转、累加。"""
    return lambda sight, args, out: sight.each(lambda axis, place: axis.scattered(place.dim, out.shape[place.dim]),
                                               _dims(_argument(args, i), out.dim()))


_JOINS: dict[Any, JoinRule] = dict.fromkeys(PRODUCTS, _product) | dict.fromkeys(OVERWRITES, _overwrite) | {
    aten.cat: _cat, aten.stack: _stack, aten.where: _where(0), aten.masked_fill: _where(1)}

_RULES: dict[Any, Rule] = (
    {op: _pool(op) for op in POOLS} | {op: _reduce(i) for op, i in REDUCTIONS.items()}
    | dict.fromkeys(VIEWS, _view) | dict.fromkeys(UPSAMPLING, _upsample) | dict.fromkeys(ADAPTIVE_POOLS, _adapt)
    | dict.fromkeys((aten.permute, aten.transpose, aten.t), _permute)
    | dict.fromkeys((aten.split, aten.split_with_sizes), _split)
    | dict.fromkeys((aten.native_batch_norm, aten.cudnn_batch_norm), _mix(_batch_statistics))
    | dict.fromkeys((aten._softmax, aten._log_softmax, aten._safe_softmax),
                    _mix(lambda args: _dims(args[1], args[0].dim())))
    | dict.fromkeys((aten.cumsum, aten.cumprod, aten.logcumsumexp, aten.flip), _spoil(1)) | {
        aten.convolution: _convolve, aten.slice: _slice, aten.select: _select,
        aten.unbind: _one(lambda axis, place: None), aten.repeat: _repeat, aten.roll: _spoil(2),
        aten.expand: lambda sight, args, out: sight.stretched(args[0].shape, out.shape),
        aten.channel_shuffle: lambda sight, args, out: sight,
        aten.constant_pad_nd: _pad(lambda i, count: i),
        aten.reflection_pad2d: _pad(lambda i, count: count - 1 - abs(count - 1 - abs(i))),
        aten.replication_pad2d: _pad(lambda i, count: min(max(i, 0), count - 1)),
        aten.pixel_shuffle: _pixel_shuffle, aten.pixel_unshuffle: _pixel_unshuffle,
        aten.native_group_norm: _mix(lambda args: range(1, args[0].dim())),
        aten.native_layer_norm: _mix(lambda args: range(args[0].dim() - len(args[1]), args[0].dim()))})
