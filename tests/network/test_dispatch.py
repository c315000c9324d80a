"""捷径得出的与 PyTorch 自己在 meta 上推导的相同：形状、在内存里怎样排、精度，或者同样拒绝。"""

from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.network.dispatch import Convolution, Watcher, aten, storage_id, tensors, window

DTYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int64)
ACTIVATIONS = (torch.relu, torch.sigmoid, torch.tanh, F.gelu, F.leaky_relu, F.hardtanh, F.relu6, F.hardswish,
               F.hardsigmoid, lambda X: F.gelu(X, approximate="tanh"))


def meta(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype, device="meta")


def outcome(run):
    """结果的形状、步长和精度；拒绝了就是 None。"""
    try:
        return [(tuple(tensor.shape), tensor.stride(), tensor.dtype) for tensor in tensors(run())]
    except (RuntimeError, IndexError, TypeError, ValueError):
        return None


def same(run):
    """看着与不看着，结果一样。"""
    expected = outcome(run)
    with Watcher():
        assert outcome(run) == expected
    return expected is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_and_means(dtype):
    X = meta(2, 3, 4, 5, dtype=dtype)
    ran = [same(lambda f=f: f(X)) for f in ACTIVATIONS]
    ran += [same(lambda dims=dims, options=options: X.mean(dims, **options)) for dims, options in product(
        (None, 1, -1, (2, 3), (-1, 0), (), (1, 1), (3, -1), -5, 4),
        ({}, {"keepdim": True}, {"dtype": torch.float64}, {"dtype": torch.int32}))]
    assert sum(ran) > 10


LAYOUTS = {
    "turned": lambda X: X.permute(0, 2, 3, 1), "channels_last": lambda X: X.to(memory_format=torch.channels_last),
    "every_other": lambda X: X[:, :, ::2], "expanded": lambda X: X[:, :1].expand(X.shape), "one": lambda X: X[:1, :1],
    "empty": lambda X: X[:, :0]}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_layouts(layout):
    """输出在内存里怎样排，也与 PyTorch 的一样：后面的 view 走不走得通，要看它。"""
    X = layout(meta(2, 4, 6, 8))
    ran = [same(run) for run in (
        *(lambda f=f: f(X) for f in ACTIVATIONS), *(lambda dims=dims, keep=keep: X.mean(dims, keepdim=keep)
                                                    for dims, keep in product((1, 2, (2, 3)), (False, True))),
        *(lambda Y=Y: X + Y for Y in (X, 2, meta(*X.shape), meta(), meta(X.shape[-1]), meta(X.shape[1], 1, 1))),
        *(lambda Y=Y: Y * X for Y in (X, meta(*X.shape), meta(X.shape[-1]), meta(2, 1, 1, 1, 1))),
        *(lambda dim=dim: torch.cat([X, meta(*X.shape), X], dim) for dim in range(4)),
        lambda: torch.cat([X, X], 1), lambda: F.max_pool2d(X, 2),
        lambda: F.avg_pool2d(X, 2), lambda: F.dropout(X), lambda: F.linear(X[0, 0], meta(3, X.shape[-1]), meta(3)))]
    assert sum(ran) > 20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 3), (2,), 7])
def test_pools(kernel, dtype):
    inputs = [meta(*shape, dtype=dtype) for shape in ((2, 3, 6, 7), (3, 6, 7), (0, 3, 6, 7), (2, 0, 6, 7), (6, 7))]
    ran = []
    for stride, padding, ceil, X in product((None, 1, 2, (3, 2)), (0, 1, (0, 1), 3), (False, True), inputs):
        how = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
        ran += [same(partial(F.max_pool2d, X, dilation=dilation, return_indices=True, **how))
                for dilation in (1, 2, (1, 3), 0)]
        ran += [same(partial(F.avg_pool2d, X, **how, **options))
                for options in ({}, {"count_include_pad": False}, {"divisor_override": 3})]
    assert 50 < sum(ran) < len(ran)


@pytest.mark.parametrize("left, right", list(product(DTYPES, DTYPES)))
def test_sums_products_and_joins(left, right):
    X = meta(2, 3, 4, dtype=left)
    others = [2, 2.5, True, *(meta(*shape, dtype=right) for shape in ((2, 3, 4), (4,), (3, 1), (), (5,), (2, 2, 4)))]
    ran = [same(run) for Y in others for run in (
        lambda Y=Y: X + Y, lambda Y=Y: X * Y, lambda Y=Y: torch.add(X, Y, alpha=2),
        lambda Y=Y: torch.mul(X, Y, out=meta(2, 3, 4, dtype=torch.float64)), lambda Y=Y: X.clone().div_(Y),
        *(lambda Y=Y, dim=dim: torch.cat([X, Y, X], dim) for dim in (-4, -3, -2, 0, 1, 2, 3)))]
    assert 20 < sum(ran) < len(ran)


@pytest.mark.parametrize("shape", [(0, 4, 6, 6), (2, 0, 6, 6), (2, 4, 0, 6), (2, 4, 6, 0)])
def test_empty_images_end_as_they_really_do(shape):
    """空的张量在 meta 上与真的算起来一样：形状，或者同样拒绝。"""
    def run(make):
        X, weight, norms = make(shape), make((3, shape[1], 3, 3)), [make(shape[1:2]) for _ in range(4)]
        return [outcome(each) for each in (
            *(lambda f=f: f(X) for f in ACTIVATIONS),
            *(lambda dims=dims: X.mean(dims) for dims in (1, (2, 3), (0, -1))),
            *(lambda others=others: torch.cat([X, *others], 1) for others in ([X], [make((2, 4, 6, 6))])),
            lambda: X + X, lambda: X * make((6,)), lambda: X + make(()), lambda: F.dropout(X),
            lambda: F.conv2d(X, weight), lambda: F.conv2d(X, weight[:0]), lambda: F.conv2d(X, weight, padding=3),
            lambda: F.max_pool2d(X, 2), lambda: F.avg_pool2d(X, 2), lambda: F.avg_pool2d(X, 2, padding=1),
            lambda: F.batch_norm(X, *norms), lambda: F.batch_norm(X, *norms, training=True),
            lambda: F.linear(X.flatten(1), make((3, X[:1].numel())), make((3,))))]
    really = run(torch.zeros)
    with Watcher():
        assert run(lambda shape: meta(*shape)) == really


def test_cat_skips_empty_vectors_as_pytorch_does():
    assert same(lambda: torch.cat([meta(0), meta(2, 3)], 1))


@pytest.mark.parametrize("parts, dim", [((), 0), ((meta(), meta()), 0), ((meta(2, 3), meta(2, 3)), 2),
                                        ((meta(2, 3), meta(3, 3)), 1)], ids=["nothing", "scalars", "dim", "shapes"])
def test_cat_is_refused_in_the_words_of_pytorch(parts, dim):
    with pytest.raises((RuntimeError, IndexError, ValueError)) as expected:
        torch.cat(parts, dim)
    with pytest.raises(expected.type) as caught, Watcher():
        torch.cat(parts, dim)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("features, width", list(product((4, 5), (3, 6))))
def test_linear(features, width):
    for X in (meta(4), meta(2, 2, 4)):
        assert same(partial(F.linear, X, meta(3, 4), meta(width))) == (width == 3)
    assert same(lambda: torch.addmm(meta(2, 3), meta(2, 4), meta(4, 3)))
    assert same(lambda: F.linear(meta(2, features), meta(3, 4), meta(width))) == ((features, width) == (4, 3))


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_batch_norm_and_dropout(dtype):
    X, norm = meta(4, 3, 5, 5, dtype=dtype), nn.BatchNorm2d(3, device="meta", dtype=dtype)
    wrong = nn.BatchNorm2d(2, device="meta", dtype=dtype)
    assert same(lambda: norm(X)) and same(lambda: norm.eval()(X)) and not same(lambda: wrong(X))
    for each in (X, meta(4, 3, dtype=dtype)):  # 连同存下的统计量
        assert same(lambda: torch.native_batch_norm(each, None, None, None, None, True, 0.1, 1e-5))  # noqa: B023
    assert same(lambda: F.dropout(X)) and same(lambda: X.clone().bernoulli_(0.5))


def test_batch_norm_of_integers():
    X = meta(4, 3, 5, 5, dtype=torch.int64)
    for training in (True, False):
        same(lambda: F.batch_norm(X, meta(3), meta(3), training=training))  # noqa: B023


@pytest.mark.parametrize("kernel, stride, padding, dilation", list(product((1, 2, 3), (1, 2), (0, 1), (1, 2))))
def test_convolutions(kernel, stride, padding, dilation):
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    for side, groups in product((5, 6, 9), (1, 2)):
        weight, bias = meta(6, 4 // groups, kernel, kernel), meta(6)
        assert same(lambda: F.conv2d(meta(2, 4, side, side + 1), weight, bias, groups=groups, **how))  # noqa: B023
        assert same(lambda: F.conv1d(meta(2, 4, side), weight[:, :, 0], None, groups=groups, **how))  # noqa: B023
        assert not same(lambda: F.conv2d(meta(2, 5, side, side), weight, bias, groups=groups, **how))  # noqa: B023
    assert same(lambda: F.conv_transpose2d(meta(2, 6, 5, 5), weight, **how))
    assert same(lambda: F.conv2d(meta(4, 9, 9), meta(6, 4, kernel, kernel), **how))


@pytest.mark.parametrize("channels, size", list(product((1, 4), (1, 3))))
def test_channels_last_is_kept_as_it_really_is(channels, size):
    """PyTorch 在 meta 上自己推导的不对，这里与真的算起来比。"""
    lay = [lambda X: X, lambda X: X.to(memory_format=torch.channels_last), lambda X: X.mT,
           lambda X: X.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)]
    for image, kernel in product(lay, lay):
        X, weight = image(torch.zeros(2, channels, 5, 5)), kernel(torch.zeros(channels, channels, size, size))
        for run in (F.conv2d, F.conv_transpose2d, lambda X, _: F.batch_norm(X, *X.new_ones(2, channels))):
            with Watcher():
                assert run(X.to("meta"), weight.to("meta")).stride() == run(X, weight).stride()


@pytest.mark.parametrize("multiply", [
    lambda X, W: X @ W, lambda X, W: F.linear(X, W), lambda X, W: F.linear(X, W, W[0]),
    lambda X, W: F.linear(X, X, W[0]), lambda X, W: torch.bmm(X[None], W[None]),
    lambda X, W: torch.baddbmm(X[None], W[None], W[None]),
    lambda X, W: F.conv_transpose2d(X[None, None], W[None, None])])
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_products_of_two_dtypes_that_meta_lets_pass_are_refused(multiply, dtype):
    with pytest.raises(RuntimeError):
        multiply(torch.ones(3, 3), torch.ones(3, 3, dtype=dtype))
    with Watcher():
        assert outcome(lambda: multiply(meta(3, 3), meta(3, 3, dtype=dtype))) is None
        assert outcome(lambda: multiply(meta(3, 3), meta(3, 3)))


@pytest.mark.parametrize("run", [
    lambda make: F.conv2d(make(1, 2, 9, 9), make(3, 2, 3, 3), make(2)),
    lambda make: F.conv_transpose2d(make(1, 2, 9, 9), make(2, 3, 3, 3), make(2)),
    lambda make: F.conv_transpose2d(make(1, 2, 9, 9), make(2, 3, 3, 3), output_padding=1),
    lambda make: F.conv_transpose2d(make(1, 2, 9, 9), make(2, 3, 3, 3), stride=2, output_padding=(1, 2)),
    *(lambda make, how=how: F.conv2d(make(1, 2, 9, 9), make(3, 2, 3, 3), **how) for how in (
        {"padding": -1}, {"padding": (1, -1)}, {"stride": -1}, {"stride": 0}, {"dilation": 0}, {"dilation": -1}))])
def test_windows_and_biases_that_meta_lets_pass_are_refused(run):
    with pytest.raises(RuntimeError):
        run(torch.zeros)
    with Watcher():
        assert outcome(lambda: run(meta)) is None


def test_convolutions_that_meta_lets_pass_are_refused():
    X, kernel = meta(1, 6, 4, 4), meta(8, 4, 3, 3)
    with Watcher():
        assert outcome(lambda: F.conv_transpose2d(X, kernel)) is None
        assert outcome(lambda: F.conv2d(X, meta(8, 6, 5, 5))) is None
        grown, = outcome(lambda: F.conv_transpose2d(meta(1, 8, 4, 4), kernel))
        assert grown[0] == (1, 4, 6, 6)


class Recorder(Watcher):
    """记下每个运算。"""

    def __init__(self):
        super().__init__()
        self.seen, self.draws = [], 0

    def watch(self, op, args, kwargs, out):
        self.seen.append((op, args, kwargs, out))

    def before_random(self):
        self.draws += 1


def test_a_watcher_sees_every_operation_with_real_values():
    with Recorder() as recorder:
        Y = F.dropout(torch.tensor([-1.0, 2.0]).relu(), 0.5).mean(dtype=torch.float64)
    ops = [op for op, *_ in recorder.seen]
    assert recorder.draws == 1 and aten.relu in ops and ops[-1] is aten.mean
    assert recorder.seen[ops.index(aten.relu)][3].tolist() == [0, 2]  # 真的算过
    assert recorder.seen[-1][2] == {"dtype": torch.float64} and recorder.seen[-1][3] is Y
    assert recorder.running is None


def test_a_watcher_stops_at_the_operation_that_fails():
    X, weight = meta(2, 3), meta(4, 5)
    with pytest.raises(RuntimeError), Recorder() as recorder:
        X.relu() @ weight
    assert recorder.running[0] is aten.mm and recorder.running[1][1] is weight
    assert [op for op, *_ in recorder.seen] == [aten.relu]


@pytest.mark.parametrize("module, kernel, stride, padding, dilation", [
    (nn.Conv2d(1, 1, (3, 5), stride=(2, 1), padding=(1, 0), dilation=2), (3, 5), (2, 1), (1, 0), (2, 2)),
    (nn.MaxPool2d(3), (3, 3), (3, 3), (0, 0), (1, 1)),
    (nn.MaxPool2d((2, 3), 1, 1, dilation=(1, 2)), (2, 3), (1, 1), (1, 1), (1, 2)),
    (nn.AvgPool2d(3, ceil_mode=True), (3, 3), (3, 3), (0, 0), (1, 1)),
    (nn.AvgPool2d((2, 4), (1, 2), (0, 1), ceil_mode=True), (2, 4), (1, 2), (0, 1), (1, 1))])
def test_windows(module, kernel, stride, padding, dilation):
    with Recorder() as recorder:
        module(torch.zeros(1, 1, 12, 12))
    found = window(*recorder.seen[-1][:2])
    assert [tuple(part) for part in found] == [kernel, stride, padding, dilation]


def test_convolution_names_its_arguments():
    net = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
    with Recorder() as recorder:
        net(torch.zeros(1, 4, 5, 5))
    call = Convolution(*recorder.seen[-1][1])
    assert call.transposed and call.groups == 2 and call.X.shape == (1, 4, 5, 5) and call.weight.shape == (4, 3, 3, 3)


def test_tensors_are_found_in_order_wherever_they_are():
    a, b, c = (torch.tensor(float(i)) for i in range(3))
    assert [tensor.item() for tensor in tensors([a, {"x": (b, None), "y": [1, c]}])] == [0, 1, 2]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_views_share_a_storage_and_copies_do_not(device):
    X = torch.zeros(4, 4, device=device)
    assert storage_id(X) == storage_id(X[1:].T) != storage_id(X.clone())
