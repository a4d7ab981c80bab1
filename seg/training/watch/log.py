"""What a training writes to an experiment tracker: settings, figures, losses, learning rates, speed and pictures; and the loggers of the
trackers, as the configuration's section `logger` asks for them. Nothing leaves the machine by default."""

import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger as LightningLogger

from seg.core.errors import ConfigError
from seg.core.scratch import origin
from seg.runtime.speed import Speed
from seg.settings.section import leaves
from seg.training.resume.history import History
from seg.training.settings import TrainingSettings

Settings = dict[str, Any]
STEP = "trainer/global_step"  # under which Lightning's logger for W&B logs the step


@dataclass(frozen=True)
class RunLog:
    """One training's log.

    name: of the run. known: the service's own name of a run that goes on. first_step: at which the run starts or goes on."""

    name: str
    known: str | None
    first_step: int


@dataclass(frozen=True)
class Tracker:
    """package: that it needs. make: (folder, run, settings) -> its Lightning logger. identity: what `known` is to hold of it.

    picture: (logger, name, picture, step) writes one (H, W, 3) uint8. describe: (logger, settings of the whole training by key, the figure
    that matters) writes the settings. close: ends it; the argument says whether the training went well."""

    package: str
    make: Callable[[Path, RunLog, Settings], LightningLogger]
    identity: Callable[[Any], str]
    picture: Callable[[Any, str, np.ndarray, int], None]
    describe: Callable[[Any, Settings, str], None] = lambda logger, settings, _: logger.log_hyperparams(settings)
    close: Callable[[Any, bool], None] = lambda logger, well: logger.finalize("success" if well else "failed")


def _tensorboard(folder: Path, run: RunLog, settings: Settings) -> LightningLogger:
    from lightning.pytorch.loggers import TensorBoardLogger

    # what a former process logged beyond its last checkpoint
    purge: Settings = {} if run.known is None else {"purge_step": run.first_step + 1}
    return TensorBoardLogger(folder, name=run.name, version="", default_hp_metric=False, **purge, **settings)


def _describe_tensorboard(logger: Any, settings: Settings, figure: str) -> None:
    """For its table of runs, which shows the figure's last value, and as a file."""
    from torch.utils.tensorboard.summary import hparams

    logger.log_hyperparams(settings)
    logger.save()
    for summary in hparams(settings, {figure: 0}):
        logger.experiment.file_writer.add_summary(summary)


def _mlflow(folder: Path, run: RunLog, settings: Settings) -> LightningLogger:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from lightning.pytorch.loggers import MLFlowLogger

    folder.mkdir(parents=True, exist_ok=True)
    uri = settings.pop("tracking_uri", None) or os.environ.get("MLFLOW_TRACKING_URI")
    local: Settings = {} if uri else {"artifact_location": (folder / "artifacts").as_uri()}
    return MLFlowLogger(run_name=run.name, run_id=run.known, tracking_uri=uri or f"sqlite:///{folder / 'mlflow.db'}", **local | settings)


def _wandb(folder: Path, run: RunLog, settings: Settings) -> LightningLogger:
    mode = settings.pop("mode", None) or os.environ.get("WANDB_MODE") or "offline"
    if mode != "online":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    folder.parent.mkdir(parents=True, exist_ok=True)
    named: Settings = {"name": run.name, "id": run.name, "dir": folder.parent}  # in which W&B makes a folder `wandb`
    named |= {"resume": "allow"} if mode == "online" else {}
    experiment = wandb.init(**named | {"mode": mode, "settings": wandb.Settings(console="off", silent=True)} | settings)
    experiment.define_metric(STEP)
    experiment.define_metric("*", step_metric=STEP, step_sync=True)
    return WandbLogger(experiment=experiment)


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker(
        "tensorboard",
        _tensorboard,
        lambda logger: str(logger.name),
        lambda logger, name, picture, step: logger.experiment.add_image(name, picture, step, dataformats="HWC"),
        _describe_tensorboard,
    ),
    "mlflow": Tracker(
        "mlflow",
        _mlflow,
        lambda logger: str(logger.run_id),
        lambda logger, name, picture, step: logger.experiment.log_image(logger.run_id, picture, key=name, step=step, synchronous=True),
    ),
    "wandb": Tracker(
        "wandb",
        _wandb,
        lambda logger: str(logger.experiment.id),
        lambda logger, name, picture, step: logger.log_image(name, [picture], step),
        close=lambda logger, well: logger.experiment.finish(exit_code=0 if well else 1),
    ),
}


def check_installed(name: str) -> None:
    """Raise ConfigError where the package of a logger is missing."""
    tracker = TRACKERS.get(name)
    if tracker and importlib.util.find_spec(tracker.package) is None:
        raise ConfigError(f"logger={name}: needs the package {tracker.package}, which is not installed; pip install -e '.[{name}]'")


class Log(Callback):
    """Writes to one tracker, in rank 0 alone. A tracker that fails is left with a warning: the training goes on.

    scratch: the training's own folder, where the run's name stays while it is interrupted, so that it goes on in the same log."""

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
