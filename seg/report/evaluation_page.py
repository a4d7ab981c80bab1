"""report.html: an evaluation on one page, in one file that needs no network, and no script but for its filters and its close-ups."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import plural
from seg.metrics.bootstrap import few_images
from seg.report import confusions, data_set
from seg.report.charts import Line, histogram, line_chart, reliability_chart
from seg.report.evaluation_gallery import evaluation_gallery
from seg.report.page_data import Evaluation
from seg.report.rendering import write_page

LISTED = 100  # images in the table of images; per_image.csv has all
BINS = 20  # of the distribution of the images' scores


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    scores, gallery = _scores(evaluation), evaluation_gallery(evaluation)
    sections = {
        "summary": ("Summary", True),
        "learning": ("Learning curves", evaluation.history),
        "classes": ("Classes", evaluation.per_class),
        "confusions": ("Confusions", evaluation.confusion is not None),
        "images": ("Images", scores),
        "gallery": ("Gallery", gallery),
        "mistakes": ("What misled the model", evaluation.mistakes),
        "calibration": ("Calibration", evaluation.calibration),
        "tables": ("More figures", any(table.rows for table in evaluation.tables)),
        "augmentation": ("Augmentation", evaluation.preview),
        "data": ("The data set", evaluation.splits),
    }
    matrix = evaluation.confusion
    write_page(
        path,
        "report/evaluation.html.j2",
        title=evaluation.title,
        sections=sections,
        evaluation=evaluation,
        warned=few_images(len(evaluation.images)),
        curves=learning_curves(evaluation.history, evaluation.best_epoch),
        colors={info.name: info.color for info in evaluation.classes},
        class_columns=_class_columns(evaluation),
        absent=sum(all(math.isnan(v) for v in row.values()) for row in evaluation.per_class.values()),
        confusions=None if matrix is None else confusions.summarise(matrix, evaluation.classes, evaluation.confusion_unit),
        scores=scores,
        gallery=gallery,
        reliability=reliability_chart(evaluation.calibration, evaluation.calibration_unit, evaluation.calibration_error),
        data_set=data_set.summarise(evaluation.splits, evaluation.classes),
    )


def _class_columns(evaluation: Evaluation) -> dict[str, bool]:
    """The figures of the classes, and whether each is a share of 0 to 1, which a bar shows."""
    rows = list(evaluation.per_class.values())
    columns = list(rows[0]) if rows else []
    return {c: c[:4] != "num_" and all(math.isnan(row[c]) or 0 <= row[c] <= 1 for row in rows) for c in columns}


def _scores(evaluation: Evaluation) -> dict[str, Any] | None:
    """The images' scores. said: what the chart shows. listed: the lowest of `count`. without: how many images have no score."""
    scored = sorted((row for row in evaluation.images if math.isfinite(row.score)), key=lambda row: (row.score, row.image_id))
    if not scored:
        return None
    scores, name = np.array([row.score for row in scored]), evaluation.score_name
    low, high = (0.0, 1.0) if scores.min() >= 0 and scores.max() <= 1 else (float(scores.min()), float(scores.max()) + 1e-9)
    counts, edges = np.histogram(scores, BINS, (low, high))
    median = float(np.median(scores))
    said = f"{name} of {plural(len(scored), 'image')}: lowest {scores[0]:.4g}, highest {scores[-1]:.4g}, median {median:.4g}"
    chart = histogram(said, f"{name} of an image", edges.tolist(), counts.tolist(), "images", median)
    found = {"chart": chart, "said": said, "listed": scored[:LISTED], "columns": [key for key in scored[0].figures if key != name]}
    return found | {"count": len(scored), "without": len(evaluation.images) - len(scored)}


def learning_curves(rows: Sequence[Mapping[str, float]], best: int | None) -> list[dict[str, Any]]:
    """A chart a figure; those of training and validation that share a name share a chart. rows: one an epoch; best: the epoch evaluated.
    key: what the lines of a chart are."""
    names = [name for name in rows[0] if name not in ("epoch", "threads")] if rows else []
    groups: dict[str, list[Line]] = {}
    for name in names:
        part, _, figure = name.partition("_")
        shared = figure if part in ("train", "val") else name
        values = [row[name] for row in rows]
        if any(map(math.isfinite, values)):
            groups.setdefault(shared, []).append(Line(name, values, "second" if part == "val" and f"train_{figure}" in names else "first"))
    epochs, curves = [row["epoch"] for row in rows], []
    for name, lines in groups.items():
        key = "solid: train; dashed: val" if len(lines) > 1 else lines[0].name
        said = "; ".join(f"{line.name} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for line in lines)
        curves.append({"name": name, "chart": line_chart(said, "epoch", epochs, lines, best), "key": key if key != name else ""})
    return curves
