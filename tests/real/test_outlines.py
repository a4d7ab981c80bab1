"""Boundary figures and surface distances of successive CamVid frames, void among them, against SciPy class by class."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from outlines import IGNORE, band, distance_to, edge, masks

from seg.evaluation.boundary import count_bands, count_contours, surface_distances

ROOT = Path(__file__).parents[2]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
VOID, CLASSES = 11, 11

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid does not lie in {CAMVID}"),
]


@pytest.mark.parametrize("first", [0, 60, 170])
def test_a_frame_as_the_prediction_of_the_one_before(first: int) -> None:
    paths = sorted((CAMVID / "testannot").glob("*.png"))[first : first + 2]
    truth, predicted = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    truth, predicted = np.where(truth == VOID, IGNORE, truth).astype(np.uint8), np.where(predicted == VOID, 0, predicted).astype(np.uint8)
    assert (truth == IGNORE).any()
    bands, contours = count_bands(truth, predicted, CLASSES, 0.02), count_contours(truth, predicted, CLASSES, 3)
    distances = surface_distances(truth, predicted, CLASSES)
    for index in range(CLASSES):
        *both, ignored = masks(truth, predicted, index)
        true, found = (band(mask, ignored, 12) for mask in both)  # 2 % of the diagonal of 600 pixels
        assert bands[index].tolist() == [(true & found).sum(), (true | found).sum()]
        seen = distance_to(ignored) > 3
        true, found = (edge(mask, ignored, outside=True) for mask in both)
        expected = [(found & seen & (distance_to(true) <= 3)).sum(), (found & seen).sum()]
        assert contours[index].tolist() == [*expected, (true & seen & (distance_to(found) <= 3)).sum(), (true & seen).sum()]
        true, found = (edge(mask, ignored, outside=False) for mask in both)
        if true.any() and found.any():
            there, back = distance_to(found)[true], distance_to(true)[found]
            assert distances.hd95[index] == pytest.approx(np.percentile(np.r_[there, back], 95), abs=1e-9)
            assert distances.assd[index] == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-9)
        else:
            assert np.isnan(distances.hd95[index])
