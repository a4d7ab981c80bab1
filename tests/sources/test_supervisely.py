"""Supervisely projects: bitmaps, polygons with holes, folders of several data sets."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotations import CLASSES, areas
from tiny import SIZE, encoded, picture, split, write

from seg.core.errors import DataError
from seg.sources.images import ImageReader
from seg.sources.supervisely import Supervisely


def bitmap(mask: np.ndarray, left: int, top: int, label: str = "cat") -> dict[str, Any]:
    """An object as Supervisely writes it: a PNG of RGBA, whose alpha is the mask."""
    rgba = np.dstack([np.full((*mask.shape, 3), 255, np.uint8), mask.astype(np.uint8) * 255])
    data = base64.b64encode(zlib.compress(encoded(rgba, ".png"))).decode()
    return {"classTitle": label, "geometryType": "bitmap", "bitmap": {"data": data, "origin": [left, top]}}


def outline(kind: str, exterior: list[list[float]], interior: list[list[list[float]]] | None = None, label: str = "dog") -> dict[str, Any]:
    return {"classTitle": label, "geometryType": kind, "points": {"exterior": exterior, "interior": interior or []}}


def write_project(root: Path, objects: dict[str, list[dict[str, Any]]]) -> Path:
    for seed, (name, given) in enumerate(objects.items()):
        folder, _, file = name.rpartition("/")
        write(root / folder / "img" / file, picture(seed))
        path = root / folder / "ann" / f"{file}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"size": {"height": SIZE[0], "width": SIZE[1]}, "objects": given}))
    (root / "meta.json").write_text("{}")
    return root


def supervisely(root: Path, **changed: object) -> Supervisely:
    arguments = {"images": ".", "annotations": ".", "skip_unlabelled": False, "line_width": 4, "point_radius": 3}
    rules = {"ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return Supervisely(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


def test_every_shape_has_its_place_and_area(tmp_path: Path) -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:7] = True
    ring = outline("polygon", [[2, 10], [12, 10], [12, 20], [2, 20]], [[[4, 12], [8, 12], [8, 16], [4, 16]]])
    objects = [bitmap(mask, 20, 1), ring, outline("rectangle", [[15, 10], [17, 12]]), outline("line", [[20, 15], [30, 15]])]
    source = supervisely(write_project(tmp_path, {"ds0/a.png": objects, "ds1/a.png": []}))
    items = source.items()
    assert [item.image_id for item in items] == ["ds0/a", "ds1/a"]
    sample = source.read(items[0]).sample
    assert areas(sample) == [15, 100 - 16, 9, 40]
    assert np.argwhere(sample.semantic == 1).min(axis=0).tolist() == [2, 22]
    assert source.read(items[1]).sample.categories.tolist() == []


def test_data_sets_are_the_folders_of_a_split(tmp_path: Path) -> None:
    root = write_project(tmp_path, {"one/a.png": [], "two/b.png": [], "three/c.png": []})
    section = split("folders", folders={"train": ["one", "two"], "val": "three", "test": None}, ratios=None)
    items = supervisely(root, images="{split}/img", annotations="{split}/ann", split=section).items()
    assert [(item.image_id, item.split) for item in items] == [("a", "train"), ("b", "train"), ("c", "val")]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": "x", "origin": [0, 0]}}, "has no bitmap of base64"),
        ({"geometryType": "bitmap"}, "has no classTitle"),
        (outline("cuboid", [[1, 1], [2, 2]]), "is a cuboid of 2 points, expected bitmap, polygon"),
        (outline("polygon", [["x", 1]]), "has the points"),
    ],
)
def test_what_is_broken_is_refused_or_skipped(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    root = write_project(tmp_path, {"ds/a.png": [broken, outline("rectangle", [[1, 1], [4, 4]])]})
    source = supervisely(root)
    with pytest.raises(DataError, match=f"a.png.json, object 0: {message}"):
        source.read(source.items()[0])
    source = supervisely(root, invalid="skip")
    record = source.read(source.items()[0])
    assert areas(record.sample) == [16]
    assert [(f.severity, f.image_id) for f in record.findings] == [("warning", "ds/a")]


def test_an_image_without_a_file_is_refused_or_left_out(tmp_path: Path) -> None:
    root = write_project(tmp_path, {"ds/a.png": [], "ds/b.png": []})
    (root / "ds" / "ann" / "b.png.json").unlink()
    with pytest.raises(DataError, match=r"img/b.png: has no file of its name"):
        supervisely(root).items()
    source = supervisely(root, skip_unlabelled=True)
    assert [item.image_id for item in source.items()] == ["ds/a"]
    assert [f.kind for f in source.findings] == ["image-without-label"]
