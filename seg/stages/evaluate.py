"""`evaluate`: a checkpoint and a split of the prepared data -> figures, tables, predictions, pictures, and a page of it all."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg.core.errors import ConfigError, plural
from seg.core.urls import on_disk, place_of
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo, ManifestEntry, images_of_tiles
from seg.evaluation.detail import Tables, check_columns, detail_of, resampling_tables
from seg.evaluation.predictions import StoredPredictions, read_predictions, write_predictions
from seg.evaluation.record import Run, write_run
from seg.evaluation.settings import Evaluate
from seg.explain.subject import check_captum
from seg.loading.batch import Batch
from seg.loading.dataset import PreparedData, SampleDataset
from seg.metrics.base import ImageScore, metrics_of
from seg.metrics.bootstrap import few_images
from seg.models.base import SegmentationModel
from seg.models.checkpoint import LoadedCheckpoint, load
from seg.models.hardware import device_of
from seg.models.known import METRICS, check_file_target
from seg.models.postprocess import NO_CHOICE
from seg.pictures.sheets import attention_panels, save_panels, semantic_panels
from seg.report.evaluation_page import write_evaluation
from seg.report.model_card import write_card
from seg.report.page_data import Misled
from seg.report.page_of_evaluation import Chosen, Evaluated, choose, page_of
from seg.report.panels import instance_panels
from seg.report.tables import write_metrics, write_rows
from seg.runtime.progress import track
from seg.runtime.settings import Paths, Runtime
from seg.settings.section import Sections, Targets
from seg.tiles.checkpoint import CheckpointNetwork
from seg.tiles.network import Network
from seg.tiles.tiled import in_window


class Settings(Sections):
    MADE = ("data",)
    evaluate: Evaluate
    paths: Paths
    runtime: Runtime
    targets: Targets


@dataclass(frozen=True, slots=True)
class Part:
    """A split of prepared data, and the network that says what is in its images. checkpoints: of which it is made. columns: what is known
    of all images of the part, beside what the data set's own table says of each."""

    checkpoints: Sequence[LoadedCheckpoint]
    network: Network
    data: PreparedData
    split: str
    columns: Mapping[str, str] = field(default_factory=dict)


def run(cfg: Settings, out: Path) -> float:
    """Returns the figure that training monitors."""
    trained = on_disk(cfg.paths.train)
    checkpoint = load(trained / f"{cfg.evaluate.checkpoint}.ckpt", cfg.targets.allow)
    data = prepared_for(checkpoint, place_of(cfg.paths.prepare), cfg)
    part = Part([checkpoint], CheckpointNetwork(checkpoint, cfg.runtime.device, threads=cfg.runtime.threads), data, cfg.evaluate.split)
    figures = evaluate([part], cfg, out, cfg.evaluate.split, data.info, trained / "history.csv")
    return figures[checkpoint.settings.task.monitor]


def prepared_for(checkpoint: LoadedCheckpoint, prepared: Path, cfg: Settings) -> PreparedData:
    """The prepared data as batches for the model of a checkpoint."""
    trained = checkpoint.settings
    task, window = trained.task, trained.model.window
    data = PreparedData(prepared, cfg.evaluate.batch_size, cfg.runtime.workers, task.instances, window, task.stuff)
    data.refuse_others(checkpoint.data)
    return data


def evaluate(parts: Sequence[Part], cfg: Settings, out: Path, split: str, info: DatasetInfo, history: Path | None) -> dict[str, float]:
    """Score all parts as one data set, and write everything that there is to say of it. Returns its figures.

    split: what the images are called together. info: of the data set that they are of. history: of the one training there was."""
    checkpoint, threshold = parts[0].checkpoints[0], parts[0].network.facts.threshold(cfg.evaluate.score_threshold)
    settings = cfg.evaluate.model_copy(update={"score_threshold": threshold})
    trained, answer = checkpoint.settings, checkpoint.settings.task.answer
    if settings.explained:
        check_explained(parts)
    folders = [part.data.prepared / part.split for part in parts]
    dataset = SampleDataset(folders, info.channels, trained.task.instances, parts[0].data.things)
    entries, network_of = list[ManifestEntry](), dict[str, Network]()
    for part in parts:
        listed = [entry for _, entry in part.data.split_dataset(part.split).rows]
        entries += [replace(entry, columns={**entry.columns, **part.columns}) for entry in listed]
        network_of |= dict.fromkeys((entry.image_id for entry in listed), part.network)
    check_columns(settings.groups, [entry.columns for entry in entries])
    names = [c.name for c in info.classes]
    check_file_target(trained.task.metrics, trained.targets.allow, "task.metrics", METRICS, object)
    metrics = metrics_of(trained.task, trained.targets.allow, info, score_threshold=threshold)
    detail = detail_of(metrics, names, settings, {entry.image_id: entry.pixel_size for entry in entries})
    by_id = {entry.image_id: entry for entry in entries}
    on_gpu = device_of(cfg.runtime.device or trained.trainer.accelerator).type == "cuda"
    scores: list[ImageScore] = []
    with write_predictions(out / "predictions", entries, answer) as kept:
        for batch, seen in track(*batches_of(parts, settings.batch_size, on_gpu), f"batches of {split} evaluated", cfg.runtime.progress):
            predictions = seen.facts.finished(seen.predict(batch.images))
            own = metrics.update(batch, predictions)
            scores += [replace(s, figures=s.figures | f) for s, f in zip(own, detail.update(batch, predictions), strict=True)]
            for image_id, prediction in zip(batch.image_ids, predictions, strict=True):
                kept.add(by_id[image_id], prediction)
    scores.sort(key=lambda s: s.image_id)
    images = list(scores)
    if len(tiles := images_of_tiles(entries)) < len(scores):
        whole = {name: metrics.score(name, its) for name, its in tiles.items()}
        images = [replace(s, figures=s.figures | detail.score(tiles[s.image_id])) for _, s in sorted(whole.items())]
    figures = metrics.figures() | detail.figures()
    more = detail.per_class()
    per_class = {name: row | more.get(name, {}) for name, row in metrics.per_class().items()}
    absent = [name for name, row in per_class.items() if all(value != value for value in row.values())]
    summary = figures | {"num_images": len(images), "num_classes": len(names) - len(absent)}
    write_metrics(out / "metrics.json", {split: summary, "absent_classes": absent})
    tables: Tables = {**metrics.tables(), **detail.tables()}
    tables |= resampling_tables(metrics, detail, entries, figures, trained.task.monitor, settings)
    tables["per_class"] = [{"class": name, **row} for name, row in per_class.items()]
    write_rows(out / "per_image.csv", [{"image_id": s.image_id, **s.figures} for s in images])
    for folder in ("tables", "overlays"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name, rows in tables.items():
        write_rows(out / "tables" / f"{name}.csv", rows)
    found = read_predictions(out / "predictions", entries, answer)
    chosen = choose(scores, settings.num_overlays)
    save_overlays(out / "overlays", found, network_of, dataset, info.classes, chosen, threshold)
    used = [checkpoint for part in parts for checkpoint in part.checkpoints]
    record = replace(run_of(used, settings, info, split), labels=dataset.label_digests())
    write_run(out / "evaluation.json", record)
    evaluated = Evaluated(record, info, dataset, found, metrics, per_class, scores, images, tables, settings, threshold)
    page = page_of(evaluated, history, Path(cfg.paths.augment) / "preview.png")
    together = f", {len(used)} models together" if len(used) > len(parts) else ""
    mistakes = mistakes_of(evaluated, network_of) if settings.explained else ()
    if len(used) == 1:
        write_card(out / "model_card.md", evaluated)
    write_evaluation(out / "report.html", replace(page, title=page.title + together, mistakes=mistakes))
    print_figures(split, tables["figures"])
    if warned := few_images(len(images)):
        print(f"{split}: {warned}")
    which = f"checkpoint{'s' * (len(used) > 1)} of epoch {', '.join(str(checkpoint.epoch) for checkpoint in used)}"
    print(f"{plural(len(images), 'image')}, {which}; see {out / 'report.html'}")
    return figures


def batches_of(parts: Sequence[Part], batch_size: int, on_gpu: bool) -> tuple[Iterator[tuple[Batch, Network]], int]:
    """Batches of all parts, each with the network that sees it; and how many there are."""
    loaders = [part.data.split_dataloader(part.split, on_gpu) for part in parts]
    count = sum(map(len, loaders))

    def pairs() -> Iterator[tuple[Batch, Network]]:
        for part in parts:
            seen = in_window(part.network, batch_size)
            yield from ((batch, seen) for batch in loaders.pop(0))  # whose workers end with it

    return pairs(), count


def print_figures(split: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a figure, with its interval where it has one."""
    width = max(len(row["figure"]) for row in rows)
    for row in rows:
        limits = f"  ({row['low']:.4f} to {row['high']:.4f})" if row["low"] == row["low"] else ""
        value = f"{row['value']:.4f}" if row["value"] == row["value"] else "undefined"
        print(f"{split}: {row['figure']:<{width}}  {value}{limits}")


def run_of(used: Sequence[LoadedCheckpoint], own: Evaluate, info: DatasetInfo, split: str) -> Run:
    """The record of an evaluation with these settings. Of several checkpoints' epochs it has the middle one, and of their choices none."""
    checkpoint, epoch = used[0], sorted(one.epoch for one in used)[len(used) // 2]
    left_out = ("targets", "paths", "runtime", "plots", "folds", "overrides", "code", "planned")  # of the machine, the page or the package
    settings = {key: value for key, value in checkpoint.config.items() if key not in left_out}
    settings["evaluate"] = own.model_dump(mode="json", by_alias=True)
    task = checkpoint.settings.task
    classes = [c.name for c in info.classes]
    planned = {key: str(reason) for key, reason in (checkpoint.config.get("planned") or {}).items()}
    choice = checkpoint.choice if len(used) == 1 else NO_CHOICE
    return Run(task.name, task.monitor, info.name, info.digest, split, classes, epoch, settings, planned, choice)


def check_explained(parts: Sequence[Part]) -> None:
    """Raise ConfigError where mistakes cannot be explained."""
    check_captum("evaluate.explained")
    for model in [part.network.model for part in parts if isinstance(part.network, CheckpointNetwork)]:
        if type(model).evidence is SegmentationModel.evidence:
            raise ConfigError(f"evaluate.explained: {type(model).__name__} gives no evidence that could be explained; set it to 0")


def mistakes_of(evaluated: Evaluated, network_of: Mapping[str, Network]) -> list[Misled]:
    """What misled the model in the worst images that have a mistake, `evaluate.explained` at most. Of images that several models predict
    together there is none."""
    from seg.explain.mistakes import largest_mistake, misled

    dataset, names = evaluated.dataset, [c.name for c in evaluated.info.classes]
    index_of, found = {entry.image_id: index for index, (_, entry) in enumerate(dataset.rows)}, list[Misled]()
    for score in (s for kind, s in choose(evaluated.scores, len(evaluated.scores)) if kind == "worst"):
        network, place = network_of[score.image_id], index_of[score.image_id]
        if len(found) < evaluated.settings.explained and isinstance(network, CheckpointNetwork):
            sample, predicted = dataset.read(place), evaluated.predictions.read(dataset.rows[place][1])
            if mistake := largest_mistake(sample, predicted, names, evaluated.threshold):
                found.append(misled(network.model, sample, *mistake, names))
    return found


def save_overlays(
    folder: Path,
    predictions: StoredPredictions,
    network_of: Mapping[str, Network],
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
        if isinstance(network := network_of[score.image_id], CheckpointNetwork):
            maps = {name: values[0].cpu().numpy() for name, values in network.attention_maps(image).items()}
            panels += attention_panels(sample.image, maps)
        title = f"{kind} {ranks[kind]}: {score.image_id}, {score.by} {score.score:.3f}"
        path = folder / f"{kind}_{ranks[kind]}_{score.image_id.replace('/', '__')}.png"
        save_panels(path, title, panels, [c for i, c in enumerate(classes) if i in shown])
