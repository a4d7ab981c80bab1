"""Annotation files: each kind is known by what stands in it, with its places, classes and split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotations import square, write_labelme, write_via, write_yolo
from formats import (
    NAMES,
    coco_content,
    write_coco,
    write_coco_splits,
    write_cvat_set,
    write_json,
    write_labelme_set,
    write_panoptic,
    write_pictures,
    write_via_set,
    write_yolo_set,
    write_yolo_splits,
    yolo_text,
)

from seg.recognise.formats import annotated
from seg.recognise.guess import Guess
from seg.recognise.listing import list_folder

BY_FOLDERS = {"by": "folders", "ratios": None, "stratify": False, "folders": None}
TRAIN_AND_VAL = {
    "by": "folders",
    "ratios": {"train": 0.85, "val": 0, "test": 0.15},
    "stratify": True,
    "folders": {"train": "train", "val": "val", "test": None},
}
OTHERWISE = {"train": "training", "val": "validation", "test": "testing"}
SPLITS = ("train", "val", "test")


def only(root: Path) -> Guess:
    (guess,) = annotated(list_folder(root))
    return guess


def names(guess: Guess) -> list[str]:
    return [c["name"] for c in guess.classes or ()]


WRITERS: dict[str, tuple[Callable[[Path], object], str, dict[str, Any]]] = {
    "coco": (write_coco, "coco", {"annotations": "annotations.json", "images": "images"}),
    "panoptic": (write_panoptic, "coco_panoptic", {"annotations": "ids.json", "images": "input", "masks": "ids"}),
    "labelme beside": (write_labelme_set, "labelme", {"images": ".", "annotations": "."}),
    "labelme apart": (
        lambda root: write_labelme_set(root, "pictures", "json"),
        "labelme",
        {"images": "pictures", "annotations": "json"},
    ),
    "via 1": (
        lambda root: write_via_set(root, True, False),
        "via",
        {"annotations": "annotations.json", "images": "images", "attribute": "kind", "category": None},
    ),
    "via 2": (
        lambda root: write_via_set(root, False, True),
        "via",
        {"annotations": "annotations.json", "images": "images", "attribute": "kind", "category": None},
    ),
    "yolo": (write_yolo_set, "yolo", {"images": "images", "annotations": "labels", "names": "data.yaml"}),
    "yolo with a list": (
        lambda root: write_yolo_set(root, "cat\ndog\n", "classes.txt"),
        "yolo",
        {"images": "images", "annotations": "labels", "names": "classes.txt"},
    ),
    "cvat": (write_cvat_set, "cvat", {"annotations": "annotations.xml", "images": "images"}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_kind_is_known(tmp_path: Path, kind: str) -> None:
    write_set, option, source = WRITERS[kind]
    write_set(tmp_path)
    guess = only(tmp_path)
    assert (guess.option, guess.task, guess.source, guess.split) == (option, "panoptic" if kind == "panoptic" else "instance", source, {})
    assert names(guess) == ["background", "cat", "dog"]
    assert (guess.doubts, len(guess.why) > 0) == ([], True)


@pytest.mark.parametrize(
    ("files", "images", "words", "source", "folders"),
    [
        ("{}.json", "images", SPLITS, ("{split}.json", "images"), None),
        ("annotations/instances_{}2017.json", "{}2017", SPLITS, ("annotations/instances_{split}2017.json", "{split}2017"), None),
        ("{}/_annotations.coco.json", "{}", tuple(OTHERWISE.values()), ("{split}/_annotations.coco.json", "{split}"), OTHERWISE),
    ],
)
def test_a_coco_file_for_each_split(
    tmp_path: Path, files: str, images: str, words: tuple[str, ...], source: tuple[str, str], folders: dict[str, str] | None
) -> None:
    guess = only(write_coco_splits(tmp_path, files, images, words))
    assert (guess.source["annotations"], guess.source["images"]) == source
    assert guess.split == BY_FOLDERS | {"folders": folders}
    assert guess.doubts == []


def test_folders_of_images_that_are_called_otherwise_than_the_files(tmp_path: Path) -> None:
    write_coco_splits(tmp_path, "{}.json", "images/{}")
    for split, word in OTHERWISE.items():
        (tmp_path / "images" / split).rename(tmp_path / "images" / word)
    guess = only(tmp_path)
    assert (guess.source["annotations"], guess.source["images"], guess.split) == ("train.json", "images/training", {})
    assert guess.doubts == ["only train.json is read, as the folders of the other splits are called otherwise"]


def test_of_cocos_own_files_the_instances_are_read(tmp_path: Path) -> None:
    """Its captions and keypoints lie beside them, and its test images have none."""
    write_coco_splits(tmp_path, "annotations/instances_{}2017.json", "{}2017", SPLITS[:2])
    for split in SPLITS[:2]:
        content = coco_content([0])
        write_json(tmp_path / f"annotations/captions_{split}2017.json", content | {"annotations": [{"id": 1, "caption": "a cat"}]})
        keypoints = [a | {"keypoints": [1, 1, 2]} for a in content["annotations"]]
        write_json(tmp_path / f"annotations/person_keypoints_{split}2017.json", content | {"annotations": keypoints})
    guess = only(tmp_path)
    assert (guess.source["annotations"], guess.source["images"]) == ("annotations/instances_{split}2017.json", "{split}2017")
    assert (guess.split, guess.doubts) == (TRAIN_AND_VAL, [])


def test_categories_of_void_and_background(tmp_path: Path) -> None:
    write_coco(tmp_path)
    content = coco_content(range(6))
    more = [{"id": 0, "name": "_background_"}, {"id": 1, "name": "ignore"}]
    write_json(tmp_path / "annotations.json", content | {"categories": [*more, *content["categories"]]})
    guess = only(tmp_path)
    assert (names(guess), guess.source["ignore"]) == (["background", "cat", "dog"], ["ignore"])
    assert (guess.classes or [{}])[0]["labels"] == ["_background_"]


@pytest.mark.parametrize(("used", "above", "kept"), [(False, "pets", False), (True, "pets", True), (False, "animals", True)])
def test_a_category_above_the_others_is_a_class_where_regions_have_it(tmp_path: Path, used: bool, above: str, kept: bool) -> None:
    """Roboflow puts the project's name above the classes; no region has it."""
    write_coco(tmp_path)
    content = coco_content(range(6))
    below = [category | {"supercategory": above} for category in content["categories"]]
    content["categories"] = [{"id": 0, "name": "pets", "supercategory": "none"}, *below]
    if used:
        content["annotations"][0]["category_id"] = 0
    write_json(tmp_path / "annotations.json", content)
    assert names(only(tmp_path)) == ["background", *["pets"] * kept, "cat", "dog"]


def test_images_that_are_not_there_are_a_doubt(tmp_path: Path) -> None:
    write_coco(tmp_path)
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    guess = only(tmp_path)
    assert "images" not in guess.source
    assert guess.doubts == ["none of the files that annotations.json names was found: set source.images"]


def test_panoptic_files_without_colours_and_for_each_split(tmp_path: Path) -> None:
    for split in SPLITS:
        write_panoptic(tmp_path / split)
        content = json.loads((tmp_path / split / "ids.json").read_text())
        for category in content["categories"]:
            del category["color"]
        write_json(tmp_path / split / "ids.json", content)
    guess = only(tmp_path)
    assert guess.source == {"annotations": "{split}/ids.json", "images": "{split}/input", "masks": "{split}/ids"}
    assert guess.split == BY_FOLDERS
    assert len({tuple(c["color"]) for c in guess.classes or ()}) == 3


def test_labelme_by_split(tmp_path: Path) -> None:
    words = [word for word in OTHERWISE.values() for _ in range(2)]
    guess = only(write_labelme_set(tmp_path / "a", "{}/images", "{}/json", words))
    assert (guess.source["images"], guess.source["annotations"]) == ("{split}/images", "{split}/json")
    assert guess.split == BY_FOLDERS | {"folders": OTHERWISE}
    beside = only(write_labelme_set(tmp_path / "b", "all/{}", "all/{}", [word for word in SPLITS for _ in range(2)]))
    assert (beside.source["images"], beside.source["annotations"], beside.split) == ("all/{split}", "all/{split}", BY_FOLDERS)
    two = only(write_labelme_set(tmp_path / "c", "{}", "{}", ["train", "val"] * 3))
    assert (two.source["images"], two.source["annotations"], two.split) == ("{split}", "{split}", TRAIN_AND_VAL)
    others = only(write_labelme_set(tmp_path / "d", "{}", "{}", ["test", "val"] * 3))
    assert (others.source["images"], others.source["annotations"], others.split) == (".", ".", {})
    assert others.doubts == ["the files lie in 2 folders: test, val"]


def test_labelmes_own_labels_and_images_within_the_files(tmp_path: Path) -> None:
    for name in NAMES:
        shapes = [square(label, 1, 1, 5, 5) for label in ("_background_", "__ignore__", "cat")]
        write_labelme(tmp_path / "json" / f"{name}.json", shapes, imageData="AAAA")
    guess = only(tmp_path)
    assert guess.source == {"images": "json", "annotations": "json", "ignore": ["__ignore__"]}
    assert guess.classes == [
        {"name": "background", "color": [0, 0, 0], "labels": ["_background_"]},
        {"name": "cat", "color": [128, 0, 0]},
    ]


def test_labelme_files_that_are_called_otherwise_than_their_images(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    for number, name in enumerate(NAMES):
        write_labelme(tmp_path / "json" / f"label{number}.json", [square("cat", 1, 1, 5, 5)], f"..\\pictures\\{name}.png")
    assert only(tmp_path).source == {"images": "pictures", "annotations": "json"}


RECT = {"name": "rect", "x": 2, "y": 3, "width": 6, "height": 6}


@pytest.mark.parametrize(
    ("attributes", "source", "found", "doubts"),
    [
        ([{"a": "x1", "label": "cat"}, {"a": "x2", "label": "cat"}], ("label", None), ["background", "cat"], 0),
        ([{"type": {"cat": True, "dog": False}}, {"type": {"dog": True}}], ("type", None), ["background", "cat", "dog"], 0),
        ([{"label": "cat"}, {}], ("label", None), ["background", "cat"], 1),
        ([{}, {}], (None, "object"), ["background", "object"], 0),
        ([{"label": "cat"}, {"label": "void"}], ("label", None), ["background", "cat"], 0),
    ],
    ids=["the usual name", "checkbox", "one without", "none", "void"],
)
def test_the_attribute_of_via(tmp_path: Path, attributes: list[Any], source: tuple[Any, Any], found: list[str], doubts: int) -> None:
    write_via(tmp_path, {"a.png": [{"shape_attributes": RECT, "region_attributes": a} for a in attributes], "b.png": []})
    guess = only(tmp_path)
    assert ((guess.source["attribute"], guess.source["category"]), names(guess), len(guess.doubts)) == (source, found, doubts)
    assert guess.source.get("ignore", []) == [a["label"] for a in attributes if a.get("label") == "void"]


def test_via_by_split_has_the_labels_of_all_files(tmp_path: Path) -> None:
    for split, label in zip(SPLITS, ("cat", "dog", "owl"), strict=True):
        write_via(tmp_path / split, {"a.png": [{"shape_attributes": RECT, "region_attributes": {"label": label}}]})
    guess = only(tmp_path)
    assert guess.source["annotations"] == "{split}/annotations.json"
    assert (names(guess), guess.split) == (["background", "cat", "dog", "owl"], BY_FOLDERS)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ("images/{}", "labels/{}", SPLITS),
        ("{}/images", "{}/labels", tuple(OTHERWISE.values())),
        ("{}", "{}", ("train", "valid", "test")),
    ],
)
def test_yolo_by_split(tmp_path: Path, images: str, labels: str, words: tuple[str, ...]) -> None:
    guess = only(write_yolo_splits(tmp_path, images, labels, words))
    places = (images.format("{split}"), labels.format("{split}"), "data.yaml")
    assert (guess.source["images"], guess.source["annotations"], guess.source["names"]) == places
    folders = None if words == SPLITS else dict(zip(SPLITS, words, strict=True))
    assert guess.split == BY_FOLDERS | {"folders": folders}
    assert names(guess) == ["background", "cat", "dog"]


def test_yolo_without_names_and_of_two_splits(tmp_path: Path) -> None:
    write_yolo_splits(tmp_path, "images/{}", "labels/{}", ("train", "train", "val"))
    (tmp_path / "data.yaml").unlink()
    guess = only(tmp_path)
    assert guess.source == {"images": "images/{split}", "annotations": "labels/{split}", "names": None}
    assert (guess.classes, guess.split) == (None, TRAIN_AND_VAL)
    assert guess.doubts == ["no data.yaml or classes.txt names the classes: give source.names and the classes"]


def test_yolo_images_without_objects_may_lie_in_a_folder_without_texts(tmp_path: Path) -> None:
    write_yolo_splits(tmp_path, "images/{}", "labels/{}", ("train2017",) * 3)
    write_pictures(tmp_path / "images/empty", ["g"])
    guess = only(tmp_path)
    assert (guess.source["images"], guess.source["annotations"]) == ("images", "labels")


def test_yolos_boxes_void_and_broken_names(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": yolo_text(0), "b": "0 0.5 0.5 0.1 0.1\n", "c": "", "d": None}, "names: [cat, void]")
    guess = only(tmp_path)
    assert guess.doubts == ["1 lines are boxes alone, no polygons: source.boxes makes rectangles of them"]
    assert (names(guess), guess.source["ignore"]) == (["background", "cat"], ["void"])
    (tmp_path / "data.yaml").write_text("names: 7")
    assert "has no 'names'" in only(tmp_path).doubts[1]


@pytest.mark.parametrize("text", ["a cat", "0 0.1 0.2", "", "0 0.1 0.2 0.3 0.4\n{}"])
def test_other_text_files_are_no_yolo(tmp_path: Path, text: str) -> None:
    write_yolo(tmp_path, dict.fromkeys(NAMES, text))
    assert annotated(list_folder(tmp_path)) == []


def test_cvat_files_of_splits(tmp_path: Path) -> None:
    for split in SPLITS:
        write_cvat_set(tmp_path / split)
    text = (tmp_path / "val/annotations.xml").read_text()
    (tmp_path / "val/annotations.xml").write_text(text.replace('label="cat"', 'label="owl"').replace("<image ", "<image ", 1))
    guess = only(tmp_path)
    assert guess.source == {"annotations": "{split}/annotations.xml", "images": "{split}/images"}
    assert (names(guess), guess.split) == (["background", "cat", "dog", "owl"], BY_FOLDERS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.json", "{}"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}'),
        ("a.json", '{"images": [], "annotations": [{"bbox": [1, 2, 3, 4]}], "categories": []}'),
        ("a.json", '{"a": {"filename": "a.png"}}'),
        ("a.json", "[" * 100000),
        ("a.xml", "<annotation><object/></annotation>"),
        ("a.xml", "<annotations/>"),
        ("a.xml", "no xml"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY e "e">]><annotations><image name="&e;"/></annotations>'),
    ],
)
def test_other_files_are_passed_over(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert annotated(list_folder(tmp_path)) == []


def test_several_kinds_at_once(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco")
    write_yolo_set(tmp_path / "yolo")
    write_labelme_set(tmp_path / "labelme")
    assert [guess.option for guess in annotated(list_folder(tmp_path))] == ["coco", "labelme", "yolo"]
