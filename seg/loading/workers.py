"""How many processes load samples on this machine, how much ahead, and in how much memory. None of it can change a result."""

import resource
from dataclasses import dataclass

import lightning.pytorch as pl

from seg.core.environment import own_cores
from seg.core.machine import available_memory, shared_memory_left

MOST_WORKERS = 8
AHEAD = 2  # batches that each process loads ahead
WORKER_MEMORY = 300 << 20  # an allowance for what a loading process does not share with the one that it was forked from
OF_SHARED_MEMORY = 0.9


@dataclass(frozen=True, slots=True)
class RankPlacement:
    """Where this process stands among those of a training. local_ranks: as many of them run on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    node: int = 0
    on_gpu: bool = False

    @classmethod
    def of(cls, trainer: pl.Trainer | None) -> "RankPlacement":
        if trainer is None:
            return cls()
        on_gpu = trainer.strategy.root_device.type == "cuda"
        local_ranks = max(1, trainer.world_size // max(1, trainer.num_nodes))
        return cls(trainer.global_rank, trainer.world_size, trainer.local_rank, local_ranks, trainer.node_rank, on_gpu)


def choose_workers(setting: int | str, placement: RankPlacement, batch_bytes: int) -> tuple[int, int]:
    """How many processes load, and batches ahead of each; fewer, as a line says, where /dev/shm is too small. batch_bytes: the largest."""
    wanted = auto_workers(placement, batch_bytes) if setting == "auto" else int(setting)
    count, ahead = fit_shared_memory(wanted, batch_bytes, placement.local_ranks)
    if count < wanted and placement.local_rank == 0:
        left = (shared_memory_left() or 0) / 1e6
        needed = _in_shared_memory(wanted, 1, batch_bytes) * placement.local_ranks / 1e6
        loads = "no process loads beside the training" if not count else f"{count} load{'s' * (count == 1)}"
        print(
            f"/dev/shm has {left:.0f} MB left, {wanted} loading process{'es' * (wanted > 1)} would need {needed:.0f} MB for their batches: "
            f"{loads}; give the container more (docker run --shm-size=8g, or --ipc=host), or set runtime.workers={count}",
            flush=True,
        )
    if count:
        allow_open_files()
    return count, ahead


def auto_workers(placement: RankPlacement, batch_bytes: int = 0) -> int:
    """Beside a network on the CPU a loading process would only take its cores; a GPU wants to be fed.

    Each rank has its share of the machine's cores, one of which is its own, and of a quarter of the memory that is available.
    """
    if not placement.on_gpu:
        return 0
    by_memory = available_memory() // 4 // placement.local_ranks // (WORKER_MEMORY + AHEAD * batch_bytes)
    return max(1, min(MOST_WORKERS, own_cores(placement.local_ranks) - 1, by_memory))


def fit_shared_memory(wanted: int, batch_bytes: int, local_ranks: int) -> tuple[int, int]:
    """As many processes, up to `wanted`, and batches ahead of each, as /dev/shm has room for."""
    left = shared_memory_left()
    if left is None:
        return wanted, AHEAD
    room = OF_SHARED_MEMORY * left / local_ranks
    for count, ahead in [(wanted, AHEAD), *((count, 1) for count in range(wanted, 0, -1))]:
        if _in_shared_memory(count, ahead, batch_bytes) <= room:
            return count, ahead
    return 0, AHEAD


def allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one: a tensor that comes from another process keeps one open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 16) if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _in_shared_memory(count: int, ahead: int, batch_bytes: int) -> int:
    """Bytes of the batches that wait, of the one that is learned from and of the one that follows it."""
    return (count * ahead + 2) * batch_bytes if count else 0
