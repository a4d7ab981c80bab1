"""What the console shows of a training."""

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg.runtime.progress import duration, step_bar, style_of
from seg.runtime.speed import GIB, Speed


class Console(Callback):
    """A line an epoch, with the time left, speed and memory; in a terminal a bar below it. figures_of: those of the epoch that ends."""

    def __init__(self, progress: str, monitor: str, speed: Speed, figures_of: Callable[[pl.Trainer], dict[str, float]]) -> None:
        self.style, self.monitor, self.speed, self.figures_of = style_of(progress), monitor, speed, figures_of
        self.best = float("-inf")
        self.bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start, self.first_step = time.monotonic(), trainer.global_step
        if self.style == "bar" and trainer.is_global_zero:
            self.bar = step_bar()
            self.task = self.bar.add_task(
                "training", total=int(trainer.estimated_stepping_batches), completed=trainer.global_step, step="", speed=""
            )
            self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar:
            self.bar.update(
                self.task,
                completed=trainer.global_step,
                description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
                step=f"step {batch_idx + 1}/{trainer.num_training_batches}",
                speed="  ".join(pace(self.speed, total=True)),
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.style == "none" or not trainer.is_global_zero:
            return
        figures = self.figures_of(trainer)
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"loss {figures['train_loss']:.3f}"]
        key = f"val_{self.monitor}"
        if key in figures:
            value = figures[key]
            parts.append(f"{key} {value:.4f}{' (best)' if value > self.best else ''}")
            self.best = max(self.best, value)
        spent, steps = time.monotonic() - self.start, trainer.global_step - self.first_step
        total = int(trainer.estimated_stepping_batches)
        parts += [duration(spent), f"{duration(spent / max(1, steps) * (total - trainer.global_step))} left"]
        self.speed.synchronize()
        line = "  ".join(parts + pace(self.speed))
        if self.bar:
            self.bar.console.print(line, highlight=False)
        else:
            print(line, flush=True)

    def on_train_end(self, *_: Any) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None

    def on_exception(self, *_: Any) -> None:
        self.on_train_end()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def pace(speed: Speed, total: bool = False) -> list[str]:
    """["412 images/s", "data 3 %", "1.3 GiB"]: the last but one is the time that steps wait for data; total: with the memory there is."""
    rate, (used, there) = speed.images_per_second, speed.memory
    rates = f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
    memory = f"{used / GIB:.1f}/{there / GIB:.0f} GiB" if total else f"{used / GIB:.1f} GiB"
    return [f"{rates} images/s", f"data {100 * speed.data_wait:.0f} %", memory]
