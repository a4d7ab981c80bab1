"""COCO panoptic: things, stuff, crowds, what is unlabelled, class lists; nothing is lost; each mistake is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import masks_of, picture, prepare_tiny, read_back, refusal, split, write

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Sample
from seg.sources.coco_panoptic import CocoPanoptic
from seg.sources.images import ImageReader
from seg.sources.settings import Split

CLASSES = [
    ClassInfo("background", (0, 0, 0)),
    ClassInfo("cat", (200, 0, 0)),
    ClassInfo("dog", (0, 0, 200)),
    ClassInfo("grass", (0, 150, 0)),
]
CATEGORIES = [
    {"id": 17, "name": "cat", "isthing": 1},
    {"id": 18, "name": "dog", "isthing": 1},
    {"id": 193, "name": "grass", "isthing": 0},
]
BIG = 200 + 256 * 100 + 65536 * 50
IDS = np.array([[5, 5, BIG, 0], [300, 300, 7, 7], [9, 9, 9, 0]])
SEGMENTS = [
    {"id": 5, "category_id": 17, "iscrowd": 0},
    {"id": BIG, "category_id": 17, "iscrowd": 0},
    {"id": 300, "category_id": 18, "iscrowd": 1},
    {"id": 7, "category_id": 18, "iscrowd": 0},
    {"id": 9, "category_id": 193, "iscrowd": 0},
]
Change = Callable[[dict[str, Any]], object]


def as_colors(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)


def write_panoptic(root: Path, names: list[str] = ["a"], change: Change = lambda content: None) -> Path:  # noqa: B006
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
    for number, name in enumerate(names):
        write(root / "images" / f"{name}.jpg", picture(number, IDS.shape))
        write(root / "panoptic" / f"{name}.png", as_colors(np.roll(IDS, number)))
        content["images"].append({"id": 40 + number, "file_name": f"{name}.jpg", "height": 3, "width": 4})
        content["annotations"].append({"image_id": 40 + number, "file_name": f"{name}.png", "segments_info": SEGMENTS})
    change(content)
    (root / "panoptic.json").write_text(json.dumps(content))
    return root


def panoptic(root: Path, section: Split | None = None, **changed: object) -> CocoPanoptic:
    arguments = {"annotations": "panoptic.json", "masks": "panoptic", "images": "images", "ignore": [], "drop": [], "others": "refuse"}
    given = {"skip_unlabelled": False, "root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return CocoPanoptic(**{**arguments, **given, **changed})


def read_one(source: CocoPanoptic) -> Sample:
    return source.read(source.items()[0]).sample


def objects(sample: Sample) -> list[tuple[int, bool, list[list[int]]]]:
    """(category, crowd, pixels) of each instance."""
    masks = masks_of(sample)
    return [(int(c), bool(k), np.argwhere(m).tolist()) for c, k, m in zip(sample.categories, sample.crowd, masks, strict=True)]


def test_things_stuff_and_crowds_by_hand(tmp_path: Path) -> None:
    sample = read_one(panoptic(write_panoptic(tmp_path)))
    assert sample.semantic.tolist() == [[1, 1, 1, 0], [2, 2, 2, 2], [3, 3, 3, 0]]
    assert objects(sample) == [
        (2, True, [[1, 0], [1, 1]]),
        (1, False, [[0, 0], [0, 1]]),
        (2, False, [[1, 2], [1, 3]]),
        (1, False, [[0, 2]]),
    ], "crowds lie lowest, then in the order of ids"


def test_without_background_what_is_unlabelled_is_ignored(tmp_path: Path) -> None:
    sample = read_one(panoptic(write_panoptic(tmp_path), classes=CLASSES[1:]))
    assert sample.semantic.tolist() == [[0, 0, 0, 255], [1, 1, 1, 1], [2, 2, 2, 255]]
    assert [c for c, *_ in objects(sample)] == [1, 0, 1, 0]


def test_class_lists(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    merged = [ClassInfo("background", (0, 0, 0), ("grass",)), ClassInfo("pet", (1, 1, 1), ("cat", "dog"))]
    sample = read_one(panoptic(tmp_path, classes=merged))
    assert sample.semantic.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert [(c, k) for c, k, _ in objects(sample)] == [(1, True), (1, False), (1, False), (1, False)]
    hidden = [ClassInfo("background", (0, 0, 0), ("grass", "cat")), CLASSES[2]]
    assert [(c, k) for c, k, _ in objects(read_one(panoptic(tmp_path, classes=hidden)))] == [(1, True), (1, False)], "none is of background"
    sample = read_one(panoptic(tmp_path, classes=[CLASSES[0], CLASSES[1]], ignore=["dog"], drop=["grass"]))
    assert sample.semantic.tolist() == [[1, 1, 1, 0], [255] * 4, [0] * 4]
    assert [(c, k) for c, k, _ in objects(sample)] == [(1, True), (1, True), (1, False), (1, False)], "an ignored thing is a crowd"
    sample = read_one(panoptic(tmp_path, classes=[CLASSES[0], CLASSES[2]], drop=["cat"], others="ignore"))
    assert sample.semantic.tolist() == [[0] * 4, [1] * 4, [255, 255, 255, 0]]
    assert [(c, k) for c, k, _ in objects(sample)] == [(1, True), (1, False)], "ignored stuff is no crowd"
    sample = read_one(panoptic(tmp_path, classes=[CLASSES[0], ClassInfo("tom", (1, 1, 1), ("cat",))], others="drop"))
    assert sample.semantic.tolist() == [[1, 1, 1, 0], [0] * 4, [0] * 4]


NAMES = ["1", "2", "10", "x/3", "x/20", "y"]


def test_nothing_is_lost_in_preparing(tmp_path: Path) -> None:
    source = panoptic(write_panoptic(tmp_path / "raw", NAMES))
    assert [i.image_id for i in source.items()] == NAMES
    prepare_tiny(source, tmp_path / "out", classes=CLASSES)
    read = read_back(tmp_path / "out")
    for item in source.items():
        before, after = source.read(item).sample, read[item.image_id]
        for field in ("semantic", "instances", "categories", "crowd"):
            assert np.array_equal(getattr(before, field), getattr(after, field)), field


def test_a_file_a_split(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write_panoptic(tmp_path / name, [f"{name}_a"])
    places = {"annotations": "{split}/panoptic.json", "masks": "{split}/panoptic", "images": "{split}/images"}
    items = panoptic(tmp_path, split("folders"), **places).items()
    assert [(i.split, i.image_id) for i in items] == [(name, f"{name}_a") for name in ("train", "val", "test")]


def test_images_without_annotation_are_left_out_only_when_asked(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path / "raw", NAMES, lambda content: content["annotations"].pop(2))
    source = panoptic(root, skip_unlabelled=True)
    assert [i.image_id for i in source.items()] == ["1", "2", "x/3", "x/20", "y"]
    assert [str(f) for f in source.findings] == [f"{root}/panoptic.json: 1 images have no annotation and are left out, such as 10.jpg"]
    answer = refusal(lambda: panoptic(root), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(f"{root}/panoptic.json: has no annotation of the image 10.jpg; add it, or leave such images out with")


def segment(content: dict[str, Any], **changed: object) -> None:
    content["annotations"][0]["segments_info"] = [{**SEGMENTS[0], **changed}, *SEGMENTS[1:]]


JSON = "{raw}/panoptic.json"
BROKEN: dict[str, tuple[Change, str]] = {
    "no categories": (lambda c: c.pop("categories"), f"{JSON}, categories: field required; export the file again"),
    "no isthing": (
        lambda c: c.update(categories=[{"id": 17, "name": "cat"}]),
        f"{JSON}, categories[0].isthing: field required; export the file again",
    ),
    "an id in words": (lambda c: segment(c, id="five"), f"{JSON}, annotations[0].segments_info[0].id: a valid integer, got 'five'"),
    "an id of 0": (lambda c: segment(c, id=0), f"{JSON}, annotations[0].segments_info[0].id: greater than or equal to 1, got '0'"),
    "a crowd of 2": (lambda c: segment(c, iscrowd=2), f"{JSON}, annotations[0].segments_info[0].iscrowd: 0 or 1, got '2'"),
    "a path out": (
        lambda c: c["images"][0].update(file_name="../a.jpg"),
        f"{JSON}, images[0].file_name: a file below data.source.images, or data.source.masks, got '../a.jpg'",
    ),
    "an id twice": (lambda c: segment(c, id=7), f"{JSON}, segments_info of the image 40: the id 7 stands twice"),
    "an image twice": (lambda c: c["images"].append({"id": 40, "file_name": "q.jpg"}), f"{JSON}, images: the id 40 stands twice"),
    "a category twice": (lambda c: c.update(categories=[*CATEGORIES, {**CATEGORIES[0], "id": 3}]), f"{JSON}, categories: the name 'cat'"),
    "another image": (
        lambda c: c["annotations"][0].update(image_id=7),
        f"{JSON}, annotation of the image 7: this image is not in 'images'; add it there",
    ),
    "another category": (lambda c: segment(c, category_id=3), f"{JSON}, annotation of the image 40: the segment 5 is of the category 3,"),
    "a category without class": (
        lambda c: c.update(categories=[{"id": 17, "name": "cta", "isthing": 1}, *CATEGORIES[1:]]),
        f"{JSON}: no class of data.classes has the name of the category 'cta' (nearest: cat); add it to a class",
    ),
    "no mask": (
        lambda c: c["annotations"][0].update(file_name="q.png"),
        f"{JSON}: there is no mask {{raw}}/panoptic/q.png; add it, or set data.source.masks",
    ),
    "no image": (
        lambda c: c["images"][0].update(file_name="q.jpg"),
        f"{JSON}: there is no image {{raw}}/images/q.jpg; add it, or set data.source.images",
    ),
    "no images": (lambda c: c.update(images=[], annotations=[]), f"{JSON}: names no images; set data.source.annotations"),
    "a segment that only the PNG has": (
        lambda c: c["annotations"][0].update(segments_info=SEGMENTS[1:4]),
        f"{{raw}}/panoptic/1.png: has the id 5 in 2 pixels (and 1 more ids), which segments_info in {JSON} does not list; add",
    ),
    "a segment that only the file has": (
        lambda c: c["annotations"][0].update(segments_info=[*SEGMENTS, {**SEGMENTS[0], "id": 4}, {**SEGMENTS[0], "id": 6}]),
        f"{{raw}}/panoptic/1.png: has no pixel of the id 4 (and 1 more ids), which segments_info in {JSON} lists; remove",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_mistake_in_the_file_is_refused(tmp_path: Path, kind: str) -> None:
    change, message = BROKEN[kind]
    raw = write_panoptic(tmp_path / "raw", NAMES, change)
    answer = refusal(lambda: panoptic(raw), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(message.replace("{raw}", str(raw)))
    assert "\n" not in answer


def test_other_mistakes_are_refused(tmp_path: Path) -> None:
    raw = write_panoptic(tmp_path / "raw", NAMES)
    write(raw / "panoptic" / "2.png", as_colors(IDS.T))
    answer = refusal(lambda: panoptic(raw), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(f"{raw}/panoptic/2.png: is 3x4 pixels, but its image {raw}/images/2.jpg is 4x3; give both the same size")
    with pytest.raises(ConfigError, match=r"^data.source.ignore: there is no category 'gras'; did you mean 'grass'\?"):
        panoptic(raw, ignore=["gras"]).items()
    (raw / "panoptic.json").write_text('{"images": [')
    assert refusal(lambda: panoptic(raw), tmp_path / "out", classes=CLASSES).startswith(f"{raw}/panoptic.json: is not JSON (")
