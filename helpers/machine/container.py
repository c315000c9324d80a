"""容器（cgroup）给了多少内存：psutil 看到的是整台主机，超过容器的限额，内核会直接杀掉进程。"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

SYSTEM = Path("/")
_ENDLESS = 2**60  # 没有限额时 cgroup v1 写一个很大的数


def free_memory() -> list[int]:
    """这个进程所在的各层容器各还剩多少字节；没有限额的不算，不在 Linux 上就是空的。

    文件的缓存随时收得回来，不算用掉。https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    return [max(0, free) for folder in _folders() for free in _left(folder)]


def _folders() -> Iterator[Path]:
    """各层容器在哪里，v1 和 v2；容器里面往往看不到自己的路径，那时根就是它自己。"""
    with suppress(OSError):
        for line in (SYSTEM / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, own = line.split(":", 2)
            if kinds in ("", "memory"):
                root, path = SYSTEM / "sys/fs/cgroup" / kinds, PurePosixPath(own)
                yield from (root / place.relative_to("/") for place in (path, *path.parents))


def _left(folder: Path) -> Iterator[int]:
    for limit, used, prefix in (("memory.max", "memory.current", ""),
                                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")):
        with suppress(OSError, ValueError):  # 没有这个文件；没有限额时 v2 写的是 max
            most = int((folder / limit).read_text(encoding="utf-8"))
            if most < _ENDLESS:
                yield most - int((folder / used).read_text(encoding="utf-8")) + _cached(folder, prefix)


def _cached(folder: Path, prefix: str) -> int:
    stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    return sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
