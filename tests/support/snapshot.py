"""一个网络此刻的一切：借它的人用完之后，应当与之前一点不差。"""

import random
from collections import deque

import numpy as np
import torch
from torch import Tensor, nn


def snapshot(net):
    """每个模块的类和每个属性（列表、字典翻开，张量到每一位，对象是不是同一个），梯度，和各种随机数。"""
    numpy_state = np.random.get_state()
    return [_of(net, {}), torch.get_rng_state().tolist(), random.getstate(), numpy_state[1].tolist(), numpy_state[2:]]


def _of(value, done):
    if id(value) in done:
        return "同", done[id(value)]
    done[id(value)] = len(done)
    if isinstance(value, nn.Module):
        return type(value), id(value), {name: _of(item, done) for name, item in vars(value).items()}
    if isinstance(value, Tensor):
        bits = None if value.is_meta else value.detach().contiguous().view(-1).view(torch.uint8).tolist() if (
            value.numel()) else []
        return (type(value), id(value), value.device, value.dtype, value.shape, value.stride(), value.requires_grad,
                bits, None if not value.is_leaf or value.grad is None else _of(value.grad, done))
    if isinstance(value, dict):
        return type(value), id(value), [(key, _of(item, done)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [_of(item, done) for item in value]
    if isinstance(value, np.ndarray):
        return id(value), value.tolist()
    if isinstance(value, torch.Generator):
        return id(value), value.get_state().tolist()
    if isinstance(value, set):
        return id(value), [_of(item, done) for item in sorted(value, key=repr)]
    return value
