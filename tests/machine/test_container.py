"""container.py：各种容器的文件；能造一个真的，就真的造一个。"""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from support.rows import python

from helpers.machine import container
from helpers.machine.container import free_memory


def v1(limit, used, cached=0):
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used,
            "memory.stat": f"inactive_file 7\ntotal_inactive_file {cached}\ntotal_active_file 1"}


def v2(limit, used, cached=0):
    return {"memory.max": limit, "memory.current": used,
            "memory.stat": f"anon 9\ninactive_file {cached}\nactive_file 1"}


@pytest.fixture
def system(tmp_path, monkeypatch):
    """假的 /：自己的容器是哪一个，各个容器的文件。"""
    def make(own, **folders):
        for name, content in {"proc/self": {"cgroup": own}, **folders}.items():
            folder = tmp_path / name.replace("__", "/")
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in content.items():
                (folder / file).write_text(f"{text}\n", encoding="utf-8")
        monkeypatch.setattr(container, "SYSTEM", tmp_path)
        return sorted(free_memory())
    return make


def test_no_container(system):
    assert system("0::/", sys__fs__cgroup=v2("max", 100)) == []
    assert system("4:memory:/\n3:cpu:/", sys__fs__cgroup__memory=v1(2**63 - 4096, 100)) == []


def test_its_own_and_those_around_it(system):
    found = system("0::/a/b", sys__fs__cgroup=v2("max", 0), sys__fs__cgroup__a=v2(1_000, 700, 200),
                   sys__fs__cgroup__a__b=v2(500, 100), sys__fs__cgroup__c=v2(1, 0))
    assert found == [500 - 100 + 1, 1_000 - 700 + 201]


def test_the_old_kind(system):
    assert system("4:memory:/docker/x\n2:cpu:/y", sys__fs__cgroup__memory=v1(1_000, 800, 300),
                  sys__fs__cgroup__cpu=v1(1, 0), sys__fs__cgroup=v2(1, 0)) == [501]  # 容器里看不到 docker/x


def test_more_than_allowed_leaves_nothing(system):
    assert system("0::/", sys__fs__cgroup=v2(1_000, 5_000)) == [0]


@pytest.mark.parametrize("broken", [{"memory.max": "x"}, {"memory.max": "1000"},
                                    {"memory.max": "1000", "memory.current": "1"}])
def test_files_that_are_missing_or_odd_do_not_count(system, broken):
    assert system("0::/", sys__fs__cgroup=broken) == []


def test_without_cgroups(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "SYSTEM", tmp_path)
    assert free_memory() == []


REAL = """
import sys
open(sys.argv[1], "w").write("0")
import torch
from helpers.machine.device import memory_limit
before = memory_limit(torch.device("cpu"))
X = torch.ones(25_000_000)
print(before, before - memory_limit(torch.device("cpu")))
"""


@pytest.mark.slow
def test_a_real_one():
    kind, limit = ("memory", "memory.limit_in_bytes") if Path("/sys/fs/cgroup/memory").is_dir() else ("", "memory.max")
    folder = Path("/sys/fs/cgroup", kind, f"companion-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / limit).write_text("1500000000", encoding="utf-8")
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip("这里不能造容器")
    try:
        done = python(REAL, str(folder / "cgroup.procs"))
    finally:
        folder.rmdir()
    assert done.returncode == 0, done.stderr
    before, taken = map(int, done.stdout.split())
    assert before < 1.5e9 and taken == pytest.approx(1e8, rel=0.2)
