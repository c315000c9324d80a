"""做起来要久的实验：用几个种子做过一遍，结果存在笔记本旁边，笔记本读它，再现场做一次核对。"""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from helpers.experiments.atomic import writing
from helpers.experiments.trials import Trials
from helpers.machine.device import describe_machine
from helpers.paths import NOTEBOOKS

RECORDS = NOTEBOOKS / "records"
Measure = Callable[[int], float | Mapping[str, float]]


@dataclass(frozen=True)
class Record:
    """一个实验的全部结果，和它是怎样来的。

    section: 节号；name: 笔记本里那个字典的名字；seeds: 用过的种子。
    values: 每一组（arm）一个列表，一个种子一项，每项是 {量的名字: 数}。
    recorded: 哪一天；machine, versions, command, commit: 在什么机器上、什么版本、哪条命令、哪一次提交。
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

    def check(self, measures: Mapping[str, Measure], arm: str | None = None, seed: int | None = None) -> str:
        """现场再做一次，看落不落在记录的范围里；返回一句话。

        measures: 组名到 measure(seed)，就是记录时用的字典；arm, seed: 做哪一组、哪个种子，默认第一组、第一个种子。
        组名与记录的不同（实验改过了）时抛出 ValueError，说怎样重新记录。
        """
        if list(measures) != list(self.values):
            raise ValueError(f"实验的各组变了：现在是 {'、'.join(measures)}，记录里是 {'、'.join(self.values)}。"
                             f"重新记录：{self.command}")
        arm, seed = arm or next(iter(measures)), self.seeds[0] if seed is None else seed
        now = named(measures[arm](seed))
        wrong = [f"{quantity} {value:.3g}，记录的是 {self[quantity][arm]}" for quantity, value in now.items()
                 if not self[quantity][arm].expects(value)]
        what = f"「{arm}」种子 {seed} 现在再做一次"
        return f"✗ {what}：{'；'.join(wrong)}。重新记录：{self.command}" if wrong else f"✓ {what}，落在记录的范围里"

    def __repr__(self) -> str:
        return (f"{self.recorded} 记录，{self.machine}，torch {self.versions['torch']}："
                f"{len(self.values)} 组，每组 {len(self.seeds)} 个种子。重新记录：{self.command}")


def named(value: float | Mapping[str, float]) -> dict[str, float]:
    """measure 的返回值：只有一个数就叫「结果」。"""
    return {name: float(each) for name, each in value.items()} if isinstance(value, Mapping) else {"结果": float(value)}


def recorded(section: str, name: str, folder: Path = RECORDS) -> Record:
    """读一个记录过的实验，如 `recorded("7.6", "depths")`；还没有记录时抛出 ValueError，说怎样记录。"""
    path = folder / f"{section}-{name}.json"
    if not path.exists():
        raise ValueError(f"第 {section} 节的实验 {name} 还没有记录。运行 {_command(section, name)}")
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def record(section: str, name: str, measures: Mapping[str, Measure], seeds: list[int], commit: str,
           folder: Path = RECORDS, said: Callable[[str], None] = print) -> Record:
    """每一组用每个种子各做一次，存下来。said: 每做完一次，说一句进度。

    一个种子的各组接着做：中途停下也只丢这一次记录，以前的还在。
    """
    values: dict[str, list[dict[str, float]]] = {arm: [] for arm in measures}
    for seed in seeds:
        for arm, measure in measures.items():
            values[arm].append(named(measure(seed)))
            said(f"种子 {seed}  {arm}：" + "，".join(f"{key} {value:.4g}" for key, value in values[arm][-1].items()))
    found = Record(section, name, seeds, values, date.today().isoformat(), describe_machine(),
                   {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
                   _command(section, name), commit)
    with writing(folder / f"{section}-{name}.json") as file:
        file.write((json.dumps(asdict(found), ensure_ascii=False, indent=1) + "\n").encode())
    return found


def _command(section: str, name: str) -> str:
    return f"python tools/record.py {section} {name}"
