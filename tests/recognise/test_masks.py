"""Label images: which folders pair, and what their values and colours mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from formats import NAMES, PALETTE, instances, scene, write_masks, write_palette_masks, write_pictures
from PIL import Image
from recognise.test_annotations import TRAIN_AND_VAL
from tiny import SIZE, picture, write

from seg.recognise import masks
from seg.recognise.guess import Guess, Wanted
from seg.recognise.listing import list_folder

Change = Callable[[np.ndarray], np.ndarray]


def guess(root: Path) -> Guess:
    """The best guess."""
    return masks.guesses(list_folder(root), Wanted())[0]


def made(change: Change) -> Callable[[int], np.ndarray]:
    """Scenes whose class indices are changed."""
    return lambda number: change(scene(number))


def classes(found: Guess) -> list[tuple[Any, ...]]:
    """(name, label, label, ...) of each class."""
    return [(c["name"], *(tuple(v) if isinstance(v, list) else v for v in c.get("labels", ()))) for c in found.classes or ()]


@pytest.mark.parametrize(
    ("images", "labels", "source"),
    [
        ("images/{}.png", "masks/{}.png", ("images", "masks", "", "")),
        ("img/{}.jpg", "gt/{}.tif", ("img", "gt", "", "")),
        ("images/sub/{}.png", "masks/sub/{}.bmp", ("images/sub", "masks/sub", "", "")),
        ("img/img_{}.png", "lab/lab_{}.png", ("img/img_{image}", "lab/lab_{image}", "", "")),
        ("{}.jpg", "labels/{}.png", (".", "labels", "", "")),
        ("all/{}.jpg", "all/{}.png", ("all", "all", ".jpg", ".png")),
        ("images/{}.png", "masks/{}_P.png", ("images", "masks", "", "_P")),
        ("left/{}_leftImg8bit.png", "fine/{}_gtFine_labelIds.png", ("left", "fine", "_leftImg8bit", "_gtFine_labelIds")),
        ("x/{}_7_photo.png", "y/{}_7_mask.png", ("x", "y", "_photo", "_mask")),
        ("{}.jpg", "{}_mask.png", (".", ".", "", "_mask")),
        ("all/{}-image.png", "all/{}-label.png", ("all", "all", "-image", "-label")),
    ],
)
def test_folders_pair_by_names_but_for_their_endings(tmp_path: Path, images: str, labels: str, source: tuple[str, ...]) -> None:
    found = guess(write_masks(tmp_path, images=images, masks=labels))
    assert tuple(found.source[key] for key in ("images", "masks", "image_suffix", "mask_suffix")) == source
    assert found.option == "folders"
    assert classes(found) == [("class0",), ("class1",), ("class2",)]
    assert (found.source["labels"], found.source["ignore"], found.split) == ("index", [], {})
    assert found.why[0].startswith("6 images in ")


@pytest.mark.parametrize(
    ("change", "labels", "expected", "ignore"),
    [
        (lambda m: m, "index", [("class0",), ("class1",), ("class2",)], []),
        (lambda m: m * 7, "index", [("class0", 0), ("class7", 7), ("class14", 14)], []),
        (lambda m: m + 1, "index", [("class1", 1), ("class2", 2), ("class3", 3)], []),
        (lambda m: np.where(m == 2, 255, m), "index", [("background",), ("foreground",)], [255]),
        (lambda m: (m > 0) * 255, "index", [("background", 0), ("foreground", 255)], []),
        (lambda m: m > 0, "index", [("background",), ("foreground",)], []),
        (lambda m: np.stack([m * 7] * 3, axis=2), "index", [("class0", 0), ("class7", 7), ("class14", 14)], []),
        (lambda m: PALETTE[m], "color", [("background",), ("class1",), ("class2",)], []),
        (lambda m: np.array([[9, 9, 8], [224, 224, 192], [0, 99, 0]])[m], "color", [("class0",), ("class1",)], [[224, 224, 192]]),
    ],
    ids=["plain", "gaps", "from 1", "void", "black and white", "bits", "gray as RGB", "colours", "the border of VOC"],
)
def test_values_and_colours(tmp_path: Path, change: Change, labels: str, expected: list[Any], ignore: list[Any]) -> None:
    found = guess(write_masks(tmp_path, made(lambda m: change(m).astype(np.uint8))))
    assert (found.option, found.task, found.source["labels"], found.source["ignore"]) == ("folders", "semantic", labels, ignore)
    assert classes(found) == expected
    assert len({tuple(c["color"]) for c in found.classes or ()}) == len(expected)


def test_the_order_of_colours_is_black_then_the_most_frequent(tmp_path: Path) -> None:
    found = guess(write_masks(tmp_path, made(lambda m: np.array([[0, 0, 0], [5, 6, 7], [250, 1, 2]], np.uint8)[m])))
    counts = sum((np.bincount(scene(n).ravel(), minlength=3) for n in range(len(NAMES))), np.zeros(3, int))
    assert counts[1] > counts[2]
    assert [c["color"] for c in found.classes or ()] == [[0, 0, 0], [5, 6, 7], [250, 1, 2]]


def test_a_colour_image_of_grays_alone_counts_as_colours(tmp_path: Path) -> None:
    """As one without any object: one gray alone, in a folder of colour images without it."""
    colors = np.array([[10, 20, 30], [5, 6, 7], [250, 1, 2]], np.uint8)
    write_masks(tmp_path, made(lambda m: colors[m]))
    write(tmp_path / "masks" / "f.png", np.full((*SIZE, 3), 90, np.uint8))
    found = guess(tmp_path)
    assert [c["color"] for c in found.classes or ()] == [[10, 20, 30], [90, 90, 90], [5, 6, 7], [250, 1, 2]]
    assert found.why[1] == "the label images are colour images, with 4 colours"


def test_palettes_are_read_by_colour_and_named_in_the_order_of_vocs_map(tmp_path: Path) -> None:
    found = guess(write_palette_masks(tmp_path))
    assert [(c["name"], c["color"]) for c in found.classes or ()] == [
        ("background", [0, 0, 0]),
        ("cat", [128, 0, 0]),
        ("dog", [0, 128, 0]),
    ]
    assert found.source["labels"] == "color"
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncat\ndog\n")
    assert guess(tmp_path).classes == found.classes, "LabelMe's list begins with what is ignored"


@pytest.mark.parametrize(
    ("lines", "expected", "ignore"),
    [
        ("ground\ncat\ndog", [("ground",), ("cat",), ("dog",)], []),
        ("_background_\ncat\ndog\nowl", [("background",), ("cat",), ("dog",), ("owl",)], []),
        ("ground\nVoid\ndog", [("ground", 0), ("dog", 2)], [1]),
        ("ground\ncat", [("class0",), ("class1",), ("class2",)], []),
    ],
    ids=["a line a value", "more than are used", "void in between", "too few"],
)
def test_names_of_values(tmp_path: Path, lines: str, expected: list[Any], ignore: list[int]) -> None:
    (write_masks(tmp_path) / "codes.txt").write_text(lines)
    found = guess(tmp_path)
    assert (classes(found), found.source["ignore"]) == (expected, ignore)
    assert any("ignored" in doubt for doubt in found.doubts) == bool(ignore)


def test_soft_borders_have_a_threshold(tmp_path: Path) -> None:
    """0 and 255 within, everything in between along the edges."""

    def soft(number: int) -> np.ndarray:
        hard = np.zeros((96, 128), np.uint8)
        hard[20 : 60 + number, 30:90] = 255
        return cv2.GaussianBlur(hard, (5, 5), 1)

    write_masks(tmp_path, soft)
    for number, name in enumerate(NAMES):
        write(tmp_path / "images" / f"{name}.png", picture(number, (96, 128)))
    found = guess(tmp_path)
    assert (classes(found), found.source["ignore"]) == ([("background", 0), ("foreground", 255)], [])
    assert found.source["threshold"] == 128
    assert "a mask's pixels are white from 128 on, else black (source.threshold)" in found.doubts


def test_of_many_values_the_commonest_are_listed(tmp_path: Path) -> None:
    """45 values in each of two kinds of images; those up to 64 fill larger areas."""

    def many(number: int) -> np.ndarray:
        values = np.arange(1 + 45 * (number % 2), 46 + 45 * (number % 2), dtype=np.uint8)
        return np.repeat(values, np.where(values <= 64, 8, 6))[None].repeat(4, axis=0)

    for number, name in enumerate(NAMES):
        write(tmp_path / "images" / f"{name}.png", picture(number, many(number).shape))
        write(tmp_path / "masks" / f"{name}.png", many(number))
    found = masks.guesses(list_folder(tmp_path), Wanted(option="folders"))[0]
    assert classes(found) == [(f"class{value}", value) for value in range(1, 65)]
    assert any(doubt.startswith("90 values are many: soft borders, or ids of instances? the 64 commonest") for doubt in found.doubts)


@pytest.mark.parametrize(
    ("ids", "option"),
    [
        (instances, "id_maps"),
        (lambda n: _cells(n, 9), "id_maps"),
        (scene, "folders"),
        (lambda n: np.where(np.arange(SIZE[1]) < 20, scene(n), 0).astype(np.uint8), "folders"),
        (lambda n: np.where(_cells(n, 9) > 0, 1, 0).astype(np.uint8), "folders"),
        (lambda n: _cells(n, 9) % 4, "folders"),
    ],
    ids=[
        "beyond 8 bit",
        "8 bit, each in one piece",
        "classes",
        "few classes, each in one piece",
        "one class in pieces",
        "classes in pieces",
    ],
)
def test_id_maps_are_told_from_class_maps(tmp_path: Path, ids: Callable[[int], np.ndarray], option: str) -> None:
    found = guess(write_masks(tmp_path, ids))
    assert found.option == option
    if option == "id_maps":
        assert (found.task, found.source["category"], classes(found)) == ("instance", "object", [("background",), ("object",)])


def _cells(number: int, most: int) -> np.ndarray:
    """Up to `most` squares with ids from 1, fewer in later scenes."""
    ids = np.zeros(SIZE, np.uint8)
    for place in range(most - number % 4):
        ids[1 + 7 * (place // 4) : 6 + 7 * (place // 4), 1 + 7 * (place % 4) : 6 + 7 * (place % 4)] = place + 1
    return ids


@pytest.mark.parametrize(
    ("images", "labels", "words", "names"),
    [
        ("{}/images", "{}/masks", ("train", "val", "test"), None),
        ("images/{}", "masks/{}", ("training", "validation", "testing"), ("training", "validation", "testing")),
        ("{}", "{}annot", ("train", "val", "test"), None),
        ("{}", "{}", ("train", "valid", "test"), ("train", "valid", "test")),
    ],
)
def test_the_split_of_folders(tmp_path: Path, images: str, labels: str, words: tuple[str, ...], names: tuple[str, ...] | None) -> None:
    ending = "_mask" if images == labels else ""
    for number, word in enumerate(words):
        for place, name in enumerate("ab"):
            write(tmp_path / images.format(word) / f"{name}.png", picture(2 * number + place))
            write(tmp_path / labels.format(word) / f"{name}{ending}.png", scene(2 * number + place))
    (found,) = masks.guesses(list_folder(tmp_path), Wanted())  # each folder by itself is none besides
    assert (found.source["images"], found.source["masks"]) == (images.format("{split}"), labels.format("{split}"))
    listed = names and dict(zip(("train", "val", "test"), names, strict=True))
    assert found.split == {"by": "folders", "ratios": None, "stratify": False, "folders": listed}
    assert found.why[0].startswith("6 images in ")


def test_a_test_folder_without_labels_is_left_out(tmp_path: Path) -> None:
    for number, place in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / place / "images", NAMES[: 3 - number])
    for place, count in (("train", 3), ("val", 2)):
        for number in range(count):
            write(tmp_path / place / "masks" / f"{NAMES[number]}.png", scene(number))
    found = guess(tmp_path)
    assert (found.source["images"], found.source["masks"], found.split) == ("{split}/images", "{split}/masks", TRAIN_AND_VAL)
    assert found.why[0].startswith("5 images in ")
    assert "skip_unlabelled" not in found.source


def test_labels_without_those_of_train_are_read_as_one_and_it_says_so(tmp_path: Path) -> None:
    for number, place in enumerate(("val", "test")):
        for index in range(3 - number):
            write(tmp_path / place / "images" / f"{NAMES[index]}.png", picture(index))
            write(tmp_path / place / "masks" / f"{NAMES[index]}.png", scene(index))
    found = guess(tmp_path)
    assert (found.source["images"], found.source["masks"], found.split) == ("{folder}/images", "{folder}/masks", {})
    assert found.why[0].startswith("5 images in ")
    assert any(doubt.startswith("folders are called test and val, but images are split by ratios") for doubt in found.doubts)


@pytest.mark.parametrize("other", ["train", "test"])
def test_two_splits_in_one_folder(tmp_path: Path, other: str) -> None:
    for number, name in enumerate(NAMES):
        write(tmp_path / "images" / ("val" if number > 3 else other) / f"{name}.png", picture(number))
        write(tmp_path / "masks" / ("val" if number > 3 else other) / f"{name}.png", scene(number))
    found = guess(tmp_path)
    if other == "train":
        assert (found.source["images"], found.source["masks"], found.split) == ("images/{split}", "masks/{split}", TRAIN_AND_VAL)
        return
    assert (found.source["images"], found.source["masks"], found.split) == ("images", "masks", {})
    assert any(doubt.startswith("folders are called test and val, but images are split by ratios") for doubt in found.doubts)


def test_numbered_names_may_be_slices(tmp_path: Path) -> None:
    found = guess(write_masks(tmp_path, names=[f"z{number:03}" for number in (3, 4, 5)]))
    assert any(doubt.startswith("the names are numbered 3 to 5 without a gap") for doubt in found.doubts)


def test_flat_images_are_known_by_their_many_colours(tmp_path: Path) -> None:
    """Drawn pictures are as flat as labels."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        write(tmp_path / "input" / f"{name}.png", np.kron(blocks, np.ones((8, 8, 1), np.uint8)))
        write(tmp_path / "output" / f"{name}.png", np.kron(scene(number)[::12, ::8][:2, :4], np.ones((24, 16), np.uint8)).astype(np.uint8))
    found = guess(tmp_path)
    assert (found.source["images"], found.source["masks"]) == ("input", "output")


@pytest.mark.parametrize("kind", ["photographs", "jpeg", "broken", "floats"])
def test_these_are_no_labels(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path / "images")
    for number, name in enumerate(NAMES):
        if kind == "photographs":
            write(tmp_path / "masks" / f"{name}.png", picture(100 + number))
        elif kind == "jpeg":
            write(tmp_path / "masks" / f"{name}.jpg", scene(number) * 100)
        elif kind == "broken":
            (tmp_path / "masks").mkdir(exist_ok=True)
            (tmp_path / "masks" / f"{name}.png").write_bytes(b"none")
        else:
            (tmp_path / "masks").mkdir(exist_ok=True)
            Image.fromarray(scene(number) / np.float32(2)).save(tmp_path / "masks" / f"{name}.tif")
    assert masks.guesses(list_folder(tmp_path), Wanted()) == []


def test_labels_are_no_images_of_other_labels(tmp_path: Path) -> None:
    """Though objects have far more values than classes."""
    write_masks(tmp_path, scene, images="unused/{}.png", masks="class_masks/{}.png")
    for number, name in enumerate(NAMES):
        (tmp_path / "unused" / f"{name}.png").unlink()
        write(tmp_path / "object_masks" / f"{name}.png", _cells(number, 12))
    assert masks.guesses(list_folder(tmp_path), Wanted()) == []
