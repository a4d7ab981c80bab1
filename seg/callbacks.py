"""What happens beside the training: the history of its epochs, and what the console shows of it."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from seg.progress import duration, progress_bar, style_of


def figures_of(trainer: pl.Trainer) -> dict[str, float]:
    """The figures of the epoch that ends; Lightning keeps those of the last validation on in epochs without one."""
    validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    return {name: float(value) for name, value in trainer.callback_metrics.items() if validated or not name.startswith("val_")}


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of each parameter group, "lr", or "lr_<name>" where there are several; 0 while a group is frozen."""
    groups = optimizer.param_groups
    learns = [any(p.requires_grad for p in group["params"]) for group in groups]
    rates = [float(f"{group['lr']:.6g}") if awake else 0.0 for group, awake in zip(groups, learns, strict=True)]
    return {"lr" if len(groups) == 1 else f"lr_{group['name']}": rate for group, rate in zip(groups, rates, strict=True)}


class History(Callback):
    """Every epoch's figures. They live in the checkpoint, so a resumed run has the rows from before it was interrupted."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {name: round(value, 6) for name, value in sorted(figures_of(trainer).items())}
        self.rows.append({"epoch": trainer.current_epoch + 1} | rates_of(trainer.optimizers[0]) | figures)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def write(self, path: Path) -> None:
        """history.csv: a row an epoch; a figure that an epoch lacks is left blank."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(self.rows)


class Console(Callback):
    """A line an epoch, with the time left; in a terminal a bar below it."""

    def __init__(self, progress: str, monitor: str) -> None:
        self.style, self.monitor = style_of(progress), monitor
        self.best = float("-inf")
        self.bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start, self.first_step = time.monotonic(), trainer.global_step
        if self.style == "bar" and trainer.is_global_zero:
            self.bar = progress_bar()
            self.task = self.bar.add_task("steps", total=int(trainer.estimated_stepping_batches), completed=trainer.global_step)
            self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.bar:
            self.bar.update(
                self.task,
                completed=trainer.global_step,
                description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.style == "none" or not trainer.is_global_zero:
            return
        figures = figures_of(trainer)
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"loss {figures['train_loss']:.3f}"]
        key = f"val_{self.monitor}"
        if key in figures:
            value = figures[key]
            parts.append(f"{key} {value:.4f}{' (best)' if value > self.best else ''}")
            self.best = max(self.best, value)
        spent, steps = time.monotonic() - self.start, trainer.global_step - self.first_step
        total = int(trainer.estimated_stepping_batches)
        parts += [duration(spent), f"{duration(spent / max(1, steps) * (total - trainer.global_step))} left"]
        line = "  ".join(parts)
        if self.bar:
            self.bar.console.print(line, highlight=False)
        else:
            print(line, flush=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print("interrupted; the same command goes on from the last finished epoch", file=sys.stderr, flush=True)
        self._close()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class Keep(ModelCheckpoint):
    """A ModelCheckpoint that knows its best file again where the project's folder was moved before an interrupted run went on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_moved(state_dict, str(state_dict["dirpath"]), str(self.dirpath)))


def _moved(value: Any, old: str, new: str) -> Any:
    """The paths in a checkpoint's state, keys too, below the new folder."""
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return new + value[len(old) :] if isinstance(value, str) and (value == old or value.startswith(f"{old}/")) else value
