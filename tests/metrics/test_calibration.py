"""Calibration errors against torchmetrics, and by hand at the edges of the bins."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from seg.metrics.calibration import (
    count_confidence,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_rows,
)

IGNORE = 255
ONE = 65535


def random_case(num_classes: int, bins: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and confidence of 12 x 15 pixels, a tenth ignored; no confidence lies on an edge of a bin.

    Few, because torchmetrics adds them up as float32.
    """
    rng = np.random.default_rng(seed)
    confidence = rng.integers(ONE // num_classes + 100, ONE, size=(12, 15))
    confidence[confidence * bins % ONE == 0] += 1
    predicted = rng.integers(num_classes, size=(12, 15)).astype(np.uint8)
    right = rng.random((12, 15)) < (confidence / ONE) ** 2
    truth = np.where(right, predicted, rng.integers(num_classes, size=(12, 15))).astype(np.uint8)
    truth[rng.random((12, 15)) < 0.1] = IGNORE
    return truth, predicted, confidence.astype(np.uint16)


@pytest.mark.parametrize("bins", [1, 7, 10, 15, 100])
@pytest.mark.parametrize("num_classes", [2, 6])
def test_errors_agree_with_torchmetrics(num_classes: int, bins: int) -> None:
    truth, predicted, confidence = random_case(num_classes, bins, 10 * bins + num_classes)
    highest = confidence.ravel() / ONE
    probabilities = np.repeat(((1 - highest) / (num_classes - 1))[:, None], num_classes, axis=1)
    np.put_along_axis(probabilities, predicted.reshape(-1, 1).astype(int), highest[:, None], axis=1)
    counts = count_confidence(truth, predicted, confidence, num_classes, bins)
    for norm, ours in (("l1", expected_calibration_error), ("max", maximum_calibration_error)):
        metric = MulticlassCalibrationError(num_classes, n_bins=bins, norm=norm, ignore_index=IGNORE)
        expected = metric(torch.from_numpy(probabilities), torch.from_numpy(truth.ravel()).long())
        assert ours(counts) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 3, 10, 15, 64, 1000, ONE])
def test_every_confidence_falls_into_its_bin(bins: int) -> None:
    """Bins are open below and closed above; the first holds 0, too."""
    confidence = np.arange(ONE + 1).astype(np.uint16).reshape(256, 256)
    labels = np.zeros((256, 256), np.uint8)
    bin_of = np.maximum(-(-np.arange(ONE + 1) * bins // ONE) - 1, 0)
    pixels = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, weights=np.arange(ONE + 1), minlength=bins)
    counts = count_confidence(labels, labels, confidence, 1, bins)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, np.stack([pixels, pixels, sums], axis=1))


def test_rows_and_errors_by_hand() -> None:
    """Five bins: at 0.2 one of two is right, at 0.8 three of four, at 1 none of one; a sixth of the pixels is ignored."""
    confidence = (np.array([[0.2, 0.2, 0.8, 0.8], [0.8, 0.8, 1.0, 0.6]]) * ONE).round().astype(np.uint16)
    predicted = np.zeros((2, 4), np.uint8)
    truth = np.array([[0, 1, 0, 0], [0, 1, 1, IGNORE]], np.uint8)
    counts = count_confidence(truth, predicted, confidence, 2, 5)
    assert counts.tolist() == [[2, 1, 2 * 13107], [0, 0, 0], [0, 0, 0], [4, 3, 4 * 52428], [1, 0, ONE]]
    assert expected_calibration_error(counts) == pytest.approx((2 * 0.3 + 4 * 0.05 + 1 * 1.0) / 7)
    assert maximum_calibration_error(counts) == pytest.approx(1.0)
    rows = reliability_rows(counts)
    assert rows[3] == pytest.approx({"low": 0.6, "high": 0.8, "pixels": 4, "accuracy": 0.75, "confidence": 0.8})
    assert rows[1] == pytest.approx({"low": 0.2, "high": 0.4, "pixels": 0, "accuracy": np.nan, "confidence": np.nan}, nan_ok=True)


def test_what_does_not_fit_is_refused() -> None:
    labels, confidence = np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint16)
    with pytest.raises(ValueError, match=r"\(3, 3\) uint16 .* got \(3, 3\) float32"):
        count_confidence(labels, labels, confidence.astype(np.float32), 2, 15)
    with pytest.raises(ValueError, match=r"got \(3, 2\) uint16"):
        count_confidence(labels, labels, confidence[:, :2], 2, 15)
    with pytest.raises(ValueError, match=r"bins must be in 1\.\.65535, got 0"):
        count_confidence(labels, labels, confidence, 2, 0)
