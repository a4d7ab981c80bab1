"""GeoJSON over GeoTIFF that rasterio wrote, against rasterio's own rasterizing; and in pixels, as QuPath has it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from annotations import CLASSES, areas
from rasterio.features import rasterize
from rasterio.transform import from_origin, rowcol
from tiny import SIZE, masks_of, picture, split, write

from seg.core.errors import DataError
from seg.sources.geojson import Geojson
from seg.sources.images import ImageReader

UTM = "urn:ogc:def:crs:EPSG::32633"


def write_tile(path: Path, left: float = 500000, top: float = 5800000, size: float = 0.5, crs: str = "EPSG:32633", **more: Any) -> Any:
    """A GeoTIFF of three bands; its transform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = more.pop("transform", from_origin(left, top, size, size))
    with rasterio.open(path, "w", "GTiff", SIZE[1], SIZE[0], 3, crs, transform, "uint8") as file:
        file.write(np.moveaxis(picture(len(path.name)), -1, 0))
        file.update_tags(**({"AREA_OR_POINT": "Point"} if more.get("point") else {}))
    return transform


def feature(rings: list[list[list[float]]], label: str = "cat") -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"class": label, "classification": {"name": label}},
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


def moved(transform: Any, points: list[tuple[float, float]]) -> list[list[float]]:
    return [list(transform * point) for point in [*points, points[0]]]


def write_labels(path: Path, features: list[dict[str, Any]], crs: str | None = UTM) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": features}))


def geojson(root: Path, **changed: object) -> Geojson:
    arguments = {"images": "images", "annotations": "labels", "image_prefix": "", "annotation_prefix": "", "coordinates": "geo"}
    rules = {"label": "class", "category": None, "skip_unlabelled": False, "line_width": 4, "point_radius": 3}
    given = {
        "root": str(root),
        "classes": CLASSES,
        "reader": ImageReader(3),
        "split": split(),
        "ignore": [],
        "drop": [],
        "others": "refuse",
    }
    return Geojson(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


SQUARE = [(2.0, 3.0), (8.0, 3.0), (8.0, 9.0), (2.0, 9.0)]
HOLE = [(4.0, 5.0), (6.0, 5.0), (6.0, 7.0), (4.0, 7.0)]


def test_polygons_with_holes_lie_where_rasterio_draws_them(tmp_path: Path) -> None:
    skewed = rasterio.Affine(0.5, 0.1, 500000, 0.1, -0.5, 5800000)
    for name, transform in (("a.tif", from_origin(500000, 5800000, 0.5, 0.5)), ("b.tif", skewed)):
        write_tile(tmp_path / "images" / name, transform=transform)
        points = [(1.3, 2.2), (20.1, 4.4), (15.7, 18.2), (3.1, 15.5)]
        shapes = [feature([moved(transform, points), moved(transform, [(6, 6), (10, 6), (10, 10), (6, 10)])])]
        write_labels(tmp_path / "labels" / name.replace(".tif", ".geojson"), shapes)
        expected = rasterize([shapes[0]["geometry"]], SIZE, transform=transform).astype(bool)
        source = geojson(tmp_path, skip_unlabelled=True)
        sample = next(source.read(i).sample for i in source.items() if i.image_id == name[0])
        assert (masks_of(sample)[0] != expected).sum() <= 12, "but for the border, where the two round otherwise"
        assert expected.sum() > 150


def test_one_file_for_all_tiles_and_what_lies_on_none_is_left_out(tmp_path: Path) -> None:
    first = write_tile(tmp_path / "images" / "a.tif")
    second = write_tile(tmp_path / "images" / "bb.tif", left=500000 + SIZE[1] * 0.5)
    shapes = [feature([moved(first, SQUARE)]), feature([moved(second, SQUARE), moved(second, HOLE)], "dog")]
    write_labels(tmp_path / "all.geojson", shapes)
    source = geojson(tmp_path, annotations="all.geojson")
    samples = [source.read(item).sample for item in source.items()]
    assert [(s.categories.tolist(), areas(s)) for s in samples] == [([1], [36]), ([2], [32])]
    column, row = rowcol(second, *moved(second, SQUARE)[0])[::-1]
    assert np.argwhere(samples[1].semantic == 2)[0].tolist() == [row, column]


def test_coordinates_of_the_middle_of_a_pixel(tmp_path: Path) -> None:
    """GTRasterTypeGeoKey 2, PixelIsPoint, which GDAL turns to corners on reading."""
    transform = write_tile(tmp_path / "images" / "a.tif", point=True)
    write_labels(tmp_path / "labels" / "a.geojson", [feature([moved(transform, SQUARE)])])
    source = geojson(tmp_path)
    sample = source.read(source.items()[0]).sample
    assert (areas(sample), np.argwhere(sample.semantic == 1)[0].tolist()) == ([36], [3, 2])


def test_other_coordinate_systems_are_refused_with_the_command(tmp_path: Path) -> None:
    write_tile(tmp_path / "images" / "a.tif")
    for crs, shown in (("EPSG:4326", 4326), (None, 4326)):
        write_labels(tmp_path / "labels" / "a.geojson", [feature([[[15.0, 52.0], [15.1, 52.0], [15.1, 52.1], [15.0, 52.0]]])], crs)
        source = geojson(tmp_path)
        with pytest.raises(DataError, match=rf"coordinates of EPSG:{shown}, but its image .* EPSG:32633; .*ogr2ogr -t_srs EPSG:32633"):
            source.read(source.items()[0])


def test_spacenet_names_and_longitude_and_latitude(tmp_path: Path) -> None:
    transform = write_tile(tmp_path / "images" / "RGB_img1.tif", left=-115.3, top=36.2, size=2.7e-6, crs="EPSG:4326")
    write_labels(tmp_path / "labels" / "buildings_img1.geojson", [feature([moved(transform, SQUARE)])], None)
    source = geojson(tmp_path, image_prefix="RGB_", annotation_prefix="buildings_", label=None, category="dog")
    items = source.items()
    assert items[0].image_id == "img1"
    assert (source.read(items[0]).sample.categories.tolist(), areas(source.read(items[0]).sample)) == ([2], [36])


def test_pixels_of_qupath(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    square = feature([[*map(list, SQUARE), list(SQUARE[0])]], "dog")
    multi = {
        **square,
        "geometry": {
            "type": "MultiPolygon",
            "coordinates": [[[[20, 1], [24, 1], [24, 5], [20, 5]]], [[[26, 1], [28, 1], [28, 3], [26, 3]]]],
        },
    }
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.geojson").write_text(json.dumps([square, multi]))
    source = geojson(tmp_path, coordinates="pixels", label="classification.name")
    assert areas(source.read(source.items()[0]).sample) == [36, 16 + 4]
    for changed, message in (
        ({}, "is no GeoTIFF that says where it lies"),
        ({"coordinates": "pixels", "label": "kind"}, r"feature 0: has no property 'kind' \(properties: class, classification\)"),
    ):
        other = geojson(tmp_path, **changed)
        item = other.items()[0]
        with pytest.raises(DataError, match=message):
            other.read(item)
