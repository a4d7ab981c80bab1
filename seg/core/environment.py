"""Settings of the process: those that only count when they are made before torch, OpenCV or albumentations is imported, and malloc's."""

import ctypes
import os
import sys
from pathlib import Path

from seg.core.errors import ConfigError
from seg.core.machine import processor_quota

SPIN_COUNT = "1000"
"""Iterations that an idle OpenMP thread of GNU's runtime spins before it sleeps. A short spin costs nothing on a quiet
machine and saves much beside a busy process: benchmarks/openmp_spin.py measures it."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables by which launchers tell a process its place; all are 0 or unset in the first one."""

_USERS_OWN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


def prepare_environment() -> None:
    """Set what is not set: OpenMP's spin; no look-up of newer versions by albumentations; no warnings of OpenCV's decoders,
    whose failures are reported as errors that name the file."""
    if not any(name in os.environ for name in _USERS_OWN):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
        os.environ["KMP_BLOCKTIME"] = "1"  # milliseconds; LLVM's runtime, as on a Mac
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a training step, or an image, frees for the next one, instead of giving it back each time.

    Each frees and takes the same large blocks; mapping them anew costs about 8 % of a step on a CPU. The user's own
    MALLOC_* and GLIBC_TUNABLES settings win; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # older ones allow 32 MiB at most
        mallopt(_M_TRIM_THRESHOLD, -1)


def num_cores() -> int:
    """Processor cores that this process may use; in a container with a quota of time, no more than that is worth."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota()
    return cores if quota is None else max(1, min(cores, round(quota)))


def in_first_process() -> bool:
    """Whether this is rank 0 of a training, or the only process there is."""
    return not any(int(os.environ.get(variable, 0)) for variable in RANKS)


def processes_started() -> int:
    """Processes that torchrun or SLURM's srun started to train together, this one among them; 1 where neither did."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    alone = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Lightning sees it: a shell, whose tasks nobody started
    return 1 if alone else int(os.environ.get("SLURM_NTASKS", 1))


def conf_folder(project: Path) -> Path:
    """The project's conf/, or a ConfigError that says where to stand."""
    if not (project / "conf" / "config.yaml").is_file():
        raise ConfigError(
            f"{project}: has no conf/config.yaml; change into the project's folder first, or make a project with `seg new FOLDER`"
        )
    return (project / "conf").resolve()
