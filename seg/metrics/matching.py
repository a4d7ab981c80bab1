"""True and predicted instances paired by mask IoU, and the figures of the pairs: pure functions over run lengths.

Enter the masks of one category in one image; leave `Tally`s, whole numbers that add up over images, categories and ranks in
any order to the very same sums. No mask is ever dense, and no IoU is rounded before it is compared with a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from seg.data.rle import Rle

THRESHOLDS = tuple(range(50, 95, 5))  # the IoU thresholds of the matching table, in percent; an IoU of exactly the threshold is a match

PANOPTIC = 50  # the IoU in percent that a match of panoptic quality must exceed

_ONE = 1 << 60  # an IoU of 1 as a whole number: sums of these are exact, so they cannot depend on the order in which images came


@dataclass(frozen=True)
class Overlaps:
    """How G true and P predicted masks of one category lie on each other, in pixels.

    intersections, unions: (G, P) int64. truth_areas: (G,) int64. areas: (P,) int64. in_crowd: (P,) bool, True for a
    predicted mask with more than half its area inside one crowd region."""

    intersections: np.ndarray
    unions: np.ndarray
    truth_areas: np.ndarray
    areas: np.ndarray
    in_crowd: np.ndarray

    @cached_property
    def iou(self) -> np.ndarray:
        """Intersection over union (G, P) float64; 0 where both masks are empty."""
        return self.intersections / np.maximum(self.unions, 1)

    def reach(self, percent: int) -> np.ndarray:
        """(G, P) bool: the IoU is `percent` / 100 or more."""
        return (self.intersections > 0) & (100 * self.intersections >= percent * self.unions)

    def exceed(self, percent: int) -> np.ndarray:
        """(G, P) bool: the IoU is more than `percent` / 100."""
        return 100 * self.intersections > percent * self.unions


def measure_overlaps(truth: Sequence[Rle], crowd: Sequence[Rle], predicted: Sequence[Rle], void: Rle | None = None) -> Overlaps:
    """The overlaps of true and predicted masks of one image; `crowd` are regions of uncounted instances.

    void: pixels that do not count in unions, and of which a predicted mask may hold what it may hold of a crowd (Kirillov et al. 2019)."""
    truth_areas, areas = areas_of(truth), areas_of(predicted)
    intersections = _intersections(truth, predicted, areas)
    in_void = _intersections([void], predicted, areas)[0] if void else np.zeros(len(predicted), np.int64)
    not_counted = _intersections(crowd, predicted, areas) if crowd else np.zeros((1, len(predicted)), np.int64)
    in_crowd = np.asarray((2 * (not_counted + in_void) > areas).any(axis=0))
    return Overlaps(intersections, truth_areas[:, None] + areas - in_void - intersections, truth_areas, areas, in_crowd)


def areas_of(rles: Sequence[Rle]) -> np.ndarray:
    """The pixels of each mask (N,) int64. One at a time, because pycocotools 2.0.11 with NumPy 2 fails on a list of more than 255."""
    return np.array([coco_mask.area(rle) for rle in rles], np.int64)


def _intersections(truth: Sequence[Rle], predicted: Sequence[Rle], areas: np.ndarray) -> np.ndarray:
    """(G, P) int64. pycocotools divides the intersection with a crowd by the predicted area alone, which can be undone exactly."""
    if not truth or not predicted:
        return np.zeros((len(truth), len(predicted)), np.int64)
    shares = coco_mask.iou(list(predicted), list(truth), [1] * len(truth))
    return np.rint(np.asarray(shares).T * areas).astype(np.int64)


def assign(eligible: np.ndarray, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one pairs among the `eligible` (G, P) bool: as many as there can be, and of those the largest sum of `iou` (G, P).

    Returns their rows and their columns, as StarDist's matching does (https://github.com/stardist/stardist, matching.py)."""
    per_row, per_column = eligible.sum(axis=1), eligible.sum(axis=0)
    if max(per_row.max(initial=0), per_column.max(initial=0)) <= 1:
        r, c = np.nonzero(eligible)  # as usual, none has a choice
        return r, c
    rows, columns = np.flatnonzero(per_row), np.flatnonzero(per_column)
    within = np.ix_(rows, columns)
    # An IoU is at most 1, so no sum of IoUs outweighs one more pair.
    weights = np.where(eligible[within], min(len(rows), len(columns)) + iou[within], 0)
    r, c = linear_sum_assignment(weights, maximize=True)
    kept = eligible[within][r, c]
    return rows[r[kept]], columns[c[kept]]


@dataclass(frozen=True, slots=True)
class Matches:
    """Counts of a one-to-one matching at one IoU threshold, or the sum of many; every ratio is NaN where it is 0 / 0.

    tp: pairs. fp: predictions without a partner, but for those in a crowd. fn: truths without a partner.
    iou_units: the sum of the pairs' IoU, in units of 2**-60."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_units: int = 0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_units + other.iou_units)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def ratio(self) -> float:
        """TP / (TP + FP + FN), which StarDist and the Data Science Bowl 2018 call average precision; no curve is averaged."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def mean_iou(self) -> float:
        return _ratio(self.iou_units, self.tp * _ONE)

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the pairs (Kirillov et al. 2019).

        As in their panopticapi, 0 for a class without any pair that has truth or predictions; NaN for one that has neither."""
        return 0.0 if self.tp == 0 and self.fp + self.fn else self.mean_iou

    @property
    def pq(self) -> float:
        """Panoptic quality, the sum of the pairs' IoU / (TP + FP/2 + FN/2) (Kirillov et al. 2019), that is `sq` times `f1`."""
        return _ratio(2 * self.iou_units, (2 * self.tp + self.fp + self.fn) * _ONE)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one category of one image counts, or the sum of many.

    num_truth: true instances without crowds. num_predicted: predicted ones, those in a crowd among them.
    at: the matches at each of THRESHOLDS. panoptic: those whose IoU exceeds PANOPTIC.
    intersection, union: pixels, whose ratio is the aggregated Jaccard index."""

    num_truth: int = 0
    num_predicted: int = 0
    at: tuple[Matches, ...] = (Matches(),) * len(THRESHOLDS)
    panoptic: Matches = Matches()
    intersection: int = 0
    union: int = 0

    def __add__(self, other: Tally) -> Tally:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**sums | {"at": tuple(a + b for a, b in zip(self.at, other.at, strict=True))})

    @property
    def aji(self) -> float:
        """The aggregated Jaccard index (see `jaccard_terms`): the sum of the intersections over the sum of the unions."""
        return _ratio(self.intersection, self.union)


def tally(overlaps: Overlaps) -> Tally:
    """All counts of one category in one image."""
    num_truth, num_predicted = overlaps.iou.shape
    at = tuple(count(overlaps, overlaps.reach(percent)) for percent in THRESHOLDS)
    return Tally(num_truth, num_predicted, at, count(overlaps, overlaps.exceed(PANOPTIC)), *jaccard_terms(overlaps))


def count(overlaps: Overlaps, eligible: np.ndarray) -> Matches:
    """The counts of the best one-to-one matching (see `assign`) among the pairs that are `eligible` (G, P) bool.

    A prediction without a partner is no false positive where more than half of it lies inside a crowd of its category."""
    rows, columns = assign(eligible, overlaps.iou)
    alone = ~overlaps.in_crowd
    alone[columns] = False
    pairs = zip(overlaps.intersections[rows, columns].tolist(), overlaps.unions[rows, columns].tolist(), strict=True)
    return Matches(len(rows), int(alone.sum()), eligible.shape[0] - len(rows), sum(i * _ONE // u for i, u in pairs))


def jaccard_terms(overlaps: Overlaps) -> tuple[int, int]:
    """The intersection and the union, in pixels, of the aggregated Jaccard index (Kumar et al. 2017, algorithm 1).

    Each truth takes the prediction of the highest IoU (the first of equals), which adds their intersection and their union.
    As in the paper, several truths may take the same prediction. A truth that no prediction touches adds its area to the
    union, and so does a prediction that no truth took, unless more than half of it lies inside a crowd."""
    if not overlaps.iou.size:
        return 0, int(overlaps.truth_areas.sum() + overlaps.areas[~overlaps.in_crowd].sum())
    best, rows = overlaps.iou.argmax(axis=1), np.arange(len(overlaps.truth_areas))
    touched = overlaps.intersections[rows, best] > 0
    rows, best = rows[touched], best[touched]
    unused = ~overlaps.in_crowd
    unused[best] = False
    alone = overlaps.truth_areas[~touched].sum() + overlaps.areas[unused].sum()
    return int(overlaps.intersections[rows, best].sum()), int(overlaps.unions[rows, best].sum() + alone)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
