"""A LabelMe file: the image that it names or holds, and its shapes (https://github.com/wkentaro/labelme)."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg.core.errors import AnnotationError, DataError
from seg.data.decoders import declared_size
from seg.data.imagefile import decode_index
from seg.sources.annotation_file import read_json
from seg.sources.outlines import ellipse, rectangle
from seg.sources.part_rle import Part, runs_of
from seg.sources.regions import Faults, Region

SHAPES = "polygon, rectangle, rotation, quadrilateral, circle, line, linestrip, point, points or mask"


@dataclass(frozen=True, slots=True)
class LabelmeFile:
    """image_path: as the file has it, with slashes; may be empty. encoded: the image's own bytes, where the file holds them.

    size: (height, width), where the file has it.
    """

    image_path: str
    encoded: bytes | None
    size: tuple[int, int] | None
    shapes: list[Any]


def read_labelme(path: Path) -> LabelmeFile:
    """Read a file; its shapes are not looked into yet. DataError where it is none of LabelMe's."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise AnnotationError(f"{path}: has no list 'shapes', so it is no LabelMe file; move it away, or set data.source.annotations")
    name, data = content.get("imagePath"), content.get("imageData")
    size = (content.get("imageHeight"), content.get("imageWidth"))
    known = all(isinstance(side, int) and side > 0 for side in size)
    encoded = _unpacked(data, f"{path}: its imageData") if isinstance(data, str) and data else None
    return LabelmeFile(str(name or "").replace("\\", "/"), encoded, size if known else None, content["shapes"])  # type: ignore[arg-type]


def regions_of(path: Path, shapes: list[Any], line_width: float, point_radius: float, faults: Faults) -> list[Region]:
    """The shapes as regions. DataError where one is malformed, or of a type that LabelMe and X-AnyLabeling do not have.

    faults: what becomes of such a shape.
    """
    regions: list[Region] = []
    for number, shape in enumerate(shapes):
        with faults.entry():
            regions.append(_region(shape, number, path, line_width, point_radius))
    return regions


def _region(shape: Any, number: int, path: Path, line_width: float, point_radius: float) -> Region:
    where = f"{path}, shape {number}"
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"]:
        raise DataError(f"{where}: has no label; give it one in LabelMe, or remove it", kind="image-without-label")
    group = shape.get("group_id")
    if group is not None and not isinstance(group, int | str):
        raise AnnotationError(f"{where}: has group_id={group!r}, expected a number or null")
    parts = _parts(shape, where, line_width, point_radius)
    return Region(f"shape {number}", shape["label"], parts, group=group)


MOST_OF_MASK = 2**26
"""Pixels of the PNG that a shape holds: it is decoded before the image is read."""


def _parts(shape: Mapping[str, Any], where: str, line_width: float, point_radius: float) -> list[Part]:
    kind = shape.get("shape_type") or "polygon"  # the oldest files name no type
    points = _points(shape, where)
    flat = [value for point in points for value in point]
    if kind in ("polygon", "quadrilateral") or (kind in ("rectangle", "rotation") and len(points) == 4):
        return [flat]
    if kind in ("line", "linestrip"):
        return [{"line": flat, "width": line_width}]
    if kind in ("point", "points"):
        return [ellipse(x, y, point_radius, point_radius) for x, y in points]
    if kind not in ("rectangle", "rotation", "circle", "mask"):
        raise AnnotationError(f"{where}: has the shape_type {kind!r}, expected {SHAPES}; redraw it as one of them, or remove it")
    if len(points) != 2 or kind == "rotation":
        raise AnnotationError(
            f"{where}: is a {kind} of {len(points)} points, expected {4 if kind == 'rotation' else 2}; redraw or remove it"
        )
    (x1, y1), (x2, y2) = points
    if kind == "rectangle":
        return [rectangle(x1, y1, x2, y2)]
    if kind == "circle":  # its centre, and a point of its edge
        radius = math.hypot(x2 - x1, y2 - y1)
        return [ellipse(x1, y1, radius, radius)]
    if not isinstance(shape.get("mask"), str) or not math.isfinite(x1 + y1):
        raise AnnotationError(f"{where}: is a mask without its 'mask' and place; redraw or remove it")
    data = _unpacked(shape["mask"], f"{where}: its mask")
    if math.prod(declared_size(data)) > MOST_OF_MASK:
        raise AnnotationError(f"{where}: its mask has {math.prod(declared_size(data)):,} pixels, more than an image; redraw it")
    mask = decode_index(data, Path(f"{where}, its mask"), "save the file again with LabelMe") > 0
    height, width = mask.shape
    return [{"left": int(x1), "top": int(y1), "width": width, "height": height, "runs": runs_of(mask)}]


def _points(shape: Mapping[str, Any], where: str) -> list[list[float]]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in points):
        raise AnnotationError(f"{where}: has the points {str(points)[:60]}, expected a list of [x, y]; redraw or remove it")
    return points


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unpacked(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise AnnotationError(f"{where} is not base64; save the file again with LabelMe") from None
