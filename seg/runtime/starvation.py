"""Says once what would help where steps wait for data."""

import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import psutil
from lightning.pytorch.callbacks import Callback

from seg.core.environment import num_cores
from seg.runtime.speed import Speed

ENOUGH = 10
"""Steps that a share is judged by."""

BUSY = 0.7
"""Share of their time from which on loading processes compute rather than wait for a disk."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How images are loaded. workers: processes. busy: share of their time in which these compute, None where unknown."""

    workers: int
    cores: int
    on_gpu: bool
    busy: float | None = None


def advice(loading: Loading) -> str:
    """What to set, by what holds the loading up."""
    cores, workers = loading.cores, loading.workers
    less = "a lighter augment, or smaller images (`prepare` keeps them as they are; model.scale shrinks them only after loading)"
    if not workers and loading.on_gpu:
        return (
            f"images are loaded between the steps, while the device idles: set runtime.workers={max(1, cores - 1)}, or runtime.cache=memory"
        )
    if not workers:
        return f"images are loaded between the steps: keep them decoded (runtime.cache=memory), take {less}, or set runtime.workers=1"
    if loading.busy is not None and loading.busy < BUSY:
        return (
            f"the {workers} loading processes compute {loading.busy:.0%} of their time, so they wait for the disk: set "
            "runtime.cache=memory, or move data/prepared to a faster disk"
        )
    if workers < cores - 1:
        return f"the {workers} loading processes cannot keep up and there are {cores} cores: set runtime.workers={cores - 1}"
    return (
        f"the {workers} loading processes keep all of {cores} cores busy: set runtime.cache=memory, store augmented copies "
        f"(augment.copies), or take {less}; a larger trainer.batch_size or model costs no further loading"
    )


class Starvation(Callback):
    """One warning, after the first epoch whose steps waited longer for data than `limit`, a share of their time."""

    def __init__(self, limit: float, speed: Speed) -> None:
        self.limit, self.speed = limit, speed
        self.said = False
        self.before: tuple[float, float] = (0.0, 0.0)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and not self.said:
            self.before = _computed()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_last_batch and not self.said:  # the loading processes end with the epoch
            self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        self.speed.synchronize()
        if self.speed.counted < ENOUGH or self.speed.data_wait <= self.limit or not trainer.is_global_zero:
            return
        self.said = True
        workers, (clock, seconds) = int(getattr(trainer.train_dataloader, "num_workers", 0)), _computed()
        spent = (clock - self.before[0]) * workers
        busy = min(1.0, (seconds - self.before[1]) / spent) if spent else None
        loading = Loading(workers, num_cores(), trainer.strategy.root_device.type != "cpu", busy)
        print(f"warning: steps waited for data {self.speed.data_wait:.0%} of their time; {advice(loading)}", flush=True)


def _computed() -> tuple[float, float]:
    """The clock, and the processor seconds of this process's children so far."""
    seconds = 0.0
    for child in multiprocessing.active_children():
        try:
            times = psutil.Process(child.pid).cpu_times()
        except psutil.Error:  # it has just ended
            continue
        seconds += times.user + times.system
    return time.perf_counter(), seconds
