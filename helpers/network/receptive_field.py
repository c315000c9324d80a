"""感受野：一个运算之后，输出的一格看得到哪些输入像素。

公式见 Araujo 等，Computing Receptive Fields of Convolutional Neural Networks，Distill 2019。
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from helpers.network.dispatch import PADS, POOLS, Convolution, aten, tensors, window


class Reach(NamedTuple):
    """一个张量的第 0 格看得到的输入像素：从 start 到 end，相邻两格相距 jump 个像素；只看宽这一维。"""

    start: int
    end: int
    jump: int


def begin(X: Tensor) -> None:
    """X 是输入图像：一格看得到的就是它自己。"""
    _set(X, Reach(0, 0, 1))


def spread(op: Any, args: tuple, out: Any) -> None:
    """一个运算算完了，把输入的感受野传给输出；参数都与图像无关的运算不传。"""
    sources = [tensor for tensor in tensors(args) if hasattr(tensor, "reach")]
    if sources:
        for tensor in tensors(out):
            _set(tensor, _follow(op, args, sources, tensor))


def field(X: Tensor | None) -> int | None:
    """X 的感受野，边长（像素）；None 是整幅图像，或者说不清。"""
    reach = getattr(X, "reach", None)
    return reach and reach.end - reach.start + 1


def _set(X: Tensor, reach: Reach | None) -> None:
    X.reach = reach  # pyright: ignore[reportAttributeAccessIssue]  张量上没有这一项，是我们记的


def _follow(op: Any, args: tuple, sources: list[Tensor], out: Tensor) -> Reach | None:
    reaches = [reach for tensor in sources if (reach := getattr(tensor, "reach", None)) is not None]
    if len(reaches) < len(sources) or out.dim() < 4:
        return None
    starts, ends, jumps = zip(*reaches, strict=True)
    union = Reach(min(starts), max(ends), max(jumps))  # 几条路汇合，取并集
    rule = _RULES.get(op)
    return rule(union, op, args) if rule else _same_size(union, sources, out)


def _slide(seen: Reach, kernel: int, stride: int, padding: int, dilation: int) -> Reach:
    """窗口滑过：起点 ← 起点 - p·j，终点 ← 终点 + ((k - 1)·d - p)·j，j ← j·s。"""
    start, end, jump = seen
    return Reach(start - padding * jump, end + ((kernel - 1) * dilation - padding) * jump, jump * stride)


def _convolve(seen: Reach, op: Any, args: tuple) -> Reach | None:
    return None if Convolution(*args).transposed else _pool(seen, op, args)


def _pool(seen: Reach, op: Any, args: tuple) -> Reach:
    return _slide(seen, *(part[-1] for part in window(op, args)))


def _pad(seen: Reach, op: Any, args: tuple) -> Reach:
    return _slide(seen, kernel=1, stride=1, padding=args[1][0], dilation=1)


def _reorder(seen: Reach, op: Any, args: tuple) -> Reach:
    return seen


def _same_size(seen: Reach, sources: list[Tensor], out: Tensor) -> Reach | None:
    """别的运算：高和宽没有变就是逐格的；变了就是展平、全局汇聚、上采样。"""
    return seen if any(out.shape[-2:] == source.shape[-2:] for source in sources) else None


_RULES: dict[Any, Callable[[Reach, Any, tuple], Reach | None]] = (
    {aten.convolution: _convolve} | dict.fromkeys(POOLS, _pool) | dict.fromkeys(PADS, _pad)
    | dict.fromkeys((aten.permute, aten.transpose, aten.slice), _reorder))
