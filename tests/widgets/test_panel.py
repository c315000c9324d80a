"""panel.py：一连串移动合成一次，从几个线程来也一样。"""

import asyncio
import threading
import time

from helpers.widgets.panel import Panel, Settle


def test_without_a_loop_it_acts_at_once():
    done = []
    settle = Settle(lambda: done.append(1))
    settle()
    settle()
    assert done == [1, 1]


def test_a_stream_of_moves_acts_now_and_then_and_at_the_end():
    done = []
    settle = Settle(lambda: done.append(time.monotonic()))

    async def move():
        for _ in range(100):
            settle()
            await asyncio.sleep(0.005)
        moved = time.monotonic()
        await asyncio.sleep(0.1)
        return moved
    moved = asyncio.run(move())
    assert 2 <= len(done) < 20 and done[-1] > moved


def test_a_pause_acts_once():
    done = []
    settle = Settle(lambda: done.append(1))

    async def move():
        for _ in range(2):
            for _ in range(10):
                settle()
            await asyncio.sleep(0.05)
    asyncio.run(move())
    assert done == [1, 1]


def test_two_threads_act_one_at_a_time_and_the_last_value_stays():
    """一个线程正算着旧的值，另一个线程送来新的：新的等它算完，留下来的是新的。"""
    value, shown, inside = [0], [], []

    def action():
        inside.append(1)
        assert len(inside) == 1
        seen = value[0]
        time.sleep(0.1 if seen == 1 else 0)
        shown.append(seen)
        inside.pop()
    settle = Settle(action)

    async def move(to, wait):
        await asyncio.sleep(wait)
        value[0] = to
        settle()
        await asyncio.sleep(0.3)
    threads = [threading.Thread(target=asyncio.run, args=[move(to, wait)]) for to, wait in ((1, 0), (2, 0.05))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown == [1, 2]


def test_a_loop_that_ends_does_not_keep_the_next_move_waiting():
    """网页关掉了最后一个小组件，子 shell 的循环连同计时一起没有了。"""
    done = []
    settle = Settle(lambda: done.append(1))

    async def move(wait):
        settle()
        await asyncio.sleep(wait)
    asyncio.run(move(0))
    assert done == []
    asyncio.run(move(0.05))
    assert done == [1]


def test_moving_tells_what_could_not_be_reached():
    panel = Panel({"a": (1, 9), "kind": ["x", "y"], "lr": (0.1, 10)}, {"a": 1, "kind": "x", "lr": 1}, lambda: None)
    assert panel.move({"a": 3, "kind": "y", "lr": 0.5001, "other": 7}) == []
    assert panel.move({"a": 10, "kind": "z"}) == ["a", "kind"]
    assert panel.values == {"a": 9, "kind": "y", "lr": 0.5001}


def test_an_option_read_back_from_a_file_is_found():
    archs = [("一", ((1, 64), (1, 128))), ("二", ((2, 64), (2, 128)))]
    panel = Panel({"conv_arch": archs}, {"conv_arch": archs[0][1]}, lambda: None)
    assert panel.move({"conv_arch": [[2, 64], [2, 128]]}) == []  # 存成 JSON 的元组是列表
    assert panel.values == {"conv_arch": archs[1][1]}
