"""What a training writes to an experiment tracker: settings, figures, losses, learning rates, speed and pictures."""

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from seg.core.errors import ConfigError
from seg.core.scratch import origin
from seg.runtime.speed import Speed
from seg.settings.section import leaves
from seg.training.resume.history import History
from seg.training.settings import TrainingSettings
from seg.training.watch.loggers import TRACKERS, RunLog


class Log(Callback):
    """Writes to one tracker, in rank 0 alone. A tracker that fails is left with a warning: the training goes on.

    scratch: the training's own folder, where the run's name stays while it is interrupted, so that it goes on in the same log.
    """

    def __init__(self, cfg: TrainingSettings, scratch: Path, history: History, speed: Speed) -> None:
        self.cfg, self.scratch, self.history, self.speed = cfg, scratch, history, speed
        self.tracker = TRACKERS[cfg.logger.name]
        self.logger: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        name, settings = self.cfg.logger.name, dict(self.cfg.logger.settings)
        folder = (origin(Path.cwd()) / self.cfg.logger.folder / name).absolute()
        run = self._run(trainer.global_step)
        try:
            self.logger = self.tracker.make(folder, run, settings)
            values = {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in leaves(self.cfg.dump()).items()}
            self.tracker.describe(self.logger, values, f"val_{self.cfg.task.monitor}")
            held = {"run": run.name, name: self.tracker.identity(self.logger)}
            (self.scratch / "log.json").write_text(json.dumps(held), encoding="utf-8")
        except Exception as error:  # of any library, for any setting
            raise ConfigError(f"logger={name}: cannot start: {' '.join(str(error).split())[:500]}") from error
        print(f"logging to {name}, run {run.name}, below {folder}")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.logger is None or (batch_idx + 1) % self.cfg.logger.every:
            return
        losses: dict[str, torch.Tensor] = pl_module.last_losses
        values = torch.stack([value.float() for value in losses.values()]).tolist()
        shown = {f"batch/{name}": value for name, value in zip(losses, values, strict=True)}
        shown |= {f"batch/{name}": value for name, value in self.history.rates.items()}
        self._attempt(lambda: self.logger.log_metrics(shown, trainer.global_step))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.logger is not None:
            self.speed.synchronize()
            row = self.history.rows[-1] | self.speed.figures()
            self._attempt(lambda: self.logger.log_metrics(row, trainer.global_step))
            self._attempt(lambda: self.logger.save())

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Write a picture (H, W, 3) uint8; its name may have slashes."""
        self._attempt(lambda: self.tracker.picture(self.logger, name, picture, step))

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._close(True)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._close(False)

    def _close(self, well: bool) -> None:
        logger = self.logger
        self._attempt(lambda: self.tracker.close(logger, well))
        self.logger = None

    def _attempt(self, act: Any) -> None:
        if self.logger is None:
            return
        try:
            act()
        except Exception as error:  # a service that is down or a full disk must not cost the training
            self.logger = None
            print(f"warning: logger={self.cfg.logger.name}: nothing more is logged: {' '.join(str(error).split())[:500]}", flush=True)

    def _run(self, step: int) -> RunLog:
        """The run of the training that was interrupted, or a new one."""
        path, option = self.scratch / "log.json", self.cfg.logger.name
        held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if step and option in held:
            return RunLog(held["run"], held[option], step)
        return RunLog(f"{self.cfg.model.name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{self.scratch.name[:6]}", None, step)
