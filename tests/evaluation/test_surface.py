"""Surface distances against distance transforms of each class by itself, torchmetrics' surfaces, and by hand."""

import numpy as np
import pytest
import torch
from outlines import IGNORE, distance_to, edge, masks, regions
from scipy.spatial.distance import directed_hausdorff
from torchmetrics.functional.segmentation.utils import mask_edges, surface_distance

from seg.evaluation.boundary import surface_distances

CASES = [(2, 0, 0.0), (3, 1, 0.3), (6, 2, 0.0), (6, 3, 0.2), (12, 4, 0.6)]


@pytest.mark.parametrize(("num_classes", "seed", "ignored"), CASES)
@pytest.mark.parametrize("spacing", [None, (0.5, 0.5), (2.0, 0.3)])
def test_distances_are_those_of_distance_transforms(num_classes: int, seed: int, ignored: float, spacing) -> None:
    truth, predicted = regions(num_classes, seed, ignored=ignored)
    expected = np.full((2, num_classes), np.nan)
    present = []
    for index in range(num_classes):
        *both, hidden = masks(truth, predicted, index)
        present.append(any(mask.any() for mask in both))
        a, b = (edge(mask, hidden, outside=False) for mask in both)
        if a.any() and b.any():
            there, back = distance_to(b, spacing or (1, 1))[a], distance_to(a, spacing or (1, 1))[b]
            expected[:, index] = np.percentile(np.r_[there, back], 95), np.r_[there, back].mean()
    found = surface_distances(truth, predicted, num_classes, spacing)
    np.testing.assert_allclose(found.hd95, expected[0], atol=1e-9)
    np.testing.assert_allclose(found.assd, expected[1], atol=1e-9)
    np.testing.assert_array_equal(found.undefined, np.array(present) & np.isnan(expected[0]))
    assert num_classes < 5 or found.undefined[1:3].all(), "one is only true, one only predicted"
    assert not found.undefined[0] or num_classes < 5, "absent"


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5)])
def test_distances_agree_with_torchmetrics(spacing: tuple[float, float]) -> None:
    """Of a square image: torchmetrics 1.9 mixes up height and width of others."""
    truth, predicted = regions(6, 5, size=(64, 64))
    found = surface_distances(truth, predicted, 6, spacing)
    for index in (3, 4, 5):
        both = [torch.from_numpy(labels == index) for labels in (predicted, truth)]
        edges = [mask_edges(mask, mask)[0].bool() for mask in both]
        forth, back = (surface_distance(a, b, distance_metric="euclidean", spacing=list(spacing)).numpy() for a, b in (edges, edges[::-1]))
        assert found.hd95[index] == pytest.approx(np.percentile(np.r_[forth, back], 95), abs=1e-4)
        assert found.assd[index] == pytest.approx(np.r_[forth, back].mean(), abs=1e-4)


def test_no_distance_exceeds_the_hausdorff_distance_which_single_pixels_reach() -> None:
    truth, predicted = regions(3, 6)
    found = surface_distances(truth, predicted, 3)
    for index in range(3):
        a, b = (np.argwhere(edge(labels == index, truth == IGNORE, outside=False)) for labels in (truth, predicted))
        farthest = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
        assert 0 < found.assd[index] < found.hd95[index] < farthest
    one, other = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint8)
    one[3, 7], other[33, 47] = 1, 1
    a, b = (np.argwhere(labels) for labels in (one, other))
    assert surface_distances(one, other, 2).hd95[1] == pytest.approx(directed_hausdorff(a, b)[0]) == 50
    assert surface_distances(one, other, 2, (0.1, 0.1)).assd[1] == pytest.approx(5)


def test_a_square_within_a_square_by_hand() -> None:
    """Rings of 24 and of 8 pixels, two apart: sides at 2, near the corners farther."""
    truth, predicted = np.zeros((11, 11), np.uint8), np.zeros((11, 11), np.uint8)
    truth[2:9, 2:9], predicted[4:7, 4:7] = 1, 1
    found = surface_distances(truth, predicted, 2)
    there = [2.0] * 12 + [np.sqrt(5)] * 8 + [np.sqrt(8)] * 4
    assert found.assd[1] == pytest.approx((np.sum(there) + 8 * 2) / 32)
    assert found.hd95[1] == pytest.approx(np.percentile([*there, *[2.0] * 8], 95))


def test_all_distances_weigh_alike_in_a_mean() -> None:
    """A square of 24 outer pixels, and its centre: the mean of 25 distances, as MedPy 0.5.2 and MONAI 1.5 have it, not of two means."""
    truth, predicted = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    truth[1:8, 1:8], predicted[4, 4] = 1, 1
    assert surface_distances(truth, predicted, 2).assd[1] == pytest.approx(3.4445, abs=5e-5)
    wide = surface_distances(truth, predicted, 2, (2.0, 1.0))
    ring = [(y, x) for y in range(-3, 4) for x in range(-3, 4) if 3 in (abs(y), abs(x))]
    assert wide.assd[1] == pytest.approx((sum(np.hypot(2 * y, x) for y, x in ring) + 3) / 25), "the centre is 3 from a side, 6 from another"


def test_a_mask_at_the_images_edge_ends_there() -> None:
    truth, predicted = np.zeros((5, 8), np.uint8), np.zeros((5, 8), np.uint8)
    truth[:, :4], predicted[:, :4] = 1, 1
    predicted[2, 0] = 0
    assert surface_distances(truth, predicted, 2).assd[1] == pytest.approx((1 / 14 + 1 / 14) / 2), (
        "the hole takes one of 14 pixels and adds one that is a pixel from the edge"
    )


def test_empty_truth_and_empty_prediction_are_undefined() -> None:
    empty, some = np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)
    some[2, 2] = 1
    for truth, predicted in ((empty, some), (some, empty)):
        found = surface_distances(truth, predicted, 3)
        np.testing.assert_array_equal(np.isnan(found.hd95), [False, True, True])
        np.testing.assert_array_equal(np.isnan(found.assd), [False, True, True])
        assert found.undefined.tolist() == [False, True, False], "class 2 is absent"


@pytest.mark.filterwarnings("error")
def test_all_ignored_has_no_distance_and_no_class() -> None:
    ignored = np.full((6, 6), IGNORE, np.uint8)
    found = surface_distances(ignored, np.ones_like(ignored), 2)
    assert np.isnan(found.hd95).all()
    assert not found.undefined.any()


def test_ignored_pixels_hide_surfaces() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[2:7, 2:7], truth[3:6, 3:6] = IGNORE, 1
    predicted = np.zeros((9, 9), np.uint8)
    predicted[3:6, 3:6] = 1
    found = surface_distances(truth, predicted, 2)
    assert found.undefined.tolist() == [False, True], "all around it is ignored"
    assert found.hd95[0] == 0
    np.testing.assert_array_equal(surface_distances(truth, np.where(truth == IGNORE, 1, predicted).astype(np.uint8), 2).hd95, found.hd95)
