"""CVAT for images 1.1: every shape with its area, z order, groups, masks, folders; no tracks."""

from math import pi
from pathlib import Path

import numpy as np
import pytest
from annotations import CVAT_SQUARE, areas, cvat, cvat_box, write_cvat
from tiny import masks_of, read_all, split


def test_every_shape_has_its_area(tmp_path: Path) -> None:
    shapes = [
        CVAT_SQUARE,
        cvat_box("cat", 10, 2, 15, 6),
        cvat_box("cat", 10, 8, 20, 10, 'rotation="90.0"'),
        '<polyline label="dog" points="2.0,20.0;12.0,20.0"/>',
        '<mask label="dog" rle="1, 2, 3, 2, 4" left="20" top="15" width="4" height="3" z_order="0"/>',
        '<ellipse label="dog" cx="24" cy="8" rx="6" ry="3" rotation="90"/>',
        '<points label="dog" points="6,14;26,20"/>',
        '<tag label="indoors" source="manual"/>',
    ]
    sample = read_all(cvat(write_cvat(tmp_path, {"a.png": "".join(shapes)})))["a"]
    assert areas(sample)[:5] == [36, 20, 20, 40, 4]
    assert areas(sample)[5:] == [pytest.approx(18 * pi, abs=7), pytest.approx(2 * 9 * pi, abs=8)]
    turned, mask, tall = (masks_of(sample)[i] for i in (2, 4, 5))
    assert np.argwhere(turned)[[0, -1]].tolist() == [[4, 14], [13, 15]], "a box turns around its centre"
    assert mask[15:18, 20:24].astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], "runs go along the rows of the box"
    assert np.ptp(np.nonzero(tall)[0]) > 1.5 * np.ptp(np.nonzero(tall)[1])


def test_of_what_overlaps_the_higher_z_order_lies_on_top(tmp_path: Path) -> None:
    shapes = (
        cvat_box("dog", 0, 0, 4, 4, 'z_order="2"') + cvat_box("cat", 2, 0, 6, 4, 'z_order="1"') + cvat_box("dog", 5, 0, 8, 4, 'z_order="1"')
    )
    sample = read_all(cvat(write_cvat(tmp_path, {"a.png": shapes})))["a"]
    assert sample.semantic[0, :9].tolist() == [2, 2, 2, 2, 1, 2, 2, 2, 0]
    assert areas(sample) == [16, 12, 16]


def test_groups_join_parts_and_zero_is_none(tmp_path: Path) -> None:
    shapes = "".join(cvat_box("dog", x, 0, x + 2, 4, f'group_id="{group}"') for x, group in ((0, 7), (10, 7), (20, 0), (25, 0)))
    assert areas(read_all(cvat(write_cvat(tmp_path, {"a.png": shapes})))["a"]) == [16, 8, 8]


def test_names_with_folders_and_images_without_shapes(tmp_path: Path) -> None:
    source = cvat(write_cvat(tmp_path, {"night/a.png": CVAT_SQUARE, "day/a.png": ""}))
    assert [(i.image_id, i.names) for i in source.items()] == [
        ("day/a", ("day/a", "day/a.png", "a.png")),
        ("night/a", ("night/a", "night/a.png", "a.png")),
    ]
    assert [len(s.categories) for s in read_all(source).values()] == [0, 1]


def test_names_of_windows_are_read(tmp_path: Path) -> None:
    root = write_cvat(tmp_path, {"night/a.png": CVAT_SQUARE})
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace("night/a.png", "night\\a.png"))
    assert list(read_all(cvat(root))) == ["night/a"]


def test_subsets_of_a_project_are_its_splits(tmp_path: Path) -> None:
    write_cvat(tmp_path, {f"{name}.png": CVAT_SQUARE for name in "abcd"})
    path = tmp_path / "annotations.xml"
    text = path.read_text()
    for number, subset in enumerate(("Train", "Validation", "default")):
        text = text.replace(f'id="{number}"', f'id="{number}" subset="{subset}"')
    path.write_text(text.replace('name="c.png"', 'name="../Test/c.png"'))
    section = split("folders", folders={"train": "train", "val": "Validation", "test": None}, ratios={"train": 0.5, "val": 0, "test": 0.5})
    source = cvat(tmp_path, split=section)
    assert [(item.image_id, item.split) for item in source.items()] == [("a", "train"), ("b", "val")]
    assert [f.what for f in source.findings if f.kind == "unlisted-image"] == [
        "images of no split are left out: 1 of the subset 'default', 1 of the subset ''"
    ]
    assert [item.split for item in cvat(tmp_path).items()] == [None] * 4
