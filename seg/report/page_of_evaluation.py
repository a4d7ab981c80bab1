"""An evaluation, as a stage has made it -> what its page shows."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seg.data.store import DatasetInfo
from seg.evaluation.detail import Tables
from seg.evaluation.predictions import StoredPredictions
from seg.evaluation.record import Run
from seg.evaluation.settings import Evaluate
from seg.loading.dataset import SampleDataset
from seg.metrics.base import ImageScore, Metrics
from seg.metrics.bootstrap import FEW
from seg.metrics.instance import InstanceMetrics
from seg.metrics.semantic import SemanticMetrics
from seg.report.evaluation_gallery import class_map_entry, outlines_entry
from seg.report.page_data import Evaluation, Figure, FigureTable, GalleryEntry, ImageRow, InTurn
from seg.settings.planned import shown
from seg.settings.section import leaves, value_at

_SAID = yaml.safe_load(Path(__file__).with_name("figures.yaml").read_text(encoding="utf-8"))

TABLES = {name: (said["heading"], said["text"].format(few=FEW)) for name, said in _SAID["tables"].items()}
"""Of the evaluation's tables, those that the page has, with a heading and what they say."""

TEXTS: dict[str, str] = _SAID["figures"]

Chosen = list[tuple[str, ImageScore]]  # what an image is an example of (worst, median, best or random), and its score


@dataclass(frozen=True, slots=True)
class Evaluated:
    """metrics, per_class, scores and tables: as they were gathered. images: the scores, those of an image's tiles as
    one. dataset: the split's images. predictions: of these images. threshold: the score from which on instances are shown."""

    run: Run
    info: DatasetInfo
    dataset: SampleDataset
    predictions: StoredPredictions
    metrics: Metrics
    per_class: Mapping[str, Mapping[str, float]]
    scores: Sequence[ImageScore]
    images: Sequence[ImageScore]
    tables: Tables
    settings: Evaluate
    threshold: float


def page_of(evaluated: Evaluated, history: Path | None, preview: Path) -> Evaluation:
    """What the page shows. history: the training's history.csv; preview: the augmentation's picture; either may be missing."""
    run, settings, tables = evaluated.run, evaluated.settings, evaluated.tables
    chosen = choose(evaluated.scores, settings.gallery.images, settings.gallery.seed)
    drawn = settings.bootstrap
    said = f"{100 * drawn.level:g} %, from {drawn.resamples} draws of as many images with replacement (studentised bootstrap)"
    model = run.settings["model"]["name"]
    return Evaluation(
        title=f"{model} on {run.data}",
        split=run.split,
        classes=evaluated.info.classes,
        headline=[_figure(row) for row in tables["figures"]],
        score_name=evaluated.scores[0].by,
        images=[row_of(score) for score in evaluated.images],
        intervals=said if drawn.resamples else "",
        settings={key: value for key, value in leaves(run.settings).items() if value is not None},
        planned=[(key, shown(value_at(run.settings, key)), reason) for key, reason in run.planned.items()],
        choice=run.choice,
        history=read_history(history),
        best_epoch=run.epoch,
        per_class=evaluated.per_class,
        confusion=evaluated.metrics.matrix if isinstance(evaluated.metrics, SemanticMetrics) else None,
        gallery=_gallery(evaluated, chosen),
        tables=[FigureTable(heading, tables[name], text) for name, (heading, text) in TABLES.items() if tables.get(name)],
        calibration=(calibration := tables.get("reliability", ())),
        calibration_unit="instances" if calibration and "instances" in calibration[0] else "pixels",
        calibration_error=next((r["value"] for r in tables["figures"] if r["figure"] == "expected_calibration_error"), math.nan),
        preview=preview.read_bytes() if preview.is_file() else None,
        splits=evaluated.info.splits,
    )


def row_of(score: ImageScore) -> ImageRow:
    """An image's score, and its own figures but for those of single classes, and of calibration, of which an image has too few pixels."""
    left_out = {k for k in score.figures if k.startswith(("iou_", "boundary_", "hd95_", "assd_")) or k.endswith("_calibration_error")}
    figures = {k: float(v) for k, v in score.figures.items() if k not in left_out and k != score.by}
    return ImageRow(score.image_id, score.score, figures)


def read_history(path: Path | None) -> list[dict[str, float]]:
    """A row an epoch, NaN where blank; none without the file."""
    if path is None or not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: float(text) if text else math.nan for key, text in row.items()} for row in csv.DictReader(file)]


def _gallery(found: Evaluated, chosen: Chosen) -> InTurn[GalleryEntry]:
    places = {entry.image_id: place for place, (_, entry) in enumerate(found.dataset.rows)}

    def entry(one: tuple[str, ImageScore]) -> GalleryEntry:
        kind, score = one
        place = places[score.image_id]
        sample, prediction = found.dataset.read(place), found.predictions.read(found.dataset.rows[place][1])
        if isinstance(found.metrics, InstanceMetrics):
            known = found.metrics.images[score.image_id]
            return outlines_entry(kind, row_of(score), sample, prediction, known, found.threshold)
        assert prediction.semantic is not None
        return class_map_entry(kind, row_of(score), sample, prediction.semantic, found.info.classes, found.settings.gallery.least_share)

    return InTurn(entry, chosen)


def _figure(row: Mapping[str, Any]) -> Figure:
    low, high = (None if math.isnan(row[key]) else row[key] for key in ("low", "high"))
    return Figure(row["figure"], row["value"], low, high, text_of(row["figure"]))


def choose(scores: Sequence[ImageScore], count: int, seed: int | None = None) -> Chosen:
    """The worst, median and best images and, with a seed, some drawn from the others: `count` of each, none twice."""
    ordered = sorted((s for s in scores if s.score == s.score), key=lambda s: (s.score, s.image_id))
    middle = max(0, len(ordered) // 2 - count // 2)
    picked = [("worst", s) for s in ordered[:count]] + [("median", s) for s in ordered[middle : middle + count]]
    picked += [("best", s) for s in reversed(ordered[max(0, len(ordered) - count) :])]
    first = {s.image_id: kind for kind, s in reversed(picked)}
    kept = [(kind, s) for kind, s in picked if first[s.image_id] == kind]
    if seed is not None:
        others = [s for s in ordered if s.image_id not in first]
        drawn = np.random.default_rng(seed).permutation(len(others))[:count]
        kept += [("random", others[i]) for i in drawn]
    return kept


def text_of(figure: str) -> str:
    """The line of a figure, whatever is compared (mask, box) and whatever the unit; empty for one that is not known."""
    kind, _, rest = figure.partition("_")
    if kind in ("mask", "box") and rest in TEXTS:
        return f"{'masks' if kind == 'mask' else 'boxes'}: {TEXTS[rest]}"
    unit = re.search(r"_(px|um)$", figure)
    text = TEXTS.get(figure.removesuffix(unit.group()) if unit else figure, "")
    return f"{text}, in {'pixels' if unit.group(1) == 'px' else 'micrometres'}" if unit and text else text
