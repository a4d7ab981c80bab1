"""`supervisely`: a project, of folders that each hold img/ and ann/ (https://docs.supervisely.com/customization-and-integration)."""

import base64
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from seg.core.errors import AnnotationError
from seg.sources.base import Described, FilePerImage
from seg.sources.content import points_of, read_json
from seg.sources.part_rle import Part, ellipse, rectangle, runs_of
from seg.sources.regions import Faults, Region

SHAPES = "bitmap, polygon, rectangle, line, point"
LARGEST = 1 << 28  # bytes that a bitmap may unpack to


class Supervisely(FilePerImage):
    """Images lie in folders called img, their files of the same name, with .json behind its suffix, in folders called ann beside those. A
    label is an object's class title; a polygon's interiors are holes. The arguments are as for `FilePerImage`."""

    def image_key(self, name: str) -> str | None:
        return _without(name, "img", self.images)

    def file_key(self, name: str) -> str | None:
        return _without(name, "ann", self.annotations)

    def described(self, path: Path, image: Path, size: tuple[int, int], faults: Faults) -> Described:
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
            raise AnnotationError(f"{path}: has no list 'objects', so it is no file of Supervisely; move it away")
        regions = faults.each(enumerate(content["objects"]), lambda n, entry: self._region(f"object {n}", entry, f"{path}, object {n}"))
        given = content.get("size")
        sides = (given.get("height"), given.get("width")) if isinstance(given, dict) else (None, None)
        return regions, sides if all(isinstance(side, int) for side in sides) else None  # type: ignore[return-value]

    def _region(self, name: str, entry: Any, where: str) -> Region:
        if not isinstance(entry, dict) or not isinstance(entry.get("classTitle"), str) or not entry["classTitle"]:
            raise AnnotationError(f"{where}: has no classTitle; export the project again")
        return Region(name, entry["classTitle"], _parts(entry, where, self.line_width, self.point_radius))


def _without(name: str, folder: str, given: str) -> str | None:
    """A relative name without its part `folder`; None where it has no such part, nor the folder that was named."""
    parts = PurePosixPath(name).parts
    if folder in parts[:-1]:
        return "/".join(part for part in parts if part != folder)
    return name if PurePosixPath(given).name == folder else None


def _parts(entry: Mapping[str, Any], where: str, line_width: float, point_radius: float) -> list[Part]:
    kind = entry.get("geometryType", entry.get("shape"))
    if kind == "bitmap":
        return [_bitmap(entry.get("bitmap"), where)]
    points: Mapping[str, Any] = entry["points"] if isinstance(entry.get("points"), dict) else {}
    exterior = points_of(points.get("exterior"), where)
    flat = [value for point in exterior for value in point]
    if kind == "polygon":
        holes = [points_of(ring, where) for ring in points.get("interior") or []]
        return [{"rings": [flat, *([value for point in ring for value in point] for ring in holes)]}] if holes else [flat]
    if kind == "rectangle" and len(exterior) == 2:
        (x1, y1), (x2, y2) = exterior
        return [rectangle(min(x1, x2), min(y1, y2), max(x1, x2) + 1, max(y1, y2) + 1)]  # its corners are pixels, both inside
    if kind in ("line", "polyline"):
        return [{"line": flat, "width": line_width}]
    if kind == "point":
        return [ellipse(x, y, point_radius, point_radius) for x, y in exterior]
    raise AnnotationError(f"{where}: is a {kind} of {len(exterior)} points, expected {SHAPES}; redraw or remove it")


def _bitmap(given: Any, where: str) -> Part:
    """A mask of a part of the image: base64 of zlib of a PNG, whose alpha, or last channel, is the mask; and where it lies."""
    try:
        left, top = (int(value) for value in given["origin"])
        data = zlib.decompressobj().decompress(base64.b64decode(given["data"], validate=True), LARGEST)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (KeyError, TypeError, ValueError, zlib.error, cv2.error):
        pixels = None
    if pixels is None:
        raise AnnotationError(f"{where}: has no bitmap of base64, zlib and PNG with its origin; export the project again")
    mask = pixels if pixels.ndim == 2 else pixels[..., -1] if pixels.shape[2] in (2, 4) else pixels.max(axis=2)
    height, width = mask.shape
    return {"left": left, "top": top, "width": width, "height": height, "runs": runs_of(mask > 0)}
