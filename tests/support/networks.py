"""随机抽的网络（hypothesis）：一层一层抽，每一层都走得通。"""

import random

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from support.nets import Concat, Residual
from support.probe import run


class Op(nn.Module):
    """forward 是一个式子，例如 Op("X.flip(3)")；shift 是它自己的一个参数。"""

    def __init__(self, text, shift=None):
        super().__init__()
        self.text, self.code = text, compile(text, text, "eval")
        if shift is not None:
            self.shift = nn.Parameter(torch.rand(shift))

    def forward(self, X):
        return eval(self.code, {"torch": torch, "F": F, "X": X, "self": self})

    def extra_repr(self):
        return self.text


class LastChannels(nn.Module):
    """通道换到最后一维，里面算完再换回来。"""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, X):
        return self.body(X.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """每个通道乘以由全图算出的 0–1。"""

    def __init__(self, channels):
        super().__init__()
        self.pool, self.mix = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)

    def forward(self, X):
        return X * self.mix(self.pool(X)).sigmoid()


class Attention(nn.Module):
    """格子两两相看的自注意力。"""

    def __init__(self, channels):
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)

    def forward(self, X):
        tokens = X.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(X.shape)


def side_or_sides(draw, low, high):
    """一个数，或者高和宽各一个。"""
    height = draw(st.integers(low, high))
    return height if draw(st.booleans()) else (height, draw(st.integers(low, high)))


def one_of(draw, makers):
    """抽一个，只做这一个。"""
    return makers[draw(st.integers(0, len(makers) - 1))]()


def ops(*texts):
    """没有参数的式子。"""
    return [lambda text=text: Op(text) for text in texts]


def convolution(draw, shape):
    """一个卷积层。"""
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if shape[0] % g == 0]))
    return nn.Conv2d(shape[0], groups * draw(st.integers(1, 2)), side_or_sides(draw, 1, 4),
                     stride=side_or_sides(draw, 1, 3), padding=side_or_sides(draw, 0, 2),
                     dilation=side_or_sides(draw, 1, 2), groups=groups,
                     padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])))


def pool(draw, shape):
    """一个汇聚层。"""
    kernel = side_or_sides(draw, 1, 3)
    smallest = min(kernel) if isinstance(kernel, tuple) else kernel
    window = {"kernel_size": kernel, "stride": side_or_sides(draw, 1, 3),
              "padding": draw(st.integers(0, smallest // 2)), "ceil_mode": draw(st.booleans())}
    return one_of(draw, [lambda: nn.AvgPool2d(**window), lambda: nn.MaxPool2d(**window),
                         lambda: nn.MaxPool2d(dilation=2, **window)])


def pointwise(draw, shape):
    """逐格的层。"""
    channels, height, width = shape
    halves = ops("X.chunk(2, 1)[1]", "torch.add(*X.split(X.shape[1] // 2, 1))", "X[:, ::2]",
                 "X.view(X.shape[0], 2, -1, *X.shape[2:]).transpose(1, 2).reshape(X.shape)")
    return one_of(draw, [
        nn.ReLU, lambda: nn.ReLU(inplace=True), nn.Sigmoid, nn.GELU, nn.Hardswish, nn.PReLU, nn.SiLU, nn.Dropout,
        nn.Softmax2d, lambda: nn.LocalResponseNorm(3), lambda: nn.BatchNorm2d(channels),
        lambda: nn.InstanceNorm2d(channels, track_running_stats=True),
        lambda: LastChannels(nn.LayerNorm(channels)), lambda: LastChannels(nn.Linear(channels, 2)),
        lambda: Op("X + self.shift", (1, channels, height, width)),
        lambda: Op("X + self.shift[:, 0]", (channels, 2, 1, 1)),
        lambda: Op("torch.einsum('bchw,dc->bdhw', X, self.shift)", (2, channels)),
        lambda: Op("F.linear(X.flatten(2).mT, self.shift).mT.unflatten(2, X.shape[2:])", (2, channels)),
        *ops("X / X.norm(dim=1, keepdim=True)", "X.transpose(0, 1).contiguous().transpose(0, 1)",
             "X.amax(1, keepdim=True)", "torch.where(X > 0, X, 0.1 * X)", "X.unsqueeze(1).squeeze(1)",
             "torch.stack([X, X], 2).flatten(1, 2)", "torch.zeros_like(X).copy_(X)",
             "X.relu().copy_(torch.ones_like(X)) + X", "torch.ones_like(X).fill_(X.mean()) * X",
             "X.repeat(1, 2, 1, 1)", "F.pad(X, (0, 0, 0, 0, 0, 2))"),
        *([*halves, lambda: nn.ChannelShuffle(2)] if channels % 2 == 0 else [])])


def move(draw, shape):
    """切片、填充：格子还在，位置变了。"""
    axis, start, step = draw(st.sampled_from([2, 3])), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    cut = f"{start}:{draw(st.sampled_from(['', '-1', '-2']))}:{step}"
    pads = [draw(st.integers(-1, 2)) for _ in range(4)]
    return one_of(draw, [
        *ops(f"X[:, :, {cut}]" if axis == 2 else f"X[..., {cut}]", f"X.select({axis}, {start}).unsqueeze({axis})",
             "X.mT", "X[..., 1:] - X[..., :-1]", "X[:, :, 2:] + X[:, :, :-2]"),
        lambda: nn.ZeroPad2d(pads), lambda: nn.ReflectionPad2d([max(0, min(1, pad)) for pad in pads]),
        lambda: nn.ReplicationPad2d([max(0, pad) for pad in pads]), lambda: nn.PixelUnshuffle(2)])


def spoiler(draw, shape):
    """之后哪一格看得到哪里就说不清的。"""
    axis, scale = draw(st.sampled_from([2, 3])), draw(st.sampled_from([0.5, 1.0, 1.3, 1.5, 2.0]))
    return one_of(draw, [
        *ops(f"X.flip({axis})", f"X.roll(1, {axis})", "X.roll(1)", f"X.cumsum({axis})", f"X.sort({axis})[0]",
             f"X.repeat_interleave(2, {axis})", f"torch.cat([X, X.flip({axis})], {axis})",
             "torch.cat([X[..., -1:], X], 3)", "X.reshape(*X.shape[:2], X.shape[3], X.shape[2])",
             f"X.unfold({axis}, 1, 1).squeeze(-1)", "X.rot90(1, (2, 3))", "F.max_pool3d(X, (1, 3, 3), 1)",
             "F.pad(X, (1, 1, 1, 1), mode='circular')", "X[:, :, torch.arange(X.shape[2])]"),
        lambda: nn.CircularPad2d(1), lambda: nn.PixelShuffle(2),
        *(lambda mode=mode: nn.Upsample(scale_factor=scale, mode=mode) for mode in ("nearest", "bilinear", "bicubic")),
        lambda: nn.ConvTranspose2d(shape[0], 2, side_or_sides(draw, 1, 3), stride=side_or_sides(draw, 1, 2),
                                   padding=draw(st.integers(0, 1))),
        lambda: nn.AdaptiveAvgPool2d(side_or_sides(draw, 1, 4)),
        lambda: nn.AdaptiveMaxPool2d(side_or_sides(draw, 1, 4))])


def mixer(draw, shape):
    """每一格都看得到整个方向的。"""
    channels, height, width = shape
    return one_of(draw, [
        lambda: nn.GroupNorm(1, channels), lambda: nn.LayerNorm(shape), lambda: nn.LayerNorm(width),
        lambda: nn.InstanceNorm2d(channels), lambda: nn.BatchNorm2d(channels, track_running_stats=False),
        lambda: nn.Softmax(-1), lambda: nn.Softmax(2), lambda: Gate(channels), lambda: Attention(channels),
        lambda: nn.AdaptiveAvgPool2d(1), lambda: Op("X @ self.shift", (width, 3)),
        lambda: Op("self.shift @ X", (3, height)),
        *ops("X.log_softmax(3)", "X.mean(3, keepdim=True)", "X.amax((2, 3), keepdim=True)",
             "X - X.mean((2, 3), keepdim=True)", "X / X.std((2, 3), correction=0, keepdim=True)",
             "X.std(2, correction=0, keepdim=True)",
             "X.max(3, keepdim=True)[0]", "X[:, :, :2].mean((2, 3), keepdim=True) + X",
             "torch.cat([X.mean((2, 3), keepdim=True), X[..., :1, :1]], 1)",
             "torch.cat([X, X.mean(3, keepdim=True)], 3)",
             "torch.cat([X, X.mean((2, 3), keepdim=True).expand(X.shape)], 1)")])


def join(draw, X, depth):
    """几条路合起来。"""
    if not depth:
        return nn.ReLU()
    left = body(draw, X, depth - 1, 2, KINDS)
    right = one_of(draw, [nn.Identity, lambda: body(draw, X, depth - 1, 1, KINDS)])
    a, b = (path(X).shape for path in (left, right))
    return Concat(left, right) if a[2:] == b[2:] and (a != b or draw(st.booleans())) else Residual(left) if (
        a == X.shape) else left


LAYERS = {"conv": convolution, "pool": pool, "pointwise": pointwise, "move": move, "spoil": spoiler, "mix": mixer}
KINDS = ("conv", "conv", "pool", "pointwise", "move", "spoil", "mix", "join")


def body(draw, X, depth, count, kinds):
    """至多 count 层，X 走得过去，输出四维；走不通、太大的层不要。"""
    chosen = []
    for _ in range(draw(st.integers(1, count))):
        kind = draw(st.sampled_from(kinds))
        try:
            layer = join(draw, X, depth) if kind == "join" else LAYERS[kind](draw, tuple(X.shape[1:]))
        except ValueError:  # 例如核比通道大
            continue
        out = run(layer.eval(), X)
        if out is not None and out.numel() and out.dim() == 4 and len(out) == 1 and max(out.shape) < 40 and (
                not out.isnan().any()):
            chosen.append(layer)
            X = out
    return nn.Sequential(*chosen)


@st.composite
def networks(draw, count=4, kinds=KINDS, largest=14):
    """(网络, 输入形状)：几层，有时再展平、全连接。"""
    shape = draw(st.integers(1, 4)), draw(st.integers(4, largest)), draw(st.integers(4, largest))
    X = torch.rand(1, *shape) + 0.5
    layers = body(draw, X, 2, count, kinds)
    with torch.no_grad():  # 有的就地改视图，记着梯度就不许
        features = layers(X).numel()
    head = one_of(draw, [list, list, lambda: [nn.Flatten()], lambda: [nn.Flatten(), nn.Linear(features, 3)],
                         lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten()]])
    return nn.Sequential(*layers, *head).eval(), (1, *shape)


# forward 里会做的：什么都有人改
HABITS = [
    "self.calls = self.calls + 1", "self.log.append(X)", "self.kept['last'] = X",
    "self.nested[0].append(self.calls)", "self.scale.data.mul_(2)", "self.norm.running_mean.add_(1)",
    "self.plain.add_(1)", "self.kept['one'].mul_(3)", "self.norm.training = not self.norm.training",
    "self.norm.eval()", "self.counts[0] += 1", "self.seen.add(self.calls)",
    "self.hidden[0].weight.data.zero_()", "self.scale.requires_grad_(False)", "self.steps = self.steps + 1",
    "self.scale = nn.Parameter(self.scale.detach() + 1)", "self.norm.weight = None",
    "self.__dict__.pop('spare', None)", "self.late = nn.Linear(2, 2)",
    "self.late = nn.Linear(2, 2, device=X.device)", "self.norm = nn.BatchNorm2d(3)",
    "self.register_buffer('mask', torch.ones(2))", "self.register_forward_hook(lambda *_: None)",
    "self.register_parameter('extra', nn.Parameter(torch.ones(2)))", "self._modules.pop('norm', None)",
    "torch.rand(1)", "random.random()", "np.random.rand()", "X = X + torch.rand(1, device=X.device)",
    "X = F.dropout(X, 0.5, training=True)", "X.sum().item()", "X = X + self.plain.to(X.device).sum()",
    "X = self.norm(X)", "X = self.hidden[0](X)", "X = X * self.scale", "X = F.relu_(X.clone())",
    "X = X.view(3, -1)", "raise KeyError('坏了')"]


class Messy(nn.Module):
    """什么都要改一改的网络；habits: forward 里依次做的。"""

    def __init__(self, habits):
        super().__init__()
        self.habits = habits
        self.norm, self.scale = nn.BatchNorm2d(3), nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1))
        self.plain, self.kept, self.nested = torch.ones(2), {"one": torch.ones(2)}, ([1], 2)
        self.calls, self.log, self.counts, self.seen, self.spare = 0, [], np.zeros(2), {0}, "旧的"
        self.hidden = [nn.Conv2d(3, 3, 1)]  # 不在 named_modules 里

    def forward(self, X):
        names = {"self": self, "X": X, "torch": torch, "nn": nn, "F": F, "np": np, "random": random}
        for habit in self.habits:
            exec(habit, names)
        return names["X"]

    def extra_repr(self):
        return "; ".join(self.habits)


@st.composite
def messy_networks(draw):
    """(网络, 输入形状)：有的模块会改自己、改别人，有的参数有梯度，有的模块在 eval 模式。"""
    net = nn.Sequential(nn.Conv2d(1, 3, 1), *(
        Messy(draw(st.lists(st.sampled_from(HABITS), max_size=4))) for _ in range(draw(st.integers(1, 2)))))
    for module in net.modules():
        module.training = draw(st.booleans())
    if draw(st.booleans()):
        net[0].weight.grad = torch.ones_like(net[0].weight)
    return net, (2, 1, 4, 4)
