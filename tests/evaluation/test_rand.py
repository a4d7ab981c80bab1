"""The Rand error of regions equals the count of all pairs of pixels, one by one."""

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import label

from seg.data.sample import Prediction
from seg.evaluation.boundary import rand_error
from seg.evaluation.pixels import PixelMetrics


def by_pairs(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Of ids (H, W) of regions, over the pixels whose truth has one."""
    pixels = [(t, p) for t, p in zip(truth.ravel(), predicted.ravel(), strict=True) if t]
    both, first, second = 0, 0, 0
    for (t, p), (u, q) in combinations(pixels, 2):
        both, first, second = both + (t == u and p == q), first + (p == q), second + (t == u)
    return 1 - 2 * both / (first + second)


@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_of_pixels_are_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = (rng.random((9, 11)) < 0.35 for _ in range(2))
    ids = [label(~m)[0] for m in (truth, predicted)]
    grown = ids[1].copy()
    for y, x in np.argwhere(predicted):  # each pixel of the separating class goes to a region that is nearest to it
        distances = np.where(ids[1] > 0, (np.arange(9)[:, None] - y) ** 2 + (np.arange(11)[None] - x) ** 2, 10**6)
        nearest = set(ids[1][distances == distances.min()].tolist())
        grown[y, x] = nearest.pop() if len(nearest) == 1 else -1
    if (grown[~truth] == -1).any():  # where two are equally near, either will do: such pixels count nowhere here
        truth = truth | (grown == -1)
        ids[0] = label(~truth)[0]
    assert rand_error(truth.astype(np.uint8), predicted.astype(np.uint8), 1) == pytest.approx(by_pairs(ids[0], grown))


def test_what_the_error_is_of_maps_drawn_by_hand() -> None:
    truth = np.zeros((5, 9), np.uint8)
    truth[:, 4] = 1  # two regions of 20 pixels each
    wide = truth.copy()
    wide[:, 3:6] = 1
    assert rand_error(truth, truth, 1) == 0
    assert rand_error(truth, wide, 1) == 0, "a wider border costs nothing"
    merged = np.zeros_like(truth)
    assert rand_error(truth, merged, 1) == pytest.approx(1 - 2 * 380 / (380 + 780)), "of 780 pairs 380 belong together"
    assert rand_error(truth, np.ones_like(truth), 1) == pytest.approx(1 - 2 * 380 / (380 + 780)), "no region at all is one"
    ignored = truth.copy()
    ignored[:, 5:] = 255
    assert rand_error(ignored, merged, 1) == 0
    assert np.isnan(rand_error(np.ones_like(truth), merged, 1))


def test_over_images_it_is_a_mean_that_any_draw_of_them_has() -> None:
    rng = np.random.default_rng(0)
    maps = [((rng.random((2, 12, 14)) < 0.3).astype(np.uint8)) for _ in range(4)]
    maps.append(np.ones((2, 12, 14), np.uint8))  # undefined
    found = PixelMetrics(["cell", "membrane"], None, False, None, 1)
    own = [found.count(truth, Prediction(semantic=predicted))["rand_error"] for truth, predicted in maps]
    assert np.isnan(own[4])
    assert found.figures()["rand_error"] == pytest.approx(np.mean(own[:4]))
    assert found.figures(np.array([2, 0, 1, 0, 3]))["rand_error"] == pytest.approx((2 * own[0] + own[2]) / 3)
    assert np.isnan(found.figures(np.array([0, 0, 0, 0, 1]))["rand_error"])
