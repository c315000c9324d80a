"""一次训练留下的：怎样训练的，走过的曲线，花掉的时间和内存，诊断。"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wcwidth import wcswidth

from helpers.arguments import instance, listed
from helpers.book.official import Band, official_band, reference_runs
from helpers.experiments.settings import describe_changes, describe_differences, differences
from helpers.machine.device import megabytes
from helpers.pictures.canvas import Picture, table_picture
from helpers.training.loop import Point

_PARTS = {"data": "数据", "steps": "更新", "evaluation": "评估", "loop": "自己写的循环", "drawing": "画图"}
_ENDINGS = {"done": "完成", "interrupted": "中断", "diverged": "溢出", "memory": "内存不够", "error": "出错"}
_TITLES = {
    "overflow": "损失溢出", "memory": "内存不够", "collapse": "塌缩", "warming_up": "还在起步",
    "dead_output": "没有学", "dead_layer": "没有学", "weak_initialization": "没有学", "lr_too_small": "学习率偏小",
    "lr_too_large": "学习率偏大", "not_started": "没有学", "missing_classes": "漏了类别", "still_learning": "没有学完",
    "plateau": "平台期", "overfit": "过拟合", "short": "训练得短"}


@dataclass(frozen=True)
class Finding:
    """一条诊断。

    kind: 哪一种毛病，如 "plateau"；symptom: 看到了什么，为什么；remedy: 接着试什么。
    """

    kind: str
    symptom: str
    remedy: str = ""

    @property
    def title(self) -> str:
        """这种毛病的名字，几个字，如「平台期」；不认得的种类就是症状，症状也没有写的是「不明」。"""
        return _TITLES.get(self.kind, self.symptom) or "不明"

    def __str__(self) -> str:
        parts = [f"{self.title}：{self.symptom}" if self.kind in _TITLES else self.title, self.remedy]
        return "；".join(part for part in parts if part).rstrip("。") + "。"


@dataclass(frozen=True)
class Run:
    """一次训练。

    network: 网络的名字，如 "lenet"，不知道就是空的；recipe: 这次的全部设置，book_recipe: 书上的（不知道就是空的）。
    points: 曲线上的点；ended: "done" 完成，"interrupted" 中断，"diverged" 损失溢出，"memory" 内存不够，
        "error" 读者的循环或网络抛出了别的异常。
    device, dtype: 在哪里、用什么精度；seed: 训练开始时的种子，没有给就是 None；started: 开始的时刻。
    seconds: 时间花在哪里，秒：data、steps、evaluation、drawing，加起来就是全部；自己写的循环里分不出前三项，合成 loop。
    memory: 预计和实际的内存峰值，字节：forecast、peak（预计不出、没有量到就是 0）；
        largest_batch: 预计放得下的最大批量。
    classes: 有几个类别；saturating: 网络里有没有 sigmoid 这样会饱和的激活，起步慢。
    final_lr: 最后一步的学习率；test_images: 测试集有几张；不知道就是 None。
    findings: 诊断；没有毛病就是空的。
    """

    network: str
    recipe: dict[str, Any]
    book_recipe: dict[str, Any]
    points: list[Point]
    ended: str
    device: str
    dtype: str
    seed: int | None
    started: str
    seconds: dict[str, float]
    memory: dict[str, int]
    classes: int = 10
    saturating: bool = False
    final_lr: float | None = None
    test_images: int | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def last(self) -> Point | None:
        """曲线的最后一点；停在一轮结束时，损失和训练精度是整轮的。"""
        return self.points[-1].whole if self.points else None

    @property
    def ends(self) -> list[Point]:
        """每一轮结束时的点，损失和训练精度是整轮的。"""
        return [point.whole for point in self.points if point.test_acc is not None]

    @property
    def test_acc(self) -> float | None:
        """最近一次评估的测试精度。"""
        return next((p.test_acc for p in reversed(self.points) if p.test_acc is not None), None)

    @property
    def finished(self) -> bool:
        """打算训练的轮数是不是都走完了。"""
        return self.ended == "done"

    @property
    def steps(self) -> int:
        """走了多少步。"""
        in_an_epoch = math.ceil(self.recipe["images"] / self.recipe["batch_size"])
        return round(self.last.epoch * in_an_epoch) if self.last else 0

    @property
    def too_short(self) -> bool:
        """走得太短，还看不出毛病：不到半轮，或者不到 20 步。"""
        return self.last is None or self.last.epoch < 0.5 or self.steps < 20

    @property
    def condition(self) -> str:
        """几个字：第一条诊断的名字；没有毛病是「正常」，走得太短是「还看不出来」。"""
        return self.findings[0].title if self.findings else "还看不出来" if self.too_short else "正常"

    @property
    def name(self) -> str:
        """与书上不同的设置，用作图例；都相同就是「书上的配方」。"""
        if not self.book_recipe:
            return "没有给计划"
        return describe_changes(self.recipe, self.book_recipe) or "书上的配方"

    @property
    def band(self) -> Band | None:
        """官方区间；配方不是书上的就是 None。"""
        return comparable_band(self.network, self.recipe, self.book_recipe)

    @property
    def verdict(self) -> str:
        """与官方结果比较的一句话；不能比就说为什么。"""
        if not self.book_recipe:
            return "不知道书上的配方，不与官方结果比较。"
        if changed := describe_differences(self.recipe, self.book_recipe):
            return f"配方与书上不同（{changed}），不与官方结果比较。"
        if self.band is None:
            return "没有这个网络的官方结果。"
        if not self.finished:
            return "训练没有完成，不与官方结果比较。"
        return self.band.sentence(getattr(self.last, self.band.metric, None))

    @property
    def total_seconds(self) -> float:
        """一共多少秒。"""
        return sum(self.seconds.values())

    @property
    def throughput(self) -> tuple[float, float]:
        """每秒训练多少张图：(书上的算法，只算更新；从头到尾，取数据、评估和画图都算)。"""
        images = self.recipe["images"] * (self.last.epoch if self.last else 0)
        steps, total = (images / spent if spent else 0.0 for spent in (self.seconds.get("steps"), self.total_seconds))
        return steps, total

    def __repr__(self) -> str:
        return "\n".join([*(name + " " * (10 - wcswidth(name)) + value for name, value in _rows(self)),
                          *(f"！{finding}" for finding in self.findings)])

    def picture(self) -> Picture:
        """画成图的表格和诊断。"""
        *rows, (_, judged) = _rows(self)
        notes = [judged, *(f"！{finding}" for finding in self.findings)]
        return table_picture([("这次训练", ""), *rows], "这次训练", notes=notes)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.picture()._repr_mimebundle_()  # 数字每次不同，笔记本里放在图上


def several(runs: Iterable[Run]) -> list[Run]:
    """几次训练；收到的不是训练时抛出 TypeError。"""
    wanted = "要几次训练，如 saved_runs('lenet') 或者 [run]"
    return [instance(run, Run, wanted) for run in listed("runs", instance(runs, Iterable, wanted), least=0)]


def check_point(point: Point) -> None:
    """曲线上的一点，从文件里读来的；不是数就抛出 TypeError，轮数是负的、大得没有道理就抛出 ValueError。

    损失和训练精度可以是 NaN，没有量过的是 None。
    """
    for name, value in vars(point).items():
        if name in ("loss", "train_acc"):
            absent = isinstance(value, float) and math.isnan(value)
        else:
            absent = value is None and name != "epoch"
        if not absent:
            require_number(value)
    if not 0 <= point.epoch <= 1e6:
        raise ValueError("轮数不对")


def require_number(value: Any) -> None:
    """不是有限的 Python 数就抛出 TypeError。"""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("应当是数")


def comparable_band(network: str, recipe: dict[str, Any], book_recipe: dict[str, Any]) -> Band | None:
    """可以比较的官方区间；没有，或者配方不是书上的，就是 None。"""
    comparable = (network in reference_runs()["runs"] and "folder" not in recipe
                  and not differences(recipe, book_recipe))
    return official_band(network) if comparable else None


def official_tests(network: str, recipe: dict[str, Any]) -> Band | None:
    """书上全部配方的官方运行，测试精度；不是书上的网络，或者换了数据，就是 None。"""
    known = network in reference_runs()["runs"] and "folder" not in recipe
    return official_band(network, "test_acc") if known else None


def official_median(network: str, recipe: dict[str, Any]) -> float | None:
    """书上全部配方的官方运行，测试精度的中位数；不知道就是 None。"""
    official = official_tests(network, recipe)
    return official.median if official else None


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """在 images 张图上测得的精度，换一批图会是多少：95 % 的 Wilson 区间。"""
    from scipy import stats  # 导入要一秒，多数单元格用不着

    found = stats.binomtest(round(accuracy * images), images).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def _tested(run: Run) -> str:
    """测试精度，和它有多准：测试集小，区间就宽。"""
    if run.test_acc is None:
        return "测试精度 –"
    if not run.test_images:
        return f"测试精度 {run.test_acc:.3f}"
    low, high = accuracy_interval(run.test_acc, run.test_images)
    return f"测试精度 {run.test_acc:.3f}（{run.test_images:,} 张，95 % 区间 {low:.3f}–{high:.3f}）"


def _rows(run: Run) -> list[tuple[str, str]]:
    """表格的各行：(名目, 值)。"""
    last, (steps, honest), official = run.last, run.throughput, official_tests(run.network, run.recipe)
    result = "一个点也没有" if last is None else (
        f"{last.epoch:.3g}/{run.recipe['num_epochs']} 轮，损失 {last.loss:.3f}，训练精度 {last.train_acc:.3f}，"
        f"{_tested(run)}")
    # CPU 上只看得到进程变大了多少，重用的旧内存不算在内
    peak = run.memory["peak"]
    measured = f"{'增加' if run.device == 'cpu' else ''} {megabytes(peak)}" if peak else "没有量"
    need = f" {megabytes(run.memory['forecast'])}" if run.memory["forecast"] else "不出"
    parts = {name: round(run.seconds[key], 1) for key, name in _PARTS.items() if key in run.seconds}
    total = sum(parts.values())  # 写出来的各部分之和，不差那 0.1
    beside = ([("官方", f"书上的全部配方，{official.runs} 次运行：测试精度的中位数 {official.median:.3f}")]
              if official else [])
    seed = "没有给种子" if run.seed is None else f"种子 {run.seed}"
    return [("网络", f"{run.network or '?'}（{run.name}）"), ("结果", f"{_ENDINGS[run.ended]}：{result}"),
            ("环境", f"{run.device}，{run.dtype}，{seed}，初始化 {run.recipe['init']}"),
            ("时间", f"{total:.1f} 秒 = {' + '.join(f'{name} {spent:.1f}' for name, spent in parts.items())}"),
            ("每秒图片", (f"只算更新（书上的算法）{steps:,.0f}，" if steps else "") + f"全部都算 {honest:,.0f}"),
            ("内存", f"预计{need}，实际{measured}"),
            *beside,
            ("判断", run.verdict)]
