"""The tables of an evaluation that rest on resampled figures: intervals of the headline figures, and figures of groups."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from seg.data.store import Entry
from seg.evaluation.bootstrap import intervals
from seg.evaluation.detail import Detail, Rows
from seg.evaluation.groups import group_rows
from seg.metrics.base import Metrics
from seg.settings.schema import Evaluate


def resampling_tables(
    metrics: Metrics, detail: Detail, entries: Sequence[Entry], figures: Mapping[str, float], monitor: str, settings: Evaluate
) -> Rows:
    """`figures`: each with its interval. `groups`, where columns are named: a row a group, with the interval of `monitor`."""
    image_ids = [entry.image_id for entry in entries]

    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        return metrics.resampled(image_ids, weights) | detail.resampled(image_ids, weights)

    drawn = (settings.bootstrap.resamples, settings.bootstrap.seed, settings.bootstrap.level)
    limits = intervals(resampled, len(entries), *drawn)
    rows: list[Mapping[str, Any]] = [
        {"figure": name, "value": value, **dict(zip(("low", "high"), limits.get(name, (nan, nan)), strict=True))}
        for name, value in figures.items()
    ]
    tables: Rows = {"figures": rows}
    if settings.groups:
        tables["groups"] = [
            row
            for column in settings.groups
            for row in group_rows(resampled, column, [entry.columns[column] for entry in entries], monitor, *drawn)
        ]
    return tables
