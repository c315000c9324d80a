"""在另一个线程里训练：内核的事件循环空着，滑块一直能动。"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, ClassVar, TypeVar

from helpers.experiments.run import Run
from helpers.experiments.session import Session
from helpers.machine.kernel import main_loop
from helpers.machine.memory import release_threads
from helpers.training.loop import Point

_END = object()
T = TypeVar("T")


class Background:
    """走 Session 的人；同一时刻整个内核里只有一个在走：两个一起训练只会互相拖慢。

    `run` 总在主线程的事件循环里，见 `begin`：单元格忙的时候训练停着等；`stop` 和 `stop_all` 在哪个线程里都可以。
    造它的单元格的上下文留在这里：训练中改小组件，都算那个单元格的消息。
    """

    held: ClassVar[int] = 0  # 正在走的训练占着的内存（预计的），字节：下一次开始之前它会放掉
    _active: ClassVar["Background | None"] = None

    def __init__(self) -> None:
        self.running = False  # 正在训练，或者等着别人停下
        self._stopping = False
        self._home = copy_context()

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "Future[T]":
        """在主线程的事件循环里开始走 work()，不管从哪个线程叫来；那里正忙着一个单元格，就等它做完。

        不带着叫来它的那条消息：小组件的回信，ipykernel 送到最后改过它的那条消息的子 shell，那时它也许已经关掉了。
        """
        return self._home.copy().run(asyncio.run_coroutine_threadsafe, work(), main_loop())

    async def at_home(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """在主线程的事件循环里走完 work()。"""
        if asyncio.get_running_loop() is main_loop():
            return await work()
        return await asyncio.wrap_future(self.begin(work))

    @staticmethod
    def stop_all() -> None:
        """让正在进行的训练（不管是谁的）在这一步之后停下。"""
        active = Background._active
        if active is not None:
            active.stop()

    def stop(self) -> None:
        """在这一步之后停下；还在等的就不训练了。"""
        self._stopping = True

    async def run(self, start: Callable[[], Session], report: Callable[[Point], None],
                  keep: Callable[[Run], None]) -> None:
        """别人的训练停下之后，start() 给出 Session，走完它；每个点交给 report，留下的 Run 交给 keep。

        一个点也没有就停下的不留。start、report 和训练里抛出的异常照样抛出，那时已有的点也先留下。
        单元格里等着它时被中断（■），与 `stop` 相同。
        """
        Background.stop_all()
        self.running, self._stopping = True, False
        try:
            while Background._active is not None and not self._stopping:
                await asyncio.sleep(0.01)
            if not self._stopping:
                await self._train(start, report, keep)
        except asyncio.CancelledError:
            pass  # 还没有轮到
        finally:
            self.running = False

    async def _train(self, start: Callable[[], Session], report: Callable[[Point], None],
                     keep: Callable[[Run], None]) -> None:
        Background._active = self
        try:
            with _heeding_interrupts() as heed, ThreadPoolExecutor(1) as worker:
                session = start()
                Background.held = session.memory["forecast"]
                release_threads()
                try:
                    await self._walk(session, worker, report, heed)
                finally:
                    if session.points or session.ended in ("diverged", "memory"):
                        loop = asyncio.get_running_loop()
                        keep(await _undisturbed(loop.run_in_executor(worker, session.finish)))
        finally:
            Background._active, Background.held = None, 0

    async def _walk(self, session: Session, worker: ThreadPoolExecutor, report: Callable[[Point], None],
                    heed: Callable[[], None]) -> None:
        loop, turns = asyncio.get_running_loop(), iter(session)
        with session:
            try:
                while not self._stopping:
                    heed()
                    turn = await loop.run_in_executor(worker, next, turns, _END)
                    if turn is _END:
                        break
                    if isinstance(turn, Point):
                        report(turn)
            finally:
                worker.submit(int).result()  # 这里被取消时，等正在走的一步走完，session 才好收场


@contextmanager
def _heeding_interrupts() -> Iterator[Callable[[], None]]:
    """内核空闲时不理中断（■）；训练时改成停下训练。给出一个函数，每一步叫它一次：内核处理完一条消息，又换回了不理。

    单元格忙着时中断的是那个单元格，不管它。
    """
    def stop(*_: Any) -> None:
        Background.stop_all()

    def heed() -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, stop)

    heed()
    try:
        yield heed
    finally:
        if signal.getsignal(signal.SIGINT) is stop:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


async def _undisturbed(work: Awaitable[T]) -> T:
    """等它做完，这时来的中断不算：诊断和存下不该被一次中断打断。"""
    future = asyncio.ensure_future(work)
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(future)
    return future.result()
