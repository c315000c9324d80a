"""把读数写成 README 里的表：只写比值；没有对照的几项写时间。"""

import json
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from helpers.book.sections import NETWORKS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- 比值：benchmarks/report.py 生成 -->", "<!-- 比值到此 -->"
Readings = dict[str, list[Any]]
EXTRA = {"float32": "这里也用 float32", "plain": "这里不录 CUDA graph"}  # 我们的另外几种做法，做了才有这一列


def ratios(readings: Readings, peer: str, ours: str = "ours", value: Callable[[Any], float] = float) -> list[float]:
    """每一轮里，对方是这里的几倍。"""
    return [value(theirs) / value(mine) for theirs, mine in zip(readings[peer], readings[ours], strict=True)]


def spread(values: Iterable[float]) -> str:
    """最小 / 中位 / 最大。"""
    values = sorted(values)
    return " / ".join(f"{value:.3g}" for value in (values[0], statistics.median(values), values[-1]))


def seconds(reading: dict[str, float]) -> float:
    """一次训练或画图的秒数。"""
    return reading["seconds"]


def rows(readings: dict[str, dict[str, Readings]], sides: list[str],
         when: Callable[[str], str]) -> Iterable[tuple[str, ...]]:
    """表格的各行：做什么，与谁比，sides 里的每一种各几倍；只有一种的，后面空着。when: 一件事何时量的，接在后面。"""
    medians: dict[str, list[float]] = {}
    for section, name in NETWORKS.items():
        if (once := readings["train"].get(f"train {section}")) is None:
            continue  # 没有做完的不写
        cells = []
        for side in sides:
            found = ratios(once, "d2l", side, seconds) if side in once else []
            cells.append(spread(found) if found else "")
            if found and section != "7.1":
                medians.setdefault(side, []).append(statistics.median(found))
        yield f"训练一轮 {section} {name}", "d2l `train_ch6`", *cells
    yield ("　7.2–7.7 的几何平均", "", *(
        f"{math.prod(medians[side]) ** (1 / 6):.3g}" if len(medians.get(side, ())) == 6 else ""
        for side in sides))
    drawn, measured = readings["figure"]["figure"], when("figure")
    for peer in ("d2l", "livelossplot"):
        yield f"画 200 个点：时间{measured}", peer, spread(ratios(drawn, peer, value=seconds))
        yield f"画 200 个点：送到网页的字节{measured}", peer, spread(
            ratios(drawn, peer, value=lambda each: each["bytes"]))
    for section, name in NETWORKS.items():
        yield f"逐层清单 {section} {name}{when('trace')}", "torchinfo", spread(
            ratios(readings["trace"][f"trace {section}"], "torchinfo"))


def report(content: dict[str, Any]) -> str:
    """一台机器的结果，写成 Markdown；不与训练同一天、同一精度量的，各写明。"""
    machines, readings = content["machines"], content["readings"]
    where = machines["train"]

    def when(name: str) -> str:
        here = machines[name]
        same = (here["date"], here["dtype"]) == (where["date"], where["dtype"])
        return "" if same else f"（{here['date']}，{here['dtype']}）"

    versions = "，".join(f"{name} {where[name]}" for name in ("torch", "d2l", "torchinfo", "livelossplot"))
    trained = next(iter(readings["train"].values()))
    extra = [side for side in EXTRA if side in trained]
    head = ["做什么", "与谁比", "对方是这里的几倍：最小 / 中位 / 最大", *(EXTRA[side] for side in extra)]
    lines = [f"{where['gpu'] or where['cpu']}，{where['cores']} 核，{where['dtype']}，{where['date']}；{versions}。",
             "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join([*row, *[''] * (len(head) - len(row))])} |"
              for row in rows(readings, ["ours", *extra], when)]
    slow = [1000 * max(times["ours"]) for times in readings["slider"].values()]
    worst = max(value for each in readings["learning"].values() for value in each.get("difference", []))
    sides = {"ours": "这里", "float32": "这里的 float32"}
    accuracies = "，".join(f"{sides.get(side, side)} {found[0]['test_acc']:.3f}"
                          for side, found in readings["learning"]["10 epochs 7.1"].items())
    lines += ["", f"滑块到形状表（VGG-11、GoogLeNet、DenseNet）：95 % 的移动在 {max(slow):.0f} ms 以内"
              f"{when('slider')}。"
              f"在 torch、matplotlib、ipywidgets 之外导入 helpers：{max(readings['import']['import']['ours']):.2f} 秒"
              f"{when('import')}。"
              + (f"`make book`：{readings['book']['book']['ours'][-1]:.0f} 秒{when('book')}。"
                 if "book" in readings else ""),
              *([seen(readings["view"]) + when("view") + "。"] if "view" in readings else []),
              f"算的一样：七个网络、float32，20 步的损失与 d2l 相差至多 {worst:.1e}；"
              f"LeNet 按书上的配方各训练一次，测试精度：{accuracies}。"]
    return "\n".join(lines)


def seen(readings: dict[str, Readings]) -> str:
    """打开网络要等多久：七个网络里最慢的，几轮里最慢的。"""
    worst = {(what, share): 1000 * max(each[share] for name, sides in readings.items() if name.startswith(what)
                                       for each in sides["ours"])
             for what in ("click", "stroke") for share in ("p50", "p95")}
    click, stroke = (f"{worst[what, 'p50']:.0f} / {worst[what, 'p95']:.0f} ms" for what in ("click", "stroke"))
    return (f"打开网络（七个里最慢的，中位数 / 95 %，只算内核）：点一格到算术 {click}，画一笔到答案 {stroke}")


def write_readme(text: str, begin: str = BEGIN, end: str = END) -> None:
    """换掉 README 里 begin 到 end 的一段。"""
    before, rest = README.read_text(encoding="utf-8").split(begin)
    README.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """一个结果文件。"""
    return json.loads(path.read_text(encoding="utf-8"))
