"""Predictions of a few validation images, drawn while a network learns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback
from pycocotools import mask as coco_mask

from seg.data.labelmaps import boxes_of, decode, fill_boxes, layers_from_masks
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.loading.batch import collate
from seg.pictures.draw import outlined_at, overlay, resized
from seg.training.settings import Pictures
from seg.training.step.limits import predict
from seg.training.watch.log import Log

LEAST, MOST = 256, 512  # pixels of the longer side of each of the three pictures, to which others are enlarged or shrunk
GAP = 6


class PredictionPictures(Callback):
    """Every so many epochs, at the validation that follows: image, truth and prediction side by side, to the log.

    They are the same images each time, spread over the validation split. All devices predict, as some strategies need them all.
    """

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

    Of instances, those that score `score_threshold` or more.
    """
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
