"""检查的结果。"""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["对", "不对", "还没有作答", "出错"]


@dataclass(frozen=True)
class Mistake:
    """想错的一种。key: 测试认的名字；text: 写给读者的一句话。"""

    key: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """检查一次的结果。mistakes: 答案是怎样想错的，认出几种就有几种。"""

    outcome: Outcome
    text: str
    mistakes: tuple[Mistake, ...] = ()

    def __repr__(self) -> str:
        return f"{self.outcome}。{self.text}"


UNTOUCHED = Verdict("还没有作答", "把答案写在 ... 的地方，再运行这一格。")


def wrong(text: str, mistakes: tuple[Mistake, ...] = ()) -> Verdict:
    """不对：text 之后一行一种想错的办法。"""
    return Verdict("不对", "\n".join([text, *(f"· {mistake.text}" for mistake in mistakes)]), mistakes)
