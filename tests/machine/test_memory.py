"""memory.py：每一种情形都在自己的进程里，看 glibc 和 OpenMP 实际怎样做。"""

import ctypes
import json
import sys
from functools import cache

import pytest
import torch
from support.rows import python

PROBE = """
import ctypes, json, sys, psutil, torch
from helpers import fashion_mnist, fit, load
from helpers.machine.memory import keep_memory, release_memory
MB = 2**20

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL("libc.so.6")
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def apart(size):
    # 这样大的一块是不是单独向系统要的；不放掉，放掉它 glibc 就又学到了
    before = libc.mallinfo2().hblks
    libc.malloc(size * MB)
    return libc.mallinfo2().hblks > before

def resident():
    return psutil.Process().memory_info().rss / MB

def use_and_free(count, size, keep_last=False):
    # 写满 count 块、每块 size MB 再放掉，返回进程还占着多少 MB
    # 放号码的地方先要好：列表一边长一边要，会压在最后一块上面，下面放掉多少也还不回去
    before, blocks = resident(), (ctypes.c_void_p * count)()
    for i in range(count):
        blocks[i] = libc.malloc(size * MB)
        ctypes.memset(blocks[i], 1, size * MB)
    for block in blocks[:count - keep_last]:
        libc.free(block)
    return resident() - before

def train():
    list(fit(load("7.1").lenet(), *fashion_mnist(16, images=60, device="cpu"), lr=0.1, num_epochs=1))

exec(sys.argv[1])
print(json.dumps({"8": apart(8), "31": apart(31), "33": apart(33), "left": use_and_free(300, 1)}))
"""

glibc = pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
                           reason="要 glibc 2.33 以上")


@cache
def probe(code):
    """在一个新的进程里先做 code，再看它怎样要内存、怎样还。"""
    done = python(PROBE, code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@glibc
@pytest.mark.parametrize("code", [
    "keep_memory()", "keep_memory(); keep_memory()", "train()",
    "from threading import Thread; threads = [Thread(target=train) for _ in range(2)]; "
    "[thread.start() for thread in threads]; [thread.join() for thread in threads]"],
    ids=["一次", "两次", "一次训练", "两个线程同时训练"])
@pytest.mark.slow
def test_blocks_are_kept_as_glibc_keeps_them_by_itself(code):
    """以前单独要、一放就还的块留下来；放掉很多时照样还，与 glibc 自己碰上一块 31 MB 多的一样。"""
    fresh, learned, ours = probe(""), probe("torch.empty(2**23 - 2**15)"), probe(code)
    assert (fresh["8"], fresh["31"], fresh["33"]) == (True, True, True)
    assert (ours["8"], ours["31"], ours["33"]) == (learned["8"], learned["31"], learned["33"]) == (False, False, True)
    assert ours["left"] < 64 and learned["left"] < 64


@glibc
@pytest.mark.slow
def test_released_memory_goes_back_to_the_system():
    """最后一块还在用，前面的 200 MB 不在末尾，只有要它还才还。"""
    done = python(PROBE, "keep_memory(); before = resident(); use_and_free(200, 1, keep_last=True); "
                         "kept = resident() - before; release_memory(torch.device('cpu')); "
                         "print(json.dumps([kept, resident() - before]))")
    kept, left = json.loads(done.stdout.splitlines()[0])
    assert kept > 190 and left < 20


THREADS = """
import psutil, torch
from helpers.machine.memory import release_threads
torch.set_num_threads(4)
before = psutil.Process().num_threads()
torch.rand(2000, 2000).exp()
during = psutil.Process().num_threads()
release_threads()
after = psutil.Process().num_threads()
torch.rand(2000, 2000).exp()  # 再要就再起
print(during - before, after - before, psutil.Process().num_threads() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all"),
                    reason="不是 Linux，或者 torch 带的 OpenMP 太旧：什么也不做")
@pytest.mark.slow
def test_the_openmp_threads_end_and_come_back():
    done = python(THREADS)
    assert done.stdout.split() == ["3", "0", "3"], done.stderr
