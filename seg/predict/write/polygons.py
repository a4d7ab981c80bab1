"""Predictions as polygons, which people can correct, and which rasterise back to the very pixels that they were traced from; and as files
of them: GeoJSON (RFC 7946, https://www.rfc-editor.org/rfc/rfc7946), as QuPath and geographic programs read it, and LabelMe's
(https://github.com/wkentaro/labelme), to be corrected and read again by the source `labelme`.

Coordinates are those of `seg.sources.part_rle`: x to the right and y down, the first pixel covers 0..1 on both axes. A polygon runs
along the edges of its pixels, not through their centres."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.polygon import orient
from skimage.measure import label

from seg.core.errors import ConfigError
from seg.data.rle import decode_crop
from seg.data.sample import BACKGROUND, CERTAIN, ClassInfo, Prediction
from seg.sources.part_rle import rle_of


@dataclass(frozen=True, slots=True)
class Outline:
    """One object, or one connected region of a class map.

    number: from 1; of an object its place in the prediction, of a region that among the regions.
    score: 0..1, of a region the mean confidence of its pixels; None where there is none. polygons: its parts, of which no two
    share more than corners, with holes as rings within them; as long as nothing is simplified, their area is that of the pixels."""

    number: int
    category: int
    score: float | None
    polygons: tuple[shapely.Polygon, ...]


def outlines_of(prediction: Prediction, classes: Sequence[ClassInfo], tolerance: float, min_area: int) -> list[Outline]:
    """The outlines of a prediction, of its instances or the regions of its class map; of two that overlap the later lies on top.

    So the instance with the best score comes last, and a region after the one that encloses it.
    Regions are of all classes but a first one `background`; pixels that touch at a corner alone are of two regions, or parts.
    tolerance: 0 for the pixels' edges; else corners are left out as long as each changes the area by less than tolerance² square
    pixels (Visvalingam, Whyatt 1993, https://doi.org/10.1179/000870493786962263), where regions meet for both alike; what would then cover
    no pixel stays exact. min_area: objects and regions of fewer pixels are left out."""
    if not 0 <= tolerance < 1e4:
        raise ConfigError(f"tolerance={tolerance}: expected a number of pixels of 0 or more")
    if prediction.semantic is None:
        return list(_instances(prediction, tolerance, min_area))
    return list(_regions(prediction.semantic, prediction.confidence, classes, tolerance, min_area))


def trace(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A label map (H, W) int -> the outlines of its connected regions, and a pixel of each.

    Neighbours are the four that share an edge. Polygons: (N,) objects of shapely, valid, disjoint, together the whole map, with
    corners at whole numbers; pixels: (N, 2) int64, row and column."""
    lines = shapely.linestrings(_edges(labels).astype(np.float64))
    polygons = shapely.normalize(shapely.get_parts(shapely.polygonize(lines)))
    points, of = shapely.get_coordinates(shapely.get_exterior_ring(polygons), return_index=True)
    first = np.lexsort((points[:, 0], points[:, 1], of))  # the leftmost corner of a region's first row has its pixel below and right
    corners = points[first[np.unique(of, return_index=True)[1]]].astype(np.int64)
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    return polygons[order], corners[order][:, ::-1]


def _edges(labels: np.ndarray) -> np.ndarray:
    """The lines (N, 2, 2) int64, from x, y to x, y, between pixels that differ, and around all, cut where others meet them."""
    height, width = labels.shape
    across, down = np.zeros((height + 1, width + 2), bool), np.zeros((height + 2, width + 1), bool)
    across[:, 1:-1], down[1:-1] = True, True
    across[1:-1, 1:-1], down[1:-1, 1:-1] = labels[:-1] != labels[1:], labels[:, :-1] != labels[:, 1:]
    left, right, above, below = across[:, :-1], across[:, 1:], down[:-1], down[1:]  # of each corner (H + 1, W + 1) of a pixel
    rows = [np.argwhere(right & (~left | above | below)), np.argwhere(left & (~right | above | below))]
    columns = [np.argwhere((below & (~above | left | right)).T), np.argwhere((above & (~below | left | right)).T)]
    return np.concatenate([np.stack([ends[:, ::-1] for ends in rows], 1), np.stack(columns, 1)])


def _instances(prediction: Prediction, tolerance: float, min_area: int) -> Iterator[Outline]:
    categories, scores = prediction.categories.tolist(), prediction.scores.tolist()
    for index, mask in reversed(list(enumerate(prediction.masks))):
        crop, left, top = decode_crop(mask)
        if np.count_nonzero(crop) < max(1, min_area):
            continue
        polygons, pixels = trace(crop)
        simpler = _simplified(polygons[crop[pixels[:, 0], pixels[:, 1]]], tolerance, *crop.shape)
        yield Outline(index + 1, categories[index], scores[index], tuple(translate(polygon, left, top) for polygon in simpler))


def _regions(
    labels: np.ndarray, confidence: np.ndarray | None, classes: Sequence[ClassInfo], tolerance: float, min_area: int
) -> Iterator[Outline]:
    """The one whose outer ring encloses more comes first, so that what lies within another comes after it."""
    polygons, pixels = trace(labels)
    categories = labels[pixels[:, 0], pixels[:, 1]].astype(np.int64)
    wanted = (categories < len(classes)) & (shapely.area(polygons) >= min_area)
    if classes[0].name == BACKGROUND:
        wanted &= categories > 0
    scores = None
    if confidence is not None:
        numbers = label(labels.astype(np.int64), background=-1, connectivity=1)
        areas, sums = (np.bincount(numbers.ravel(), weights) for weights in (None, confidence.ravel()))
        scores = (sums / np.maximum(areas, 1) / CERTAIN)[numbers[pixels[:, 0], pixels[:, 1]]]
    simpler = _simplified(polygons, tolerance, *labels.shape)
    enclosed = shapely.area(shapely.polygons(shapely.get_exterior_ring(polygons)))
    order = np.lexsort((np.arange(len(polygons)), -enclosed))
    for number, index in enumerate(order[wanted[order]], start=1):
        yield Outline(number, int(categories[index]), None if scores is None else float(scores[index]), (simpler[index],))


def _simplified(polygons: np.ndarray, tolerance: float, height: int, width: int) -> np.ndarray:
    if not tolerance:
        return polygons
    simpler = shapely.coverage_simplify(polygons, tolerance)
    for index, polygon in enumerate(simpler):
        if not rle_of([shapely.get_coordinates(ring).ravel().tolist() for ring in rings_of(polygon)], height, width, holes=True)[1]:
            simpler[index] = polygons[index]
    return simpler


def rings_of(polygon: shapely.Polygon) -> list[shapely.LinearRing]:
    """The outer ring, then the holes."""
    return [polygon.exterior, *polygon.interiors]


def geojson(prediction: Prediction, classes: Sequence[ClassInfo], tolerance: float, min_area: int) -> dict[str, Any]:
    """The FeatureCollection of one image: a feature for each object, or each connected region of a class map.

    Its geometry is a Polygon, or a MultiPolygon where it has several parts; outer rings run counterclockwise and holes clockwise
    by their numbers, as if y pointed up. Coordinates are pixels, x to the right and y down. Properties: `id` (an object's place in the
    prediction, from 1), `class`, `score` (null where there is none), and for QuPath `objectType` and `classification` with name and colour.
    tolerance, min_area: as `seg.predict.write.polygons.outlines_of` takes them."""
    features = []
    for outline in outlines_of(prediction, classes, tolerance, min_area):
        info = classes[outline.category]
        properties = {
            "objectType": "annotation",
            "classification": {"name": info.name, "color": list(info.color)},
            "id": outline.number,
            "class": info.name,
            "score": None if outline.score is None else round(outline.score, 6),
        }
        placed = [orient(polygon) for polygon in outline.polygons]
        geometry = placed[0] if len(placed) == 1 else shapely.MultiPolygon(placed)
        features.append({"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties})
    return {"type": "FeatureCollection", "features": features}


VERSION = "5.5.0"  # the version of LabelMe whose form the files have


def labelme_file(
    image_path: str, height: int, width: int, prediction: Prediction, classes: Sequence[ClassInfo], tolerance: float, min_area: int
) -> dict[str, Any]:
    """What the JSON file of one image holds.

    A shape for each ring; those of an object that has several, parts or holes, have one group_id. description: the score.
    image_path: relative to the file's folder, with slashes. height, width: the image's, in pixels. tolerance, min_area: as
    `seg.predict.write.polygons.outlines_of` takes them."""
    shapes = []
    for outline in outlines_of(prediction, classes, tolerance, min_area):
        rings = [ring for polygon in outline.polygons for ring in rings_of(polygon)]
        for ring in rings:
            shapes.append(
                {
                    "label": classes[outline.category].name,
                    "points": shapely.get_coordinates(ring)[:-1].tolist(),
                    "group_id": outline.number if len(rings) > 1 else None,
                    "description": "" if outline.score is None else f"{outline.score:.4f}",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
