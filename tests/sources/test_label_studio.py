"""Label Studio's JSON: shapes in percent, brush masks that are packed here bit by bit, addresses of images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotations import CLASSES, areas
from tiny import SIZE, masks_of, picture, split, write

from seg.core.errors import DataError
from seg.sources.images import ImageReader
from seg.sources.label_studio import LabelStudio, brush_mask

HEIGHT, WIDTH = SIZE


def region(kind: str, label: str = "cat", **value: object) -> dict[str, Any]:
    sides = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "r", "type": kind, **sides, "value": {**value, kind: [label]}}


def percent(x: float, y: float) -> list[float]:
    return [100 * x / WIDTH, 100 * y / HEIGHT]


def square(left: float, top: float, right: float, bottom: float, label: str = "cat") -> dict[str, Any]:
    return region("polygonlabels", label, points=[percent(left, top), percent(right, top), percent(right, bottom), percent(left, bottom)])


def brushed(mask: np.ndarray, same: bool) -> list[int]:
    """A mask packed as the program packs RGBA: in runs of one value where `same`, else value by value in runs of at most 16."""
    values = np.repeat(mask.ravel().astype(int) * 255, 4).tolist()
    bits = f"{len(values):032b}{7:05b}{3:04b}{3:04b}{3:04b}{15:04b}"  # values of 8 bits, lengths of 4, 4, 4 and 16
    place = 0
    while place < len(values):
        length = 1
        while place + length < len(values) and length < (1 << 16 if same else 16) and (not same or values[place + length] == values[place]):
            length += 1
        bits += f"1{3:02b}{length - 1:016b}{values[place]:08b}" if same else f"0{0:02b}{length - 1:04b}"
        bits += "" if same else "".join(f"{v:08b}" for v in values[place : place + length])
        place += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def write_export(root: Path, tasks: list[dict[str, Any]]) -> Path:
    for seed, name in enumerate(("a.png", "b 1.png")):
        write(root / "images" / name, picture(seed))
    (root / "project.json").write_text(json.dumps(tasks))
    return root


def task(image: str, *results: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(results), "was_cancelled": False, **more}]}


def label_studio(root: Path, **changed: object) -> LabelStudio:
    arguments = {"annotations": "project.json", "images": "images", "image_key": "image", "line_width": 4, "point_radius": 3}
    rules = {"ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return LabelStudio(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


def test_every_shape_has_its_area(tmp_path: Path) -> None:
    x, y = percent(2, 12)
    upright = region("rectanglelabels", x=x, y=y, width=100 * 4 / WIDTH, height=100 * 6 / HEIGHT, rotation=0)
    x, y = percent(20, 2)
    turned = region("rectanglelabels", x=x, y=y, width=100 * 4 / WIDTH, height=100 * 6 / HEIGHT, rotation=90)  # around its corner: x 14..20
    x, y = percent(24, 16)
    round_ = region("ellipselabels", "dog", x=x, y=y, radiusX=100 * 5 / WIDTH, radiusY=100 * 5 / HEIGHT, rotation=30)
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    tasks = [
        task("/data/upload/1/a.png", square(2, 3, 8, 9), upright, turned, round_, choice),
        task("/data/local-files/?d=shots/b%201.png"),
    ]
    source = label_studio(write_export(tmp_path, tasks))
    items = source.items()
    assert [item.image_id for item in items] == ["a", "b 1"]
    sample = source.read(items[0]).sample
    assert areas(sample)[:3] == [36, 24, 24]
    assert areas(sample)[3] == pytest.approx(np.pi * 25, abs=4)
    assert np.argwhere(masks_of(sample)[2])[[0, -1]].tolist() == [[2, 14], [5, 19]]
    assert [f.kind for f in source.findings] == ["other-image-name"]


@pytest.mark.parametrize("same", [True, False])
def test_brush_masks(tmp_path: Path, same: bool) -> None:
    mask = np.zeros(SIZE, bool)
    mask[3:9, 5:20] = mask[8:12, 0:7] = True
    packed = brushed(mask, same)
    source = label_studio(write_export(tmp_path, [task("images/a.png", region("brushlabels", format="rle", rle=packed)), task("b 1.png")]))
    assert np.array_equal(masks_of(source.read(source.items()[0]).sample)[0], mask)
    with pytest.raises(DataError, match="does not fill"):
        brush_mask(packed[:-9], *SIZE, "x")
    with pytest.raises(DataError, match="does not fill"):
        brush_mask(packed, HEIGHT, WIDTH + 1, "x")


def test_of_several_annotations_the_marked_one_is_read_and_that_is_told(tmp_path: Path) -> None:
    two = task("a.png", square(0, 0, 4, 4))
    two["annotations"].append({"result": [square(0, 0, 6, 6)], "ground_truth": True})
    cancelled = task("b 1.png", square(0, 0, 4, 4), was_cancelled=True)
    source = label_studio(write_export(tmp_path, [two, cancelled]))
    assert [areas(source.read(item).sample) for item in source.items()] == [[36], []]
    assert [f.kind for f in source.findings] == ["several-annotations"]


def test_a_name_that_label_studio_gave_is_found(tmp_path: Path) -> None:
    source = label_studio(write_export(tmp_path, [task("/data/upload/3/0a1b2c3d-a.png"), task("b 1.png")]))
    assert [item.image_id for item in source.items()] == ["a", "b 1"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{"image": "a.png"}], "is no list of tasks with data"),
        ([{"id": 1, "data": {"photo": "a.png"}}], r"task 1: its data have no 'image' \(photo\); set data.source.image_key"),
        ([task("a.png", {**square(1, 1, 5, 5), "value": {"points": [[1, 2]]}})], "has no label"),
        ([task("a.png", {**square(1, 1, 5, 5), "image_rotation": 90})], "was turned in Label Studio"),
        ([task("a.png", {**square(1, 1, 5, 5), "original_width": None})], "has original_width=None, expected a number"),
    ],
)
def test_what_is_broken_is_refused(tmp_path: Path, tasks: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_studio(write_export(tmp_path, tasks)).items()
