"""怎样训练：一份配方有哪些项，每一项可以是什么值。"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from helpers.arguments import between, brief, number
from helpers.data.fashion import fashion_mnist
from helpers.data.split import Split
from helpers.network.initialization import INITIALIZATIONS, xavier

Initialization = Callable[[nn.Module], None]
# 可以改的项，另外还有网络的每个宽度；数据的通道数、类别数和文件夹只能由 Plan.on 一起改
CHANGEABLE = ("batch_size", "size", "lr", "num_epochs", "images", "init")
OF_THE_DATA = ("in_channels", "num_classes")
# 整数的项，至少和至多是多少；放不放得下另说
_LIMITS = {"batch_size": (1,), "size": (1, 4096), "num_epochs": (1,), "images": (10, 60_000)}


@dataclass(frozen=True)
class Recipe:
    """怎样训练，与是哪个网络无关。

    batch_size: 批量；size: 输入边长（像素）；lr: 学习率；num_epochs: 轮数。
    images: 训练图片张数，None 是全部 60000 张，测试集按 6:1 跟着变。
    init: 初始化，用法是 net.apply(init)。
    widths: 与默认不同的宽度，传给网络函数，如 {"ratio": 4}。
    folder: 图片文件夹，见 `image_folder`；None 是 Fashion-MNIST。
    """

    batch_size: int = 256
    size: int = 28
    lr: float = 0.1
    num_epochs: int = 10
    images: int | None = None
    init: Initialization = xavier
    widths: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def settings(self, widths: Mapping[str, Any]) -> dict[str, Any]:
        """全部设置，名字到值；widths: 网络的每个宽度，默认的也在内。"""
        common = {"batch_size": self.batch_size, "size": self.size, "images": self.images or 60_000, "lr": self.lr,
                  "num_epochs": self.num_epochs, "init": name_of(self.init)}
        if self.folder is not None:
            del common["images"]
            common |= {"folder": self.folder, "num_classes": widths["num_classes"]}
        return common | {name: value for name, value in widths.items() if name not in OF_THE_DATA}

    def data(self) -> tuple[Split, Split]:
        """(训练集, 测试集)，见 `fashion_mnist`、`image_folder`。"""
        if self.folder is not None:
            from helpers.data.folder import image_folder  # 只有这里要 torchvision；没有装好它，别的照样能用
            return image_folder(self.folder, self.batch_size, self.size)
        return fashion_mnist(self.batch_size, self.size, self.images)


def checked(name: str, value: Any, default: Any = None) -> Any:
    """一项设置的值，检查过，numpy 的数变成 Python 的；不能用时抛出 ValueError。

    default: 一个宽度的默认值，新的值应当与它同类。
    """
    if name == "init":
        return initialization(value)
    if name == "images" and value is None:
        return None
    if name in _LIMITS:
        return between(name, value, *_LIMITS[name])
    if name == "lr":
        rate = number(value)
        return _good(name, value, rate if rate and rate > 0 else None, "大于 0 的数")
    if isinstance(default, bool):
        return _good(name, value, value if isinstance(value, bool) else None, " True 或 False")
    if isinstance(default, int):
        return between(name, value, 0)
    if isinstance(default, float):
        return _good(name, value, number(value), "数")
    if isinstance(default, str):
        return _good(name, value, value if isinstance(value, str) else None, f"文字，如 {default!r}")
    if isinstance(default, tuple):
        return _good(name, value, _nested(value) if isinstance(value, tuple | list) else None, f"元组，如 {default}")
    return value


def _good(name: str, value: Any, converted: Any, wanted: str) -> Any:
    if converted is None:
        raise ValueError(f"{name} 应当是{wanted}，收到的是 {brief(value)}。")
    return converted


def _nested(value: Any) -> Any:
    """存进 JSON 又读回来的列表变回元组，里面的也是。"""
    return tuple(map(_nested, value)) if isinstance(value, tuple | list) else value


def initialization(init: str | Initialization) -> Initialization:
    """初始化的名字变成函数；函数就是它自己。没有这个名字时抛出 ValueError。"""
    if callable(init):
        return init
    if not isinstance(init, str) or init not in INITIALIZATIONS:
        raise ValueError(f"没有初始化 {brief(init)}；有的是 {'、'.join(INITIALIZATIONS)}，也可以自己写一个函数。")
    return INITIALIZATIONS[init]


def name_of(init: Initialization) -> str:
    """初始化的名字：自己写的用函数名。"""
    return next((name for name, known in INITIALIZATIONS.items() if known is init),
                getattr(init, "__name__", type(init).__name__))
