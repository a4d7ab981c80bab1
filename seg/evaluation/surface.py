"""How far predicted outlines lie from true ones: Hausdorff distance at the 95th percentile, and average surface distance; and whether
regions that a class separates are the same ones in truth and prediction: the adapted Rand error of connected components."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from seg.data.sample import IGNORE
from seg.metrics.classmaps import comparable, contours, pixels_of_classes


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """Of one image's classes: hd95 and assd (K,) float64 in the unit of the spacing, NaN where a class is not in both maps.

    undefined: (K,) bool, True for a class that is in the image, but has a surface in one map alone, or in neither.
    """

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

    Without spacing distances are in pixels. Raises ValueError as `comparable` does.
    """
    found = comparable(truth, predicted, num_classes)
    present = (pixels_of_classes(truth, num_classes) + pixels_of_classes(found, num_classes)) > 0
    surfaces = [_points(contours(labels, border=True), num_classes, spacing or (1.0, 1.0)) for labels in (truth, found)]
    hd95, assd = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for index, (a, b) in enumerate(zip(*surfaces, strict=True)):
        if len(a) and len(b):
            both = np.concatenate([_nearest(a, b), _nearest(b, a)])
            hd95[index] = np.percentile(both, 95)
            assd[index] = both.mean()
    return SurfaceDistances(hd95, assd, present & np.isnan(hd95))


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance (n,) of each point (n, 2) to the nearest of the others (m, 2).

    A surface has so few pixels that a tree of them is faster than distance transforms of the map; it takes any spacing, too.
    """
    return KDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]


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
    challenge ISBI 2012 thins borders (Arganda-Carreras et al. 2015), so that a border's width costs nothing.
    """
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error
    from skimage.segmentation import expand_labels

    ignored = truth == IGNORE
    true, found = (label(np.where(ignored, separating, m), background=separating, connectivity=1) for m in (truth, predicted))
    if np.bincount(true.ravel())[1:].max(initial=0) < 2:
        return float("nan")
    return float(adapted_rand_error(true, expand_labels(found, np.inf) if found.any() else found)[0])
