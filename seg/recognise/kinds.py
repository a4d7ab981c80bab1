"""What a folder's images are, from a few of them: pictures, maps of classes, ids of objects, masks with soft edges, fields of view."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import gcd
from typing import Any, Literal

import numpy as np

from seg.recognise.looks import FLAT, PLENTY, Look

Role = Literal["pictures", "classes", "two levels", "soft", "ids", "tiles", "field", "scores", "nothing"]
WORDS: dict[Role, str] = {
    "pictures": "pictures",
    "classes": "a map of classes",
    "two levels": "black and white",
    "soft": "black and white with values in between",
    "ids": "ids of objects",
    "tiles": "tiles of the picture, such as superpixels",
    "field": "a field of view: one blob that touches all sides",
    "scores": "scores, not labels",
    "nothing": "one value alone",
}
NEAR_END = 20  # gray values from black and white, beyond which an edge has some
SOFT = 0.9  # share of pixels near black and white
FULL, WIDE = 0.95, 0.85  # of height and width that a field of view reaches over: of both, of one
ALIKE, SAME = 0.8, 0.95  # share of equal pixels of the fields of view of two images, where they touch all sides, and where not
FOLLOWS = 0.9  # share of pixels that are what others say that they are
MANY = 10  # values of one piece each, from which on they are ids though each image has as many
ENOUGH = 4  # images that tell whether colours come again
TILES = 20  # values at least that cover an image wholly
ONE_PIECE = 0.9  # share of values that are one piece each, from which they number pieces
DOMINANT = 0.3  # share of the pixels that none of them has


def role_of(looks: Sequence[Look]) -> Role:
    """What images are. looks: of some of them, at least one."""
    if all(one.kind == "floats" for one in looks):
        return "scores"
    if _most(looks, lambda one: one.kind == "bands"):
        return "pictures"
    flat = float(np.median([one.flat for one in looks]))
    if _most(looks, _is_soft):
        return "soft"
    if flat < FLAT:
        return "pictures"
    if _most(looks, _is_tiled):
        return "tiles"
    if are_ids(looks):
        return "ids"
    if float(np.median([len(one.labels) for one in looks])) > PLENTY:
        return "pictures"
    every = {label for one in looks for label in one.labels}
    if len(every) == 1:
        return "nothing"
    if all(len(one.labels) <= 2 for one in looks) and len(every) <= 3:
        return "field" if _are_fields(looks) else "two levels"
    return "classes"


def is_labels(role: Role) -> bool:
    return role in ("classes", "two levels", "soft", "ids")


def are_ids(looks: Sequence[Look]) -> bool:
    """Whether gray values number instances: each is one piece, they differ from image to image, and some images have many."""
    if any(one.kind != "gray" for one in looks):
        return are_colored_ids(looks)
    values = [{v for v in one.labels if v != 0} for one in looks]
    most, every = max(len(v) for v in values), set[object]().union(*values)
    if len(every) <= PLENTY and most <= MANY and _are_spread(values):
        return False
    if len(every) > 255 or max((v for v in every if isinstance(v, int)), default=0) > 255:
        return _mean(looks, lambda one: one.single) > 0.5
    return most > 5 and _mean(looks, lambda one: one.single) > 0.95 and (len({len(v) for v in values}) > 1 or most >= MANY)


def _are_spread(values: Sequence[set[Any]]) -> bool:
    """Whether values are those of classes, times a number, as 0 and 65535 are; not 1 to n of each image, as of objects."""
    factor = gcd(*set().union(*values))
    numbers = [sorted(v // factor for v in one) for one in values if one and factor > 1]
    counts = {len(one) for one in numbers}
    return bool(numbers) and (len(counts) == 1 or any(one != list(range(1, len(one) + 1)) for one in numbers))


def are_colored_ids(looks: Sequence[Look]) -> bool:
    """Whether colours on black number instances: each is one piece, and no image has a colour of another one."""
    if len(looks) < ENOUGH or any(one.kind != "color" or (0, 0, 0) not in one.labels for one in looks):
        return False
    values = [[v for v in one.labels if v != (0, 0, 0)] for one in looks]
    several = sum(len(v) > 1 for v in values) * 2 > len(values)
    return several and sum(map(len, values)) == len(set().union(*values)) and _mean(looks, lambda one: one.single) > 0.95


def may_be_ids(looks: Sequence[Look]) -> bool:
    """Whether few gray values may number objects as well as classes: 1 to n in each image, n differs, and each is one piece."""
    if any(one.kind != "gray" for one in looks) or len(looks) < 3:
        return False
    values = [sorted(v for v in one.labels if isinstance(v, int) and v > 0) for one in looks]
    numbered = all(v == list(range(1, len(v) + 1)) for v in values)
    return numbered and len({len(v) for v in values}) > 1 and max(map(len, values)) > 1 and _mean(looks, lambda one: one.single) > 0.95


def are_numbered(looks: Sequence[Look]) -> bool:
    """Whether the values of each image are 1 to n, beside 0 and the void 255, and n differs, as where objects are numbered. One may be
    missing: of an object that others hide."""
    values = [sorted(v for v in one.labels if isinstance(v, int) and 0 < v < 255) for one in looks]
    return all(not v or (v[0] == 1 and v[-1] <= len(v) + 1) for v in values) and len({len(v) for v in values}) > 1


def determines(one: Sequence[Look], other: Sequence[Look]) -> bool:
    """Whether what label images say follows from others of the same images: each value of `one` goes with one value of `other`. Compared
    where either is not what most of it is, as objects may be small."""
    if not (pairs := [(a, b) for a, b in zip(one, other, strict=True) if a.small.shape == b.small.shape]):
        return False
    here = np.concatenate([_leveled(a).ravel() for a, _ in pairs])
    there = np.concatenate([_leveled(b).ravel() for _, b in pairs])
    usual = [values[counts.argmax()] for values, counts in (np.unique(each, return_counts=True) for each in (here, there))]
    followed = np.zeros(here.shape, bool)
    for value in np.unique(here):
        values, counts = np.unique(there[here == value], return_counts=True)
        followed |= (here == value) & (there == values[counts.argmax()])
    drawn = (here != usual[0]) | (there != usual[1])
    return bool(followed[drawn].mean() >= FOLLOWS) if drawn.any() else True


def _leveled(one: Look) -> np.ndarray:
    return (one.small >= 128).astype(np.int64) if _is_soft(one) else one.small


def _is_soft(one: Look) -> bool:
    """Black and white with values in between, as drawn edges that were smoothed or scaled have, and JPEG."""
    if one.kind not in ("gray", "palette") or one.ends < SOFT or len(one.labels) <= 2:
        return False
    values = [v for v in one.labels if isinstance(v, int)]
    between = [v for v in values if v not in (min(values), max(values))]
    if max(values) < 200 or max(values) > 255 or min(values) > 40 or not between:
        return False
    total = sum(one.labels.values())
    thin = sum(one.labels[v] for v in between) <= 0.25 * total
    spread = any(NEAR_END < v < 255 - NEAR_END for v in between) or one.lossy or len(between) > 3
    fills = any(one.labels[v] > 0.05 * total for v in between)  # areas, as a class does, and is no edge
    return one.lossy or (thin and spread and not fills)


def _are_fields(looks: Sequence[Look]) -> bool:
    """One blob that touches all sides, or nearly so, and that hardly changes from image to image."""
    fields = [one for one in looks if one.whole > 0.95 and max(one.reach) >= WIDE and (one.small > 0).mean() > 0.3 and not one.small.all()]
    if len(fields) < max(1, round(0.8 * len(looks))):
        return False
    if len(looks) == 1:
        return min(looks[0].reach) >= FULL
    pairs = [(a.small > 0, b.small > 0) for a, b in pairwise(fields) if a.small.shape == b.small.shape]
    alike = min((float((a == b).mean()) for a, b in pairs), default=0.0)
    touching = all(min(one.reach) >= FULL for one in fields)
    return alike >= (ALIKE if touching else SAME)


def _is_tiled(one: Look) -> bool:
    return len(one.labels) > TILES and one.single > ONE_PIECE and max(one.labels.values()) < DOMINANT * sum(one.labels.values())


def _most(looks: Sequence[Look], test: Callable[[Look], bool]) -> bool:
    return sum(map(test, looks)) * 2 > len(looks)


def _mean(looks: Sequence[Look], value: Callable[[Look], float]) -> float:
    found = [value(one) for one in looks if any(label != 0 for label in one.labels)]
    return float(np.mean(found)) if found else 0.0
