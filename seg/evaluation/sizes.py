"""Recall and precision of instances by their area: which sizes are found, and which sizes of predictions are right.

Enter areas in pixels, and which of them are matched at an IoU of 0.5 or more (`seg.evaluation.errors`); leave rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class SizeBin:
    """The instances whose area is `low` pixels or more and below `high`; None: any area from `low` on.

    num_truth, num_predicted: true instances and predictions whose own area lies in the bin. found, correct: those that are matched.
    """

    low: int
    high: int | None
    num_truth: int
    found: int
    num_predicted: int
    correct: int

    @property
    def recall(self) -> float:
        """found / num_truth; NaN without truth."""
        return self.found / self.num_truth if self.num_truth else math.nan

    @property
    def precision(self) -> float:
        """correct / num_predicted; NaN without predictions."""
        return self.correct / self.num_predicted if self.num_predicted else math.nan


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
) -> list[SizeBin]:
    """Bins from 0 to the first edge, from each edge to the next, and from the last on; without edges one bin of all.

    truth_areas (G,) and predicted_areas (P,) int64 pixels; found (G,) and correct (P,) bool. ValueError where the edges, in
    pixels, do not rise from above 0.
    """
    bounds = [0, *edges]
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"edges must be areas in pixels that rise from above 0, got {list(edges)}")

    def count(areas: np.ndarray) -> list[int]:
        places = np.searchsorted(edges, areas, side="right")
        return [int(n) for n in np.bincount(places, minlength=len(bounds))]

    counts = zip(count(truth_areas), count(truth_areas[found]), count(predicted_areas), count(predicted_areas[correct]), strict=True)
    highs: list[int | None] = [*edges, None]
    return [SizeBin(low, high, *counted) for low, high, counted in zip(bounds, highs, counts, strict=True)]
