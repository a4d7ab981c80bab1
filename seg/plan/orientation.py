"""Whether images of a data set have an up and a down, a left and a right: measured, so that only harmless flips augment them.

An image and its turned self are exchangeable where a set has no such direction. So the differences of their features (where classes lie,
where it is bright, what objects look like) have signs at random, and the products of two images' differences are compared with the same
under random signs: a sign-flip permutation test, as in Winkler et al. 2014, "Permutation inference for the general linear model".
Only images that are far apart in the order of their names are multiplied: neighbours in a stack or a video show the same thing. So such
neighbours have one sign, too."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import find_objects

from seg.data.sample import Sample

GRID = 8
MOST_OBJECTS = 200  # of an image
SIGNS = 999
LEVEL = 0.01
"""A direction counts as there where chance explains the differences less often than this."""
LEAST_IMAGES = 8  # fewer images have too few signs to be told from chance: 2 ** 7 = 128 pairs of signs
ALIKE = 0.15  # neighbours show the same thing where they have this share of their differences in common beyond what all images have
APART = 1 / 3  # of the images that were read: so far apart are two that are compared
EFFECTS = {"left_right": 0.25, "up_down": 0.1, "turned": 0.1}
"""The share of the differences that is common to all images, above which a direction matters. A mirrored street scene is one still."""
TURNS = {"left_right": lambda f: f[:, :, ::-1], "up_down": lambda f: f[:, ::-1, :], "turned": lambda f: np.rot90(f, axes=(1, 2))}


@dataclass(frozen=True, slots=True)
class Direction:
    """What the images say of one turn. differs: whether a turned image is of another kind. effect: 0..1. known: whether enough images show
    different things."""

    differs: bool
    effect: float
    known: bool


def directions(features: Sequence[np.ndarray]) -> dict[str, Direction]:
    """{left_right, up_down, turned: Direction} from the features (F, GRID, GRID) of each image."""
    stacked = np.stack(features).astype(np.float64)
    return {name: _direction(stacked - np.stack([turn(f) for f in stacked]), EFFECTS[name]) for name, turn in TURNS.items()}


def _direction(differences: np.ndarray, least: float) -> Direction:
    """differences: (N, F, GRID, GRID), in the order of the images' names."""
    count = len(differences)
    flat = differences.reshape(count, -1)
    power = float((flat**2).sum(axis=1).mean())
    if count < LEAST_IMAGES or not power:
        return Direction(False, 0.0, count >= LEAST_IMAGES)
    places = np.arange(count)
    compared = np.abs(places[:, None] - places[None]) >= count * APART
    each = flat @ flat.T
    products = np.where(compared, each, 0) / compared.sum()
    seen = float(products.sum())
    run = next((lag for lag in range(1, count) if np.diagonal(each, lag).mean() <= seen + ALIKE * power), count)
    runs = -(-count // run)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (SIGNS, runs)).repeat(run, axis=1)[:, :count]
    drawn = np.einsum("si,ij,sj->s", signs, products, signs)
    chance = (1 + int((drawn >= seen).sum())) / (1 + SIGNS)
    effect = max(0.0, seen / power)
    known = runs >= LEAST_IMAGES or effect <= least  # a few runs may have much in common by chance, but a small share says enough
    return Direction(known and chance <= LEVEL and effect > least, round(effect, 3), known)


def features_of(sample: Sample, num_classes: int) -> np.ndarray:
    """(F, GRID, GRID): the share of each class, the brightness about its mean, and of the mean object its mask and its brightness."""
    gray = sample.image.mean(axis=2, dtype=np.float32)
    spread = max(float(gray.std()), 1.0)
    planes = [_pooled((sample.semantic == c).astype(np.float32)) for c in range(num_classes)]
    return np.stack([*planes, _pooled(gray - gray.mean()) / spread, *_mean_object(sample, gray / spread)])


def _mean_object(sample: Sample, gray: np.ndarray) -> list[np.ndarray]:
    """Mask and brightness of the objects that lie within an image, each brought to GRID x GRID over the square around its box."""
    sums, count = np.zeros((2, GRID, GRID), np.float32), 0
    height, width = sample.size
    for layer in range(sample.instances.shape[2]):
        ids = np.ascontiguousarray(sample.instances[:, :, layer])
        for number, found in enumerate(find_objects(ids), start=1):
            if found is None:  # it lies in another layer
                continue
            rows, columns = found
            side = max(rows.stop - rows.start, columns.stop - columns.start)
            inside = rows.start > 0 and columns.start > 0 and rows.stop < height and columns.stop < width
            if side < GRID or not inside or count >= MOST_OBJECTS:
                continue
            centre = ((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)  # exactly, or all would lie off to one side
            around = np.s_[max(0, rows.start - side) : rows.stop + side, max(0, columns.start - side) : columns.stop + side]
            shifted = (centre[0] - around[1].start, centre[1] - around[0].start)
            mask = cv2.getRectSubPix((ids[around] == number).astype(np.float32), (side, side), shifted)
            light = cv2.getRectSubPix(gray[around], (side, side), shifted)
            sums += _pooled(mask), _pooled((light - (light * mask).sum() / mask.sum()) * mask)
            count += 1
    return list(sums / max(1, count))


def _pooled(plane: np.ndarray) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(plane), (GRID, GRID), interpolation=cv2.INTER_AREA)
