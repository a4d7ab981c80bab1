"""Suspect labels of class maps: connected regions of pixels that are labelled as one class and predicted as another."""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy.ndimage import find_objects
from skimage.measure import label as connected

from seg.data.rle import encode_crop
from seg.data.sample import IGNORE
from seg.review.expected import Asked
from seg.review.suspects import Suspect

TEMPERATURE = 0.1  # of the soft minimum: the paper's
WIDE = 2.0  # pixels to the edge of a region at which it weighs half: people rarely draw to the pixel
UNLIKELY = 1e-6  # probabilities of pixels are at least that
OWN = 0.5  # the share of an object that agrees with the labels, from which on what disagrees beside it is a matter of its outline


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The soft minimum, over an image's pixels, of the probability of their labels: 0..1, the lower the more suspect (Lad and Mueller 2023,
    Estimating label quality and errors in semantic segmentation data via any model, https://arxiv.org/abs/2307.05080). 1 without labels.

    labels: (H, W) uint8. probabilities: (K, H, W) float32."""
    counted = labels != IGNORE
    own = np.take_along_axis(probabilities, np.where(counted, labels, 0)[None].astype(np.int64), axis=0)[0][counted].astype(np.float64)
    if not own.size:
        return 1.0
    weights = np.exp((1 - own - (1 - own).max()) / TEMPERATURE)
    return float((own * weights).sum() / weights.sum())


def asked_of_class_map(
    image_id: str, labels: np.ndarray, probabilities: np.ndarray, background: int | None, least_pixels: int
) -> Iterator[Asked]:
    """Each connected region of pixels with one label and one prediction: which label it has, and how likely the model holds each, by the
    mean of the pixels' log-probabilities. It weighs the more the surer and the wider it is, so that the seams along outlines come last.

    labels: (H, W) uint8. probabilities: (K, H, W) float32. background: the class of no object. least_pixels: smaller regions are left out.
    """
    predicted = probabilities.argmax(axis=0)
    counted = labels != IGNORE
    regions = connected(np.where(counted, labels.astype(np.int64) * 256 + predicted + 1, 0), background=0, connectivity=1)
    sizes = np.bincount(regions.ravel())

    def mean_of(values: np.ndarray) -> np.ndarray:
        return np.bincount(regions.ravel(), values.ravel().astype(np.float64)) / np.maximum(sizes, 1)

    sure = mean_of(probabilities.max(axis=0))
    logs = np.stack([mean_of(np.log(np.maximum(of_class, UNLIKELY))) for of_class in probabilities], axis=1).astype(np.float32)
    wrong = counted & (labels != predicted)
    there, here = connected(predicted, background=-1, connectivity=1), connected(labels.astype(np.int64), background=-1, connectivity=1)
    agree_there, agree_here = (np.bincount(part.ravel(), (~wrong).ravel()) / np.bincount(part.ravel()).clip(1) for part in (there, here))
    for number, place in enumerate(find_objects(regions), start=1):
        if sizes[number] < least_pixels:
            continue
        crop = regions[place] == number
        row, column = (int(axis[0]) + side.start for axis, side in zip(np.nonzero(crop), place, strict=True))
        old, new = int(labels[row, column]), int(predicted[row, column])
        deep = float(cv2.distanceTransform(np.pad(crop, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
        suspect = None
        if old != new:
            of_object = agree_here[here[row, column]] if new == background else agree_there[there[row, column]]
            kind = "outline" if of_object >= OWN else "missed" if old == background else "made up" if new == background else "wrong class"
            mask = encode_crop(crop, place[1].start, place[0].start, *labels.shape)
            label, likely = (None if index == background else index for index in (old, new))
            suspect = Suspect(image_id, kind, 0.0, label, likely, [mask], [mask])
        features = [float(np.log(sizes[number])), float(np.log(deep)), float(sure[number]), float(np.log(1.001 - sure[number]))]
        weight = float(sure[number]) * deep / (deep + WIDE)
        yield Asked(image_id, "region", features, new, float(old), suspect, weight, logs[number].copy())
