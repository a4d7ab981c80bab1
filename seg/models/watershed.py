"""Objects as a map of distances to their edges, and back: what `model=distance` learns, and how objects are read from what it says.

Bai and Urtasun 2017 (deep watershed transform): an object is a basin of the energy that its pixels' distances to its edge make, so that
objects that touch come apart along the ridge between them.
"""

import cv2
import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from seg.data.labelmaps import encode, measure
from seg.data.sample import Prediction

FOREGROUND = 0.5  # the probability above which a pixel belongs to an object
CORE = 0.75  # the share of an object's largest distance from which on a pixel is in its middle
AROUND = np.ones((3, 3), bool)  # pixels that touch by a corner are of one core


def distance_map(ids: np.ndarray) -> np.ndarray:
    """The distance of each pixel to its object's edge, as a share of CORE of the largest of its object and at most 1: (H, W) float32, 0
    outside of objects.

    So the middle of an object is a plateau: else small differences along the ridge of a long or a bent one would be peaks of their own.
    An object's edge are its pixels beside (in rows and columns) a pixel of another label; they have the distance 1, and others 1 more than
    to the nearest edge. The image's border is no edge: an object goes on there. ids: (H, W) int32, 0 = no object.
    """
    edge = np.zeros(ids.shape, bool)
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = ids[first] != ids[second]
        edge[first] |= differ
        edge[second] |= differ
    inside = ids > 0
    if not edge.any():
        return inside.astype(np.float32)
    distances = 1 + cv2.distanceTransform((~edge).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    largest = np.ones(int(ids.max(initial=0)) + 1, np.float32)
    np.maximum.at(largest, ids[inside], distances[inside])
    return np.where(inside, np.minimum(distances / (CORE * largest[ids]), 1), 0).astype(np.float32)


def objects_of(probabilities: np.ndarray, distance: np.ndarray, peak: float) -> np.ndarray:
    """The object of each pixel: (H, W) int32 ids 1..N, 0 = none.

    Pixels of an object have a probability of no object below a half. Each peak of the distance that rises by `peak` above the pass to a
    higher one is an object's core (h-maxima; Soille 2003), from which the watershed of the distance floods the object's pixels (both
    scikit-image's). A region without a core is an object by itself. probabilities: (K, H, W) float32; the first is that of no object.
    distance: (H, W) float32 in 0..1, as `distance_map` gives it. peak: 0..1, more cores at a smaller one.
    """
    inside = probabilities[0] < 1 - FOREGROUND
    markers, count = _regions(inside & (h_maxima(np.where(inside, distance, 0), peak) > 0), AROUND)
    regions, _ = _regions(inside)
    marked = np.zeros(int(regions.max(initial=0)) + 1, bool)
    marked[regions[markers > 0]] = True
    alone = inside & ~marked[regions]
    markers[alone] = regions[alone] + count
    return np.asarray(watershed(-distance, markers, mask=inside), np.int32)


def _regions(mask: np.ndarray, touching: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    given = ndimage.label(mask, touching)
    return np.array(given[0]), int(given[1])


def prediction_of_maps(probabilities: np.ndarray, distance: np.ndarray, peak: float, first_label: int) -> Prediction:
    """The objects of an image, best first. An object's score is the mean probability, over its pixels, that they belong to its class; its
    class is the one for which this is highest. The arguments are those of `objects_of`, and the channel of the class with index 0, as
    `seg.models.base.first_label` gives it.
    """
    found = objects_of(probabilities, distance, peak)
    _, numbers = np.unique(found, return_inverse=True)
    ids = numbers.reshape(found.shape).astype(np.int32) + np.int32(0 if (found == 0).any() else 1)
    count = int(ids.max(initial=0))
    pixels = np.bincount(ids.ravel(), minlength=count + 1)[1:]
    means = [np.bincount(ids.ravel(), p.ravel(), count + 1)[1:] / np.maximum(pixels, 1) for p in probabilities[1:]]
    of_class = np.stack(means, axis=1) if means else np.zeros((count, 1))
    scores = of_class.max(axis=1, initial=0).clip(0, 1)
    order = np.argsort(-scores, kind="stable")
    masks, (_, boxes) = encode(ids[..., None], count), measure(ids[..., None], count)
    return Prediction(
        scores=scores[order].astype(np.float32),
        categories=(of_class.argmax(axis=1) + 1 - first_label).astype(np.int32)[order],
        boxes=boxes[order].astype(np.float32).reshape(-1, 4),
        masks=[masks[i] for i in order],
    )
