"""`evaluate`: a checkpoint and a split of the prepared data -> figures, tables, predictions, pictures, and a page of it all."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg.core.errors import DataError, plural
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.evaluation.bootstrap import few_images
from seg.evaluation.detail import Tables, detail_of
from seg.evaluation.groups import check_columns, resampling_tables
from seg.evaluation.predictions import StoredPredictions, read_predictions, write_predictions
from seg.evaluation.record import Run, write_run
from seg.evaluation.settings import Evaluate
from seg.loading.dataset import PreparedData, SampleDataset
from seg.metrics.base import ImageScore, Metrics
from seg.models.checkpoint import Checkpoint, LoadedCheckpoint, load
from seg.models.known import METRICS, check_file_target
from seg.pictures.sheets import attention_panels, save_panels, semantic_panels
from seg.predict.network import CheckpointNetwork, facts_of
from seg.report.evaluation_page import write_evaluation
from seg.report.page_of_evaluation import Chosen, Evaluated, choose, page_of
from seg.report.panels import instance_panels
from seg.report.tables import write_metrics, write_rows
from seg.runtime.progress import track
from seg.runtime.settings import Paths, Runtime
from seg.settings.section import Sections, Targets
from seg.settings.targets import build
from seg.tiles.tiled import in_window

MADE = ("data",)
"""Sections that must be those that earlier stages ran with."""


class Settings(Sections):
    """What the stage reads."""

    evaluate: Evaluate
    paths: Paths
    runtime: Runtime
    targets: Targets


def run(cfg: Settings, out: Path) -> float:
    """Returns the figure that training monitors."""
    checkpoint = load(Path(cfg.paths.train) / f"{cfg.evaluate.checkpoint}.ckpt", cfg.targets.allow)
    trained, split, facts = checkpoint.settings, cfg.evaluate.split, facts_of(checkpoint)
    threshold = facts.threshold(cfg.evaluate.score_threshold)
    settings = cfg.evaluate.model_copy(update={"score_threshold": threshold})
    with_instances = trained.task.instances
    data = PreparedData(Path(cfg.paths.prepare), settings.batch_size, cfg.runtime.workers, with_instances, trained.model.window)
    refuse_other_classes(checkpoint, data)
    dataset = data.split_dataset(split)
    entries = [entry for _, entry in dataset.rows]
    check_columns(settings.groups, [entry.columns for entry in entries])
    names = [c.name for c in data.info.classes]
    given = {"class_names": names, "score_threshold": threshold}
    check_file_target(trained.task.metrics, trained.targets.allow, "task.metrics", METRICS, object)
    metrics: Metrics = build(trained.task.metrics, trained.targets.allow, "task.metrics", given)
    network = CheckpointNetwork(checkpoint, cfg.runtime.device, threads=cfg.runtime.threads)
    loader = data.split_dataloader(split, network.device.type == "cuda")
    seen = in_window(network, settings.batch_size)
    detail = detail_of(metrics, names, settings, {entry.image_id: entry.pixel_size for entry in entries})
    by_id = {entry.image_id: entry for entry in entries}
    scores: list[ImageScore] = []
    with write_predictions(out / "predictions", entries, with_instances) as kept:
        for batch in track(loader, len(loader), f"batches of {split} evaluated", cfg.runtime.progress):
            predictions = facts.finished(seen.predict(batch.images))
            own = metrics.update(batch, predictions)
            scores += [replace(s, figures=s.figures | f) for s, f in zip(own, detail.update(batch, predictions), strict=True)]
            for image_id, prediction in zip(batch.image_ids, predictions, strict=True):
                kept.add(by_id[image_id], prediction)
    scores.sort(key=lambda s: s.image_id)
    figures = metrics.figures() | detail.figures()
    more = detail.per_class()
    per_class = {name: row | more.get(name, {}) for name, row in metrics.per_class().items()}
    absent = [name for name, row in per_class.items() if all(value != value for value in row.values())]
    summary = figures | {"num_images": len(scores), "num_classes": len(names) - len(absent)}
    write_metrics(out / "metrics.json", {split: summary, "absent_classes": absent})
    tables: Tables = {**metrics.tables(), **detail.tables()}
    tables |= resampling_tables(metrics, detail, entries, figures, trained.task.monitor, settings)
    tables["per_class"] = [{"class": name, **row} for name, row in per_class.items()]
    write_rows(out / "per_image.csv", [{"image_id": s.image_id, **s.figures} for s in scores])
    for folder in ("tables", "overlays"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name, rows in tables.items():
        write_rows(out / "tables" / f"{name}.csv", rows)
    found = read_predictions(out / "predictions", entries, with_instances)
    chosen = choose(scores, settings.num_overlays)
    save_overlays(out / "overlays", found, network, dataset, data.info.classes, chosen, threshold)
    record = run_of(checkpoint, settings, data.info)
    write_run(out / "evaluation.json", record)
    evaluated = Evaluated(record, data.info, dataset, found, metrics, per_class, scores, tables, settings, threshold)
    page = page_of(evaluated, Path(cfg.paths.train) / "history.csv", Path(cfg.paths.augment) / "preview.png")
    write_evaluation(out / "report.html", page)
    print_figures(split, tables["figures"])
    if warned := few_images(len(scores)):
        print(f"{split}: {warned}")
    print(f"{plural(len(scores), 'image')}, checkpoint of epoch {checkpoint.epoch}; see {out / 'report.html'}")
    return figures[trained.task.monitor]


def print_figures(split: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a figure, with its interval where it has one."""
    width = max(len(row["figure"]) for row in rows)
    for row in rows:
        limits = f"  ({row['low']:.4f} to {row['high']:.4f})" if row["low"] == row["low"] else ""
        value = f"{row['value']:.4f}" if row["value"] == row["value"] else "undefined"
        print(f"{split}: {row['figure']:<{width}}  {value}{limits}")


def run_of(checkpoint: LoadedCheckpoint, own: Evaluate, info: DatasetInfo) -> Run:
    """The record of an evaluation with these settings."""
    left_out = ("targets", "paths", "runtime", "plots", "overrides", "code", "planned")  # of the machine, the page or the package
    settings = {key: value for key, value in checkpoint.config.items() if key not in left_out}
    settings["evaluate"] = own.model_dump(mode="json", by_alias=True)
    task = checkpoint.settings.task
    classes = [c.name for c in info.classes]
    planned = {key: str(reason) for key, reason in (checkpoint.config.get("planned") or {}).items()}
    data = (info.name, info.digest, own.split)
    return Run(task.name, task.monitor, *data, classes, checkpoint.epoch, settings, planned, checkpoint.choice)


def refuse_other_classes(checkpoint: Checkpoint, data: PreparedData) -> None:
    """Raise DataError where the checkpoint was trained on other classes or channels than the data has."""
    trained, here = (", ".join(c.name for c in info.classes) for info in (checkpoint.data, data.info))
    if trained != here:
        raise DataError(
            f"{data.prepared}: has the classes {here}, but the checkpoint was trained on {trained}; train again, or set paths.prepare"
        )
    if (channels := checkpoint.data.channels) != data.info.channels:
        raise DataError(f"{data.prepared}: has {data.info.channels} channels, but the checkpoint was trained on {channels}; train again")


def save_overlays(
    folder: Path,
    predictions: StoredPredictions,
    network: CheckpointNetwork,
    dataset: SampleDataset,
    classes: list[ClassInfo],
    chosen: Chosen,
    score_threshold: float,
) -> None:
    """Pictures of the chosen images, as <kind>_<rank>_<image_id>.png."""
    folder.mkdir(parents=True, exist_ok=True)
    index_of = {entry.image_id: index for index, (_, entry) in enumerate(dataset.rows)}
    ranks: dict[str, int] = {}
    for kind, score in chosen:
        ranks[kind] = ranks.get(kind, 0) + 1
        place = index_of[score.image_id]
        sample, predicted = dataset.read(place), predictions.read(dataset.rows[place][1])
        image = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
        if predicted.semantic is not None:
            panels = semantic_panels(sample.image, sample.semantic, predicted.semantic, classes)
            shown = set(np.unique(sample.semantic)) | set(np.unique(predicted.semantic))
        else:
            panels = instance_panels(sample, predicted, classes, score_threshold)
            shown = {*sample.categories, *predicted.categories[predicted.scores >= score_threshold]}
        panels += attention_panels(sample.image, {name: values[0].cpu().numpy() for name, values in network.attention_maps(image).items()})
        title = f"{kind} {ranks[kind]}: {score.image_id}, {score.by} {score.score:.3f}"
        path = folder / f"{kind}_{ranks[kind]}_{score.image_id.replace('/', '__')}.png"
        save_panels(path, title, panels, [c for i, c in enumerate(classes) if i in shown])
