"""Recall and precision of instances by their area: which sizes are found, and which sizes of predictions are right.

Enter areas in pixels, and which of them are matched at an IoU of 0.5 or more (`seg.evaluation.errors`); leave rows.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seg.metrics.semantic import ratio


def quantile_edges(areas: np.ndarray, num_bins: int) -> list[int]:
    """The areas, in pixels, at which bins begin that hold equally many of `areas` (N,) int64, but for the first, which begins at 0.

    A bin begins at an area that occurs. Equal areas share a bin, so where many are equal there are fewer bins, and unlike ones.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be 1 or more, got {num_bins}")
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
    pixels, do not rise from above 0.
    """
    bounds = [0, *edges]
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"edges must be areas in pixels that rise from above 0, got {list(edges)}")

    def count(areas: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, areas, side="right"), minlength=len(bounds))

    truths, matched = count(truth_areas), count(truth_areas[found])
    predictions, right = count(predicted_areas), count(predicted_areas[correct])
    recall, precision = ratio(matched, truths).tolist(), ratio(right, predictions).tolist()
    columns = ("low", "high", "num_truth", "found", "recall", "num_predicted", "precision")
    rows = zip(bounds, [*edges, None], truths.tolist(), matched.tolist(), recall, predictions.tolist(), precision, strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
