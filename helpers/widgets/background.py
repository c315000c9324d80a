"""在另一个线程里训练：内核的事件循环空着，滑块一直能动。"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from helpers.experiments.run import Run
from helpers.experiments.session import Session
from helpers.machine.memory import release_threads
from helpers.training.loop import Point

_END = object()


class Background:
    """走 Session 的人；同一时刻整个内核里只有一个在走：两个一起训练只会互相拖慢。"""

    _active: ClassVar["Background | None"] = None

    def __init__(self) -> None:
        self.running = False  # 正在训练，或者等着别人停下
        self._stopping = False

    @staticmethod
    def stop_all() -> None:
        """让正在进行的训练（不管是谁的）在这一步之后停下。"""
        if Background._active is not None:
            Background._active.stop()

    def stop(self) -> None:
        """在这一步之后停下；还在等的就不训练了。"""
        self._stopping = True

    async def run(self, start: Callable[[], Session], report: Callable[[Point], None]) -> Run | None:
        """别人的训练停下之后，start() 给出 Session，走完它；每个点交给 report。

        返回留下的 Run；一个点也没有就停下的不留，返回 None。start 抛出的异常照样抛出。
        """
        Background.stop_all()
        self.running, self._stopping = True, False
        try:
            while Background._active is not None and not self._stopping:
                await asyncio.sleep(0.01)
            return None if self._stopping else await self._train(start, report)
        finally:
            self.running = False

    async def _train(self, start: Callable[[], Session], report: Callable[[Point], None]) -> Run | None:
        Background._active = self
        try:
            session = start()
            release_threads()
            with ThreadPoolExecutor(1) as worker:
                await self._walk(session, worker, report)
                if session.points or session.ended != "interrupted":
                    return await asyncio.get_running_loop().run_in_executor(worker, session.finish)
            return None
        finally:
            Background._active = None

    async def _walk(self, session: Session, worker: ThreadPoolExecutor, report: Callable[[Point], None]) -> None:
        loop, turns = asyncio.get_running_loop(), iter(session)
        with session:
            try:
                while not self._stopping:
                    turn = await loop.run_in_executor(worker, next, turns, _END)
                    if turn is _END:
                        break
                    if isinstance(turn, Point):
                        report(turn)
            finally:
                worker.submit(int).result()  # 这里被取消时，等正在走的一步走完，session 才好收场
