"""where.py：Grad-CAM 与类别图对照，遮挡与一处一处地试对照，网络一点没变。"""

import copy

import pytest
import torch
from support.nets import SIZES, lenet
from torch import nn
from torch.nn import functional as F

from helpers import load
from helpers.network.where import grad_cam, occlusion, where_it_looks


def pooled(last):
    """卷积、ReLU，全局平均，一个线性层：类别图有公式。"""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


def test_after_global_pooling_it_is_the_class_map():
    net, X = pooled(nn.Linear(6, 4)), torch.rand(1, 1, 9, 7)
    for label in range(4):
        with torch.no_grad():
            class_map = torch.einsum("c,chw->hw", net[6].weight[label], net[:4](X)[0]) / (9 * 7)
        assert torch.allclose(grad_cam(net, X, label), class_map.clamp(min=0), atol=1e-6)


def test_the_class_map_of_nin_is_its_last_maps():
    """NiN 的最后一层是 10 张类别图，再全局平均：梯度在每处都是 1/HW。"""
    plan = load("7.4").plan
    torch.manual_seed(0)
    net, X = plan.make(**plan.widths).eval(), torch.rand(1, 1, plan.size, plan.size)
    seen = []
    hook = net[-2].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        label = int(net(X)[0].argmax())
    hook.remove()
    maps = seen[0][0, label].clamp(min=0) / seen[0][0, 0].numel()
    wanted = F.interpolate(maps[None, None], X.shape[2:], mode="bilinear")[0, 0]
    assert torch.allclose(grad_cam(net, X), wanted, atol=1e-6)


def test_the_layer_asked_for_is_looked_at():
    net, X = pooled(nn.Linear(6, 4)).eval(), torch.rand(1, 1, 9, 7)
    maps = net[0](X)
    [gradient] = torch.autograd.grad(net[1:](maps)[0, 2], maps)
    heat = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0)
    wanted = F.interpolate(heat, X.shape[2:], mode="bilinear")[0, 0]
    assert torch.allclose(grad_cam(net, X, 2, layer="0"), wanted, atol=1e-6)
    assert not torch.allclose(grad_cam(net, X, 2), wanted, atol=1e-6)


def test_the_default_label_is_the_answer():
    net, X = pooled(nn.Linear(6, 4)), torch.rand(1, 1, 8, 8)
    label = int(net(X).argmax())
    assert torch.equal(grad_cam(net, X), grad_cam(net, X, label))
    assert torch.equal(occlusion(net, X), occlusion(net, X, label))


def test_occlusion_is_what_covering_each_place_does():
    torch.manual_seed(0)
    net, X = lenet(), torch.rand(1, 1, 28, 28)
    total, count = torch.zeros(28, 28), torch.zeros(28, 28)
    with torch.no_grad():
        before = net(X).softmax(1)[0, 3]
        for row in [*range(0, 21, 5), 21]:
            for column in [*range(0, 21, 5), 21]:
                covered = X.clone()
                covered[..., row:row + 7, column:column + 7] = 0
                total[row:row + 7, column:column + 7] += before - net(covered).softmax(1)[0, 3]
                count[row:row + 7, column:column + 7] += 1
    assert torch.allclose(occlusion(net, X, 3, window=7, stride=5), total / count, atol=1e-6)


def test_every_pixel_is_covered_at_any_size():
    net = pooled(nn.Linear(6, 4))
    for size, window, stride in (((9, 7), 3, 2), ((5, 11), 4, 3), ((3, 3), 3, 1), ((1, 6), 1, 1)):
        heat = occlusion(net, torch.rand(1, 1, *size), window=window, stride=stride)
        assert heat.shape == size and heat.isfinite().all()


@pytest.mark.parametrize("section", SIZES)
def test_all_seven_and_nothing_is_changed(section):
    plan = load(section).plan
    net, X = plan.make(**plan.widths).train(), torch.rand(1, 1, plan.size, plan.size)
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    heat = grad_cam(net, X)
    assert heat.shape == X.shape[2:] and heat.isfinite().all() and (heat >= 0).all()
    assert net.training and all(torch.equal(net.state_dict()[name], value) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random) and all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


def test_bad_questions_are_refused():
    net = pooled(nn.Linear(6, 4))
    for bad in (torch.rand(2, 1, 8, 8), torch.rand(1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8), None):
        with pytest.raises(ValueError, match="一张图像"):
            grad_cam(net, bad)
    with pytest.raises(ValueError, match="没有高和宽"):
        grad_cam(net, torch.rand(1, 1, 8, 8), layer="6")
    with pytest.raises(ValueError, match="没有一层有高和宽"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="label"):
        occlusion(net, torch.rand(1, 1, 8, 8), label=4)
    with pytest.raises(ValueError, match="window"):
        occlusion(net, torch.rand(1, 1, 8, 8), window=9)


def test_several_images_are_looked_at_one_by_one():
    net, X = lenet().eval(), torch.rand(2, 1, 28, 28)
    found = where_it_looks(net, X, stride=7)
    for i in range(2):
        assert torch.equal(found["Grad-CAM"][i], grad_cam(net, X[i:i + 1]))
        assert torch.equal(found["遮挡"][i], occlusion(net, X[i:i + 1], stride=7))
