"""`evaluate`: a checkpoint and a split of the prepared data -> metrics.json, per_image.csv, the task's tables, and overlays."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from seg.checkpoint import Checkpoint, LoadedCheckpoint, load, restore
from seg.datamodule import SampleDataset, SegmentationData
from seg.errors import DataError
from seg.evaluation.detail import detail_of
from seg.evaluation.groups import check_columns
from seg.evaluation.tables import resampling_tables
from seg.hardware import choose_precision, device_of
from seg.metrics.base import ImageScore, Metrics
from seg.progress import track
from seg.report.instances import instance_panels
from seg.report.sheets import attention_panels, save_panels, semantic_panels
from seg.report.tables import write_metrics, write_rows
from seg.sample import ClassInfo, Prediction
from seg.schema import Config
from seg.targets import build

T = TypeVar("T")
Predict = Callable[[Tensor], list[Prediction]]
Attend = Callable[[Tensor], dict[str, Tensor]]


def run(cfg: Config, out: Path) -> float:
    """Returns the figure that training monitors."""
    checkpoint = load(Path(cfg.paths.train) / f"{cfg.evaluate.checkpoint}.ckpt", cfg)
    trained, split = checkpoint.typed_config, cfg.evaluate.split
    data = SegmentationData(Path(cfg.paths.prepare), None, None, 1, cfg.evaluate.batch_size, cfg.runtime.workers, 0, trained.task.instances)
    refuse_other_classes(checkpoint, data)
    entries = [entry for _, entry in data.split_dataset(split).rows]
    check_columns(cfg.evaluate.groups, [entry.columns for entry in entries])
    names = [c.name for c in data.info.classes]
    given = {"class_names": names, "score_threshold": cfg.evaluate.score_threshold}
    metrics: Metrics = build(trained.task.metrics, trained.targets.allow, "task.metrics", given)
    (predict, attend), loader = predictor(checkpoint), data.split_dataloader(split)
    detail = detail_of(metrics, names, cfg.evaluate)
    scores: list[ImageScore] = []
    for batch in track(loader, len(loader), f"batches of {split} evaluated", cfg.runtime.progress):
        predictions = predict(batch.images)
        own = metrics.update(batch, predictions)
        scores += [replace(s, figures=s.figures | f) for s, f in zip(own, detail.update(batch, predictions), strict=True)]
    figures = metrics.figures() | detail.figures()
    more = detail.per_class()
    per_class = {name: row | more.get(name, {}) for name, row in metrics.per_class().items()}
    absent = [name for name, row in per_class.items() if all(value != value for value in row.values())]
    summary = figures | {"num_images": len(scores), "num_classes": len(names) - len(absent)}
    write_metrics(out / "metrics.json", {split: summary, "absent_classes": absent, "per_class": per_class})
    write_rows(out / "per_image.csv", [{"image_id": s.image_id, **s.figures} for s in sorted(scores, key=lambda s: s.image_id)])
    for folder in ("tables", "overlays"):
        shutil.rmtree(out / folder, ignore_errors=True)
    tables = metrics.tables() | detail.tables() | resampling_tables(metrics, detail, entries, figures, trained.task.monitor, cfg.evaluate)
    for name, rows in tables.items():
        write_rows(out / "tables" / f"{name}.csv", rows)
    chosen = choose(scores, cfg.evaluate.num_overlays)
    save_overlays(out / "overlays", predict, attend, data.split_dataset(split), data.info.classes, chosen, cfg.evaluate.score_threshold)
    limits = {row["figure"]: f" ({row['low']:.4f} to {row['high']:.4f})" for row in tables["figures"] if row["low"] == row["low"]}
    shown = "  ".join(f"{name} {value:.4f}{limits.get(name, '')}" for name, value in figures.items())
    print(f"{split}: {shown}  ({len(scores)} images, checkpoint of epoch {checkpoint.epoch})")
    return figures[trained.task.monitor]


def predictor(checkpoint: LoadedCheckpoint) -> tuple[Predict, Attend]:
    """Images (B, C, H, W) uint8 -> predictions, and attention maps, on the device and in the precision of the training."""
    trainer = checkpoint.typed_config.trainer
    device = device_of(trainer.accelerator)
    precision = choose_precision(trainer.precision, device)
    kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
    model = restore(checkpoint).to(device)
    if trainer.channels_last:
        model = model.to(memory_format=torch.channels_last)

    def there(call: Callable[[Tensor], T]) -> Callable[[Tensor], T]:
        def apply(images: Tensor) -> T:
            with torch.autocast(device.type, kind, enabled=precision != "32-true"):
                return call(images.to(device))

        return apply

    return there(model.predict), there(model.attention_maps)


def refuse_other_classes(checkpoint: Checkpoint, data: SegmentationData) -> None:
    """Raise DataError where the checkpoint was trained on other classes or channels than the data has."""
    trained, here = (", ".join(c.name for c in info.classes) for info in (checkpoint.data, data.info))
    if trained != here:
        raise DataError(
            f"{data.prepared}: has the classes {here}, but the checkpoint was trained on {trained}; train again, or set paths.prepare"
        )
    if (channels := checkpoint.data.channels) != data.info.channels:
        raise DataError(f"{data.prepared}: has {data.info.channels} channels, but the checkpoint was trained on {channels}; train again")


def choose(scores: list[ImageScore], count: int) -> list[tuple[str, ImageScore]]:
    """The worst, median and best images, `count` of each; none twice."""
    ordered = sorted((s for s in scores if s.score == s.score), key=lambda s: (s.score, s.image_id))
    middle = max(0, len(ordered) // 2 - count // 2)
    picked = [("worst", s) for s in ordered[:count]] + [("median", s) for s in ordered[middle : middle + count]]
    picked += [("best", s) for s in reversed(ordered[max(0, len(ordered) - count) :])]
    seen: set[str] = set()
    unique = []
    for kind, score in picked:
        if score.image_id not in seen:
            seen.add(score.image_id)
            unique.append((kind, score))
    return unique


def save_overlays(
    folder: Path,
    predict: Predict,
    attend: Attend,
    dataset: SampleDataset,
    classes: list[ClassInfo],
    chosen: list[tuple[str, ImageScore]],
    score_threshold: float,
) -> None:
    """Pictures of the chosen images, as <kind>_<rank>_<image_id>.png."""
    folder.mkdir(parents=True, exist_ok=True)
    index_of = {entry.image_id: index for index, (_, entry) in enumerate(dataset.rows)}
    ranks: dict[str, int] = {}
    for kind, score in chosen:
        ranks[kind] = ranks.get(kind, 0) + 1
        sample = dataset[(index_of[score.image_id], 0)]
        image = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
        predicted = predict(image)[0]
        if predicted.semantic is not None:
            panels = semantic_panels(sample.image, sample.semantic, predicted.semantic, classes)
            shown = set(np.unique(sample.semantic)) | set(np.unique(predicted.semantic))
        else:
            panels = instance_panels(sample, predicted, classes, score_threshold)
            shown = {*sample.categories, *predicted.categories[predicted.scores >= score_threshold]}
        panels += attention_panels(sample.image, {name: values[0].cpu().numpy() for name, values in attend(image).items()})
        title = f"{kind} {ranks[kind]}: {score.image_id}, {score.by} {score.score:.3f}"
        path = folder / f"{kind}_{ranks[kind]}_{score.image_id.replace('/', '__')}.png"
        save_panels(path, title, panels, [c for i, c in enumerate(classes) if i in shown])
