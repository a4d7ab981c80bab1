"""`geojson`: GeoTIFF images, and polygons of GeoJSON over them (SpaceNet, QGIS), or in pixels (QuPath). RFC 7946."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from seg.core.errors import AnnotationError
from seg.raw.record import Item
from seg.settings.section import value_at
from seg.sources.base import Described, FilePerImage
from seg.sources.class_map import check_choice, refuse_both_or_neither
from seg.sources.content import read_json
from seg.sources.listing import by_stem, no_images
from seg.sources.pairing import Part, folder_below, image_item
from seg.sources.part_rle import Part as Shape
from seg.sources.part_rle import ellipse
from seg.sources.regions import Faults, Region

SCALE, TIE_POINT, MATRIX, KEYS = 33550, 33922, 34264, 34735  # tags of GeoTIFF
GEOGRAPHIC, PROJECTED, RASTER_TYPE = 2048, 3072, 1025  # keys in the last of those
LON_LAT = 4326


class Geojson(FilePerImage):
    """A .geojson or .json file an image, or a single file for all of them, of which each image has what lies on it.

    coordinates: "geo", of the coordinate system that image and file name; or "pixels", x to the right and y down. label: the property that
    holds a feature's label, with dots between names within it, as classification.name; category: the label of all features instead; one
    of the two is null. image_prefix, annotation_prefix: how the names of images, and those of their files, start before what they share.
    The other arguments are as for `FilePerImage`."""

    coordinates: str
    label: str | None
    category: str | None
    image_prefix: str
    annotation_prefix: str

    SUFFIXES = (".geojson", ".json")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shared: set[str] = set()  # files of all images of a part
        check_choice("data.source.coordinates", self.coordinates, ("geo", "pixels"))
        meaning = "name the property of the label, or the label of all features"
        refuse_both_or_neither(meaning, label=self.label, category=self.category)

    def image_key(self, name: str) -> str | None:
        return _without(name, self.image_prefix)

    def file_key(self, name: str) -> str | None:
        return _without(name, self.annotation_prefix)

    def _part(self, part: Part) -> list[Item]:
        path = Path(self.root) / self.annotations.replace("{split}", part.folder)
        if not path.is_file():
            return super()._part(part)
        images = folder_below(Path(self.root), self.images, part, "data.source.images")
        if not (found := by_stem(images)):
            raise no_images(images)
        self.shared.add(str(path))
        return [image_item(name, part, images, image, [str(path)]) for name, image in found.items()]

    def described(self, path: Path, image: Path, size: tuple[int, int], faults: Faults) -> Described:
        content = _features(path)
        move = np.asarray if self.coordinates == "pixels" else _to_pixels(path, content, image)

        def region(number: int, feature: Mapping[str, Any]) -> Region | None:
            where = f"{path}, feature {number}"
            parts = [part for part in _parts(feature, where, move, self.line_width, self.point_radius) if part]
            shown = str(path) not in self.shared or any(_touches(part, size) for part in parts)
            return Region(f"feature {number}", self._label(feature, where), parts) if shown else None

        return faults.each(enumerate(content["features"]), region), None

    def _label(self, feature: Mapping[str, Any], where: str) -> str:
        if self.category is not None:
            return self.category
        value = value_at(feature.get("properties"), str(self.label))
        if value is None or isinstance(value, dict | list) or not str(value).strip():
            there = ", ".join(map(str, feature.get("properties") or {})) or "none"
            fix = "set data.source.label, or give all one label with data.source.category (and label=null)"
            raise AnnotationError(f"{where}: has no property '{self.label}' (properties: {there}); {fix}")
        return str(value).strip()


def _without(name: str, prefix: str) -> str | None:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.removeprefix(prefix)}" if last.startswith(prefix) else None


@lru_cache(maxsize=2)
def _features(path: Path) -> dict[str, Any]:
    """The content of a file as a collection of features; a file of all images is read once."""
    content = read_json(path)
    if isinstance(content, list):  # QuPath writes the features alone
        content = {"type": "FeatureCollection", "features": content}
    if isinstance(content, dict) and content.get("type") == "Feature":
        content = {"type": "FeatureCollection", "features": [content]}
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise AnnotationError(f"{path}: is no FeatureCollection of GeoJSON; export it again")
    return content


def _parts(feature: Mapping[str, Any], where: str, move: Any, line_width: float, point_radius: float) -> Iterator[Shape]:
    geometry = feature.get("geometry")
    if geometry is None:  # RFC 7946, 3.2: a feature of no place
        return
    kind: Any = geometry.get("type") if isinstance(geometry, dict) else None
    given: Any = geometry.get("coordinates") if isinstance(geometry, dict) else None
    several = str(kind).startswith("Multi")
    shapes, single = given if several else [given], str(kind).removeprefix("Multi")
    if kind == "GeometryCollection":
        for inner in geometry.get("geometries") or []:
            yield from _parts({"geometry": inner}, where, move, line_width, point_radius)
        return
    try:
        if single == "Polygon":
            for rings in shapes:
                moved = [move(_array(ring)).ravel().tolist() for ring in rings]
                yield moved[0] if len(moved) == 1 else {"rings": moved}
        elif single == "LineString":
            for line in shapes:
                yield {"line": move(_array(line)).ravel().tolist(), "width": line_width}
        elif single == "Point":
            for x, y in move(_array(shapes)).tolist():
                yield ellipse(x, y, point_radius, point_radius)
        else:
            raise ValueError
    except (ValueError, TypeError, IndexError):
        expected = "expected those of a polygon, line or point; redraw it"
        raise AnnotationError(f"{where}: has a geometry {kind} of the coordinates {str(given)[:40]}, {expected}") from None


def _array(points: Sequence[Sequence[float]]) -> np.ndarray:
    """(N, 2) float64; heights are left out."""
    found = np.array([point[:2] for point in points], np.float64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError
    return found


def _touches(part: Shape, size: tuple[int, int]) -> bool:
    flat = part if isinstance(part, list) else part.get("line") or part["rings"][0]
    x, y = np.array(flat[::2]), np.array(flat[1::2])
    return bool(x.max() > 0 and y.max() > 0 and x.min() < size[1] and y.min() < size[0])


def _to_pixels(path: Path, content: Mapping[str, Any], image: Path) -> Any:
    """The function from coordinates (N, 2) of the file to pixels of the image; DataError where they have no place or other systems."""
    matrix, image_system = _placed(image)
    system = _system_of(content)
    if image_system is not None and system is not None and system != image_system:
        fix = f"bring them to one system: ogr2ogr -t_srs EPSG:{image_system} out.geojson {path.name}"
        raise AnnotationError(f"{path}: has coordinates of EPSG:{system}, but its image {image} has EPSG:{image_system}; {fix}")
    inverse = np.linalg.inv(matrix)
    return lambda points: points @ inverse[:2, :2].T + inverse[:2, 2]


def _system_of(content: Mapping[str, Any]) -> int | None:
    """The EPSG number of a file's coordinates; longitude and latitude where it names none and they may be that; None where unknown."""
    named = content.get("crs")
    if isinstance(named, dict):
        name = str((named.get("properties") or {}).get("name", "")).upper()
        last = name.replace("::", ":").rpartition(":")[2]
        return LON_LAT if "CRS84" in name else int(last) if last.isdecimal() else None
    points = [point for feature in content["features"][:20] for point in _first_points(feature.get("geometry"))]
    return LON_LAT if all(abs(x) <= 180 and abs(y) <= 90 for x, y in points) else None


def _first_points(geometry: Any) -> Iterator[tuple[float, float]]:
    found = geometry.get("coordinates") if isinstance(geometry, dict) else None
    while isinstance(found, list) and found and isinstance(found[0], list):
        found = found[0]
    if isinstance(found, list) and len(found) >= 2 and all(isinstance(v, int | float) for v in found[:2]):
        yield found[0], found[1]


def _placed(image: Path) -> tuple[np.ndarray, int | None]:
    """The matrix (3, 3) from pixels, whose corner is (0, 0), to coordinates, and their EPSG number, of a GeoTIFF."""
    try:
        with tifffile.TiffFile(image) as file:
            tags = file.pages[0].tags
            scale, tie, matrix, keys = (tags.valueof(tag, None) for tag in (SCALE, TIE_POINT, MATRIX, KEYS))
    except (tifffile.TiffFileError, OSError, ValueError, IndexError):
        scale = tie = matrix = keys = None
    if matrix is not None:
        found = np.array(matrix, np.float64).reshape(4, 4)[[0, 1, 3]][:, [0, 1, 3]]
    elif scale is not None and tie is not None:
        column, row, _, x, y, _ = tie[:6]
        found = np.array([[scale[0], 0, x - column * scale[0]], [0, -scale[1], y + row * scale[1]], [0, 0, 1]], np.float64)
    else:
        fix = "set data.source.coordinates=pixels where they are pixels, or use the image with its georeference"
        raise AnnotationError(f"{image}: is no GeoTIFF that says where it lies, so coordinates have no place on it; {fix}")
    entries = np.array(keys if keys is not None else [0] * 4, np.int64).reshape(-1, 4)[1:]
    named = {int(key): int(value) for key, place, _, value in entries if place == 0}
    if named.get(RASTER_TYPE) == 2:  # coordinates are of the middle of a pixel
        found[:2, 2] -= found[:2, :2] @ [0.5, 0.5]
    system = named.get(PROJECTED, named.get(GEOGRAPHIC))
    return found, system if system not in (None, 0, 32767) else None
