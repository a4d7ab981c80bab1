"""Values that no program writes, at every place of a file of every format: read as sound, or refused in one line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from annotations import CLASSES, labelme, square, via, via_rect, via_region
from tiny import SIZE, picture, split, write

from seg.core.errors import InputError
from seg.raw.record import Source
from seg.sources import geojson
from seg.sources.coco import Coco
from seg.sources.coco_panoptic import CocoPanoptic
from seg.sources.geojson import Geojson
from seg.sources.images import ImageReader
from seg.sources.label_studio import LabelStudio
from seg.sources.supervisely import Supervisely

HEIGHT, WIDTH = SIZE
NAMES = ["a", "b", "c"]
DEEP = "@deep@"
VALUES: dict[str, Any] = {"huge": 10**400, "half a character": "\ud800", "long": "n" * 300, "deep": DEEP, "a way out": "../../x"}


class Format(NamedTuple):
    """content: of the file `file`, which is spoiled. source: reads the folder."""

    file: str
    content: Any
    source: Callable[[Path], Source]


def given(root: Path) -> dict[str, Any]:
    rules = {"ignore": [], "drop": [], "others": "refuse"}
    return {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split(), **rules}


DRAWN: dict[str, Any] = {"line_width": 4, "point_radius": 3}
POINTS = [[2, 3], [8, 3], [8, 9], [2, 9]]
FLAT = [value for point in POINTS for value in point]
RLE = {"size": [HEIGHT, WIDTH], "counts": [9, 5, HEIGHT * WIDTH - 14]}
STUDIO = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}

FORMATS = {
    "coco": Format(
        "annotations.json",
        {
            "images": [{"id": n, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for n, name in enumerate(NAMES)],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [FLAT], "bbox": [1, 2, 3, 4], "iscrowd": 0},
                {"id": 2, "image_id": 1, "category_id": 1, "segmentation": RLE, "iscrowd": 1},
            ],
        },
        lambda root: Coco(**given(root), annotations="annotations.json", images="images", holes=False),
    ),
    "panoptic": Format(
        "panoptic.json",
        {
            "images": [{"id": n, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for n, name in enumerate(NAMES)],
            "categories": [{"id": 1, "name": "cat", "isthing": 1}],
            "annotations": [
                {"image_id": n, "file_name": f"{name}.png", "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 0}]}
                for n, name in enumerate(NAMES)
            ],
        },
        lambda root: CocoPanoptic(**given(root), annotations="panoptic.json", masks="masks", images="images", skip_unlabelled=False),
    ),
    "labelme": Format(
        "json/a.json",
        {
            "shapes": [square("cat", 2, 3, 8, 9), {**square("dog", 9, 9, 12, 15), "group_id": 3, "shape_type": "polygon"}],
            "version": "5.4.1",
            "flags": {},
            "imagePath": "../images/a.png",
            "imageData": None,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        },
        lambda root: labelme(root, images="images", annotations="json", skip_unlabelled=True),
    ),
    "via": Format(
        "annotations.json",
        {
            f"{name}.png5": {"filename": f"{name}.png", "size": 5, "regions": [via_region(via_rect(2, 3, 6, 6))], "file_attributes": {}}
            for name in NAMES
        },
        via,
    ),
    "label studio": Format(
        "project.json",
        [
            {
                "id": n,
                "data": {"image": f"/data/upload/1/{name}.png"},
                "annotations": [
                    {
                        "was_cancelled": False,
                        "result": [
                            {"id": "r", "type": kind, **STUDIO, "value": {**value, kind: ["cat"]}}
                            for kind, value in (
                                ("polygonlabels", {"points": POINTS}),
                                ("rectanglelabels", {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 10}),
                            )
                        ],
                    }
                ],
            }
            for n, name in enumerate(NAMES)
        ],
        lambda root: LabelStudio(**given(root), annotations="project.json", images="images", image_key="image", **DRAWN),
    ),
    "supervisely": Format(
        "ann/a.png.json",
        {
            "size": {"height": HEIGHT, "width": WIDTH},
            "objects": [{"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": POINTS, "interior": [POINTS[:3]]}}],
        },
        lambda root: Supervisely(**given(root), images="img", annotations="ann", skip_unlabelled=True, **DRAWN),
    ),
    "geojson": Format(
        "labels/a.geojson",
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"class": "cat", "classification": {"name": "cat"}},
                    "geometry": {"type": "Polygon", "coordinates": [[*POINTS, POINTS[0]]]},
                }
            ],
        },
        lambda root: Geojson(
            **given(root),
            images="images",
            annotations="labels",
            image_prefix="",
            annotation_prefix="",
            coordinates="pixels",
            **{"label": "class", "category": None, "skip_unlabelled": True, **DRAWN},
        ),
    ),
}


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from nodes(child, (*path, key))


def put(path: Path, content: Any, place: tuple[Any, ...] = (), value: Any = None) -> None:
    """Write the content, with another value at a place."""
    copied = json.loads(json.dumps(content))
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    if place:
        inner[place[-1]] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(copied).replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000))


def images(root: Path) -> None:
    for seed, name in enumerate(NAMES):
        write(root / "images" / f"{name}.png", picture(seed))
        write(root / "img" / f"{name}.png", picture(seed))
        mask = np.zeros((*SIZE, 3), np.uint8)
        mask[2:9, 3:9, 0] = 7
        write(root / "masks" / f"{name}.png", mask)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", FORMATS)
def test_hostile_values_end_in_a_line(tmp_path: Path, form: str, kind: str) -> None:
    root, (file, content, source) = tmp_path / "raw", FORMATS[form]
    images(root)
    put(root / file, content)
    made = source(root)
    assert any(len(made.read(item).sample.categories) for item in made.items()), "the file is sound before"
    refused = 0
    for place in nodes(content):
        put(root / file, content, place, VALUES[kind])
        geojson._features.cache_clear()
        try:
            made = source(root)
            records = [made.read(item) for item in made.items()]
            said = [str(f) for record in records for f in record.findings] + [record.sample.image_id for record in records]
        except InputError as error:
            refused += 1
            said = [str(error)]
            assert len(said[0]) < 1500, place
            assert "\n" not in said[0], place
        except Exception as error:
            raise AssertionError(f"{place}: {type(error).__name__}: {str(error)[:300]}") from error
        for text in said:
            text.encode()
    assert refused
