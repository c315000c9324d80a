"""device.py：坏了的 CUDA，硬件擅长的精度，字节数的写法。"""

import platform

import psutil
import pytest
import torch

from helpers import fast_dtype, pick_device
from helpers.machine.device import describe_machine, megabytes, memory_limit, processor, usable_device


@pytest.fixture(autouse=True)
def forgotten():
    """这台机器探测过的，前后都不记得。"""
    pick_device.cache_clear()
    yield
    pick_device.cache_clear()


@pytest.mark.parametrize("text, reason", [("no kernel image is available\nmore", "no kernel image is available"),
                                          ("", "RuntimeError")])
def test_broken_cuda_falls_back_with_one_line(monkeypatch, text, reason):
    def broken(*args, **options):
        raise RuntimeError(text)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", broken)
    with pytest.warns(UserWarning, match=f"{reason}.*改用 CPU") as said:
        assert pick_device().type == "cpu" == pick_device().type
    assert len(said) == 1 and "more" not in str(said[0].message)


def test_a_cuda_that_counts_wrong_is_not_used(monkeypatch):
    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape) * 2)
    with pytest.warns(UserWarning, match="改用 CPU"):
        assert pick_device().type == "cpu"


@pytest.mark.parametrize("capabilities, dtype", [
    ({}, torch.float32), ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, torch.float32),
    ({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.bfloat16)])
def test_the_dtype_follows_the_processor(capabilities, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert fast_dtype(torch.device("cpu")) == dtype


@pytest.mark.parametrize("capability, dtype", [
    ((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((12, 0), torch.bfloat16)])
def test_the_dtype_follows_the_gpu(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast_dtype(torch.device("cuda")) == dtype and fast_dtype(torch.device("meta")) == torch.float32


def test_a_device_may_be_named_in_words():
    assert fast_dtype("cpu") == fast_dtype(torch.device("cpu")) and fast_dtype() == fast_dtype(None)
    assert fast_dtype(None) == fast_dtype(pick_device())


@pytest.mark.parametrize("device", ["text", 3.5, [], torch.rand(3), b"x", 10**400, "cuda:99", torch.device("cuda", 99)])
def test_other_devices_are_refused_in_words(device):
    with pytest.raises(ValueError, match="这台机器上不能用设备"):
        fast_dtype(device)


def test_the_limit_is_what_is_free():
    assert memory_limit(torch.device("cpu")) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize("size, text", [
    (0, "0.0 MB"), (1_250_000, "1.2 MB"), (999.9e6, "999.9 MB"), (1e9, "1.0 GB"), (1234.5e9, "1,234.5 GB")])
def test_bytes_are_written_in_powers_of_ten(size, text):
    assert megabytes(size) == text


def test_a_cuda_that_counts_right_is_used(monkeypatch):
    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))  # 显卡上的八行八列
    assert pick_device() == torch.device("cuda") == pick_device()


def test_the_processor_is_named_as_linux_names_it(monkeypatch):
    monkeypatch.setattr("helpers.machine.device.Path.read_text", lambda *_, **__: (
        "processor\t: 0\nvendor_id\t: x\nmodel name\t: Some CPU: 4 cores\nmodel name\t: other\n"))
    assert processor() == "Some CPU: 4 cores"


def test_the_machine_is_named(monkeypatch):
    monkeypatch.setattr("helpers.machine.device.pick_device", lambda: torch.device("cpu"))
    assert processor() in describe_machine() and f"{torch.get_num_threads()} 个线程" in describe_machine()

    def gone(*arguments, **options):
        raise FileNotFoundError
    monkeypatch.setattr("helpers.machine.device.Path.read_text", gone)
    assert processor() == (platform.processor() or platform.machine())


@pytest.mark.parametrize("odd", ["cudax", "mps:99", 3.5, [], pytest.param("cuda", marks=pytest.mark.skipif(
    torch.cuda.is_available(), reason="有 CUDA 显卡"))])
def test_a_device_that_cannot_be_used_is_refused_in_words(odd):
    with pytest.raises(ValueError, match=r"不能用设备 .*'cpu'"):
        usable_device(odd)


def test_a_device_that_can_be_used():
    assert usable_device() == pick_device()
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")


def test_the_limit_of_a_gpu_is_what_is_free(monkeypatch):
    """4 GB 的卡，别的程序占 1 GB；PyTorch 用着 0.5 GB，另外留着 0.3 GB。"""
    for name, value in {"mem_get_info": (2_200, 4_000), "memory_allocated": 500, "memory_reserved": 800}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert memory_limit(torch.device("cuda")) == 4_000 - 1_000 - 500
