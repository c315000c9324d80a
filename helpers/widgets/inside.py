"""打开一个训练好的网络：每一层的特征图，点一格看它怎样算出来，画一张图看它怎样答。"""

from pathlib import Path
from typing import Any

import anywidget
from torch import Tensor, nn

from helpers.arguments import instance
from helpers.data.fashion import Batches
from helpers.pictures.columns import network_columns
from helpers.pictures.doors import tensor
from helpers.pictures.png import bundle, squeeze
from helpers.widgets.answers import Answers
from helpers.widgets.cell import Shown


class Inside(Shown):
    """打开一个网络：图像在左，各层的特征图一列一列，各类的概率在右。

    点一张特征图，再点一格：窗口、核、乘积、和；点一项，退回一层，一直到像素。图像可以从 images 里选，可以自己画，
    可以放一张照片；也看得到网络看的是哪里（Grad-CAM 和遮挡），训练图里哪几张最像。

    net: 一个网络，留一份副本：以后再训练，要再造一个 Inside 才看得到。
    images: 测试集，如 `fashion_mnist()[1]`；或者 (N, C, H, W) 的小数。train: 训练集，在里面找像的，可以没有。
    没有内核的地方（GitHub）显示第一张图像的各列。造它的单元格再运行，旧的就关掉，见 Shown。
    网页问什么、怎样答见 `Answers.answer`。
    """

    def __init__(self, net: nn.Module, images: Batches | Tensor, train: Batches | None = None):
        instance(net, nn.Module, "第一个参数应当是一个网络")
        instance(images, (Batches, Tensor), "第二个参数应当是测试集，或者 (N, C, H, W) 的一批图像")
        if isinstance(images, Tensor):
            tensor("images", images, "(N, C, H, W)")
        instance(train, (Batches, type(None)), "train 应当是训练集，如 fashion_mnist()[0]")
        super().__init__()
        self.answers = Answers(net, images, train)
        self._name = type(net).__name__
        self._png = network_columns(self.answers.steps, self.answers.probabilities, self.answers.classes).png
        self.page = Page()
        self.page.on_msg(self._asked)
        self.children = [self.page]

    def _asked(self, page: Any, question: Any, buffers: Any) -> None:
        """网页问了一句；从哪个线程来都可以。number 是网页自己编的，原样送回去。"""
        if not isinstance(question, dict) or self.closed:
            return
        answer, data = self.answers.answer(question, list(buffers or []))
        page.send({**answer, "ask": question.get("ask"), "number": question.get("number")}, data)

    def __repr__(self) -> str:
        return f"Inside({self._name}，{len(self.answers.steps) - 1} 步)"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = super()._repr_mimebundle_(**options) or {}
        picture, metadata = bundle(squeeze(self._png), repr(self))
        return data | picture, metadata


class Page(anywidget.AnyWidget):
    """网页里的一块，由 inside.js 画。"""

    _esm = Path(__file__).with_name("inside.js")
    _css = Path(__file__).with_name("inside.css")
