"""What the machine, or the container that this process runs in, has left: memory, shared memory, processor time. And settings of the
process: those that only count when they are made before torch, OpenCV or albumentations is imported, and malloc's."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from io import TextIOWrapper
from multiprocessing import parent_process
from pathlib import Path

from seg.core.errors import ConfigError

SHARED = Path("/dev/shm")  # of the shared memory that has a name, torch's batches among it; Docker gives a container 64 MB of it
_CGROUP, _OF_PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # version 1 says that there is no limit by a number this large
SPIN_COUNT = "1000"
"""Iterations that an idle OpenMP thread of GNU's runtime spins before it sleeps. A short spin costs nothing on a quiet
machine and saves much beside a busy process: benchmarks/openmp_spin.py measures it."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")  # a process's place, as launchers tell it; all are 0 or unset in the first one
CORES = "SEG_CORES"  # the variable that tells one of several programs that share a machine how many cores are its own
_USERS_OWN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


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


def prepare_environment() -> None:
    """Set what is not set: OpenMP's spin; no look-up of newer versions by albumentations; no warnings of OpenCV's decoders,
    whose failures are reported as errors that name the file."""
    if not any(name in os.environ for name in _USERS_OWN):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
        os.environ["KMP_BLOCKTIME"] = "1"  # milliseconds; LLVM's runtime, as on a Mac
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a training step, or an image, frees for the next one, instead of giving it back each time. Each frees
    and takes the same large blocks; mapping them anew costs about 8 % of a step on a CPU. The user's own MALLOC_* and GLIBC_TUNABLES
    settings win; elsewhere than on glibc nothing happens."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # older ones allow 32 MiB at most
        mallopt(_M_TRIM_THRESHOLD, -1)


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, however that was: it must not write into the next run's folder."""
    if parent := parent_process():

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def num_cores() -> int:
    """Processor cores that this process may use; in a container with a quota of time, no more than that is worth; in a sweep its share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota()
    return max(1, min(cores, cores if quota is None else round(quota), _number(CORES, cores)))


def own_cores(local_ranks: int) -> int:
    """The share of each of several ranks on this machine; each has all that it may use where SLURM bound it to cores of its own."""
    bound = in_slurm_step() and "SLURM_CPUS_PER_TASK" in os.environ
    return max(1, num_cores() // (1 if bound else local_ranks))


def prepare_command() -> None:
    """Take back what a command cannot use: places among processes that are no numbers, and the backend of somebody's notebook, as
    matplotlib fails where that is not installed; no command shows a window."""
    for name in (*RANKS, "GROUP_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        value = os.environ.get(name)
        if value is not None and not (value if name == "TORCHELASTIC_RUN_ID" else value.strip().isdigit()):
            del os.environ[name]
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for what the terminal's encoding has no letter


def in_slurm_step() -> bool:
    """Whether SLURM's srun started this process, which a job's allocation does not say; a shell's tasks nobody started."""
    return bool(os.environ.get("SLURM_STEP_ID")) and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def in_first_process() -> bool:
    """Whether this is rank 0 of a training, or the only process there is."""
    return not any(_number(name, 0) for name in RANKS if name != "SLURM_PROCID" or in_slurm_step())


def processes_started() -> int:
    """Processes that torchrun or SLURM's srun started to train together, this one among them; 1 where neither did."""
    if os.environ.get("TORCHELASTIC_RUN_ID"):
        return _number("WORLD_SIZE", 1)
    return _number("SLURM_STEP_NUM_TASKS", _number("SLURM_NTASKS", 1)) if in_slurm_step() else 1


def _number(name: str, otherwise: int) -> int:
    """Of an environment variable; `otherwise` where it is missing or no number."""
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdigit() else otherwise


def conf_folder(project: Path) -> Path:
    """The project's conf/, or a ConfigError that says where to stand."""
    if not (project / "conf" / "config.yaml").is_file():
        fix = "change into the project's folder first, or make a project with `seg new FOLDER`"
        raise ConfigError(f"{project}: has no conf/config.yaml; {fix}")
    return (project / "conf").resolve()
