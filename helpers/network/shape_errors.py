"""形状走不通时说什么：停在哪里，毛病是什么，怎么改。"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from torch import nn

from helpers.network.dispatch import POOLS, PRODUCTS, Convolution, aten, multiplied, tensors, window
from helpers.network.layer import Layer, Shape
from helpers.network.sizes import Sizes

# 毛病的种类：(毛病, 改法)；{have} 是来的，{want} 是要的
_SENTENCES = {
    "channels": ("卷积要 {want} 个通道，来的是 {have} 个", "把 in_channels 改成 {have}"),
    "empty": ("它的输入或输出是 0 个通道", "把它的 in_channels 和 out_channels（网络的宽度）都改成正整数"),
    "dims": ("它要 (批量, 通道, 高, 宽) 四维，来的是 {have} 维", "在展平之前用它，或者把输入写成四维"),
    "window": ("放不下 {want} 的窗口", "减小窗口、步幅"),
    "flatten": ("它要最后一维是 {want}", "在它前面加 nn.Flatten()"),
    "features": ("它要最后一维是 {want}", "把 in_features 改成 {have}"),
    "view": ("view 要每个样本有 {want} 个数，来的是 {have} 个", "把 {want} 改成 {have}，或者换成 nn.Flatten()"),
    "layout": ("view 遇到了在内存里不挨着的数", "把 view 换成 reshape，或者换成 nn.Flatten()"),
    "reshape": ("view 要排成 {want}，来的一共是 {have} 个数", "让这几个数的积等于 {have}"),
    "dtypes": ("{have} 和 {want} 不能相乘", "先换成同一种数，如 X.to(torch.{want})"),
    "norm": ("它要 {want} 个通道", "把 num_features 改成 {have}"),
    "shapes": ("{have} 合不起来", "让它们的通道数、高和宽一致"),
    "other": ("{have}", "照这句话检查这一层"),
}
_CHANGES = {"small": "加大", "large": "减小", None: "改变"}
_INVALID = re.compile(r"shape '\[(.*)\]' is invalid for input of size (\d+)")
_NORMS = (nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
          | nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)
_ON_IMAGES = (nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d
              | nn.BatchNorm2d)


@dataclass(frozen=True)
class Fault:
    """一层为什么走不通。

    kind: "channels" 卷积的通道数不合，"empty" 通道是 0 个，"dims" 来的不是图像，"window" 输入比窗口小，
        "flatten" 全连接层前面没有展平，"features" 全连接层的输入个数不合，"view" 展平的个数不合，
        "reshape" 别的形状排不成，"layout" 数在内存里不挨着，"norm" 规范化的通道数不合，"dtypes" 相乘的数值类型不同，
        "shapes" 几个形状合不起来，"other" 别的，照 PyTorch 说。
    have, want: 来的和要的，个数、形状或者数值类型；合不起来的几个形状都在 have 里。
    direction: 输入 "small"（太小）还是 "large"（太大）；说不准是 None。
    """

    kind: str
    have: Any = None
    want: Any = None
    direction: str | None = None

    @property
    def sized(self) -> bool:
        """换一个边长，也许就走得通。"""
        if self.kind == "shapes":
            return len({shape[2:] for shape in self.have}) > 1
        return self.kind not in ("channels", "empty", "dims", "flatten", "layout", "norm", "dtypes")

    @property
    def symptom(self) -> str:
        """毛病，一句话里的一段。"""
        return self._fill(_SENTENCES[self.kind][0])

    @property
    def remedy(self) -> str:
        """改法，接在「请」后面。"""
        return self._fill(_SENTENCES[self.kind][1])

    def _fill(self, sentence: str) -> str:
        have = " 和 ".join(map(str, self.have)) if self.kind == "shapes" else self.have
        return sentence.format(have=have, want=self.want)


class Place(NamedTuple):
    """停在哪一层，它收到什么形状。"""

    name: str
    kind: str
    received: Shape


class ShapeError(ValueError):
    """形状走不通。

    shape: 输入形状；fault: 毛病；place: 停在哪一层，还没有进入任何一层就是 None；layers: 走通的几层，没有就是空的。
    sizes: 走得通的边长，见 `input_sizes`；与大小无关，或者没有一个走得通，就是 None。
    """

    sizes: Sizes | None = None

    def __init__(self, shape: Shape, fault: Fault, place: Place | None, layers: Sequence[Layer]):
        super().__init__(shape, fault, place, layers)
        self.shape, self.fault, self.place, self.layers = tuple(shape), fault, place, tuple(layers)

    @property
    def last(self) -> Layer | None:
        """最后走通的层，没有就是 None。"""
        return self.layers[-1] if self.layers else None

    def __str__(self) -> str:
        where = last = sizes = ""
        remedy = self.fault.remedy
        if self.place is not None:
            where = f"第 {self.place.name} 层 {self.place.kind} 收到 {self.place.received}，"
        if self.last is not None:
            shapes = f"{self.last.in_shape} → {self.last.out_shape}"
            last = f"最后走通的是第 {self.last.name} 层 {self.last.kind}：{shapes}。"
        if self.sizes is not None:
            remedy = f"{_CHANGES[self.fault.direction]}输入的高和宽，或者{remedy}"
            sizes = f"高和宽相等时，这个网络走得通的边长是 {self.sizes.describe()}。"
        return f"输入 {self.shape} 走不通：{where}{self.fault.symptom}。请{remedy}。{last}{sizes}"


def diagnose(error: Exception, running: tuple[Any, tuple] | None, module: nn.Module | None = None,
             received: Shape | None = None) -> Fault:
    """走不通是什么毛病。

    error: PyTorch 报的错；running: 出错的运算和它的参数，不是在运算里出的错就是 None。
    module: 停在哪一层，received: 它收到的形状；还没有进入任何一层就是 None。
    """
    nowhere: tuple[Any, tuple] = (None, ())
    op, args = running or nowhere
    came = received or ()
    shapes = [tuple(tensor.shape) for tensor in tensors(args)]
    if isinstance(module, _ON_IMAGES) and len(came) not in (3, 4):
        return Fault("dims", len(came), 4)
    if len(kinds := multiplied(op, args)) > 1:
        return Fault("dtypes", *kinds[:2])
    if op is aten.convolution and (fault := _convolution(Convolution(*args))):
        return fault
    if op is aten.reflection_pad2d or (op in POOLS and _too_small(op, args)):
        return Fault("window", shapes[0], tuple(args[1]), "small")
    if invalid := _INVALID.search(str(error)):  # reshape 自己查，不经过任何运算
        return _reshape([int(size) for size in invalid[1].split(",")], int(invalid[2]), came)
    if "view size is not compatible" in str(error):
        return Fault("layout")
    if op in PRODUCTS and shapes[-2][-1] != shapes[-1][-2]:
        return _product(shapes[-2][-1], shapes[-1][-2], isinstance(module, nn.Linear) and len(came) == 4)
    if isinstance(module, _NORMS) and len(came) > 1 and came[1] != module.num_features:
        return Fault("norm", came[1], module.num_features)
    if op is not aten.convolution and len(set(shapes)) > 1:
        return Fault("shapes", tuple(shapes))
    return Fault("other", f"{type(error).__name__}：{error}".splitlines()[0])


def _convolution(call: Convolution) -> Fault | None:
    have = call.X.shape[1]
    want = call.weight.shape[0] if call.transposed else call.weight.shape[1] * call.groups
    if 0 in call.weight.shape[:2]:
        return Fault("empty", have, want)
    if have != want:
        return Fault("channels", have, want)
    if call.transposed or _too_small(aten.convolution, call):
        return Fault("window", tuple(call.X.shape), tuple(call.weight.shape[2:]), "small")
    return None


def _too_small(op: Any, args: tuple) -> bool:
    """填充之后还放不下一个窗口。"""
    kernel, _, padding, dilation = window(op, args)
    sizes = args[0].shape[-len(kernel):]
    if len(sizes) < len(kernel) or len({*map(len, (kernel, padding, dilation))}) > 1:  # 连图像都不是
        return False
    return any(size + 2 * p < (k - 1) * d + 1 for size, k, p, d in zip(sizes, kernel, padding, dilation, strict=True))


def _reshape(want: list[int], have: int, came: Shape) -> Fault:
    """have 个数排不成 want；came: 这一层收到的形状，第 0 维是批量。"""
    batch = came[0] if came else 1
    direction = "small" if have < abs(prod(want)) * (batch if want[0] == -1 else 1) else "large"
    if len(want) == 2 and want[0] in (-1, batch) and have % batch == 0:
        return Fault("view", have // batch, want[1], direction)
    return Fault("reshape", have, tuple(want), direction)


def _product(have: int, want: int, unflattened: bool) -> Fault:
    if unflattened:
        return Fault("flatten", have, want)
    return Fault("features", have, want, "small" if have < want else "large")
