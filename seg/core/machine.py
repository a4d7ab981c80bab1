"""What the machine, or the container that this process runs in, has left: memory, shared memory, processor time."""

import os
from collections.abc import Iterator
from pathlib import Path

SHARED = Path("/dev/shm")
"""Where Linux keeps the shared memory that has a name, torch's batches among it. Docker gives a container 64 MB of it."""

_CGROUP, _OF_PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # version 1 says that there is no limit by a number this large


def available_memory() -> int:
    """Bytes that can be had without swapping, within the limits of the control groups (version 1 and 2) this process is in."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_left_in_groups()])


def shared_memory_left() -> int | None:
    """Bytes free in /dev/shm; None where the system has no such folder."""
    try:
        found = os.statvfs(SHARED)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def processor_quota() -> float | None:
    """Processors' worth of time that the control groups grant, as `docker run --cpus` sets it; None without a limit."""
    shares = []
    for group in _groups("cpu"):
        limit = _words(group / "cpu.max") or [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
        if len(limit) == 2 and limit[0].isdecimal():
            shares.append(int(limit[0]) / int(limit[1]))
    return min(shares, default=None)


def busy_share(seconds: float = 0.3) -> float:
    """Share of the machine's processors that other programs take in these seconds, in which this thread waits."""
    import psutil

    return float(psutil.cpu_percent(interval=seconds)) / 100


def _left_in_groups() -> Iterator[int]:
    for group in _groups("memory"):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _words(group / most), _words(group / now)
            if limit and used and limit[0].isdecimal() and int(limit[0]) < _UNLIMITED:
                # pages of files that nobody used lately count as used, but are given up first
                stat = dict(line.split() for line in _lines(group / "memory.stat"))
                idle = stat.get("total_inactive_file", stat.get("inactive_file", 0))  # version 1 counts the groups below in total_* alone
                yield max(0, int(limit[0]) - int(used[0]) + int(idle))


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control groups that `controller` may limit, up to the root."""
    yield from (_CGROUP, _CGROUP / controller)  # within a container the own group is the root
    for line in _lines(_OF_PROCESS):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controller if controllers else _CGROUP
        place = root / path.strip("/")
        while place != root and root in place.parents:
            yield place
            place = place.parent


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)[:1]).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
