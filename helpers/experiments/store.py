"""训练存在哪里：一次一个 JSON 文件；读回来，写成表格。"""

import csv
import io
import json
import math
import warnings
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from helpers.arguments import between, brief, instance
from helpers.experiments.atomic import file_name, writing
from helpers.experiments.run import Finding, Run, check_point, require_number, several
from helpers.paths import at_home, runs_folder
from helpers.training.loop import Point

_COLUMNS = ("epoch", "loss", "train_acc", "test_acc", "epoch_loss", "epoch_acc")


def save(run: Run, folder: Path | None = None, path: Path | None = None) -> Path | None:
    """存成一个 JSON 文件，不会有半个文件；存不下时说一句，返回 None。

    path: 盖过以前存下的这一个；默认是 folder 里新的一个。
    """
    folder = path.parent if path else folder or runs_folder()
    path = path or folder / f"{run.started.replace(':', '')}-{file_name(run.network or 'net')}-{uuid4().hex[:6]}.json"
    text = json.dumps(_jsonable(asdict(run)), ensure_ascii=False, allow_nan=False)
    try:
        with writing(path) as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))  # 不成字的文件名写成转义
    except OSError as error:
        warnings.warn(f"这次训练没有存下来（{error.strerror}：{folder}）；结果还在内存里。", stacklevel=2)
        return None
    return path


def _jsonable(value: Any) -> Any:
    """JSON 写得下的：张量和 numpy 的数变成普通的数，NaN 和无穷大变成 None，别的东西变成它的文字。"""
    if isinstance(value, dict):
        return {str(name): _jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


class Runs(list[Run]):
    """几次训练；skipped: 读不出来、跳过的文件，取一段时也带着。

    不用警告来说：它会进单元格的文字，每个读者的不同。图上和 `Explorer` 里写着 note。
    """

    def __init__(self, runs: Iterable[Run] = (), skipped: Iterable[str] = ()):
        super().__init__(runs)
        self.skipped = tuple(skipped)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Runs(found, self.skipped) if isinstance(index, slice) else found

    @property
    def note(self) -> str:
        """跳过了哪些，一句话；没有就是空的。"""
        more = f"等 {len(self.skipped)} 个" if len(self.skipped) > 3 else ""
        return f"跳过读不出来的 {'、'.join(self.skipped[:3])}{more}。" if self.skipped else ""

    def __repr__(self) -> str:
        return super().__repr__() + self.note


def saved_runs(network: str | None = None, folder: Path | str | None = None) -> Runs:
    """存下的训练，从早到晚；network: 只要这个网络的。读不出来的文件跳过，记在 skipped 里。

    更新的版本存下的，多出来的项不看。打不开那个文件夹时抛出 ValueError；还没有的不算。
    """
    instance(network, (str, type(None)), "network 应当是网络的名字，如 'lenet'")
    folder = at_home(instance(folder, (str, Path, type(None)), "folder 应当是一个路径") or runs_folder())
    found, skipped = [], []
    try:
        paths = sorted(folder.glob("*.json"))
    except OSError as error:  # 名字太长
        raise ValueError(f"打不开 {brief(str(folder))}（{error.strerror}）；换一个文件夹。") from error
    for path in paths:
        try:
            run = restore(json.loads(path.read_text(encoding="utf-8")))
            _check(run)
        except Exception as error:  # 截断、改动、别的程序存的，什么错都有
            skipped.append(f"{path.name}（{type(error).__name__}）")
            continue
        if network in (None, run.network):
            found.append(run)
    return Runs(found, skipped)


def _check(run: Run) -> None:
    """缺了什么、类型不对，就抛出异常：以后画图、比较、列进表里，样样都用得上。"""
    findings = (text for each in run.findings for text in (each.kind, each.symptom, each.remedy))
    for text in (run.network, run.ended, run.device, run.dtype, run.started, *findings):
        instance(text, str, "应当是文字")
    for name in ("batch_size", "size", "images", "num_epochs", "params", "macs"):
        between(name, run.recipe[name], 0 if name in ("params", "macs") else 1)
    between("classes", run.classes, 1)
    for recipe in (run.recipe, run.book_recipe or run.recipe):
        require_number(instance(recipe, dict, "应当是字典")["lr"])
    known = (each for each in (run.seed, run.final_lr, run.test_images) if each is not None)
    for value in (*run.seconds.values(), *run.memory.values(), *known):
        require_number(value)
    for point in run.points:
        check_point(point)
    repr(run)


def restore(content: dict[str, Any]) -> Run:
    """文件里的内容变回 Run；以前的版本存下的也认得：那时诊断是句子，书上的配方叫 book，一点记的是一轮开头到此刻。"""
    content = dict(content)
    if "book" in content:
        content["book_recipe"] = content.pop("book")
        content["classes"] = content["recipe"].get("num_classes", 10)
        content["saturating"] = content["network"] == "lenet"
    running = not any("epoch_loss" in point for point in content["points"])
    content["points"] = [_point(**point) for point in content["points"]]
    if running and "loop" not in content["seconds"]:  # 读者自己的循环怎样算的，这里不知道
        content["points"] = _apart(content["points"], content["recipe"])
    content["findings"] = tuple(Finding("", each) if isinstance(each, str) else Finding(**each)
                                for each in content["findings"])
    return Run(**{field.name: content[field.name] for field in fields(Run) if field.name in content})


def _point(epoch: float, loss: float | None, train_acc: float | None, **rest: Any) -> Point:
    """存下的一点；没有数的损失存成了 None。"""
    return Point(epoch, math.nan if loss is None else loss, math.nan if train_acc is None else train_acc, **rest)


def _apart(points: list[Point], recipe: dict[str, Any]) -> list[Point]:
    """从一轮开头算起的平均，换成每一段自己的；一轮结束时的那个平均就是整轮的。"""
    batches, found, before = math.ceil(recipe["images"] / recipe["batch_size"]), [], (0, 0.0, 0.0)
    for point in points:
        batch = round((point.epoch - math.ceil(point.epoch) + 1) * batches)
        seen = min(batch * recipe["batch_size"], recipe["images"])
        now = seen, seen * point.loss, seen * point.train_acc
        images, loss, hits = (a - b for a, b in zip(now, before, strict=True))
        own = replace(point, loss=loss / images, train_acc=round(hits / images, 6))
        ended = point.test_acc is not None
        found.append(replace(own, epoch_loss=point.loss, epoch_acc=point.train_acc) if ended else own)
        before = (0, 0.0, 0.0) if ended else now
    return found


def export_csv(runs: Iterable[Run], path: Path | str) -> Path:
    """把曲线写成 CSV，一行一个点，前面是这次训练的设置；Excel 打开就有汉字。

    path: 写到哪里，没有的文件夹会建好；写不了时抛出 ValueError，以前的文件还在。返回它。
    """
    path = at_home(instance(path, (str, Path), "path 应当是一个文件名，如 'runs.csv'"))
    runs = several(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.recipe))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["run", "network", "started", "device", "dtype", "seed", *names, *_COLUMNS])
    for i, run in enumerate(runs, start=1):
        for point in run.points:
            writer.writerow([i, run.network, run.started, run.device, run.dtype, run.seed,
                             *(run.recipe.get(name, "") for name in names),
                             *(getattr(point, name) for name in _COLUMNS)])
    try:
        with writing(path) as file:
            file.write(text.getvalue().encode("utf-8-sig", errors="backslashreplace"))
    except (OSError, ValueError) as error:  # 名字里有 \0 的是 ValueError
        raise ValueError(f"写不了 {brief(str(path))}（{getattr(error, 'strerror', error)}）；换一个文件名。") from error
    return path
