"""Predictions as files of polygons: GeoJSON (RFC 7946, https://www.rfc-editor.org/rfc/rfc7946), as QuPath and geographic programs read it,
and LabelMe's (https://github.com/wkentaro/labelme), to be corrected and read again by the source `labelme`.
"""

from collections.abc import Sequence
from typing import Any

import shapely
from shapely.geometry.polygon import orient

from seg.data.sample import ClassInfo, Prediction
from seg.predict.write.polygons import outlines_of, rings_of


def geojson(prediction: Prediction, classes: Sequence[ClassInfo], tolerance: float, min_area: int) -> dict[str, Any]:
    """The FeatureCollection of one image: a feature for each object, or each connected region of a class map.

    Its geometry is a Polygon, or a MultiPolygon where it has several parts; outer rings run counterclockwise and holes clockwise
    by their numbers, as if y pointed up. Coordinates are pixels, x to the right and y down. Properties: `id` (an object's place in the
    prediction, from 1), `class`, `score` (null where there is none), and for QuPath `objectType` and `classification` with name and colour.
    tolerance, min_area: as `seg.predict.write.polygons.outlines_of` takes them.
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
    `seg.predict.write.polygons.outlines_of` takes them.
    """
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
