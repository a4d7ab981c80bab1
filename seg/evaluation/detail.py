"""What an evaluation gathers of each task beyond the figures that a training watches: one seam for both.

And the intervals of all figures, and figures of groups of images, such as scenes or scanners, so that a model that fails one of them
shows it.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from seg.core.errors import ConfigError, did_you_mean
from seg.core.textfile import natural_key
from seg.data.store import ManifestEntry
from seg.evaluation.instances import InstanceDetail
from seg.evaluation.pixels import PixelMetrics
from seg.evaluation.settings import Evaluate
from seg.metrics.base import Metrics
from seg.metrics.bootstrap import Resampled, intervals
from seg.metrics.instance import InstanceMetrics

Tables = dict[str, list[Mapping[str, Any]]]


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

    values: (N,) what the column says of each image, in the order of `resampled`'s weights.
    """
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
    """`figures`: each with its interval. `groups`, where columns are named: a row a group, with the interval of `monitor`."""
    image_ids = [entry.image_id for entry in entries]

    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        return metrics.resampled(image_ids, weights) | detail.resampled(image_ids, weights)

    drawn = (settings.bootstrap.resamples, settings.bootstrap.seed, settings.bootstrap.level)
    limits = intervals(resampled, len(entries), *drawn)
    rows: list[Mapping[str, Any]] = [
        {"figure": name, "value": value, "num_images": len(entries)} | dict(zip(("low", "high"), limits.get(name, (nan, nan)), strict=True))
        for name, value in figures.items()
    ]
    tables: Tables = {"figures": rows}
    if settings.groups:
        tables["groups"] = [
            row
            for column in settings.groups
            for row in group_rows(resampled, column, [entry.columns[column] for entry in entries], monitor, *drawn)
        ]
    return tables
