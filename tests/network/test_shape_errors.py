"""走不通时：停在哪一层，是什么毛病，怎么改，多大走得通；最后才写成一句话。"""

import pickle

import pytest
import torch
from support.nets import Call, Residual, lenet
from support.networks import Op
from torch import nn

from helpers import Layer, trace
from helpers.network.layer import WHOLE, Field
from helpers.network.shape_errors import Fault, Place, ShapeError


def failure(net, shape, depth=1):
    with pytest.raises(ShapeError) as caught:
        trace(net, shape, depth)
    return caught.value


@pytest.mark.parametrize("size, direction, word", [(20, "small", "加大"), (40, "large", "减小")])
def test_a_wrong_size_names_the_layers_the_shapes_and_the_change(size, direction, word):
    error = failure(lenet(), (1, 1, size, size))
    side = (size // 2 - 4) // 2
    features = 16 * side**2
    assert error.shape == (1, 1, size, size) and error.sizes == (28, 31)
    assert error.fault == Fault("features", features, 400, direction)
    assert error.place == Place("7", "Linear", (1, features))
    assert error.last == Layer("6", "Flatten", (1, 16, side, side), (1, features), 0, 0, Field(WHOLE, WHOLE))
    assert type(error.__cause__) is RuntimeError
    assert str(error) == (
        f"输入 (1, 1, {size}, {size}) 走不通：第 7 层 Linear 收到 (1, {features})，它要最后一维是 400。"
        f"请{word}输入的高和宽，或者把 in_features 改成 {features}。"
        f"最后走通的是第 6 层 Flatten：(1, 16, {side}, {side}) → (1, {features})。"
        "高和宽相等时，这个网络走得通的边长是 28 到 31。")


def test_the_layers_before_the_mistake_are_told():
    net = lenet()
    assert list(failure(net, (1, 1, 20, 20)).layers) == list(trace(net[:7], (1, 1, 20, 20)))
    assert failure(nn.Sequential(nn.Conv2d(2, 3, 1)), (1, 1, 8, 8)).layers == ()


CONV = nn.Conv2d(1, 6, 3)


@pytest.mark.parametrize("layers, fault, remedy", [
    ([CONV, nn.Conv2d(4, 8, 3)], Fault("channels", 6, 4), "in_channels 改成 6"),
    ([CONV, nn.Conv2d(8, 8, 3, groups=2)], Fault("channels", 6, 8), "in_channels 改成 6"),
    ([CONV, nn.ConvTranspose2d(8, 4, 3, groups=2)], Fault("channels", 6, 8), "in_channels 改成 6"),
    ([CONV, nn.BatchNorm2d(4)], Fault("norm", 6, 4), "num_features 改成 6"),
    ([CONV, nn.InstanceNorm2d(4, affine=True)], Fault("norm", 6, 4), "num_features 改成 6"),
    ([CONV, nn.Linear(216, 10)], Fault("flatten", 6, 216), "nn.Flatten()"),
    ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)], Fault("features", 1, 8, "small"), "in_features 改成 1"),
    ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8)], Fault("features", 1, 8, "small"), "in_features 改成 1"),
    ([CONV, Residual(nn.Conv2d(6, 8, 1))], Fault("shapes", ((1, 8, 6, 6), (1, 6, 6, 6))), "高和宽一致"),
    ([nn.MaxPool2d(2), nn.Conv2d(1, 6, 5)], Fault("window", (1, 1, 4, 4), (5, 5), "small"), "减小窗口"),
    ([nn.MaxPool2d(2), nn.Conv2d(1, 6, 3, dilation=2)], Fault("window", (1, 1, 4, 4), (3, 3), "small"), "减小窗口"),
    ([nn.MaxPool2d(2), nn.Conv2d(1, 6, 7, padding=1)], Fault("window", (1, 1, 4, 4), (7, 7), "small"), "减小窗口"),
    ([nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(5))], Fault("window", (1, 6, 4, 4), (5, 5), "small"), "减小窗口"),
    ([nn.Flatten(), nn.BatchNorm1d(9)], Fault("norm", 64, 9), "num_features 改成 64"),
    ([nn.Conv2d(1, 0, 5)], Fault("empty", 1, 1), "宽度"),
    ([nn.Conv2d(1, 4, 3), Op("X.view(-1, 400)")], Fault("view", 144, 400, "small"), "把 400 改成 144"),
    ([nn.Conv2d(1, 4, 3), Op("X.reshape(X.shape[0], 100)")], Fault("view", 144, 100, "large"), "nn.Flatten()"),
    ([nn.Conv2d(1, 4, 3), Op("X.view(1, 4, 25)")], Fault("reshape", 144, (1, 4, 25), "large"), "积等于 144"),
    *(([nn.Flatten(), layer], Fault("dims", 2, 4), "展平之前") for layer in (
        nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(2), nn.BatchNorm2d(64))),
    *(([Op("X.double()"), layer], Fault("dtypes", "float64", "float32"), "X.to(torch.float32)") for layer in (
        nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.ConvTranspose2d(1, 2, 3),
        Op("X @ X.new_ones(8, 8).float()"))),
    ([nn.ReflectionPad2d(8)], Fault("window", (1, 1, 8, 8), (8, 8, 8, 8), "small"), "减小窗口"),
])
def test_each_kind_of_mistake_gets_its_own_remedy(layers, fault, remedy):
    error = failure(nn.Sequential(*layers), (1, 1, 8, 8))
    assert error.fault == fault and error.place.name == str(len(layers) - 1)
    assert remedy in fault.remedy and fault.remedy in str(error) and fault.symptom in str(error)


@pytest.mark.parametrize("layers, says", [
    ([nn.Identity(), nn.Conv1d(1, 6, 3)], "Expected 2D"),
    ([nn.Identity(), Call(lambda _, X: X.nothing)], "AttributeError"),
    ([nn.Flatten(0), nn.BatchNorm1d(64)], "ValueError"),
])
def test_any_other_mistake_is_told_as_pytorch_tells_it(layers, says):
    error = failure(nn.Sequential(*layers), (1, 1, 8, 8))
    assert error.fault.kind == "other" and says in error.fault.have and error.fault.have in str(error)
    assert error.place.name == "1" and error.sizes is None


def test_an_image_without_a_batch_is_no_mistake_by_itself():
    assert failure(nn.Sequential(nn.Conv2d(2, 6, 3)), (1, 8, 8)).fault == Fault("channels", 1, 2)


def test_a_view_of_two_images_is_counted_for_each():
    error = failure(nn.Sequential(nn.Conv2d(1, 4, 3), Op("X.view(-1, 250)")), (2, 1, 8, 8))
    assert error.fault == Fault("view", 144, 250, "small")


def test_a_mistake_before_the_first_layer_has_no_place():
    error = failure(Call(lambda net, X: net.linear(X.nothing), linear=nn.Linear(2, 2)), (1, 1, 8, 8))
    assert (error.place, error.last, error.sizes) == (None, None, None) and error.fault.kind == "other"


def test_no_size_is_named_when_none_fits():
    error = failure(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)), (1, 1, 8, 8))
    assert error.fault.direction == "small" and error.sizes is None


def test_the_layer_is_named_as_deep_as_asked():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(5)))
    assert failure(net, (1, 1, 8, 8), depth=2).place == Place("0.1", "MaxPool2d", (1, 6, 4, 4))


def test_an_error_survives_pickling():
    error = failure(lenet(), (1, 1, 20, 20))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.fault == error.fault and again.sizes == error.sizes


def test_a_lazy_network_is_told_to_run_once():
    net = nn.Sequential(nn.LazyConv2d(6, 3), nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(ValueError, match="运行一次"):
        trace(net, (1, 1, 8, 8))
    net(torch.zeros(1, 1, 8, 8))
    assert trace(net, (1, 1, 8, 8))[0].params == 60


@pytest.mark.parametrize("shapes, sized", [
    ([(2, 8, 4, 4), (2, 16, 4, 4)], False), ([(2, 8, 4, 4), (2, 8, 3, 4)], True), ([(2, 8, 4, 4), (2, 8, 4, 3)], True),
    ([(2, 8, 4, 4), (2, 16, 4, 4), (2, 8, 2, 2)], True)])
def test_shapes_that_differ_in_height_or_width_may_be_cured_by_another_size(shapes, sized):
    assert Fault("shapes", shapes).sized is sized
