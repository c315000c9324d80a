"""做起来要久的实验：用几个种子做过一遍，结果存在笔记本旁边，笔记本读它，再现场做一次核对。"""

import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import torch

from helpers.arguments import instance
from helpers.book.source import same, source
from helpers.experiments.atomic import writing
from helpers.experiments.trials import Trials, number
from helpers.machine.device import describe_machine
from helpers.paths import NOTEBOOKS, at_home

RECORDS = NOTEBOOKS / "records"
Measure = Callable[[int], float | Mapping[str, float]]


@dataclass(frozen=True)
class Record:
    """一个实验的全部结果，和它是怎样来的。

    section: 节号；name: 笔记本里那个字典的名字；seeds: 用过的种子。
    values: 每一组（arm）一个列表，一个种子一项，每项是 {量的名字: 数}。
    recorded: 哪一天；machine, versions, command, commit: 在什么机器上、什么版本、哪条命令、哪一次提交；
        分几次记录的，不同的都列出。
    code: 那时实验的代码，设置都在里面，见 `source`；旧的记录没有存，是空的。
    """

    section: str
    name: str
    seeds: list[int]
    values: dict[str, list[dict[str, float]]]
    recorded: str
    machine: str
    versions: dict[str, str]
    command: str
    commit: str
    code: str = ""

    @property
    def quantities(self) -> list[str]:
        """测了哪几个量。"""
        return list(next(iter(self.values.values()))[0])

    def __getitem__(self, quantity: str) -> dict[str, Trials]:
        """一个量：每一组的名字到它的 Trials；没有这个量时抛出 ValueError。"""
        if quantity not in self.quantities:
            raise ValueError(f"没有记录 {quantity!r}；记录的是 {'、'.join(self.quantities)}。")
        return {arm: Trials([each[quantity] for each in found], self.seeds)
                for arm, found in self.values.items()}

    @property
    def current(self) -> bool:
        """笔记本里的实验是不是还是记录时的；没有存代码的不知道，当作是。"""
        return not self.code or same(self.code, source(self.section, self.name))

    def check(self, measures: Mapping[str, Measure], arm: str | None = None, seed: int | None = None) -> str:
        """现场再做一次，看落不落在记录的范围里；返回一句话。

        measures: 组名到 measure(seed)，就是记录时用的字典；arm, seed: 做哪一组、哪个种子，默认第一组、第一个种子。
        代码在记录之后改过，不用做就是 ✗：要隔好几个标准差，才会落在范围外面，小的改动只有代码看得出。
        组名或量与记录的不同（实验改过了）时抛出 ValueError，说怎样重新记录。
        """
        self.require_arms(measures)
        arm, seed = next(iter(measures)) if arm is None else arm, self.seeds[0] if seed is None else seed
        if arm not in measures:
            raise ValueError(f"没有「{arm}」这一组；有的是 {'、'.join(measures)}。")
        if not self.current:
            return (f"✗ 记录之后改过这个实验的代码。重新记录：{self.command}；"
                    "改动不会改变结果的，在这条命令后面加 --check，核对一遍就行。")
        with self._threads():
            now = named(measures[arm](seed))
        what, wrong = f"「{arm}」种子 {seed} 现在再做一次", self.unexpected(arm, now)
        return f"✗ {what}：{'；'.join(wrong)}。重新记录：{self.command}" if wrong else f"✓ {what}，落在记录的范围里"

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """用记录时那么多线程：线程多少改变求和的次序，训练会把最后一位的差别放大。"""
        before, found = torch.get_num_threads(), re.search(r"(\d+) 个线程", self.machine)
        torch.set_num_threads(int(found[1]) if found else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def require_arms(self, measures: Mapping[str, Measure]) -> None:
        """measures 的各组就是记录的各组；不是就抛出 ValueError。"""
        if list(measures) != list(self.values):
            raise ValueError(f"实验的各组变了：现在是 {'、'.join(measures)}，记录里是 {'、'.join(self.values)}。"
                             f"重新记录：{self.command}")

    def unexpected(self, arm: str, now: Mapping[str, float]) -> list[str]:
        """一组现在做出的 now，哪几个量在记录的范围之外；量不同时抛出 ValueError。"""
        if {*now} != {*self.quantities}:
            raise ValueError(f"「{arm}」现在测的是 {'、'.join(now)}，记录的是 {'、'.join(self.quantities)}。"
                             f"重新记录：{self.command}")
        wrong = []
        for quantity, value in now.items():
            groups = self[quantity]
            if not groups[arm].expects(value, [*groups.values()]):
                wrong.append(f"{quantity} {value:.3g}，记录的是 {groups[arm]}")
        return wrong

    def __repr__(self) -> str:
        return (f"{self.recorded} 记录，{self.machine}，torch {self.versions['torch']}："
                f"{len(self.values)} 组，每组 {len(self.seeds)} 个种子。重新记录：{self.command}")


def named(value: float | Mapping[str, float]) -> dict[str, float]:
    """measure 的返回值：只有一个数就叫「结果」；不是数，或者是 NaN、无穷大时抛出 ValueError。"""
    return {name: number(each) for name, each in (value if isinstance(value, Mapping) else {"结果": value}).items()}


def recorded(section: str, name: str, folder: Path = RECORDS) -> Record:
    """读一个记录过的实验，如 `recorded("7.6", "depths")`；还没有记录时抛出 ValueError，说怎样记录。"""
    path = file_of(section, name, at_home(instance(folder, (str, Path), "folder 应当是一个路径")))
    if not os.path.exists(path):  # 名字太长的也只是没有
        raise ValueError(f"第 {section} 节的实验 {name} 还没有记录。运行 {_command(section, name)}")
    return _read(path)


def file_of(section: str, name: str, folder: Path = RECORDS) -> Path:
    """一个实验记录在哪个文件里；做到一半的在旁边，后缀是 .part。"""
    return folder / f"{section}-{name}.json"


def record(section: str, name: str, measures: Mapping[str, Measure], seeds: Sequence[int], commit: str,
           folder: Path = RECORDS, said: Callable[[str], None] = print, *, code: str = "",
           resume: bool = False) -> Record:
    """每一组用每个种子各做一次，存下来。said: 每做完一次，说一句进度；code: 实验的代码，见 `source`。

    resume: 接着做：上次没有做完的，或者已经记录的，留着，只做 seeds 里还没有的种子。
    一个种子的各组接着做，做完一个种子就存一次草稿；中途停下，以前的记录不变，草稿等着接着做。
    没有组、没有种子、测得的不是数、接着做时代码不同，抛出 ValueError。
    """
    if not measures or not seeds:
        raise ValueError(f"实验 {name} 要至少一组、一个种子；收到 {len(measures)} 组、{len(seeds)} 个种子。")
    path = file_of(section, name, folder)
    draft = path.with_suffix(".part")
    found = _earlier(path, draft, measures, code) if resume else None
    fresh = [seed for seed in seeds if found is None or seed not in found.seeds]
    progress = _Progress(len(fresh) * len(measures), said)
    for seed in fresh:
        results = {arm: progress.do(measure, arm, seed) for arm, measure in measures.items()}
        now = Record(section, name, [seed], {arm: [result] for arm, result in results.items()},
                     date.today().isoformat(), describe_machine(),
                     {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
                     _command(section, name), commit, code)
        found = now if found is None else _joined(found, now)
        found = replace(found, command=_command(section, name, found.seeds))
        _write(draft, found)
    assert found is not None
    if draft.exists():
        draft.replace(path)
    return found


def confirm(found: Record, measures: Mapping[str, Measure], code: str, folder: Path = RECORDS,
            said: Callable[[str], None] = print) -> bool:
    """改过代码、结果应当不变时：每一组用第一个种子再做一次，都在记录的范围里，就把 code 记成它的代码。

    said: 每做完一次，说一句是不是还与记录的相同。返回是不是都在范围里。
    """
    found.require_arms(measures)
    good, seed = True, found.seeds[0]
    for arm, measure in measures.items():
        now, was = named(measure(seed)), found.values[arm][0]
        wrong = found.unexpected(arm, now)
        said(f"{arm}，种子 {seed}：" + (f"✗ {'；'.join(wrong)}" if wrong else "✓ 与记录的完全相同" if now == was else
             "✓ 不完全相同，落在记录的范围里：" + "，".join(f"{name} {value:.4g}（记录的是 {was[name]:.4g}）"
                                                    for name, value in now.items())))
        good = good and not wrong
    if good:
        _write(file_of(found.section, found.name, folder), replace(found, code=code))
    return good


class _Progress:
    """做一次，检查，说一句：做到第几次，什么结果，还要多久。"""

    def __init__(self, total: int, said: Callable[[str], None]):
        self.total, self.said, self.done, self.started = total, said, 0, time.monotonic()
        self.quantities: list[str] | None = None

    def do(self, measure: Measure, arm: str, seed: int) -> dict[str, float]:
        """measure(seed)，检查过。"""
        try:
            result = named(measure(seed))
        except ValueError as error:
            raise ValueError(f"「{arm}」种子 {seed}：{error}") from error
        self.quantities = self.quantities or [*result]
        if [*result] != self.quantities:
            raise ValueError(f"每一组都要测同样的量：「{arm}」种子 {seed} 测的是 {'、'.join(result)}，"
                             f"别的测的是 {'、'.join(self.quantities)}。")
        self.done += 1
        left = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        self.said(f"{self.done}/{self.total}  种子 {seed}  {arm}："
                  + "，".join(f"{name} {value:.4g}" for name, value in result.items())
                  + (f"（还要约 {left:.0f} 秒）" if left else ""))
        return result


def _earlier(path: Path, draft: Path, measures: Mapping[str, Measure], code: str) -> Record | None:
    """接着做的是哪一份：草稿在先；都没有就是 None。"""
    for file in (draft, path):
        if file.exists():
            found = _read(file)
            if list(found.values) != list(measures) or (found.code and not same(found.code, code)):
                raise ValueError(f"{file.name} 是用别的代码做的，不能接着做；重新记录：{found.command}")
            return found
    return None


def _joined(old: Record, new: Record) -> Record:
    """两次记录的合成一份；机器、版本、提交不同的都列出。"""
    return replace(new, seeds=[*old.seeds, *new.seeds],
                   values={arm: [*old.values[arm], *new.values[arm]] for arm in old.values},
                   machine=_both(old.machine, new.machine), commit=_both(old.commit, new.commit),
                   code=old.code and new.code,
                   versions={name: _both(old.versions.get(name, ""), version)
                             for name, version in new.versions.items()})


def _both(old: str, new: str) -> str:
    return "；".join(dict.fromkeys([*filter(None, old.split("；")), new]))


def _read(path: Path) -> Record:
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, found: Record) -> None:
    with writing(path) as file:
        file.write((json.dumps(asdict(found), ensure_ascii=False, indent=1) + "\n").encode())


def _command(section: str, name: str, seeds: Sequence[int] = ()) -> str:
    return f"python tools/record.py {section} {name}" + (f" --seeds {len(seeds)}" if seeds else "")
