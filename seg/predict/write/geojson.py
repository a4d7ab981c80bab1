"""Predictions as GeoJSON (RFC 7946, https://www.rfc-editor.org/rfc/rfc7946), as QuPath and geographic programs read it."""

import re
from collections.abc import Sequence
from typing import Any

import shapely
from shapely.affinity import affine_transform
from shapely.geometry.polygon import orient

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Prediction
from seg.predict.write.polygons import outlines_of

Transform = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): a pixel's corner (x, y) lies at (a x + b y + c, d x + e y + f)."""


def geojson(
    prediction: Prediction,
    classes: Sequence[ClassInfo],
    tolerance: float,
    min_area: int,
    transform: Transform | None = None,
    crs: str | None = None,
) -> dict[str, Any]:
    """The FeatureCollection of one image: a feature for each object, or each connected region of a class map.

    Its geometry is a Polygon, or a MultiPolygon where it has several parts; outer rings run counterclockwise and holes clockwise
    by their numbers, as if y pointed up. Properties: `id` (an object's place in the prediction,
    from 1), `class`, `score` (null where there is none), and for QuPath
    `objectType` and `classification` with name and colour. Coordinates are pixels, x to the right and y down, or those that
    `transform` makes of them. crs: their reference system, such as EPSG:32633; it is written as GeoJSON had it before RFC 7946, which
    knows longitude and latitude alone. tolerance, min_area: as `seg.predict.write.polygons.outlines_of` takes them.
    """
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
        placed = [orient(_placed(polygon, transform)) for polygon in outline.polygons]
        geometry = placed[0] if len(placed) == 1 else shapely.MultiPolygon(placed)
        features.append({"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties})
    reference = {} if crs is None else {"crs": {"type": "name", "properties": {"name": _urn(crs)}}}
    return {"type": "FeatureCollection", **reference, "features": features}


def _placed(polygon: shapely.Polygon, transform: Transform | None) -> shapely.Polygon:
    if transform is None:
        return polygon
    a, b, c, d, e, f = transform
    if a * e == b * d:
        raise ConfigError(f"transform={list(transform)}: expected (a, b, c, d, e, f) that keeps areas apart from 0: a e must not be b d")
    return affine_transform(polygon, [a, b, d, e, c, f])


def _urn(crs: str) -> str:
    found = re.fullmatch(r"(?i:epsg):(\d+)", crs)
    return f"urn:ogc:def:crs:EPSG::{found[1]}" if found else crs
