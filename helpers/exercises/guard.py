"""运行读者写的代码：它出错、停不下来，都是读者看得懂的一句话。"""

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from helpers.arguments import brief
from helpers.paths import PACKAGE

Found = TypeVar("Found")


class ReaderError(Exception):
    """读者的代码没有走完；str() 是写给读者的话。"""


def attempt(do: Callable[[], Found], what: str) -> Found:
    """do() 的结果；它抛出异常、被中断、要退出时抛出 ReaderError，随机数还原。what: 在做什么，写在话的开头。"""
    try:
        with torch.random.fork_rng(devices=[]):
            return do()
    except KeyboardInterrupt as error:
        raise ReaderError(f"{what}，被中断了{_place(error)}。一直停不下来的话，看看循环的条件会不会变；"
                          "以前做对的都还记着。") from error
    except (Exception, SystemExit) as error:
        quoted = brief(str(error))
        said = quoted[1:].removesuffix(quoted[0])
        raise ReaderError(f"{what}，抛出了 {type(error).__name__}：{said}{_place(error)}。") from error


def _place(error: BaseException) -> str:
    """停在读者的哪一行；不在读者的代码里就是空的。"""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((str(PACKAGE), "<frozen")) and "site-packages" not in frame.filename]
    return f"（第 {frames[-1].lineno} 行：{frames[-1].line}）" if frames and frames[-1].line else ""
