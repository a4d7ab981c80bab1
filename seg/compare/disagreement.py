"""Where two predictions of one image disagree, and which of them is right: of class maps by pixel, of instances one by one."""

import numpy as np

from seg.compare.comparison import FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER
from seg.data.sample import IGNORE
from seg.evaluation.errors import judge, matched_pairs
from seg.metrics.classmaps import comparable
from seg.metrics.coco import ImageInstances
from seg.metrics.matching import measure_overlaps

ALIKE, FIRST_RIGHT, OTHER_RIGHT, BOTH_WRONG = range(4)
"""Of a pixel: predicted alike; right in the first alone; right in the other alone; wrong in both, but not alike."""


def compare_maps(truth: np.ndarray, first: np.ndarray, other: np.ndarray, num_classes: int) -> np.ndarray:
    """Class maps (H, W) uint8 -> (H, W) uint8: ALIKE, FIRST_RIGHT, OTHER_RIGHT or BOTH_WRONG; 255 where the truth is 255.

    Raises ValueError as `comparable` does.
    """
    a, b = (comparable(truth, predicted, num_classes) for predicted in (first, other))
    found = np.full(truth.shape, BOTH_WRONG, np.uint8)
    found[a == truth], found[b == truth] = FIRST_RIGHT, OTHER_RIGHT
    found[a == b] = ALIKE
    found[truth == IGNORE] = IGNORE
    return found


def compare_instances(first: ImageInstances, other: ImageInstances, thresholds: tuple[float, float]) -> dict[str, np.ndarray]:
    """Where two runs disagree of one image, whose truth both hold: of each verdict the places of instances in `ImageInstances` (n,) int64.

    Found are true instances that one run alone found, at an IoU of 0.5 or more with one of their class: what `seg.evaluation.errors` calls
    matched. Made up are predictions that match no true instance, nor one of the other run that matches none either; a prediction in a crowd
    is not made up. thresholds: the score from which a prediction of each counts.
    """
    found, made_up = [], []
    for image, threshold in zip((first, other), thresholds, strict=True):
        verdicts = judge(image, threshold)
        found.append([v.index for v in verdicts if v.which == "truth" and v.kind == "matched"])
        made_up.append(np.array([v.index for v in verdicts if v.which == "predicted" and v.kind not in ("matched", "crowd")], np.int64))
    alike = _alike(first, other, *made_up)
    return {
        FOUND_BY_FIRST: np.setdiff1d(found[0], found[1]).astype(np.int64),
        FOUND_BY_OTHER: np.setdiff1d(found[1], found[0]).astype(np.int64),
        MADE_UP_BY_FIRST: np.setdiff1d(made_up[0], made_up[0][alike[0]]),
        MADE_UP_BY_OTHER: np.setdiff1d(made_up[1], made_up[1][alike[1]]),
    }


def _alike(first: ImageInstances, other: ImageInstances, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places in a and b of predictions of the two runs that are one and the same mistake: of one class, with an IoU of 0.5 or more."""
    overlaps = measure_overlaps([first.rle(first.predicted_counts[i]) for i in a], [], [other.rle(other.predicted_counts[i]) for i in b])
    rows, columns = np.nonzero(matched_pairs(overlaps, first.predicted_categories[a], other.predicted_categories[b]))
    return rows, columns
