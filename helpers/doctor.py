"""这台机器准备好了吗：版本、设备、字体、数据、小组件。"""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from matplotlib import font_manager
from packaging.requirements import Requirement
from packaging.version import Version

from helpers import paths
from helpers.data.fashion import FILES, read_idx
from helpers.machine.device import dtype_name, fast_dtype, megabytes, memory_limit, pick_device

_INSTALL = "pip install -r requirements.txt"


@dataclass(frozen=True)
class Check:
    """一项检查：名目，好不好，看到了什么，不好时用来修的命令。"""

    name: str
    good: bool
    found: str
    remedy: str = ""


def installed(name: str) -> str | None:
    """装着的版本；没有装就是 None。"""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def examine(installed: Callable[[str], str | None] = installed) -> list[Check]:
    """全部检查。一项检查自己出错也算一处毛病，不影响别的。installed: 怎样看一个包装着的版本。"""
    checks = []
    groups = {"Python": _python, "软件包": lambda: _packages(installed), "torchvision": lambda: _torchvision(installed),
              "小组件": lambda: _widgets(installed), "设备": _device, "字体": _font, "数据": _data}
    for name, group in groups.items():
        try:
            checks += group()
        except Exception as error:
            checks.append(Check(name, False, f"{type(error).__name__}：{error}", _INSTALL))
    return checks


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 10)
    yield Check("Python", good, f"{platform.python_version()}，{platform.platform(terse=True)}",
                "conda env create -f environment.yml")


def _packages(installed: Callable[[str], str | None]) -> Iterator[Check]:
    wanted = _requirements()
    if not wanted:
        yield Check("helpers", False, "没有装，或者装的是旧的，不知道要哪些软件包", _INSTALL)
    for each in wanted:
        found = installed(each.name)
        good = found is not None and each.specifier.contains(Version(found).public, prereleases=True)
        yield Check(each.name, good, f"{found or '没有装'}（要 {each.specifier}）",
                    f'pip install "{each.name}{each.specifier}"')


def _requirements() -> list[Requirement]:
    """pyproject.toml 里写着要的，安装时记下的；可选的（测试、比速度）不算。没有装就是空的。"""
    try:
        declared = [Requirement(line) for line in requires("helpers") or ()]
    except PackageNotFoundError:
        return []
    return [each for each in declared if each.marker is None or each.marker.evaluate({"extra": ""})]


def _torchvision(installed: Callable[[str], str | None]) -> Iterator[Check]:
    # torch 2.x 配 torchvision 0.(x+15)；不配时一导入就报 operator torchvision::nms does not exist
    ours, theirs = (Version(installed(name) or "0") for name in ("torch", "torchvision"))
    wanted = f"0.{ours.minor + 15}"
    yield Check("torchvision 与 torch 相配", theirs.minor == ours.minor + 15,
                f"torch {ours.public}，torchvision {theirs.public}",
                f'pip install "torch=={ours.public}" "torchvision=={wanted}.*"')


def _widgets(installed: Callable[[str], str | None]) -> Iterator[Check]:
    kernel, front = installed("ipywidgets"), installed("jupyterlab_widgets")
    matched = (Version(kernel or "0").major, Version(front or "0").major) == (8, 3)
    yield Check("滑块的两半（内核、网页）相配", matched,
                f"ipywidgets {kernel or '没有装'}，jupyterlab_widgets {front or '没有装'}（8 配 3）",
                'pip install --force-reinstall "ipywidgets>=8.1" "jupyterlab_widgets>=3"')
    manifest = Path(sys.prefix, "share/jupyter/labextensions/@jupyter-widgets/jupyterlab-manager/package.json")
    there = manifest.is_file()
    yield Check("JupyterLab 里的滑块扩展", there,
                json.loads(manifest.read_text(encoding="utf-8"))["version"] if there else f"{manifest} 不在",
                'pip install --force-reinstall "jupyterlab_widgets>=3"')


def _device() -> Iterator[Check]:
    device = pick_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU，{torch.get_num_threads()} 个线程"
    yield Check("设备", True, name)
    built, seen = torch.version.cuda, torch.cuda.is_available()
    yield Check("CUDA", device.type == "cuda" or not seen,
                "在用" if device.type == "cuda" else "检测到了，但不能工作" if seen else
                f"没有可用的 GPU（这个 torch {'带 CUDA ' + built if built else '不带 CUDA'}），用 CPU",
                "更新显卡驱动，或按 https://pytorch.org/get-started/locally/ 重装 torch")
    yield Check("精度", True, dtype_name(fast_dtype(device)))
    free = memory_limit(device)
    yield Check("空闲的内存", free > 1e9, megabytes(free), "关掉别的程序，或用更小的批量")


def _font() -> Iterator[Check]:
    restore = "git checkout -- helpers/pictures/fonts"
    try:
        font = font_manager.get_font(paths.FONT)
    except (OSError, RuntimeError):  # 不在；或者不是字体
        yield Check("汉字字体", False, "缺失或已损坏", restore)
        return
    missing = [character for character in "汇聚层精度" if not font.get_char_index(ord(character))]
    yield Check("汉字字体", not missing, f"{font.family_name}，缺 {''.join(missing)}" if missing else font.family_name,
                restore)


def _data() -> Iterator[Check]:
    for name in FILES:
        try:
            read_idx(paths.FASHION_MNIST / name)
            yield Check(name, True, "完好")
        except ValueError:
            yield Check(name, False, "缺失或已损坏", "git checkout -- helpers/data/fashion_mnist")
