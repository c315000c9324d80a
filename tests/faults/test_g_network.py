"""G1–G7：读者的各种网络。朴素的实现照常见的小工具写。"""

import pytest
from support.networks import Op
from support.probe import check_field
from support.rows import against
from torch import nn

from helpers import trace


def by_formula(net, shape):
    """常见的小工具：逐个模块套公式，不是卷积和汇聚的都当作逐格的。"""
    field, jump = 1, 1
    for module in net:
        if hasattr(module, "kernel_size"):
            field += (module.kernel_size[0] - 1) * jump
            jump *= module.stride[0]
    return field, field


CONV = nn.Conv2d(2, 2, 3, padding=1)
NOT_POINTWISE = [
    nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False), nn.LayerNorm([2, 12, 12]),
    nn.Softmax(-1), nn.Conv2d(2, 2, (5, 1)), nn.CircularPad2d(1), nn.Upsample(scale_factor=2), Op("X[:, :, ::2, 1::3]"),
    Op("X.cumsum(2)"), Op("X.roll(1, 3)"), Op("X[..., 1:] - X[..., :-1]"), Op("X * X.mean((2, 3), keepdim=True)")]


@against(lambda net, shape: trace(net, shape)[-1].receptive_field, by_formula)
@pytest.mark.parametrize("layer", NOT_POINTWISE, ids=str)
def test_G1_receptive_field_is_right_or_unknown(subject, layer):
    """上万个随机网络在 fuzz/test_network.py。"""
    check_field(nn.Sequential(CONV, layer, CONV).eval(), (1, 2, 12, 12), subject)
