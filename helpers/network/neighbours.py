"""网络觉得像的图：最后一层收到的数最近的几张。"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from helpers.network.borrow import evaluating, hooked


def last_features(net: nn.Module, X: Tensor) -> Tensor:
    """最后一个全连接层收到的数 (B, n)；没有全连接层的网络（如 NiN），就是它的输出。

    网络在 eval 模式下算，什么也不改变。
    """
    received: list[Tensor] = []
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1:]
    with torch.no_grad(), evaluating(net), hooked(dict.fromkeys(last, "last"),
                                                  enter=lambda name, module, inputs: received.append(inputs[0][0])):
        out = net(X)
    return (received or [out])[-1].flatten(1)


class Neighbours:
    """一批图的 `last_features`，一批一批地算：算的时候别的问题插得进来。"""

    def __init__(self, net: nn.Module, batches: Iterable[Tensor]):
        self.net, self._batches = net, iter(batches)
        self.done = False
        self._features: list[Tensor] = []

    @property
    def count(self) -> int:
        """算好了几张。"""
        return sum(map(len, self._features))

    def step(self) -> None:
        """再算一批；都算过了，done 是真。"""
        batch = next(self._batches, None)
        if batch is None:
            self.done = True
        else:
            self._features.append(last_features(self.net, batch))

    def nearest(self, X: Tensor, count: int = 6) -> tuple[list[int], list[float]]:
        """离 X (1, C, H, W) 最近的几张是第几张，各有多远（欧几里得距离），近的在前；只在算好的里面找。"""
        away = (torch.cat(self._features) - last_features(self.net, X)).norm(dim=1)
        found = away.topk(min(count, len(away)), largest=False)
        return found.indices.tolist(), found.values.tolist()
