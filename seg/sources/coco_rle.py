"""COCO's segmentation of one object (polygons, or run lengths as numbers or as text) -> RLE, to the pixel as pycocotools."""

from math import isfinite

from pycocotools import mask as coco_mask

from seg.labelmaps import Rle, run_lengths

FORMS = "a list of polygons [x1, y1, x2, y2, ...], or RLE {size, counts}"
REACH = 10  # widths or heights of the image that a polygon may reach beyond it: rasterising takes time and memory by its length


def rle_of(segmentation: object, height: int, width: int) -> tuple[Rle, int]:
    """The RLE of a segmentation in an image of that size, and its area in pixels; several polygons make one mask.

    ValueError says what is wrong with it.
    """
    if isinstance(segmentation, list):
        polygons = [_polygon(number, points, height, width) for number, points in enumerate(segmentation)]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict):
        rle = _given(segmentation, height, width)
    else:
        raise ValueError(f"its segmentation is {_short(segmentation)}, expected {FORMS}")
    return rle, int(run_lengths(rle, height, width)[1::2].sum())


def _polygon(number: int, points: object, height: int, width: int) -> list[float]:
    if not isinstance(points, list) or not all(isinstance(p, int | float) and isfinite(p) for p in points):
        raise ValueError(f"its polygon {number} is {_short(points)}, expected numbers [x1, y1, x2, y2, ...] in pixels")
    if len(points) % 2 or len(points) < 6:
        raise ValueError(f"its polygon {number} has {len(points)} numbers, expected x and y of at least 3 points; correct or remove it")
    for axis, side, name in ((0, width, "x"), (1, height, "y")):
        if far := [p for p in points[axis::2] if not -REACH * side <= p <= (1 + REACH) * side]:
            raise ValueError(f"its polygon {number} has {name}={far[0]:g} in an image of {width}x{height} pixels; correct or remove it")
    return points


def _given(rle: dict[str, object], height: int, width: int) -> Rle:
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
