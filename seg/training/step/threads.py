"""The number of threads that a training computes with: what `seg.runtime.threads` chooses by the times of its steps."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg.core.environment import num_cores
from seg.loading.batch import Batch
from seg.loading.dataset import RankPlacement
from seg.runtime.threads import Neighbours, Threads, numbers_of, tell


class StepThreads(Callback):
    """Times the steps on a CPU, and logs each epoch's mean number of threads, the same in all ranks. setting: `runtime.threads`."""

    def __init__(self, setting: int | str) -> None:
        self.setting = setting
        self.threads: Threads | None = None
        self.known: dict[str, Any] = {}  # of a training that goes on
        self.steps, self.sum = 0, 0  # of the epoch so far, and the threads of all these

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.on_cpu, self.ranks = trainer.strategy.root_device.type == "cpu", RankPlacement.of(trainer).local_ranks
        self.numbers = numbers_of(self.setting, self.ranks)
        if not self.on_cpu:
            self.numbers = self.numbers[-1:]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        agreement = pl_module.step.exchange.agreement
        fewest = -agreement.largest([-self.numbers[-1]])[0]  # of all machines
        numbers = [n for n in self.numbers if n <= fewest] or [fewest]
        free = Neighbours().free if len(numbers) > 1 and trainer.world_size == 1 else num_cores
        self.threads = Threads(numbers, free, say=tell if trainer.is_global_zero else lambda _: None, state=self.known)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.steps, self.sum = 0, 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        assert self.threads is not None
        self.steps, self.sum = self.steps + 1, self.sum + self.threads.number
        if len(self.threads.numbers) == 1:
            return
        seconds, work = time.perf_counter() - self.began, batch.images.shape.numel()
        if trainer.world_size > 1:
            micros, work = pl_module.step.exchange.agreement.largest([round(seconds * 1e6), work])
            seconds = micros / 1e6
        self.threads.took(seconds, work)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.on_cpu and self.steps:
            pl_module.log("threads", self.sum / self.steps)

    def state_dict(self) -> dict[str, Any]:
        return (self.threads.state_dict() if self.threads else self.known) | {"steps": self.steps, "sum": self.sum}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.known, self.steps, self.sum = state_dict, state_dict["steps"], state_dict["sum"]
