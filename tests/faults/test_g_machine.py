"""G23、G24：这台机器。此刻空闲多少内存，才知道放不放得下。"""

import psutil
import pytest
import torch
from support.rows import against

from helpers import budget, load
from helpers.machine import container
from helpers.machine.device import memory_limit

GB = 10**9
NEEDS_3_GB = {"size": 224, "batch_size": 128, "ratio": 4, "hidden": 256}  # 激活占大头，权重不到 20 MB


def whole_card(device):
    """整块显存：常见的写法。"""
    return torch.cuda.get_device_properties(device).total_memory


class Card:
    """一块 4 GB 的显卡：桌面和别的程序占着 elsewhere，PyTorch 用着 used，另外留着 cached。"""

    def __init__(self, monkeypatch, elsewhere, used=0, cached=0):
        self.total_memory = 4 * GB
        for name, value in {"mem_get_info": (4 * GB - elsewhere - used - cached, 4 * GB), "memory_allocated": used,
                            "memory_reserved": used + cached, "get_device_properties": self}.items():
            monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)


@pytest.fixture
def plan(monkeypatch):
    """要 1.7 到 3 GB 的计划（看精度）；放不放得下，问 limit。"""
    def ask(limit):
        monkeypatch.setattr("helpers.experiments.plan.memory_limit", limit)
        plan = budget(load("7.3").vgg11, **NEEDS_3_GB)
        assert 1 * GB < plan.forecast().total < 3.5 * GB
        return plan
    return ask


@against(memory_limit, whole_card)
def test_G23_a_gpu_that_others_are_using(subject, plan, monkeypatch):
    """3.5 GB 的显存已经给了桌面和别的程序：训练不下，分配之前就说，也说还有多少。"""
    Card(monkeypatch, elsewhere=3.5 * GB)
    with pytest.raises(ValueError, match=r"只有 500\.0 MB，放不下"):
        plan(lambda device: subject(torch.device("cuda"))).build()


def test_G23_what_torch_keeps_can_be_used_again(plan, monkeypatch):
    """上一次训练用过的 3.4 GB 还在 PyTorch 手里：不是别人的，放得下。"""
    Card(monkeypatch, elsewhere=0.1 * GB, used=0.1 * GB, cached=3.4 * GB)
    assert plan(lambda device: memory_limit(torch.device("cuda"))).build() is not None


@against(memory_limit, lambda device: psutil.virtual_memory().available)
def test_G24_a_container_with_a_limit(subject, plan, monkeypatch, tmp_path):
    """容器只给 1 GB，主机有多少都不算：超过它，内核直接杀掉进程，训练和内核都没有了。"""
    for name, text in {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{GB}\n",
                       "sys/fs/cgroup/memory.current": f"{GB // 2}\n",
                       "sys/fs/cgroup/memory.stat": f"anon {GB // 4}\ninactive_file {GB // 4}\n"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(container, "SYSTEM", tmp_path)
    with pytest.raises(ValueError, match=r"只有 750\.0 MB，放不下"):
        plan(lambda device: subject(torch.device("cpu"))).build()
