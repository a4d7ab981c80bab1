"""What an evaluation gathers of each task beyond the figures that a training watches: one seam for both. Of instances what went wrong:
kinds of errors by class, recall and precision by area, calibration of scores.

And the intervals of all figures, and figures of groups of images, such as scenes or scanners, so that a model that fails one of them
shows it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any

import numpy as np

from seg.core.errors import ConfigError, did_you_mean
from seg.core.textfile import natural_key
from seg.data.sample import Prediction
from seg.data.store import ManifestEntry, images_of_tiles
from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS, InstanceVerdict, judge
from seg.evaluation.pixels import PixelMetrics
from seg.evaluation.settings import Evaluate
from seg.loading.batch import Batch
from seg.metrics.base import Metrics
from seg.metrics.bootstrap import Resampled, by_images, intervals
from seg.metrics.calibration import count_scores, expected_calibration_error, reliability_rows
from seg.metrics.coco import scored_matches
from seg.metrics.instance import InstanceMetrics
from seg.metrics.semantic import ratio

Tables = dict[str, list[Mapping[str, Any]]]


class InstanceDetail:
    """A `seg.evaluation.detail.Detail` of instances: verdicts of the true ones, and of predictions that score `score_threshold` or more.

    metrics: keep the images. sizes: into how many bins of equally many true instances the areas are cut. bins: of the calibration of all
    scores; None: without. Masks are not kept."""

    def __init__(self, metrics: InstanceMetrics, score_threshold: float, sizes: int, bins: int | None) -> None:
        self.metrics, self.score_threshold, self.sizes, self.bins = metrics, score_threshold, sizes, bins
        self.verdicts: dict[str, list[InstanceVerdict]] = {}

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        for image_id in batch.image_ids:
            self.verdicts[image_id] = judge(self.metrics.images[image_id], self.score_threshold)
        return [{} for _ in batch.image_ids]

    def score(self, tiles: Sequence[str]) -> dict[str, float]:
        return {}

    def figures(self) -> dict[str, float]:
        counts = self._counts(list(self.metrics.images))
        return {} if counts is None else {"expected_calibration_error": expected_calibration_error(counts.sum(axis=0))}

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        counts = self._counts(image_ids)
        if counts is None:
            return {}
        drawn = np.tensordot(weights.astype(np.int64), counts, 1)
        return {"expected_calibration_error": np.array([expected_calibration_error(own) for own in drawn])}

    def _counts(self, image_ids: Sequence[str]) -> np.ndarray | None:
        """(N, B, 3) of each image, see `seg.metrics.calibration.count_scores`."""
        if self.bins is None:
            return None
        images = [self.metrics.images[image_id] for image_id in image_ids]
        places, scores, hits = scored_matches(images, self.metrics.scored, self.metrics.max_detections)
        return np.stack([count_scores(scores[places == i], hits[places == i], self.bins) for i in range(len(images))])

    def per_class(self) -> dict[str, dict[str, float]]:
        return {}

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """errors: a row a class, how many of each kind. sizes: a row a bin. instances: a row an instance, images by their ids."""
        verdicts, names = [v for image_id in sorted(self.verdicts) for v in self.verdicts[image_id]], self.metrics.names
        kinds = Counter((v.category, v.which, v.kind) for v in verdicts)
        found: dict[str, list[Mapping[str, Any]]] = {
            "errors": [
                {"class": name}
                | {f"truth_{kind}": kinds[category, "truth", kind] for kind in TRUTH_KINDS}
                | {f"predicted_{kind}": kinds[category, "predicted", kind] for kind in PREDICTED_KINDS}
                for category, name in names.items()
            ],
            "sizes": list[Mapping[str, Any]](self._bins(verdicts)),
            "instances": [asdict(v) | {"category": names[v.category]} for v in verdicts],
        }
        if (counts := self._counts(list(self.metrics.images))) is not None and counts.any():
            found["reliability"] = list[Mapping[str, Any]](reliability_rows(counts.sum(axis=0), "instances"))
        return {name: rows for name, rows in found.items() if rows}

    def _bins(self, verdicts: Sequence[InstanceVerdict]) -> list[dict[str, Any]]:
        """Recall and precision by area, of all classes together."""
        sides = [[v for v in verdicts if v.which == which and v.kind != "crowd"] for which in ("truth", "predicted")]
        (truth, found), (predicted, correct) = (
            (np.array([v.area for v in side], np.int64), np.array([v.kind == "matched" for v in side], bool)) for side in sides
        )
        return bin_sizes(truth, found, predicted, correct, quantile_edges(truth, self.sizes))


def quantile_edges(areas: np.ndarray, num_bins: int) -> list[int]:
    """The areas, in pixels, at which bins begin that hold equally many of `areas` (N,) int64, but for the first, which begins at 0.

    A bin begins at an area that occurs. Equal areas share a bin, so where many are equal there are fewer bins, and unlike ones."""
    ordered = np.sort(areas)
    begins = [-(-len(ordered) * k // num_bins) for k in range(1, num_bins)]
    return sorted({int(ordered[i]) for i in begins if i < len(ordered) and ordered[i] > ordered[0]})


def bin_sizes(
    truth_areas: np.ndarray, found: np.ndarray, predicted_areas: np.ndarray, correct: np.ndarray, edges: Sequence[int]
) -> list[dict[str, Any]]:
    """A row for each bin: from 0 to the first edge, from each edge to the next, and from the last on; without edges one bin of all.

    low: pixels, where the bin begins; high: where the next one does, or None. num_truth, num_predicted: true instances and predictions
    whose own area lies in the bin. found: true ones that are matched. recall, precision: NaN without truth, and without predictions.

    truth_areas (G,) and predicted_areas (P,) int64 pixels; found (G,) and correct (P,) bool. ValueError where the edges, in
    pixels, do not rise from above 0."""
    bounds = [0, *edges]

    def count(areas: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, areas, side="right"), minlength=len(bounds))

    truths, matched = count(truth_areas), count(truth_areas[found])
    predictions, right = count(predicted_areas), count(predicted_areas[correct])
    recall, precision = ratio(matched, truths).tolist(), ratio(right, predictions).tolist()
    columns = ("low", "high", "num_truth", "found", "recall", "num_predicted", "precision")
    rows = zip(bounds, [*edges, None], truths.tolist(), matched.tolist(), recall, predictions.tolist(), precision, strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


Detail = InstanceDetail | PixelMetrics
"""Gathered batch by batch, after `Metrics.update` saw the same batch: what there is beyond its figures, classes and tables. `update` gives
each image's further figures."""


def detail_of(
    metrics: Metrics, class_names: Sequence[str], settings: Evaluate, spacings: Mapping[str, tuple[float, float] | None] | None = None
) -> Detail:
    """The detail of the task whose figures `metrics` are. spacings: of each image, height and width of a pixel in micrometres, where known;
    distances are in micrometres where all have one, else in pixels."""
    if isinstance(metrics, InstanceMetrics):
        return InstanceDetail(metrics, settings.score_threshold or 0.0, settings.size_bins, settings.calibration_bins)
    known = {image_id: size for image_id, size in (spacings or {}).items() if size is not None}
    if (name := settings.rand_separates) is not None and name not in class_names:
        raise ConfigError(f"evaluate.rand_separates={name}: {did_you_mean(name, class_names, 'classes')}")
    separates = None if name is None else list(class_names).index(name)
    used = known if len(known) == len(spacings or {}) else {}
    return PixelMetrics(class_names, settings.boundary, settings.surface, settings.calibration_bins, separates, used)


def check_columns(columns: Sequence[str], known: Sequence[Mapping[str, str]]) -> None:
    """Raise ConfigError where a column is none that every image has. known: each image's columns."""
    shared = sorted(set.intersection(*(set(one) for one in known))) if known else []
    for column in columns:
        if column not in shared:
            choice = did_you_mean(column, shared, "columns") if shared else "set data.split.table, whose columns the images then have"
            raise ConfigError(f"evaluate.groups: no column '{column}' of the manifest; {choice}")


def group_rows(
    resampled: Resampled, column: str, values: Sequence[str], monitor: str, resamples: int, seed: int, level: float
) -> list[dict[str, Any]]:
    """A row a group: its name, its number of images, all figures over its images alone, and the interval of `monitor`.

    values: (N,) what the column says of each image, in the order of `resampled`'s weights."""
    rows = []
    for value in sorted(set(values), key=natural_key):
        inside = np.array([v == value for v in values], np.float64)
        members = np.flatnonzero(inside)

        def within(weights: np.ndarray, members: np.ndarray = members) -> dict[str, np.ndarray]:
            whole = np.zeros((len(weights), len(values)))
            whole[:, members] = weights
            return {monitor: resampled(whole)[monitor]}

        low, high = intervals(within, len(members), resamples, seed, level).get(monitor, (nan, nan))
        figures = {name: float(found[0]) for name, found in resampled(inside[None]).items()}
        known = {"column": column, "group": value, "num_images": len(members)}
        rows.append(known | {f"{monitor}_low": low, f"{monitor}_high": high} | figures)
    return rows


def resampling_tables(
    metrics: Metrics, detail: Detail, entries: Sequence[ManifestEntry], figures: Mapping[str, float], monitor: str, settings: Evaluate
) -> Tables:
    """`figures`: each with its interval. `groups`, where columns are named: a row a group, with the interval of `monitor`. The tiles of an
    image are drawn together."""
    tiles, columns_of = images_of_tiles(entries), {entry.image_id: entry.columns for entry in entries}
    resampled = by_images(lambda ids, weights: metrics.resampled(ids, weights) | detail.resampled(ids, weights), tiles)
    drawn = (settings.bootstrap.resamples, settings.bootstrap.seed, settings.bootstrap.level)
    limits = intervals(resampled, len(tiles), *drawn)
    tables: Tables = {"figures": []}
    for name, value in figures.items():
        low, high = limits.get(name, (nan, nan))
        tables["figures"].append({"figure": name, "value": value, "num_images": len(tiles), "low": low, "high": high})
    for column in settings.groups:
        values = [columns_of[its[0]][column] for its in tiles.values()]
        tables.setdefault("groups", []).extend(group_rows(resampled, column, values, monitor, *drawn))
    return tables
