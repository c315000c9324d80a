"""《现代卷积神经网络》七本笔记本共用的小工具，按读者遇到的次序列出。"""

from helpers.data import LABELS, Batches, fashion_mnist
from helpers.device import pick_device
from helpers.trace import Layer, Trace, input_sizes, trace

__all__ = ["LABELS", "Batches", "fashion_mnist", "pick_device", "Layer", "Trace", "input_sizes", "trace"]
