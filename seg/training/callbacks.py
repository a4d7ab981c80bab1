"""The callbacks of a training, in the order in which they act."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from seg.runtime.console import Console
from seg.runtime.speed import Speed, Starvation
from seg.training.loading.datamodule import SegmentationData
from seg.training.ranks.ranks import Ranks
from seg.training.ranks.signals import StopSignals
from seg.training.resume.checkpoints import Keep, Patience
from seg.training.resume.history import EpochMeans, History, figures_of
from seg.training.resume.outputs import kept_settings
from seg.training.resume.within_epoch import SaveWithin
from seg.training.settings import TrainingSettings
from seg.training.step.averaging import averaging_of
from seg.training.step.limits import Limits
from seg.training.step.threads import StepThreads
from seg.training.watch.guard import Guard
from seg.training.watch.log import Log
from seg.training.watch.pictures import PredictionPictures
from seg.training.watch.study import reporters


def callbacks_of(
    cfg: TrainingSettings, data: SegmentationData, folder: Path, history: History, limits: Limits, signals: StopSignals
) -> list[Callback]:
    """As they act: means that others read, those that watch, those that keep what all know of a step. folder: the scratch folder."""
    key, last = f"val_{cfg.task.monitor}", folder / "last.ckpt"
    patience = cfg.trainer.patience
    keep: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    best = Keep(filename="best", monitor=key, mode="max", every_n_epochs=cfg.trainer.validate_every, **keep)
    speed = Speed()
    watching: list[Callback] = [speed]  # first what measures, then what may end the training, what keeps and logs, what says
    if cfg.runtime.divergence:
        watching.append(Guard(cfg.runtime.divergence, folder, kept_settings(cfg), data.info))
    watching.append(history)
    if cfg.logger.name != "none":
        log = Log(cfg, folder, history, speed)
        watching.append(log)
        if cfg.logger.pictures:
            watching.append(PredictionPictures(cfg.logger.pictures, log, data.info.classes))
    return [
        StepThreads(cfg.runtime.threads),
        EpochMeans(),
        *([Patience(key, patience=patience, mode="max", check_on_train_epoch_end=False)] if patience else []),
        *watching,
        Starvation(cfg.runtime.data_wait, speed),
        Console(cfg.runtime.progress, cfg.task.monitor, speed, figures_of),
        limits,
        *([] if cfg.trainer.overfit else [best, Keep(filename="last", **keep)]),
        *averaging_of(cfg.trainer, cfg.seed, limits),
        *reporters(cfg),
        Ranks(folder.name, last.exists()),
        SaveWithin(last, cfg.runtime.save_minutes, signals),
    ]
