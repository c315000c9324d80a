"""自己做的实验：两组，几个种子，哪一组大，或者看不出。"""

import json
from dataclasses import dataclass
from typing import Any

from helpers.arguments import brief
from helpers.exercises.exercise import Exercise, Solution
from helpers.exercises.guard import ReaderError
from helpers.exercises.verdict import Mistake, Verdict, wrong
from helpers.experiments.trials import Trials
from helpers.paths import PACKAGE
from helpers.pictures.charts import dots

RECORDED = PACKAGE / "exercises" / "recorded.json"
UNDECIDED = "看不出"

FEW = Mistake("few_seeds", "种子太少：一两个种子算不出像样的区间，至少三个。")
UNPAIRED = Mistake("unpaired", "两组的种子不同，不能一对一地比；用同样的种子再做。")
FROZEN = Mistake("same_values", "几个种子的结果一模一样：measure 没有拿种子去 torch.manual_seed，或者没有重新造网络。")
RANGE = Mistake("out_of_range", "有的数不在可能的范围里：精度是 0 到 1 的小数，不是百分数。")
OVERCLAIMED = Mistake("overclaimed", "差的区间里有 0：平均数不同，换几个种子也许就反过来了，应当说看不出。")
UNDERCLAIMED = Mistake("underclaimed", "差的区间里没有 0：这几个种子已经分得出高下。")
REVERSED = Mistake("reversed", "说反了：差的正负是前一组减后一组。")


@dataclass(kw_only=True, eq=False)
class Contest(Exercise):
    """两组的对比。

    arms: 两组的名字；quantity: 测的是什么；span: 测得的数可能的范围。
    slow: 代码要跑几十秒以上，做过的一次存在 recorded.json 里；不然就是当场运行代码。代码里两组叫 first、second。
    答案是 (结论, 前一组, 后一组)：结论是测得的数大的那一组的名字，或者 "看不出"。
    """

    arms: tuple[str, str]
    quantity: str
    span: tuple[float, float] = (0.0, 1.0)
    slow: bool = False

    kind = "实验"

    def __post_init__(self) -> None:
        first, second = self.arms
        self.stub = ("answer = ...  # 自己做：from helpers import trials\n"
                     f"# (结论, 「{first}」的 Trials, 「{second}」的 Trials)；结论是数大的那一组的名字，"
                     f'或者 "{UNDECIDED}"')

    def answer(self) -> tuple[str, Trials, Trials]:
        """记录过的一次，和它的结论。"""
        first, second = self.recorded()
        return self._conclusion(first, second), first, second

    def recorded(self) -> tuple[Trials, Trials]:
        """做过的一次。"""
        if not self.slow:
            return self.measure()
        found = json.loads(RECORDED.read_text(encoding="utf-8"))[self.key]
        return Trials(found["first"], found["seeds"]), Trials(found["second"], found["seeds"])

    def measure(self) -> tuple[Trials, Trials]:
        """运行代码，做一次。"""
        names = self.execute(self.code)
        return names["first"], names["second"]

    def judge(self, answer: Any) -> Verdict:
        """结论是不是从读者自己的数里来的。"""
        said, first, second = self._parts(answer)
        if troubles := self._troubles(first, second):
            return wrong("这样还下不了结论。", troubles)
        difference = first.versus(second)
        text = difference.describe(*self.arms) + "。"
        truth = self._conclusion(first, second)
        if said == truth:
            return Verdict("对", text + self._remark(first, second))
        mistake = UNDERCLAIMED if said == UNDECIDED else OVERCLAIMED if truth == UNDECIDED else REVERSED
        return wrong(text, (mistake,))

    def _parts(self, answer: Any) -> tuple[str, Trials, Trials]:
        if isinstance(answer, tuple | list) and len(answer) == 3:
            said, first, second = answer
            choices = (*self.arms, UNDECIDED)
            if said in choices and isinstance(first, Trials) and isinstance(second, Trials):
                return said, first, second
        raise ReaderError(f"答案应当是 (结论, 「{self.arms[0]}」的 Trials, 「{self.arms[1]}」的 Trials)，"
                          f"结论是「{self.arms[0]}」「{self.arms[1]}」「{UNDECIDED}」之一；收到的是 {brief(answer)}。")

    def _troubles(self, first: Trials, second: Trials) -> tuple[Mistake, ...]:
        """做法上有什么毛病。"""
        low, high = self.span
        both = [*first.values, *second.values]
        return tuple(mistake for mistake, there in (
            (FEW, min(len(first.values), len(second.values)) < 3),
            (UNPAIRED, {*first.seeds} != {*second.seeds}),
            (FROZEN, any(len({*each.values}) == 1 < len(each.values) for each in (first, second))),
            (RANGE, not all(low <= value <= high for value in both))) if there)

    def _conclusion(self, first: Trials, second: Trials) -> str:
        larger = first.versus(second).larger
        return UNDECIDED if larger is None else self.arms[larger]

    def _remark(self, first: Trials, second: Trials) -> str:
        """与记录过的结论不同时，提一句；设置不同，结论不同也不算错。"""
        truth, before = self._conclusion(first, second), self.answer()[0]
        return "" if truth == before else (f"记录过的一次结论是「{before}」："
                                           "看看图、轮数、批量、学习率、初始化和种子是不是一样。")

    def solution(self) -> Solution:
        """代码，和记录过的一次。"""
        truth, first, second = self.answer()
        text = f"{self.explanation}\n\n记录过的一次：{first.versus(second).describe(*self.arms)}。结论：{truth}。"
        return Solution(text, self.code, dots(dict(zip(self.arms, (first, second), strict=True)), self.quantity))
