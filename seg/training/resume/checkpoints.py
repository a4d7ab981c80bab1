"""Lightning's own checkpoints, from which an interrupted training goes on: at an epoch's end, and within an epoch at the very step.

Random numbers are drawn anew from (seed, epoch, step, rank) in each step, and the order of the images from (seed, epoch), so that
a resume point is two numbers: the epoch and the steps of it that are done."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from seg.core.errors import ConfigError
from seg.core.scratch import VARIABLE
from seg.models.checkpoint import write_whole
from seg.training.private_lightning import epochs_done, has_stopped, set_steps_done
from seg.training.ranks.signals import StopSignals

KEY = "within_epoch"
"""Of what a checkpoint holds beside Lightning's own: the steps that are done, the number of ranks, and the running means."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's own writes to the folder for temporary files first, which may be another disk, and then copies.

    root: the scratch folder, which can be moved to another disk."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        moved = f"move {root} to another disk and set {VARIABLE} to where it lies then"
        self.advice = f"free space, or {moved}; the same command goes on from the last whole checkpoint"

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), checkpoint, self.advice)


class Keep(ModelCheckpoint):
    """A ModelCheckpoint that knows its best file again where the project's folder was moved before an interrupted run went on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_moved(state_dict, str(state_dict["dirpath"]), str(self.dirpath)))


class Patience(EarlyStopping):
    """An EarlyStopping that stays stopped where a run is resumed after it stopped, and before its outputs were written."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if has_stopped(self):
            trainer.should_stop = True


def _moved(value: Any, old: str, new: str) -> Any:
    """The paths in a checkpoint's state, keys too, below the new folder."""
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return new + value[len(old) :] if isinstance(value, str) and (value == old or value.startswith(f"{old}/")) else value


@dataclass(frozen=True)
class ResumePoint:
    """Where a training goes on. epoch: from 0. step: those of the epoch that are done. ranks: None at an epoch's start."""

    epoch: int = 0
    step: int = 0
    ranks: int | None = None

    def check(self, folder: Path, ranks: int) -> None:
        """Raise ConfigError where the epoch was begun on another number of devices, which share its images out differently."""
        if self.ranks not in (None, ranks):
            what = f"trainer.devices: {folder} holds a training that was interrupted within an epoch on {self.ranks} devices, and now there"
            raise ConfigError(f"{what} are {ranks}; go on with {self.ranks}, or remove the folder to train afresh")


def resume_point_of(path: Path) -> ResumePoint:
    """The resume point of a checkpoint of the scratch folder; no tensor is read."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    within = content.get(KEY, {"step": 0, "ranks": None})
    return ResumePoint(epochs_done(content), within["step"], within["ranks"])


class SaveWithin(Callback):
    """Writes `path` every so many minutes of an epoch, and before a signal ends the training. Stands behind all other callbacks, so
    that what they know of a step is in the checkpoint.

    minutes: None: only before a signal ends the training. Validation is not divided: a checkpoint that is written in it starts it anew."""

    def __init__(self, path: Path, minutes: float | None, signals: StopSignals) -> None:
        self.path, self.seconds, self.signals = path, None if minutes is None else minutes * 60, signals
        self.writing: int | None = None  # steps that are done, while a checkpoint within the epoch is written
        self.written = -1  # step of the training in which the last one was

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.monotonic()
        self.signals.training = True
        self.signals.install()  # Lightning's own handler waits for all ranks from within a signal, and they may wait elsewhere

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.training = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.monotonic()  # the epoch before ended with a checkpoint

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._save_or_stop(trainer, pl_module, batch_idx + 1)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.world_size == 1:  # the ranks may validate different numbers of batches, and could not agree
            self._save_or_stop(trainer, pl_module, int(trainer.num_training_batches))

    def _save_or_stop(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> None:
        due, code = self._agreed(trainer, pl_module)
        if (due or code) and self.written != trainer.global_step:
            self.writing = step
            try:
                trainer.save_checkpoint(self.path)
            finally:
                self.writing = None
            self.began, self.written = time.monotonic(), trainer.global_step
        if code:
            if trainer.is_global_zero:
                at = f"epoch {trainer.current_epoch + 1}, after step {step} of {trainer.num_training_batches}"
                print(f"stopped in {at}; the same command goes on from there", file=sys.stderr, flush=True)
            sys.exit(code)

    def _agreed(self, trainer: pl.Trainer, pl_module: Any) -> tuple[bool, int]:
        """(whether it is time, exit code or 0): by the first rank's clock, and a signal to any rank."""
        due = self.seconds is not None and trainer.is_global_zero and time.monotonic() - self.began >= self.seconds
        if trainer.world_size == 1:
            return due, self.signals.code
        any_due, code = pl_module.step.exchange.agreement.largest([int(due), self.signals.code])
        return bool(any_due), code

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self.writing is not None:
            set_steps_done(checkpoint, self.writing)
            checkpoint[KEY] = {"step": self.writing, "ranks": trainer.world_size, "means": pl_module.means.state(trainer)}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if KEY in checkpoint:
            pl_module.means.load(checkpoint[KEY]["means"], trainer.global_rank, trainer.strategy.root_device)
