"""Whether a model is as often right as it is confident: reliability in bins of confidence, from whole-number counts.

Confidence is the predicted class's probability in units of 1/65535 (`seg.data.sample.Prediction`), so sums are exact in any order.
Rounding to these units moves a mean confidence, and with it a calibration error, by less than 0.00001; a pixel nearer than that to a
bin's edge may fall into the next."""

from typing import Any

import numba
import numpy as np

from seg.data.sample import CERTAIN, IGNORE
from seg.metrics.classmaps import comparable
from seg.metrics.semantic import ratio


def count_confidence(truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, num_classes: int, bins: int) -> np.ndarray:
    """(B, 3) int64: the pixels of each bin, those of them that are right, and their confidences' sum in 1/65535.

    Bin m of B holds confidences above (m - 1) / B and up to m / B, the first one 0 as well (Guo et al. 2017). truth, predicted:
    (H, W) uint8; pixels whose truth is 255 are not counted. confidence: (H, W) uint16. Raises ValueError where shape or type is
    another, or bins is not in 1..65535, and as `comparable` does."""
    if confidence.shape != truth.shape or confidence.dtype != np.uint16:
        raise ValueError(f"confidence must be {truth.shape} uint16 like its image, got {confidence.shape} {confidence.dtype}")
    if not 1 <= bins <= CERTAIN:
        raise ValueError(f"bins must be in 1..{CERTAIN}, got {bins}")
    found = comparable(truth, predicted, num_classes)
    pixels, sums = np.zeros((bins, 2), np.int64), np.zeros(bins, np.int64)
    _count(*(np.ascontiguousarray(a).ravel() for a in (truth, found, confidence)), pixels, sums)
    return np.stack((pixels.sum(axis=1), pixels[:, 1], sums), axis=1)


@numba.njit(nogil=True, cache=True)
def _count(truth: np.ndarray, found: np.ndarray, confidence: np.ndarray, pixels: np.ndarray, sums: np.ndarray) -> None:
    """Count each bin's wrong and right pixels (B, 2), and sum up its confidences (B,)."""
    for i in range(truth.size):
        if truth[i] != IGNORE:
            units = np.int64(confidence[i])
            m = int(units * len(sums) - 1) // CERTAIN if units else 0  # from 0
            pixels[m, int(truth[i] == found[i])] += 1
            sums[m] += units


def count_scores(scores: np.ndarray, hits: np.ndarray, bins: int) -> np.ndarray:
    """The same counts (B, 3) of predicted instances: those of each bin of the score, those of them that match a true one, and their scores'
    sum in 1/65535.

    scores: (N,) in 0..1. hits: (N,) bool."""
    units = np.round(np.asarray(scores, np.float64) * CERTAIN).astype(np.int64)
    places = np.maximum(units * bins - 1, 0) // CERTAIN
    counted = [np.bincount(places, weights, bins) for weights in (None, hits, units)]
    return np.stack(counted, axis=1).astype(np.int64)


def expected_calibration_error(counts: np.ndarray) -> float:
    """Counts (B, 3) of `count_confidence`, or a sum of them -> the mean over pixels of their bin's |accuracy - mean confidence|
    (Guo et al. 2017); NaN without a pixel."""
    return float(ratio(_gaps(counts).sum(), CERTAIN * counts[:, 0].sum()))


def maximum_calibration_error(counts: np.ndarray) -> float:
    """Counts (B, 3) of `count_confidence`, or a sum of them -> the largest |accuracy - mean confidence| of a bin that has pixels
    (Guo et al. 2017); NaN without one."""
    gaps = ratio(_gaps(counts), CERTAIN * counts[:, 0])
    return float(np.nanmax(gaps)) if counts[:, 0].any() else float("nan")


def reliability_rows(counts: np.ndarray, unit: str = "pixels") -> list[dict[str, Any]]:
    """Counts (B, 3) of `count_confidence`, or a sum of them -> a row a bin: its confidences' bounds low and high, its pixels (or another
    unit), their accuracy and their mean confidence, NaN without a pixel."""
    bins = len(counts)
    accuracy, confidence = ratio(counts[:, 1], counts[:, 0]), ratio(counts[:, 2], CERTAIN * counts[:, 0])
    edges = [m / bins for m in range(bins + 1)]
    rows = zip(edges[:-1], edges[1:], counts[:, 0].tolist(), accuracy.tolist(), confidence.tolist(), strict=True)
    return [dict(zip(("low", "high", unit, "accuracy", "confidence"), row, strict=True)) for row in rows]


def _gaps(counts: np.ndarray) -> np.ndarray:
    """(B,) int64 |accuracy - mean confidence| times pixels, in 1/65535."""
    return np.abs(CERTAIN * counts[:, 1] - counts[:, 2])
