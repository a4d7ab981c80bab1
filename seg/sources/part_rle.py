"""The parts of one region (polygons, lines, small masks, run lengths) -> RLE; polygons to the pixel as pycocotools.

A part is plain JSON:
[x1, y1, x2, y2, ...]                       a polygon, in pixels
{"line": [x1, y1, ...], "width": w}         a line of w pixels
{"rings": [[x1, y1, ...], ...]}             a polygon and its holes: a pixel is inside where an odd number of rings is
{"starts", "lengths", "order"}              runs of ones over the whole image, from place 0, down the "columns" or along the "rows"
{"size": [h, w], "counts": text or list}    COCO's RLE of the whole image, down the columns
{"left", "top", "width", "height", "runs"}  a mask of a part of the image: run lengths of zeros and ones in turn, along the rows
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from seg.data.rle import Rle, encode_crop, run_lengths
from seg.sources.outlines import band

Part = list[float] | dict[str, Any]

FORMS = "a list of polygons [x1, y1, x2, y2, ...], or RLE {size, counts}"
REACH = 10  # widths or heights of the image that a polygon may reach beyond it: rasterising takes time and memory by its length


def rle_of(parts: Sequence[Part] | Part, height: int, width: int, holes: bool = False) -> tuple[Rle, int]:
    """The RLE of a region's parts in an image of that size, and its area in pixels; several parts make one mask.

    holes: polygons that lie within others are cut out of them (a pixel is inside where an odd number of polygons is), not
    added. ValueError says what is wrong with a part.
    """
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list):
        raise ValueError(f"its segmentation is {_short(parts)}, expected {FORMS}")
    rings: list[list[float]] = []
    rles: list[Rle] = []
    for number, part in enumerate(parts):
        if not isinstance(part, dict):
            rings.append(_checked(part, f"its polygon {number}", 3, height, width))
        elif "line" in part:
            points = _checked(part["line"], f"its line {number}", 2, height, width)
            rles += _union(band(points, part["width"]), height, width, True)
        elif "rings" in part:
            rles += _union([_checked(ring, f"its ring {n}", 3, height, width) for n, ring in enumerate(part["rings"])], height, width, True)
        elif "starts" in part:
            rles.append(_of_starts(part, height, width))
        elif "runs" in part:
            rles.append(_crop(part, height, width))
        else:
            rles.append(_given(part, height, width))
    rle = coco_mask.merge([*_union(rings, height, width, holes), *rles])
    return rle, int(run_lengths(rle, height, width)[1::2].sum())


def pixels_of(part: dict[str, Any]) -> np.ndarray:
    """The mask (h, w) bool of a part with run lengths along the rows; ValueError where they do not fill it."""
    height, width = part["height"], part["width"]
    try:
        runs = np.array(part["runs"], np.int64)
    except OverflowError:
        raise ValueError("its mask has a run length that no image has") from None
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        raise ValueError(f"its mask has run lengths that add up to {runs.sum()}, expected {height} x {width} = {height * width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def runs_of(mask: np.ndarray) -> list[int]:
    """The run lengths of a mask (h, w) bool along its rows, of zeros and ones in turn."""
    changes = np.flatnonzero(np.diff(mask.ravel().astype(np.int8), prepend=0))
    return np.diff(changes, prepend=0, append=mask.size).tolist()


def _union(rings: list[list[float]], height: int, width: int, even_odd: bool) -> list[Rle]:
    """The RLEs of polygons, all to be added; even_odd: as a single one, of the pixels that an odd number of them covers."""
    if not rings:
        return []
    rles = coco_mask.frPyObjects(rings, height, width)
    if len(rles) == 1:
        return rles
    bounds = [np.cumsum(run_lengths(r, height, width)) for r in rles]
    if even_odd:  # a run's end turns the value, and two of them at one place cancel
        ends, times = np.unique(np.concatenate([b[:-1] for b in bounds]), return_counts=True)
        turns = ends[times % 2 == 1]
    else:  # a run of ones raises how many polygons lie at a place, and its end lowers it: one pass, however many polygons there are
        places = np.concatenate([b[0::2][: len(b) // 2] for b in bounds] + [b[1::2] for b in bounds])
        rises = len(places) // 2
        ends, which = np.unique(places, return_inverse=True)
        depth = np.cumsum(np.bincount(which[:rises], minlength=len(ends)) - np.bincount(which[rises:], minlength=len(ends)))
        inside = np.concatenate([[False], depth > 0])
        turns = ends[inside[1:] != inside[:-1]]
        turns = turns[turns < height * width]
    counts = np.diff(turns, prepend=0, append=height * width)
    return [coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)]


def _checked(points: object, name: str, fewest: int, height: int, width: int) -> list[float]:
    if not isinstance(points, list) or not all(type(p) in (int, float) and isfinite(p) for p in points):
        raise ValueError(f"{name} is {_short(points)}, expected numbers [x1, y1, x2, y2, ...] in pixels")
    if len(points) % 2 or len(points) < 2 * fewest:
        raise ValueError(f"{name} has {len(points)} numbers, expected x and y of at least {fewest} points; correct or remove it")
    for axis, side, axis_name in ((0, width, "x"), (1, height, "y")):
        if far := [p for p in points[axis::2] if not -REACH * side <= p <= (1 + REACH) * side]:
            raise ValueError(f"{name} has {axis_name}={far[0]:g} in an image of {width}x{height} pixels; correct or remove it")
    return points


def _crop(part: dict[str, Any], height: int, width: int) -> Rle:
    left, top = part["left"], part["top"]
    if part["width"] > 2 * width or part["height"] > 2 * height:
        raise ValueError(f"its mask has {part['width']}x{part['height']} pixels in an image of {width}x{height}; correct or remove it")
    inside = pixels_of(part)[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    if not inside.size:
        inside, left, top = np.zeros((0, 0), bool), 0, 0
    return encode_crop(inside, max(0, left), max(0, top), height, width)


def _of_starts(part: dict[str, Any], height: int, width: int) -> Rle:
    starts, lengths = (np.array(part[key], np.int64) for key in ("starts", "lengths"))
    ends = starts + lengths
    if (starts < 0).any() or (lengths < 0).any() or (ends > height * width).any():
        raise ValueError(
            f"its runs reach from {starts.min()} to {ends.max()}, but the image has {height} x {width} = {height * width} pixels"
        )
    steps = np.zeros(height * width + 1, np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    inside = np.cumsum(steps)[:-1] > 0
    mask = inside.reshape(width, height).T if part["order"] == "columns" else inside.reshape(height, width)
    return encode_crop(np.ascontiguousarray(mask), 0, 0, height, width)


def _given(rle: dict[str, Any], height: int, width: int) -> Rle:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise ValueError(f"its RLE has the size {_short(size)}, but the image has [height, width] = {[height, width]}; correct one of them")
    if isinstance(counts, str):
        return {"size": size, "counts": counts}
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise ValueError(f"its RLE has the counts {_short(counts)}, expected text or a list of run lengths")
    if sum(counts) != height * width:
        raise ValueError(f"its RLE has run lengths that add up to {sum(counts)}, expected {height} x {width} = {height * width} pixels")
    return coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
