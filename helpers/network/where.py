"""网络看的是哪里：Grad-CAM 从梯度算，遮挡一处一处地试。"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.arguments import between
from helpers.network.answer import answered, logits_of, placed
from helpers.network.borrow import copied, hooked, undisturbed
from helpers.network.dispatch import tensors


def grad_cam(net: nn.Module, X: Tensor, label: int | None = None, layer: str | None = None) -> Tensor:
    """一张图像里，哪里让网络说是 label 类：(H, W)、float32、不小于 0，放大到图像的大小。

    X: (1, C, H, W)，小数；label: 哪一类，默认是网络的答案；layer: 看哪一层的输出，名字同 named_modules，
        默认是最后一个还有高和宽的。
    那一层的每个通道，乘以它的梯度在各处的平均数，加起来，负的变成 0
    （Selvaraju et al., Grad-CAM, 2017；单位是那一类的对数几率对每个通道）。
    没有这一层、它没有高和宽，或者 X 不是一张图像，抛出 ValueError。网络在 eval 模式下算，什么也不改变。
    """
    X = _one(net, X)
    found: dict[str, Tensor] = {}

    def leave(name: str, module: nn.Module, output: object) -> None:
        for tensor in tensors(output)[:1]:
            if tensor.dim() == 4 and tensor.requires_grad:
                found.pop(name, None)  # 用过几次的，说的是最后一次
                found[name] = tensor

    names = {module: name for name, module in net.named_modules()}
    with torch.inference_mode(False), torch.enable_grad(), copied(net), undisturbed(X.device), \
            hooked(names, leave=leave):
        logits = logits_of(answered(net, net, X.requires_grad_()))
        maps = found[_last(found, layer)]
        label = int(logits[0].argmax()) if label is None else between("label", label, 0, logits.shape[1] - 1)
        [gradient] = torch.autograd.grad(logits[0, label], maps, allow_unused=True)
    if gradient is None:
        raise ValueError("梯度从答案传不到那一层：forward 里的 detach() 或者取整断开了它。")
    heat = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0).detach()
    return F.interpolate(heat.float(), X.shape[2:], mode="bilinear", align_corners=False)[0, 0]


def _last(found: dict[str, Tensor], layer: str | None) -> str:
    """看哪一层。"""
    if layer is not None:
        if not isinstance(layer, str) or layer not in found:
            raise ValueError(f"第 {layer!r} 层没有高和宽，或者没有这一层；可以是 {'、'.join(map(repr, found))}。")
        return layer
    wide = [name for name, tensor in found.items() if min(tensor.shape[2:]) > 1] or [*found]
    if not wide:
        raise ValueError("这个网络没有一层有高和宽，说不出它看的是哪里。")
    return wide[-1]


def occlusion(net: nn.Module, X: Tensor, label: int | None = None, window: int | None = None,
              stride: int | None = None) -> Tensor:
    """遮住一处，网络给 label 类的概率少了多少：(H, W)、float32，负的是遮住反而更有把握。

    X: (1, C, H, W)，小数；label: 哪一类，默认是网络的答案。
    window: 遮住的方块的边长（像素），默认是图像的四分之一；stride: 每次移几个像素，默认是 window 的三分之一。
    遮住的地方是 0（黑）；一个像素是盖过它的各个方块的平均。一处一处真的算，所以慢，也所以可信
    （Zeiler 与 Fergus, 2014）。X 不是一张图像时抛出 ValueError。网络在 eval 模式下算，什么也不改变。
    """
    X = _one(net, X)
    height, width = X.shape[2:]
    window = between("window", min(height, width) // 4 or 1 if window is None else window, 1, min(height, width))
    stride = between("stride", max(1, window // 3) if stride is None else stride, 1, window)
    places = [(row, column) for row in _starts(height, window, stride) for column in _starts(width, window, stride)]
    with torch.inference_mode(False), torch.no_grad(), copied(net), undisturbed(X.device):
        before = logits_of(answered(net, net, X)).softmax(1)[0]
        label = int(before.argmax()) if label is None else between("label", label, 0, len(before) - 1)
        after = torch.cat([net(batch).softmax(1)[:, label] for batch in _covered(X, places, window)])
    heat, count = torch.zeros(2, height, width, device=X.device).unbind()
    for (row, column), drop in zip(places, before[label] - after, strict=True):
        heat[row:row + window, column:column + window] += drop
        count[row:row + window, column:column + window] += 1
    return heat / count


def where_it_looks(net: nn.Module, X: Tensor, stride: int | None = None) -> dict[str, Tensor]:
    """几张图像 (N, C, H, W)，各自让网络给出它的答案的地方，两种答法：名字到 (N, H, W)。stride: 遮挡每次移几个像素。"""
    if not isinstance(X, Tensor) or X.dim() != 4 or not len(X):
        raise ValueError(f"X 应当是几张图像 (N, C, H, W)，收到的是 {getattr(X, 'shape', type(X).__name__)}。")
    return {"Grad-CAM": torch.stack([grad_cam(net, each) for each in X.split(1)]),
            "遮挡": torch.stack([occlusion(net, each, stride=stride) for each in X.split(1)])}


def _starts(size: int, window: int, stride: int) -> list[int]:
    """方块从哪里开始：每次移 stride，最后一个贴着边。"""
    return sorted({*range(0, size - window + 1, stride), size - window})


def _covered(X: Tensor, places: list[tuple[int, int]], window: int) -> Iterator[Tensor]:
    """遮住各处的图像，32 张一批。"""
    for start in range(0, len(places), 32):
        batch = X.repeat(len(places[start:start + 32]), 1, 1, 1)
        for each, (row, column) in zip(batch, places[start:], strict=False):
            each[:, row:row + window, column:column + window] = 0
        yield batch


def _one(net: nn.Module, X: Tensor) -> Tensor:
    """一张图像，在网络所在的设备上。"""
    if not isinstance(X, Tensor) or not X.is_floating_point() or X.dim() != 4 or len(X) != 1:
        raise ValueError(f"X 应当是一张图像 (1, C, H, W)、小数，收到的是 {tuple(getattr(X, 'shape', ()))}、"
                         f"{getattr(X, 'dtype', type(X).__name__)}；取一张写成 X[:1]。")
    return placed(net, X)
