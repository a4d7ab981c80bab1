"""How fast a training goes: images a second, the share of time in which steps wait for data, and memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import psutil
import torch
from lightning.pytorch.callbacks import Callback

WARM_UP = 3
"""Steps of each epoch that the share leaves out: loading processes start, and libraries choose their algorithms."""

GIB = 2**30


class HostWaits:
    """Seconds that steps waited for their batch, on the program's own clock: right for a device that computes while it is asked to.

    sums: before the first step, and after each.
    """

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
    but at most the program's own wait, as other work between steps delays the device, too.
    """

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


@dataclass
class Epoch:
    """What is counted in an epoch. ends: the clock at the end of each step, after that of the epoch's start. images: on this device."""

    waits: HostWaits
    ends: list[float] = field(default_factory=list)
    images: int = 0


class Speed(Callback):
    """Measures the epoch that runs. Others read the properties: the bar at any time, the rest when the epoch has ended."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.epoch = Epoch(HostWaits())
        self.world_size, self.device = 1, torch.device("cpu")

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_epoch_start(trainer)  # Lightning leaves it out where a training goes on within an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.world_size, self.device = trainer.world_size, trainer.strategy.root_device
        self.epoch = Epoch(DeviceWaits() if self.device.type == "cuda" else HostWaits(), [self.clock()])

    def on_train_batch_start(self, *_: Any) -> None:
        self.epoch.waits.arrived(self.clock() - self.epoch.ends[-1])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.epoch.waits.stepped()
        self.epoch.ends.append(self.clock())
        self.epoch.images += len(batch)

    def synchronize(self) -> None:
        """Have the figures hold the whole epoch."""
        self.epoch.waits.synchronize()

    @property
    def counted(self) -> int:
        """Steps of the epoch that the share of waiting is taken of."""
        return max(0, len(self.epoch.waits.sums) - 1 - WARM_UP)

    @property
    def images_per_second(self) -> float:
        """On all devices together, validation left out; 0 before the first step."""
        spent = self.epoch.ends[-1] - self.epoch.ends[0] if self.epoch.ends else 0.0
        return self.epoch.images * self.world_size / spent if spent else 0.0

    @property
    def data_wait(self) -> float:
        """Share of the time, 0..1, that steps waited for their batch; without the epoch's first steps where it has more."""
        sums, ends, first = self.epoch.waits.sums, self.epoch.ends, WARM_UP if self.counted else 0
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
        """For a log."""
        used = round(self.memory[0] / GIB, 3)
        return {"images_per_second": round(self.images_per_second, 3), "data_wait": round(self.data_wait, 4), "memory_gib": used}
