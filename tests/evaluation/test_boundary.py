"""Boundary IoU and F against masks eroded class by class, and by hand where pixels are ignored."""

import numpy as np
import pytest
from outlines import IGNORE, band, distance_to, edge, masks, regions
from scipy import ndimage

from seg.evaluation.boundary import band_width, boundary_figures, count_bands, count_contours

CASES = [(2, 0, 0.0), (3, 1, 0.3), (6, 2, 0.0), (6, 3, 0.2), (12, 4, 0.6)]


def bands_by_definition(truth: np.ndarray, predicted: np.ndarray, num_classes: int, width: int) -> list[list[int]]:
    rows = []
    for index in range(num_classes):
        *both, ignored = masks(truth, predicted, index)
        true, found = (band(mask, ignored, width) for mask in both)
        rows.append([(true & found).sum(), (true | found).sum()])
    return rows


def contours_by_definition(truth: np.ndarray, predicted: np.ndarray, num_classes: int, tolerance: float) -> list[list[int]]:
    rows = []
    for index in range(num_classes):
        *both, ignored = masks(truth, predicted, index)
        true, found = (edge(mask, ignored, outside=True) for mask in both)
        seen = distance_to(ignored) > tolerance
        row = []
        for subjects, partners in ((found, true), (true, found)):
            subjects = subjects & seen
            row += [(subjects & (distance_to(partners) <= tolerance)).sum(), subjects.sum()]
        rows.append(row)
    return rows


@pytest.mark.parametrize(("num_classes", "seed", "ignored"), CASES)
@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 1.0])
def test_bands_are_those_of_each_class_by_itself(num_classes: int, seed: int, ignored: float, share: float) -> None:
    truth, predicted = regions(num_classes, seed, ignored=ignored)
    width = max(1, round(share * np.sqrt(61**2 + 83**2)))
    counts = count_bands(truth, predicted, num_classes, share)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, bands_by_definition(truth, predicted, num_classes, width))
    assert counts[:, 0].any()


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_bands_are_what_repeated_erosions_take(share: float) -> None:
    """As Cheng et al. compute them: the mask, padded by a pixel of background, is eroded by 3x3 as often as the band is wide."""
    truth, predicted = regions(6, 5)
    times = round(share * np.sqrt(61**2 + 83**2))
    expected = []
    for index in range(6):
        both = [np.pad(labels == index, 1) for labels in (truth, predicted)]
        true, found = (m & ~ndimage.binary_erosion(m, np.ones((3, 3)), iterations=times) for m in both)
        expected.append([(true & found).sum(), (true | found).sum()])
    np.testing.assert_array_equal(count_bands(truth, predicted, 6, share), expected)


@pytest.mark.parametrize(("num_classes", "seed", "ignored"), CASES)
@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2, 7])
def test_contours_are_matched_as_by_distance_maps(num_classes: int, seed: int, ignored: float, tolerance: float) -> None:
    truth, predicted = regions(num_classes, seed, ignored=ignored)
    counts = count_contours(truth, predicted, num_classes, tolerance)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, contours_by_definition(truth, predicted, num_classes, tolerance))
    assert counts[:, ::2].any() or tolerance * ignored > 1, "too much is ignored for a contour to be seen"


def test_noise_and_views_of_other_strides() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = (rng.choice([0, 1, 2, IGNORE], p=[0.4, 0.3, 0.2, 0.1], size=(80, 60)).astype(np.uint8) for _ in range(2))
    predicted[predicted == IGNORE] = 0
    for t, p in ((truth, predicted), (truth.T, predicted.T), (truth[::-2, ::3], predicted[::-2, ::3])):
        np.testing.assert_array_equal(count_bands(t, p, 3, 0.02), bands_by_definition(t, p, 3, band_width(0.02, *t.shape)))
        np.testing.assert_array_equal(count_contours(t, p, 3, 2), contours_by_definition(t, p, 3, 2))


def test_the_width_of_a_band() -> None:
    assert band_width(0.02, 300, 400) == 10
    assert band_width(0.02, 3, 4) == 1, "at least a pixel"
    assert band_width(0.5, 3, 4) == 2, "halves to even, as in the reference"


def square_of_four(where: int) -> np.ndarray:
    labels = np.zeros((12, 12), np.uint8)
    labels[4:8, where : where + 4] = 1
    return labels


def test_a_shifted_square_by_hand() -> None:
    """A square of 4 by 4 pixels, predicted a pixel farther right."""
    counts = count_bands(square_of_four(4), square_of_four(5), 2, 0.0)
    assert counts[1].tolist() == [6, 2 * 12 - 6], "bands are rings of 12 pixels, which share three above and three below"
    contours = count_contours(square_of_four(4), square_of_four(5), 2, 0)
    assert contours[1].tolist() == [6, 12, 6, 12]
    assert contours[0].tolist() == [6, 16, 6, 16], "background's contour lies around the square, without corners"
    np.testing.assert_allclose(boundary_figures(counts, contours)["boundary_iou"][1], 1 / 3)
    np.testing.assert_allclose(boundary_figures(counts, contours)["boundary_f"], [3 / 8, 1 / 2])
    np.testing.assert_array_equal(count_contours(square_of_four(4), square_of_four(5), 2, 1)[1], [12, 12, 12, 12])


def test_the_images_edge_bounds_a_band_but_is_no_contour() -> None:
    everywhere = np.zeros((10, 10), np.uint8)
    assert count_bands(everywhere, everywhere, 1, 0.0).tolist() == [[36, 36]]
    assert count_contours(everywhere, everywhere, 1, 2).tolist() == [[0, 0, 0, 0]]


def test_a_region_has_no_boundary_along_ignored_pixels() -> None:
    truth = np.full((9, 21), 0, np.uint8)
    truth[:, 10:] = IGNORE
    counts = count_bands(truth, np.zeros_like(truth), 1, 0.0)
    assert counts.tolist() == [[9 + 2 * 9, 9 + 2 * 9]], "the image's edge at the left, above and below"


def test_a_contour_whose_match_may_be_hidden_is_not_counted() -> None:
    """Two classes whose boundary is hidden by ignored columns 5 and 6; predicted as lying `away` columns left of these."""
    truth = np.repeat(np.array([0, IGNORE, 1], np.uint8), [5, 2, 5])[None].repeat(6, axis=0)

    def predicted(first_of_class_1: int) -> np.ndarray:
        return (np.arange(12) >= first_of_class_1).astype(np.uint8)[None].repeat(6, axis=0)

    assert not count_contours(truth, predicted(5), 2, 2).any(), "it lies along the ignored ones"
    assert not count_contours(truth, predicted(4), 2, 2)[1].any(), "a pixel beside column 5, and column 4 is within the tolerance"
    assert count_contours(truth, predicted(3), 2, 2).tolist() == [[0, 6, 0, 0], [0, 0, 0, 0]], "columns 2 and 3, which is 2 away"
    assert count_contours(truth, predicted(2), 2, 2).tolist() == [[0, 6, 0, 0], [0, 6, 0, 0]]


@pytest.mark.filterwarnings("error")
def test_figures_of_classes_in_one_map_alone_or_in_none() -> None:
    truth, predicted = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    truth[2:5, 2:5], predicted[5:7, 5:7] = 1, 2
    bands, contours = count_bands(truth, predicted, 4, 0.02), count_contours(truth, predicted, 4, 1)
    np.testing.assert_array_equal(boundary_figures(bands, contours)["boundary_iou"][1:], [0, 0, np.nan])
    np.testing.assert_array_equal(boundary_figures(bands, contours)["boundary_f"][1:], [0, 0, np.nan])
    np.testing.assert_array_equal(boundary_figures(bands, contours)["boundary_precision"][1:], [np.nan, 0, np.nan])
    np.testing.assert_array_equal(boundary_figures(bands, contours)["boundary_recall"][1:], [0, np.nan, np.nan])


@pytest.mark.parametrize("count", [count_bands, count_contours])
def test_other_shapes_types_and_classes_are_refused(count) -> None:
    labels = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        count(labels, labels[:, :3], 2, 0.5)
    with pytest.raises(ValueError, match="uint8"):
        count(labels, labels.astype(int), 2, 0.5)
    for bad in ((labels + 2, labels), (labels, labels + 2)):
        with pytest.raises(ValueError, match=r"outside 0\.\.1"):
            count(*bad, 2, 0.5)
