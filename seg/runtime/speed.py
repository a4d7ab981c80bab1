"""How fast a training goes: images a second, the share of time in which steps wait for data and what would help, and memory."""

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import psutil
import torch
from lightning.pytorch.callbacks import Callback

from seg.core.environment import num_cores

WARM_UP = 3  # steps of each epoch that the share leaves out: loading processes start, and libraries choose their algorithms

GIB = 2**30
ENOUGH = 10  # steps that a share is judged by
BUSY = 0.7  # share of their time from which on loading processes compute rather than wait for a disk


class HostWaits:
    """Seconds that steps waited for their batch, on the program's own clock: right for a device that computes while it is asked to.

    sums: before the first step, and after each."""

    def __init__(self) -> None:
        self.sums = [0.0]

    def add(self, seconds: float) -> None:
        """The wait of one more step is known."""
        self.sums.append(self.sums[-1] + seconds)

    def arrived(self, waited: float) -> None:
        """The batch of the next step has been loaded; the program waited so many seconds for it."""
        self.add(waited)

    def stepped(self) -> None:
        """A step's work has been handed to the device."""

    def synchronize(self) -> None:
        """Wait for what is not known yet."""


class DeviceWaits(HostWaits):
    """The same for a CUDA device, which works on while the program already waits for the next batch.

    Between two steps the device idles from the end of the first one's work to the next one's batch. Two events on its stream mark the
    two moments; they are read once they have passed, so nothing ever waits for the device but `synchronize`. A step's wait is that gap,
    but at most the program's own wait, as other work between steps delays the device, too."""

    def __init__(self, new_event: Callable[[], Any] = lambda: torch.cuda.Event(enable_timing=True)) -> None:
        super().__init__()
        self.new_event = new_event
        self.last: Any = None
        self.pending: list[tuple[float, Any, Any]] = []

    def arrived(self, waited: float) -> None:
        if self.last is None:
            self.add(waited)
            return
        begin = self.new_event()
        begin.record()
        self.pending.append((waited, self.last, begin))
        while self.pending and self.pending[0][2].query():
            self._read()

    def stepped(self) -> None:
        self.last = self.new_event()
        self.last.record()

    def synchronize(self) -> None:
        if self.pending:
            self.pending[-1][2].synchronize()
        while self.pending:
            self._read()

    def _read(self) -> None:
        waited, end, begin = self.pending.pop(0)
        self.add(min(waited, end.elapsed_time(begin) / 1000))


class Speed(Callback):
    """Measures the epoch that runs. Others read the properties: the bar at any time, the rest when the epoch has ended.

    ends: the clock at the end of each step, after that of the epoch's start. images: of the epoch, on this device."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.waits, self.ends, self.images = HostWaits(), list[float](), 0
        self.world_size, self.device = 1, torch.device("cpu")

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_epoch_start(trainer)  # Lightning leaves it out where a training goes on within an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.world_size, self.device = trainer.world_size, trainer.strategy.root_device
        self.waits = DeviceWaits() if self.device.type == "cuda" else HostWaits()
        self.ends, self.images = [self.clock()], 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.waits.arrived(self.clock() - self.ends[-1])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.waits.stepped()
        self.ends.append(self.clock())
        self.images += len(batch)

    def synchronize(self) -> None:
        """Have the figures hold the whole epoch."""
        self.waits.synchronize()

    @property
    def counted(self) -> int:
        """Steps of the epoch that the share of waiting is taken of."""
        return max(0, len(self.waits.sums) - 1 - WARM_UP)

    @property
    def images_per_second(self) -> float:
        """On all devices together, validation left out; 0 before the first step."""
        spent = self.ends[-1] - self.ends[0] if self.ends else 0.0
        return self.images * self.world_size / spent if spent else 0.0

    @property
    def data_wait(self) -> float:
        """Share of the time, 0..1, that steps waited for their batch; without the epoch's first steps where it has more."""
        sums, ends, first = self.waits.sums, self.ends, WARM_UP if self.counted else 0
        last = min(len(sums), len(ends)) - 1
        spent = ends[last] - ends[first] if last > first else 0.0
        return min(1.0, (sums[last] - sums[first]) / spent) if spent else 0.0

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes (used, there are): on CUDA the most that tensors took and the device's; elsewhere of this process, and the machine's."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device), torch.cuda.get_device_properties(self.device).total_memory
        return psutil.Process().memory_info().rss, psutil.virtual_memory().total

    def figures(self) -> dict[str, float]:
        used = round(self.memory[0] / GIB, 3)
        return {"images_per_second": round(self.images_per_second, 3), "data_wait": round(self.data_wait, 4), "memory_gib": used}


def advice(workers: int, cores: int, on_gpu: bool, busy: float | None = None) -> str:
    """What to set, by what holds the loading up. workers: processes that load. busy: share of their time in which these compute, None where
    unknown."""
    less = "a lighter augment, or smaller images (`prepare` keeps them as they are; model.scale shrinks them only after loading)"
    if not workers and on_gpu:
        return (
            f"images are loaded between the steps, while the device idles: set runtime.workers={max(1, cores - 1)}, or runtime.cache=memory"
        )
    if not workers:
        return f"images are loaded between the steps: keep them decoded (runtime.cache=memory), take {less}, or set runtime.workers=1"
    if busy is not None and busy < BUSY:
        return (
            f"the {workers} loading processes compute {busy:.0%} of their time, so they wait for the disk: set "
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
        way = advice(workers, num_cores(), trainer.strategy.root_device.type != "cpu", busy)
        print(f"warning: steps waited for data {self.speed.data_wait:.0%} of their time; {way}", flush=True)


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
