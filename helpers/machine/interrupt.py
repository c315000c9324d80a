"""按下中断（■、Ctrl-C）的时候：有的地方立刻停，有的地方等一等，什么也不丢。"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """`gentle_stop` 收到的信号；收到过，就是真。"""

    def __init__(self) -> None:
        self.received, self.immediate = 0, False

    def __bool__(self) -> bool:
        return self.received > 0

    def take(self, number: int, frame: FrameType | None) -> None:
        """收到一个信号。"""
        self.received += 1
        if self.immediate or self.received > 1:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """在这个 with 里照常立刻停下；进来以前按过的，一进来就算。离开以后从头数起。"""
        self.immediate = True
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self.immediate, self.received = False, 0


@contextmanager
def gentle_stop() -> Iterator[Interrupts]:
    """在这个 with 里按中断（或者被要求结束）只是记下，由里面的人看着办；第二次按就立刻停。

    不在主线程里时收不到信号，什么也不做。
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
