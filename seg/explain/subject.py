"""What is explained: a part of a model's answer for an image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
from pycocotools import mask as coco_mask
from skimage.measure import label

from seg.core.errors import ConfigError, UsageError, did_you_mean
from seg.data.rle import Rle
from seg.data.sample import BACKGROUND, ClassInfo, Prediction

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Explained:
    """category: class index. region: (H, W) bool in the image's pixels. score: of an instance; None for pixels of a class map.
    instead: the index of another class; then it is asked why the answer is `category` rather than that one."""

    category: int
    region: np.ndarray
    score: float | None = None
    instead: int | None = None


def check_captum(asker: str) -> None:
    """Raise ConfigError where the package captum, which holds the methods, is missing. asker: what needs it."""
    if not find_spec("captum"):
        raise ConfigError(f"{asker}: needs the package captum; pip install -e '.[explain]'")


def chosen(given: Prediction, classes: Sequence[ClassInfo], name: str | None, at: tuple[int, int] | None) -> Explained:
    """A part of a prediction; UsageError where there is no such class, or the model found nothing there.

    Of a class map the connected region at the pixel, else all pixels of the class: without a name the most frequent one that is no
    background. Of instances the one with the highest score. name: of a class; None for any. at: (x, y) of a pixel that it covers; None
    for any."""
    names = [one.name for one in classes]
    if name is not None and name not in names:
        raise UsageError(f"--class {name}: {did_you_mean(name, names, 'classes')}")
    category = None if name is None else names.index(name)
    size = given.semantic.shape if given.semantic is not None else None
    if at is not None and size and not (0 <= at[0] < size[1] and 0 <= at[1] < size[0]):
        raise UsageError(f"--at {at[0]},{at[1]}: lies outside the image, which has {size[1]} x {size[0]} pixels")
    found = _of_map(given.semantic, names, category, at) if given.semantic is not None else _of_instances(given, category, at)
    if found is None:
        what = f"of class {name}" if name else "of a class beside the background"
        where = f" at {at[0]},{at[1]}" if at else ""
        raise UsageError(f"the model finds nothing {what}{where} in this image; choose another with --class or --at")
    return found


def _of_map(semantic: np.ndarray, names: Sequence[str], category: int | None, at: tuple[int, int] | None) -> Explained | None:
    if at is not None:
        here = int(semantic[at[1], at[0]])
        if category not in (None, here):
            return None
        regions = label(semantic == here, connectivity=1)
        return Explained(here, regions == regions[at[1], at[0]])
    if category is None:
        counts = np.bincount(semantic.ravel(), minlength=len(names))
        if names[0] == BACKGROUND:
            counts[0] = 0
        category = int(counts.argmax())
    region = semantic == category
    return Explained(category, region) if region.any() and (names[category] != BACKGROUND or category) else None


def _of_instances(given: Prediction, category: int | None, at: tuple[int, int] | None) -> Explained | None:
    for index in np.argsort(-given.scores, kind="stable"):
        if category not in (None, int(given.categories[index])):
            continue
        mask = mask_of(given.masks[index])
        if mask.any() and (at is None or (at[1] < mask.shape[0] and at[0] < mask.shape[1] and mask[at[1], at[0]])):
            return Explained(int(given.categories[index]), mask, float(given.scores[index]))
    return None


def mask_of(rle: Rle) -> np.ndarray:
    """(H, W) bool."""
    return coco_mask.decode(rle).astype(bool)


def in_window(image: np.ndarray, explained: Explained, window: Pair, at: Pair | None = None) -> tuple[np.ndarray, Explained]:
    """The part of an image (H, W, C), of at most the size `window` (height, width), about a pixel (x, y); without one, about that pixel of
    the region which lies nearest to its middle."""
    pixels = np.argwhere(explained.region)
    near = pixels[np.square(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()].tolist() if at is None else (at[1], at[0])
    top, left = (min(max(0, m - w // 2), max(0, s - w)) for m, w, s in zip(near, window, image.shape[:2], strict=True))
    cut = np.s_[top : top + window[0], left : left + window[1]]
    return image[cut], replace(explained, region=explained.region[cut])
