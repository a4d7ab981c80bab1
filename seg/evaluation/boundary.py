"""How well outlines are met: boundary IoU and boundary F, from whole-number counts that add up over images; how far predicted outlines lie
from true ones: Hausdorff distance at the 95th percentile, and average surface distance; and whether regions that a class separates are
the same ones in truth and prediction: the adapted Rand error of connected components.

Pixels whose truth is 255 have no class in either map. They make no boundary: a region that ends at an ignored one is taken to
go on beneath it, in the truth and in the prediction alike. So what is predicted there changes no count, and a prediction that is
right wherever pixels count scores 1."""

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from scipy.spatial import KDTree

from seg.data.sample import IGNORE
from seg.metrics.classmaps import comparable, contours, pixels_of_classes, where
from seg.metrics.semantic import ratio


def band_width(share: float, height: int, width: int) -> int:
    """The width in pixels of an image's bands: the given share of its diagonal, rounded (halves to even), at least 1."""
    return max(1, round(share * float(np.hypot(height, width))))


def bands(labels: np.ndarray, width: int) -> np.ndarray:
    """Class map (H, W) uint8 -> the class index (H, W) uint8 in the inner band of each region's boundary, else 255.

    The band of a class is what `width` erosions by 3x3 pixels take from its mask, where the outside of the image is not of the
    class (Cheng et al. 2021, and their boundary_iou_api); ignored pixels (255) erode nothing and are in no band."""
    # One minimum and one maximum over the window serve all classes: a window of one class has that class as both. What is
    # ignored is the highest value to the minimum, and made the lowest to the maximum.
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(labels, window) == labels
    inner &= cv2.dilate(np.minimum(labels, where(labels != IGNORE)), window) == labels
    for edge in (inner[:width], inner[-width:], inner[:, :width], inner[:, -width:]):
        edge[:] = False
    return np.maximum(labels, where(inner))


def count_bands(truth: np.ndarray, predicted: np.ndarray, num_classes: int, share: float) -> np.ndarray:
    """Class maps (H, W) uint8 -> (K, 2) int64: the pixels of intersection and union of each class's two bands.

    share: the bands' width as a share of the image's diagonal (Cheng et al. use 0.02). Raises ValueError as `comparable` does."""
    width = band_width(share, *truth.shape)
    true, found = (bands(labels, width) for labels in (truth, comparable(truth, predicted, num_classes)))
    both = pixels_of_classes(np.maximum(true, where(true != found)), num_classes)
    either = pixels_of_classes(true, num_classes) + pixels_of_classes(found, num_classes) - both
    return np.stack((both, either), axis=1)


def count_contours(truth: np.ndarray, predicted: np.ndarray, num_classes: int, tolerance: float) -> np.ndarray:
    """Class maps (H, W) uint8 -> (K, 4) int64 contour pixels of each class: matched predicted, predicted, matched true, true.

    A contour pixel of a class shares a side with a pixel of another class; the image's edge is no contour. It is matched where
    the other map has a contour pixel of the class at a Euclidean distance of `tolerance` pixels or less (Csurka et al. 2013; the
    disc of DAVIS, Perazzi et al. 2016). One with an ignored pixel at that distance or less is not counted, matched or not, since
    its match may be hidden; it still matches others. Raises ValueError as `comparable` does."""
    true, found = (contours(labels, border=False) for labels in (truth, comparable(truth, predicted, num_classes)))
    offsets = _disc(tolerance)
    reach = int(tolerance)
    window = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    window[tuple(offsets.T + reach)] = 1
    hidden = cv2.dilate(where(truth == IGNORE), window)
    counts = np.zeros((num_classes, 4), np.int64)
    for column, (subjects, partners) in {0: (found, true), 2: (true, found)}.items():
        _match(np.maximum(subjects, hidden), partners, offsets, counts[:, column : column + 2])
    return counts


def boundary_figures(bands: np.ndarray, contours: np.ndarray) -> dict[str, np.ndarray]:
    """Counts (K, 2) of `count_bands` and (K, 4) of `count_contours`, or sums of them -> figures (K,), NaN for a class without any.

    boundary_iou: of the bands. boundary_precision, boundary_recall: the matched share of predicted, and of true contours. boundary_f: their
    harmonic mean, 0 for a class with contours in one of the maps alone."""
    matched_predicted, predicted, matched_true, true = (contours[:, column].astype(float) for column in range(4))
    f = ratio(2 * matched_predicted * matched_true, matched_predicted * true + matched_true * predicted)
    return {
        "boundary_iou": ratio(bands[:, 0], bands[:, 1]),
        "boundary_f": np.where((predicted + true > 0) & np.isnan(f), 0.0, f),
        "boundary_precision": ratio(matched_predicted, predicted),
        "boundary_recall": ratio(matched_true, true),
    }


def _disc(tolerance: float) -> np.ndarray:
    """The steps (n, 2) int64 that are at most `tolerance` pixels long, shortest first."""
    reach = int(tolerance)
    steps = np.indices((2 * reach + 1, 2 * reach + 1)).reshape(2, -1).T - reach
    squares = (steps**2).sum(axis=1)
    return steps[np.argsort(squares, kind="stable")][: (squares <= tolerance**2).sum()]


@numba.njit(nogil=True, cache=True)
def _match(subjects: np.ndarray, partners: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
    """Count each class's `subjects` (column 1), and those with a partner of the class at one of the offsets (column 0)."""
    height, width = subjects.shape
    for y in range(height):
        for x in range(width):
            own = subjects[y, x]
            if own == IGNORE:
                continue
            counts[own, 1] += 1
            for n in range(len(offsets)):
                v, u = y + offsets[n, 0], x + offsets[n, 1]
                if 0 <= v < height and 0 <= u < width and partners[v, u] == own:
                    counts[own, 0] += 1
                    break


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """Of one image's classes: hd95 and assd (K,) float64 in the unit of the spacing, NaN where a class is not in both maps.

    undefined: (K,) bool, True for a class that is in the image, but has a surface in one map alone, or in neither."""

    hd95: np.ndarray
    assd: np.ndarray
    undefined: np.ndarray


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int, spacing: tuple[float, float] | None = None
) -> SurfaceDistances:
    """Class maps (H, W) uint8 and a pixel's (height, width) -> distances between each class's true and predicted surface.

    Defined as in MedPy 0.5 (medpy.metric.binary hd95, assd) and MONAI: the surface is the mask without its erosion by the four neighbours,
    where the outside of the image is not of the mask; each pixel of a surface has its Euclidean distance to the nearest of the
    other. hd95 is the 95th percentile (linear) of both directions' distances together, assd their mean. Pixels whose truth is 255
    have no class in either map and no surface along them: a region is taken to go on beneath.

    Without spacing distances are in pixels. Raises ValueError as `comparable` does."""
    found = comparable(truth, predicted, num_classes)
    present = (pixels_of_classes(truth, num_classes) + pixels_of_classes(found, num_classes)) > 0
    surfaces = [_points(contours(labels, border=True), num_classes, spacing or (1.0, 1.0)) for labels in (truth, found)]
    hd95, assd = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for index, (a, b) in enumerate(zip(*surfaces, strict=True)):
        if len(a) and len(b):
            # a surface has so few pixels that a tree of them is faster than distance transforms of the map; it takes any spacing, too
            pairs = ((own, KDTree(other, balanced_tree=False, compact_nodes=False)) for own, other in ((a, b), (b, a)))
            both = np.concatenate([tree.query(own)[0] for own, tree in pairs])
            hd95[index] = np.percentile(both, 95)
            assd[index] = both.mean()
    return SurfaceDistances(hd95, assd, present & np.isnan(hd95))


def _points(surface: np.ndarray, num_classes: int, spacing: tuple[float, float]) -> list[np.ndarray]:
    """The places (n, 2) float64 of each class's pixels in a map of `contours`, in the unit of the spacing."""
    places = np.argwhere(surface != IGNORE)
    classes = surface[places[:, 0], places[:, 1]]
    order = np.argsort(classes, kind="stable")
    ends = np.cumsum(np.bincount(classes, minlength=num_classes))[:-1]
    return np.split(places[order] * np.asarray(spacing), ends)


def rand_error(truth: np.ndarray, predicted: np.ndarray, separating: int) -> float:
    """1 less the F1 of pairs of pixels that share a region, of two class maps (H, W) uint8; NaN where no two pixels share one.

    Regions hang together along sides of pixels. 255 in the truth counts nowhere, and separates regions of both maps. Pixels whose truth is
    the separating class count nowhere (foreground-restricted). In the prediction that class is first given to the nearest region, as the
    challenge ISBI 2012 thins borders (Arganda-Carreras et al. 2015), so that a border's width costs nothing."""
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error
    from skimage.segmentation import expand_labels

    ignored = truth == IGNORE
    true, found = (label(np.where(ignored, separating, m), background=separating, connectivity=1) for m in (truth, predicted))
    if np.bincount(true.ravel())[1:].max(initial=0) < 2:
        return float("nan")
    return float(adapted_rand_error(true, expand_labels(found, np.inf) if found.any() else found)[0])
