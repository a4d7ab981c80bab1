"""The parts of one region (polygons, lines, small masks, run lengths) -> RLE; polygons to the pixel as pycocotools.

A part is plain JSON:
[x1, y1, x2, y2, ...]                       a polygon, in pixels
{"line": [x1, y1, ...], "width": w}         a line of w pixels
{"rings": [[x1, y1, ...], ...]}             a polygon and its holes: a pixel is inside where an odd number of rings is
{"starts", "lengths", "order"}              runs of ones over the whole image, from place 0, down the "columns" or along the "rows"
{"size": [h, w], "counts": text or list}    COCO's RLE of the whole image, down the columns
{"left", "top", "width", "height", "runs"}  a mask of a part of the image: run lengths of zeros and ones in turn, along the rows

Coordinates are continuous, x to the right and y down: the pixel in the first row and column covers 0..1 on both axes, so a rectangle
from (2, 3) to (8, 9) has 6 x 6 pixels. What annotation programs draw becomes such parts."""

from collections.abc import Sequence
from itertools import chain
from math import ceil, cos, isfinite, nan, pi, radians, sin, sqrt
from typing import Any, NamedTuple, NoReturn

import numpy as np
import shapely
from pycocotools import mask as coco_mask

from seg.data.rle import Rle, encode_crop, run_lengths, turns

Part = list[float] | dict[str, Any]
FORMS = "a list of polygons [x1, y1, x2, y2, ...], or RLE {size, counts}"
NUMBERS = {int, float}
FAR = 1e300  # larger whole numbers may be beyond what a float holds
LONGEST = 3e7  # pixels of the outlines of a region: rasterising takes 80 bytes of memory and some 20 ns for each
REACH = 10  # widths or heights of the image that a polygon may reach beyond it: rasterising takes time and memory by its length
WHOLE, PIECE = 256, 16  # points of a line that is drawn at once, and of a piece of a longer one
ERROR = 0.02  # pixels that the polygon of an ellipse may lie inside of its curve


def rectangle(x1: float, y1: float, x2: float, y2: float, turn: float = 0.0) -> list[float]:
    """The rectangle of two opposite corners, turned clockwise around its centre by `turn` degrees."""
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if turn:
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        corners = [_turned(x - cx, y - cy, cx, cy, radians(turn)) for x, y in corners]
    return [value for corner in corners for value in corner]


def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> list[float]:
    """The ellipse of a centre and two radii, turned clockwise by `turn` degrees; with equal radii a circle, or a point's disc."""
    radius = max(abs(rx), abs(ry))
    if not radius <= 1e6:  # not a number, or far beyond any image: both are refused by what looks at the outline
        return [cx + rx, cy + ry] * 3
    count = max(16, ceil(pi * sqrt(radius / (2 * ERROR))))
    angles = [2 * pi * i / count for i in range(count)]
    points = [_turned(rx * cos(a), ry * sin(a), cx, cy, radians(turn)) for a in angles]
    return [value for point in points for value in point]


def bands(points: list[float], width: float) -> list[list[list[float]]]:
    """A line of `width` pixels through the points, with flat ends and round joints, as areas that may overlap. An area is rings: its
    outline, then its holes. A line of many points makes several areas, as a line that crosses itself takes a time with the square of its
    points."""
    pairs = list(zip(points[::2], points[1::2], strict=True))
    if len(pairs) <= WHOLE:
        return [_band(pairs, width)]
    return [_band(pairs[max(0, at - 1) : at + PIECE + 1], width) for at in range(0, len(pairs) - 1, PIECE)]


def _band(points: list[tuple[float, float]], width: float) -> list[list[float]]:
    drawn = shapely.LineString(points).buffer(width / 2, quad_segs=16, cap_style="flat", join_style="round")
    rings = [ring for polygon in shapely.get_parts(drawn) for ring in (polygon.exterior, *polygon.interiors)]
    return [shapely.get_coordinates(ring).ravel().tolist() for ring in rings if not ring.is_empty]


def _turned(dx: float, dy: float, cx: float, cy: float, angle: float) -> tuple[float, float]:
    angle = angle if isfinite(angle) else nan  # then all of it is not a number, which what looks at the outline refuses
    return cx + dx * cos(angle) - dy * sin(angle), cy + dx * sin(angle) + dy * cos(angle)


def rle_of(parts: Sequence[Part] | Part, height: int, width: int, holes: bool = False) -> tuple[Rle, int]:
    """The RLE of a region's parts in an image of that size, and its area in pixels; several parts make one mask. holes: polygons that lie
    within others are cut out of them (a pixel is inside where an odd number of polygons is), not added. ValueError says what is wrong with
    a part."""
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list):
        raise ValueError(f"its segmentation is {_short(parts)}, expected {FORMS}")
    polygons, rles = list[list[float]](), list[Rle]()
    for number, part in enumerate(parts):
        if not isinstance(part, dict):
            polygons.append(part)
        elif "line" in part:
            (points,) = _checked([part["line"]], "line", 2, height, width, number)
            for rings in bands(points, part["width"]):
                rles += _drawn(rings, height, width, True)
        elif "rings" in part:
            rles += _drawn(_checked(part["rings"], "ring", 3, height, width), height, width, True)
        elif "starts" in part:
            rles.append(_of_starts(part, height, width))
        elif "runs" in part:
            rles.append(_crop(part, height, width))
        else:
            rles.append(_given(part, height, width))
    rle = combined([*_drawn(_checked(polygons, "polygon", 3, height, width), height, width, holes), *rles], height, width)
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


class Flat(NamedTuple):
    """The points of many polygons one after the other, (P, 2) float64, and where each polygon's begin, (N,) int64."""

    points: np.ndarray
    starts: np.ndarray

    def per_polygon(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """A value of each point (P,) -> one of each polygon (N,)."""
        return np.asarray(ufunc.reduceat(values, self.starts))

    def following(self) -> np.ndarray:
        """The point after each in its polygon, (P, 2)."""
        points = np.roll(self.points, -1, axis=0)
        points[np.append(self.starts[1:], len(points)) - 1] = self.points[self.starts]
        return points


def is_polygon(part: object, fewest: int = 3) -> bool:
    """Whether a part is a list of numbers, x and y of at least so many points."""
    return isinstance(part, list) and len(part) >= 2 * fewest and len(part) % 2 == 0 and set(map(type, part)) <= NUMBERS


def flat(polygons: Sequence[list[float]]) -> Flat | None:
    """The points of lists that `is_polygon` takes, of a point at least; None where there is no list, or a number that no float holds."""
    counts = np.array([len(p) // 2 for p in polygons], np.int64)
    try:
        values = np.fromiter(chain.from_iterable(polygons), float, 2 * int(counts.sum()))
    except OverflowError:
        return None
    return Flat(values.reshape(-1, 2), np.cumsum(counts) - counts) if polygons else None


def _drawn(rings: list[list[float]], height: int, width: int, even_odd: bool) -> list[Rle]:
    """The RLEs of polygons, all to be added; even_odd: as a single one, of the pixels that an odd number of them covers."""
    rles: list[Rle] = coco_mask.frPyObjects(rings, height, width) if rings else []
    return [combined(rles, height, width, True)] if even_odd and len(rles) > 1 else rles


def combined(rles: Sequence[Rle], height: int, width: int, even_odd: bool = False) -> Rle:
    """The RLE of the pixels that some of the RLEs cover; even_odd: that an odd number of them covers. One pass, however many there are."""
    if len(rles) == 1:
        return rles[0]
    begins, ends = turns(rles)
    places, which = np.unique(np.concatenate([begins, ends]), return_inverse=True)
    rises, falls = (np.bincount(ones, minlength=len(places)) for ones in (which[: len(begins)], which[len(begins) :]))
    depth = np.cumsum(rises - falls)  # how many lie at a place and after it
    inside = np.concatenate([[False], depth % 2 == 1 if even_odd else depth > 0])
    changes = places[inside[1:] != inside[:-1]]
    counts = np.diff(changes[changes < height * width], prepend=0, append=height * width)
    rle: Rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return rle


def _checked(polygons: Sequence[Any], noun: str, fewest: int, height: int, width: int, first: int = 0) -> list[list[float]]:
    """The polygons or lines, whose numbers in messages start at `first`; ValueError for one that cannot be rasterised."""

    def refuse(number: int) -> NoReturn:
        what = f"its {noun} {first + number} is {_short(polygons[number])}"
        raise ValueError(f"{what}, expected numbers [x1, y1, x2, y2, ...] in pixels")

    for number, points in enumerate(polygons):
        if not isinstance(points, list) or not set(map(type, points)) <= NUMBERS:
            refuse(number)
        if not is_polygon(points, fewest):
            name = f"its {noun} {first + number} has {len(points)} numbers"
            raise ValueError(f"{name}, expected x and y of at least {fewest} points; correct or remove it")
    if (every := flat(polygons)) is None:
        for number in (n for n, points in enumerate(polygons) if max(map(abs, points)) > FAR):
            refuse(number)
        return []
    sides = np.array([width, height])
    near = (-REACH * sides <= every.points) & (every.points <= (1 + REACH) * sides)
    if not near.all():
        place, axis = np.argwhere(~near)[0]
        number, value = int(np.searchsorted(every.starts, place, "right")) - 1, every.points[place, axis]
        if not np.isfinite(value):
            refuse(number)
        what = f"its {noun} {first + number} has {'xy'[axis]}={value:g}"
        raise ValueError(f"{what} in an image of {width}x{height} pixels; correct or remove it")
    if (length := np.abs(every.following() - every.points).max(axis=1).sum()) > LONGEST:
        raise ValueError(f"its outlines are {length:.2g} pixels long, expected at most {LONGEST:.2g}; correct or remove it")
    return list(polygons)


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
        reach = f"its runs reach from {starts.min()} to {ends.max()}"
        raise ValueError(f"{reach}, but the image has {height} x {width} = {height * width} pixels")
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
        run_lengths(rle, height, width)
        return {"size": size, "counts": counts}
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise ValueError(f"its RLE has the counts {_short(counts)}, expected text or a list of run lengths")
    if sum(counts) != height * width:
        raise ValueError(f"its RLE has run lengths that add up to {sum(counts)}, expected {height} x {width} = {height * width} pixels")
    return coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
