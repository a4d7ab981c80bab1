"""Pascal VOC's boxes: pixels counted from 1, difficult objects, overlaps, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from annotations import areas
from tiny import CLASSES, SIZE, masks_of, picture, read_all, split, write

from seg.core.errors import ConfigError, DataError
from seg.sources.images import ImageReader
from seg.sources.voc_boxes import VocBoxes


def source(root: Path, **changed: object) -> VocBoxes:
    own = {"images": "JPEGImages", "annotations": "Annotations", "skip_unlabelled": False, "boxes": True, "first_pixel": 1}
    rules = {"ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return VocBoxes(**{**own, **rules, **given, **changed})  # type: ignore[arg-type]


def entry(name: str, *corners: float, more: str = "") -> str:
    sides = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False))
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


def written(root: Path, *objects: str, size: tuple[int, int] = SIZE) -> Path:
    write(root / "JPEGImages/a.png", picture(0))
    path = root / "Annotations/a.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    path.write_text(f"<annotation><filename>a.png</filename>{sides}{''.join(objects)}</annotation>")
    return path


def test_boxes_become_rectangles_that_may_overlap(tmp_path: Path) -> None:
    written(
        tmp_path, entry("house", 1, 1, 10, 5), entry("tree", 6, 3, 12, 8), entry("road", 20, 20, 24, 22, more="<difficult>1</difficult>")
    )
    sample = read_all(source(tmp_path))["a"]
    assert sorted(zip(sample.categories.tolist(), sample.crowd.tolist(), areas(sample), strict=True)) == [
        (1, False, 50),
        (2, False, 42),
        (3, True, 15),
    ]
    house = masks_of(sample)[sample.categories.tolist().index(1)]
    assert np.argwhere(house)[[0, -1]].tolist() == [[0, 0], [4, 9]], "whole, though the tree lies over it"
    assert areas(read_all(source(tmp_path, first_pixel=0))["a"])[-1] == 30


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.source.boxes=false: .* set task=detection"):
        source(tmp_path, boxes=False)
    for text, message in (
        (entry("house", 1, 2), r"a.xml, object 0: has no <bndbox> of four numbers"),
        (entry(" ", 1, 2, 3, 4), r"a.xml, object 0: has no <name>"),
        ("<object>", r"a.xml: is not XML"),
    ):
        written(tmp_path, text)
        with pytest.raises(DataError, match=message):
            read_all(source(tmp_path))
    written(tmp_path, entry("house", 1, 2, 3, 4), size=(7, 7))
    with pytest.raises(DataError, match=r"a.png: "):
        read_all(source(tmp_path))
    written(tmp_path).write_text("<annotations/>")
    with pytest.raises(DataError, match=r"starts with <annotations>, expected <annotation>"):
        read_all(source(tmp_path))
