"""The callbacks of a training, in the order in which they act; and predictions of a few validation images, drawn while a network learns."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback
from pycocotools import mask as coco_mask

from seg.core.environment import num_cores
from seg.data.labelmaps import boxes_of, decode, fill_boxes, layers_from_masks
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.loading.batch import Batch, collate
from seg.loading.dataset import RankPlacement
from seg.pictures.draw import outlined_at, overlay, resized
from seg.runtime.console import Console
from seg.runtime.speed import Speed, Starvation
from seg.runtime.threads import Neighbours, Threads, numbers_of, tell
from seg.training.loading.datamodule import SegmentationData
from seg.training.ranks.ranks import Ranks
from seg.training.ranks.signals import StopSignals
from seg.training.resume.checkpoints import Keep, Patience, SaveWithin
from seg.training.resume.history import EpochMeans, History, figures_of
from seg.training.settings import Pictures, TrainingSettings, kept_settings
from seg.training.step.averaging import averaging_of
from seg.training.step.limits import Limits, predict
from seg.training.watch.guard import Guard
from seg.training.watch.log import Log
from seg.training.watch.study import reporters

LEAST, MOST = 256, 512  # pixels of the longer side of each of the three pictures, to which others are enlarged or shrunk
GAP = 6


def callbacks_of(
    cfg: TrainingSettings, data: SegmentationData, folder: Path, history: History, limits: Limits, signals: StopSignals
) -> list[Callback]:
    """First the means that others read, then those that watch, then those that keep what all know of a step.

    folder: the scratch folder, which is named by the training's settings, data and code."""
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


class StepThreads(Callback):
    """Times the steps of a training on the CPU, and logs the mean number of threads of each epoch's steps. Stands before all callbacks
    that others read at an epoch's end.

    setting: `runtime.threads`. All ranks have the same number at any time: each waits for the slowest."""

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


class PredictionPictures(Callback):
    """Every so many epochs, at the validation that follows: image, truth and prediction side by side, to the log.

    They are the same images each time, spread over the validation split. All devices predict, as some strategies need them all."""

    def __init__(self, settings: Pictures, writer: Log, classes: Sequence[ClassInfo]) -> None:
        self.settings, self.writer, self.classes = settings, writer, classes

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch, between = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
        if epoch // self.settings.every == (epoch - between) // self.settings.every and epoch != trainer.max_epochs:
            return
        loader: Any = trainer.val_dataloaders
        for index in spread(len(loader.dataset), self.settings.images):
            sample = loader.dataset.read(index)
            with trainer.precision_plugin.forward_context():
                prediction = predict(pl_module.model, collate([sample]).images, pl_module.limits, pl_module.device)[0]
            if trainer.is_global_zero:
                picture = side_by_side(sample, prediction, self.classes, self.settings.score_threshold)
                self.writer.picture(f"predictions/{sample.image_id.replace('/', '_')}", picture, trainer.global_step)


def spread(there: int, wanted: int) -> list[int]:
    """`wanted` places of 0 .. there - 1, evenly spread, or all."""
    count = min(there, wanted)
    return [(2 * i + 1) * there // (2 * count) for i in range(count)]


def side_by_side(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], score_threshold: float) -> np.ndarray:
    """Image, truth and prediction (H, W, 3) uint8: classes as colours over the image, or the instances' outlines.

    Of instances, those that score `score_threshold` or more."""
    side = min(MOST, max(LEAST, *sample.size))
    if prediction.semantic is not None:
        maps = (sample.semantic, prediction.semantic)
        parts = [resized(sample.image, side), *(resized(overlay(sample.image, m, classes, 0.6), side) for m in maps)]
    else:
        found = _predicted(sample, prediction, score_threshold)
        if prediction.boxed:
            rectangles = fill_boxes(boxes_of(sample.instances, len(sample.categories)), *sample.size)
            sample = replace(sample, instances=decode(rectangles, *sample.size))
        parts = [resized(sample.image, MOST), *(outlined_at(said, MOST) for said in (sample, found))]
    gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([parts[0], gap, parts[1], gap, parts[2]])


def _predicted(sample: Sample, prediction: Prediction, score_threshold: float) -> Sample:
    kept = np.flatnonzero(prediction.scores >= score_threshold)
    layers = layers_from_masks((coco_mask.decode(prediction.masks[i]) for i in kept), *sample.size)
    return Sample(sample.image_id, sample.image, sample.semantic, layers, prediction.categories[kept], np.zeros(len(kept), bool))
