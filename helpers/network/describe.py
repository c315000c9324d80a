"""一层用中文怎么说。"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from helpers.arguments import instance

_ACTIVATIONS = {nn.ReLU: "ReLU", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}


@dataclass(frozen=True)
class LayerText:
    """一层的说法，参数从模块里读；`str()` 是一句话，如「5×5 卷积层 (6)，填充 2」。

    kind: "conv"、"linear"、"pool"、"norm"、"activation"、"dropout"、"flatten" 或者 "other"。
    title: 这一层是什么，如「5×5 卷积层 (6)」；details: 其余的，一项一条，如 ("步幅 2", "填充 1")，可以没有。
    """

    kind: str
    title: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "，".join((self.title, *self.details))

    @classmethod
    def of(cls, module: nn.Module) -> "LayerText":
        """一个模块的说法；这里不认得的模块说它的类名。"""
        match module:
            case nn.Conv2d():
                return cls("conv", f"{_window(module.kernel_size)} 卷积层 ({module.out_channels})",
                           _moves(module, default_stride="1"))
            case nn.MaxPool2d() | nn.AvgPool2d():
                return cls("pool", f"{_window(module.kernel_size)} {_pooling(module)}汇聚层", _moves(module))
            case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d():
                window = _window(module.output_size)
                if window == "1×1":
                    return cls("pool", f"全局{_pooling(module)}汇聚层")
                return cls("pool", f"自适应{_pooling(module)}汇聚层", (f"输出 {window}",))
            case nn.Linear():
                return cls("linear", f"全连接层 ({module.out_features})")
            case nn.BatchNorm2d():
                return cls("norm", "批量规范化")
            case nn.Dropout():
                return cls("dropout", f"暂退法 {module.p:g}")
            case nn.Flatten():
                return cls("flatten", "展平")
        name = _ACTIVATIONS.get(type(module))
        return cls("activation", name) if name else cls("other", type(module).__name__)


def describe(module: nn.Module) -> str:
    """一层的中文说法，一句话，如「5×5 卷积层 (6)，填充 2」。module 不是一层时抛出 TypeError。"""
    return str(LayerText.of(instance(module, nn.Module, "module 应当是一层")))


def _pooling(module: nn.Module) -> str:
    return "最大" if isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d) else "平均"


def _moves(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d, default_stride: str = "") -> tuple[str, ...]:
    """步幅和填充；与默认值相同的不说。"""
    stride, padding = _side(module.stride), _side(module.padding)
    return ((f"步幅 {stride}",) if stride != default_stride else ()) + ((f"填充 {padding}",) if padding != "0" else ())


def _side(size: int | str | Sequence[int]) -> str:
    """高和宽相同时只说一个数；填充还可以是 "same"。"""
    if isinstance(size, int | str):
        return str(size)
    return str(size[0]) if len(set(size)) == 1 else _window(size)


def _window(size: int | Sequence[int | None] | None) -> str:
    return "×".join(map(str, size if isinstance(size, Sequence) else (size, size)))
