"""Predictions as GeoJSON: geometries by shapely, the form by RFC 7946 and by what QuPath reads."""

import json
from itertools import pairwise

import numpy as np
import pytest
import shapely
from random_instances import Scene, random_scenes
from shapely.geometry import shape

from seg.data.sample import ClassInfo, Prediction
from seg.predict.write.polygons import geojson

CLASSES = [
    ClassInfo("background", (0, 0, 0)),
    ClassInfo("cell", (250, 10, 20)),
    ClassInfo("crack", (0, 90, 160)),
    ClassInfo("dust", (9, 9, 9)),
]


def signed_area(ring: list[list[float]]) -> float:
    """By the trapezoids below its lines, positive where it runs counterclockwise with y up."""
    return sum((x1 - x2) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(ring))


def polygons_of(geometry: dict[str, object]) -> list[list[list[list[float]]]]:
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]  # type: ignore[list-item,return-value]


def test_objects_are_features_of_their_very_area() -> None:
    kinds = set()
    rng = np.random.default_rng(0)
    for scene in random_scenes(11, number=10, side=50, crowds=False):
        speckled = Scene("a", scene.size)
        for mask, category in zip(scene.predicted, scene.predicted_categories, strict=True):
            speckled.predict(mask & (rng.random(mask.shape) < rng.choice([0.8, 1])), category, round(float(rng.random()), 3))
        content = json.loads(json.dumps(geojson(speckled.prediction, CLASSES, 0, 1), allow_nan=False))
        assert set(content) == {"type", "features"}
        given = [one for one in zip(speckled.predicted, speckled.predicted_categories, speckled.scores, strict=True) if one[0].any()]
        numbers = [number for number, mask in enumerate(speckled.predicted, start=1) if mask.any()]
        assert [feature["properties"]["id"] for feature in reversed(content["features"])] == numbers
        for feature, (mask, category, score), number in zip(reversed(content["features"]), given, numbers, strict=True):
            geometry = shape(feature["geometry"])
            assert geometry.is_valid
            assert geometry.area == mask.sum()
            rows, columns = np.nonzero(mask)
            assert shapely.contains_xy(geometry, columns + 0.5, rows + 0.5).all()
            for outer, *holes in polygons_of(feature["geometry"]):
                assert all(ring[0] == ring[-1] and len(ring) >= 5 for ring in (outer, *holes))
                assert signed_area(outer) > 0
                assert all(signed_area(hole) < 0 for hole in holes)
                kinds |= {(feature["geometry"]["type"], bool(holes))}
            info = CLASSES[category]
            assert feature["properties"] == {
                "objectType": "annotation",
                "classification": {"name": info.name, "color": list(info.color)},
                "id": number,
                "class": info.name,
                "score": pytest.approx(score, abs=1e-6),
            }
    assert kinds == {("Polygon", False), ("Polygon", True), ("MultiPolygon", False), ("MultiPolygon", True)}


def test_regions_of_a_class_map() -> None:
    semantic = np.array([[1, 1, 1, 0], [1, 2, 1, 0], [1, 1, 1, 2]], np.uint8)
    content = geojson(Prediction(semantic, np.full((3, 4), 32768, np.uint16)), CLASSES, 0, 1)
    assert [(f["properties"]["class"], f["properties"]["score"]) for f in content["features"]] == [("cell", 0.500008)] + [
        ("crack", 0.500008)
    ] * 2
    assert [shape(f["geometry"]).area for f in content["features"]] == [8, 1, 1]
    assert geojson(Prediction(semantic), CLASSES, 0, 5)["features"][0]["properties"]["score"] is None
