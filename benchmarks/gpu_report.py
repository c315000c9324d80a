"""`make gpu` 的读数说明什么：哪里有毛病，CUDA graph 可不可以默认打开，README 里的表。"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from helpers.book.sections import NETWORKS
from helpers.machine.device import GB, megabytes

BEGIN, END = "<!-- 显卡：benchmarks/gpu.py 生成 -->", "<!-- 显卡到此 -->"
NOT_YET = "还没有在显卡上量过。在有 NVIDIA 显卡的机器上运行 `make gpu`，十分钟以内量完，写在这里。"
TITLES = {"machine": "这台机器", "tests": "要显卡的测试", "trajectories": "20 步的轨迹", "graph": "CUDA graph",
          "memory": "内存的峰值", "out_of_memory": "显存用完", "nccl": "torchrun", "epochs": "训练一轮"}
Readings = dict[str, dict[str, Any]]
Parts = dict[str, dict[str, Any]]  # 每一部分：{"seconds": 用了几秒, "error": 没有做完的原因或空的, "readings": 读数}

# 20 步的轨迹，每一步与 CPU 至多差 TRAJECTORY。有的网络差一个舍入就走开了：CPU 上权重挪一个舍入，7.6 的损失差到 3.4，
# 7.7 差到 0.22，别的至多 0.003；那几步至多差这个的 MARGIN 倍，因为显卡步步都有舍入
TRAJECTORY, MARGIN = 1e-2, 10
LOST = 100e6  # 用完显存之后，少掉这么多字节才算没有放掉：别的程序也在用显卡，cuBLAS 也要留一点
CUBLAS = 32 * 2**20  # cuBLAS 自己的工作区：计算能力 9.0 的 32 MB，别的 8 MB，在预计的余量里
DAWDLING = 1.5  # 自己决定的比两种里快的慢这么多，才算决定错了：同样的走法，十批的时间两次也差到 1.3 倍


def findings(parts: Parts) -> list[str]:
    """哪里有毛病，一处一句；没有就是空的。"""
    found = []
    for name, title in TITLES.items():
        if name not in parts:
            found.append(f"{title}：没有做")
            continue
        if parts[name]["error"]:
            found.append(f"{title}：{parts[name]['error']}")
        readings = parts[name]["readings"]
        found += [f"{title}，{place}：{reading['error']}" for place, reading in readings.items() if "error" in reading]
        found += [f"{title}：{each}" for each in _JUDGES[name](good(parts, name))]
    return found


def good(parts: Parts, name: str) -> Readings:
    """一部分里没有出错的读数。"""
    readings = parts[name]["readings"] if name in parts else {}
    return {place: reading for place, reading in readings.items() if "error" not in reading}


def _machine(readings: Readings) -> Iterator[str]:
    for reading in readings.values():
        if "asked" in reading and reading["asked"] != reading["used"]:
            yield f"要用 {reading['asked']}，它却不能工作，退回了 {reading['used']}"


def _tests(readings: Readings) -> Iterator[str]:
    for name, reading in readings.items():
        if reading["outcome"] == "failed":
            yield f"{name} 没有通过，{reading['said']}"
    if not any(reading["outcome"] == "passed" for reading in readings.values()):
        yield f"{len(readings)} 个，一个也没有通过或者都跳过了"


def _trajectories(readings: Readings) -> Iterator[str]:
    for section, reading in readings.items():
        walked = zip(reading["device"], reading["cpu"], reading["spread"], strict=True)
        for step, (here, there, spread) in enumerate(walked, start=1):
            if not abs(here - there) <= max(TRAJECTORY, MARGIN * spread):
                yield (f"{section} 第 {step} 步与 CPU 相差 {abs(here - there):.2g}，"
                       f"CPU 上权重差一个舍入只差 {spread:.2g}")
                break


def unequal(reading: dict[str, Any]) -> bool:
    """重放的损失与照常的不同：超过照常的两遍之间的三倍，也超过千分之一。"""
    return not reading["difference"] <= max(3 * reading["noise"], 1e-3 * reading["scale"])


def _graph(readings: Readings) -> Iterator[str]:
    for section, reading in readings.items():
        if unequal(reading):
            yield (f"{section} 重放的损失与照常的相差 {reading['difference']:.2g}，"
                   f"照常的两遍只差 {reading['noise']:.2g}")
        best = min(reading["plain"], reading["graph"])
        if reading["chosen"] > DAWDLING * best:
            yield f"{section} 自己决定的慢：一步 {1e3 * reading['chosen']:.3g} 毫秒，另一种 {1e3 * best:.3g} 毫秒"


def _memory(readings: Readings) -> Iterator[str]:
    for section, reading in readings.items():
        peak, need = reading["peak"], reading["forecast"]
        if reading["ended"] != "done":
            yield f"{section} 批量 {reading['batch']} 没有训练完（{reading['ended']}）"
        elif peak - need > max(0.05 * need, CUBLAS):
            yield f"{section} 预计 {megabytes(need)}，实际 {megabytes(peak)}：预计少了"
        elif need > 2 * peak > 0:
            yield f"{section} 预计 {megabytes(need)}，实际 {megabytes(peak)}：预计多了一倍以上"


def _out_of_memory(readings: Readings) -> Iterator[str]:
    for name, reading in readings.items():
        if name == "largest":
            if reading["fits"] < 1:
                yield f"预计放得下批量 {reading['batch']:,}，实际只放得下它的 {reading['fits']:.0%}"
            continue
        if reading["ended"] != "memory" or reading["finding"] != "memory":
            yield f"{name}：批量 {reading['batch']:,} 应当放不下，却是 {reading['ended']}（{reading['said']}）"
        if reading["lost"] > LOST:
            yield f"{name}：{megabytes(reading['lost'])} 没有放掉"
        if reading["after"] != "done":
            yield f"{name}：之后不能再训练（{reading['after']}）"


def _nccl(readings: Readings) -> Iterator[str]:
    for name in ("alone", "torchrun"):
        if name in readings and readings[name]["code"]:
            yield f"{name} 的退出码是 {readings[name]['code']}，{readings[name].get('said', '')}"
    if "difference" in readings and not readings["difference"]["difference"] <= TRAJECTORY:
        yield f"与不用 torchrun 的相差 {readings['difference']['difference']:.2g}"


def _epochs(readings: Readings) -> Iterator[str]:
    for section, reading in readings.items():
        sides = {side: each for side, each in reading.items() if isinstance(each, dict)}
        for side, each in sides.items():
            if "error" in each:
                yield f"{section} {side}：{each['error']}"
            elif not math.isfinite(each["loss"]):
                yield f"{section} {side}：损失是 {each['loss']}"
        if slower(sides):
            yield f"{section} 比 d2l 慢：{sides['ours']['seconds']:.3g} 对 {sides['d2l']['seconds']:.3g} 秒"


def slower(sides: Readings) -> bool:
    """这里比 d2l 慢。"""
    ours, theirs = (sides.get(side, {}).get("seconds") for side in ("ours", "d2l"))
    return bool(ours and theirs and ours > theirs)


_JUDGES: dict[str, Callable[[Readings], Iterator[str]]] = {
    "machine": _machine, "tests": _tests, "trajectories": _trajectories, "graph": _graph, "memory": _memory,
    "out_of_memory": _out_of_memory, "nccl": _nccl, "epochs": _epochs}


def verdict(parts: Parts) -> str:
    """CUDA graph 可不可以默认打开，为什么。"""
    readings = good(parts, "graph")
    reasons = [f"没有量到 {'、'.join(missing)}"] if (missing := [s for s in NETWORKS if s not in readings]) else []
    reasons += [*_graph(readings)]
    reasons += [f"{name} 没有通过" for name, reading in good(parts, "tests").items()
                if "graph" in name and reading["outcome"] != "passed"]
    if good(parts, "out_of_memory").get("twice graph", {}).get("ended") != "memory":
        reasons.append("显存不够时会怎样，没有量到，或者不对")
    if reasons:
        return f"CUDA graph 还不能默认打开：{'；'.join(reasons)}。"
    gains = [f"{len(readings)} 个网络损失都相同"]
    for name, each in (("一定录", "graph"), ("自己决定", "chosen")):
        faster = [reading["plain"] / reading[each] for reading in readings.values()]
        more = [reading[f"{each}_memory"] / reading["plain_memory"] for reading in readings.values()
                if reading["plain_memory"]]
        cost = f"，显存是 {min(more):.2f}–{max(more):.2f} 倍" if more else ""
        gains.append(f"{name}，速度是照常的 {min(faster):.2f}–{max(faster):.2f} 倍{cost}")
    return f"CUDA graph 可以默认打开，录不录由训练自己决定：{'；'.join(gains)}。"


def report(content: dict[str, Any]) -> str:
    """一台机器的结果，写成 Markdown：机器，表，毛病，CUDA graph。"""
    parts = content["parts"]
    lines = [_where(parts), "", "| 网络 | 20 步与 CPU 差 / CPU 上差一个舍入 | "
             "一步，毫秒：照常 / CUDA graph / 自己决定 | 一轮，秒：这里 / 不录 CUDA graph / d2l | 内存：预计 / 峰值 |",
             "|---|---|---|---|---|"]
    lines += [f"| {section} {name} | {' | '.join(_row(parts, section))} |" for section, name in NETWORKS.items()]
    outcomes = [reading["outcome"] for reading in good(parts, "tests").values()]
    found = findings(parts)
    lines += ["", f"要显卡的测试：{len(outcomes)} 个，通过 {outcomes.count('passed')} 个。{verdict(parts)}", ""]
    return "\n".join(lines + ([f"{len(found)} 处毛病：", "", *(f"- {each}" for each in found)] if found else
                              ["没有发现毛病。"]))


def _where(parts: Parts) -> str:
    readings = good(parts, "machine")
    where, gpu = readings.get("machine", {}), readings.get("gpu")
    if not where:
        return "不知道是什么机器。"
    name = (f"{gpu['name']}（{gpu['total'] / GB:.1f} GB，开始时空闲 {gpu['free'] / GB:.1f} GB，CUDA {gpu['cuda']}）"
            if gpu else where["cpu"])
    return (f"{name}，{where['cores']} 核，{where['dtype']}，{where['date']}；"
            f"torch {where['torch']}，d2l {where['d2l'] or '没有装'}。")


def _row(parts: Parts, section: str) -> tuple[str, str, str, str]:
    """表格的一行；没有量到的是「–」。"""
    trajectory, graph, epoch, memory = (good(parts, name).get(section) for name in (
        "trajectories", "graph", "epochs", "memory"))
    seconds = [f"{each['seconds']:.3g}" if "seconds" in (each := (epoch or {}).get(side, {})) else "–"
               for side in ("ours", "plain", "d2l")]
    peak = f"{megabytes(memory['forecast'])} / {megabytes(memory['peak'])}（批量 {memory['batch']}）" if memory else "–"
    return (f"{trajectory['difference']:.1e} / {trajectory['spread'][-1]:.1e}" if trajectory else "–",
            " / ".join(f"{1e3 * graph[each]:.3g}" for each in ("plain", "graph", "chosen")) if graph else "–",
            f"{' / '.join(seconds)}（{epoch['images']:,} 张）" if epoch else "–", peak)
