"""Evaluations without a network: predictions that differ from the truth by so much, stored as `evaluate` stores them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from seg.configure.config import Config
from seg.data.labelmaps import encode
from seg.data.sample import Prediction, Sample
from seg.data.store import read_annotations, read_entries, read_info, read_sample
from seg.evaluation.predictions import write_predictions
from seg.evaluation.record import Run, write_run

Guess = Callable[[Sample], Prediction]
"""What a made-up model says of a sample."""


def samples_of(prepared: Path, split: str = "test") -> list[Sample]:
    """A split as it is stored, with its instances."""
    folder, info = prepared / split, read_info(prepared)
    annotations = read_annotations(folder)
    return [read_sample(folder, entry, info.channels, annotations.get(entry.file, ())) for entry in read_entries(folder)]


def write_evaluation(folder: Path, prepared: Path, config: Config, guess: Guess, split: str = "test", **changed: object) -> Path:
    """What an evaluation leaves in `folder` that a comparison reads. changed: of the record."""
    info, entries = read_info(prepared), read_entries(prepared / split)
    folder.mkdir(parents=True)
    with write_predictions(folder / "predictions", entries, config.task.answer) as predictions:
        for entry, sample in zip(entries, samples_of(prepared, split), strict=True):
            predictions.add(entry, guess(sample))
    facts = {"task": config.task.name, "monitor": config.task.monitor, "data": info.name, "digest": info.digest, "split": split}
    names, settings = [c.name for c in info.classes], config.model_dump(mode="json", by_alias=True)
    write_run(folder / "evaluation.json", Run(**{**facts, "classes": names, "epoch": 3, "settings": settings, **changed}))  # type: ignore[arg-type]
    return folder


def blurred(share: float, seed: int, num_classes: int) -> Guess:
    """A class map that is wrong in so many blocks of the image, which depend on image and seed alone."""

    def guess(sample: Sample) -> Prediction:
        rng = np.random.default_rng([seed, *sample.image_id.encode()])
        said = np.where(sample.semantic == 255, 0, sample.semantic).astype(np.uint8)
        for top in range(0, said.shape[0], 6):
            for left in range(0, said.shape[1], 6):
                if rng.random() < share:
                    said[top : top + 6, left : left + 6] = rng.integers(num_classes)
        return Prediction(said)

    return guess


def moved(share: float, seed: int) -> Guess:
    """Instances of which so many are missed, some of a wrong class or doubled, and some moved by a pixel or two."""

    def guess(sample: Sample) -> Prediction:
        rng = np.random.default_rng([seed, *sample.image_id.encode()])
        ids = np.roll(sample.instances, tuple(rng.integers(-1, 2, 2)), (0, 1))
        rles, masks, scores, categories = encode(ids, len(sample.categories)), [], [], []
        for rle, category, crowd in zip(rles, sample.categories, sample.crowd, strict=True):
            if crowd or rng.random() < share:
                continue
            masks.append(rle)
            scores.append(float(rng.uniform(0.3, 1)))
            categories.append(int(category))
        order = np.argsort(-np.array(scores, np.float32), kind="stable").tolist()
        if masks:
            from pycocotools import mask as coco_mask

            boxes = np.asarray(coco_mask.toBbox(masks))[order].astype(np.float32)
            boxes[:, 2:] += boxes[:, :2]
        else:
            boxes = np.zeros((0, 4), np.float32)
        return Prediction(
            scores=np.array(scores, np.float32)[order],
            categories=np.array(categories, np.int32)[order],
            boxes=boxes,
            masks=[masks[i] for i in order],
        )

    return guess
