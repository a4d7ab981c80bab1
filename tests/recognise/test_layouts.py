"""Layouts that are known by the names of their folders."""

from pathlib import Path
from typing import Any

import pytest
from formats import NAMES, scene, write_class_files, write_masks, write_object_files, write_palette_masks, write_pictures
from tiny import picture, write

from seg.recognise import layouts
from seg.recognise.guess import Guess
from seg.recognise.listing import list_folder


def found(root: Path) -> list[Guess]:
    return layouts.guesses(list_folder(root))


def only(root: Path) -> Guess:
    (guess,) = found(root)
    return guess


def voc(root: Path, *folders: str, home: str = "") -> Path:
    write_pictures(root / home / "JPEGImages")
    for folder in folders:
        write(root / home / folder / "a.png", scene(0))
    return root


def test_pascal_voc(tmp_path: Path) -> None:
    guess = only(voc(tmp_path, "SegmentationClass", "SegmentationObject", home="VOCdevkit/VOC2012"))
    home = "VOCdevkit/VOC2012"
    places = {"images": f"{home}/JPEGImages", "masks": f"{home}/SegmentationClass", "objects": f"{home}/SegmentationObject"}
    assert (guess.option, guess.source, guess.split) == ("voc", places | {"task": "instance"}, {})
    assert guess.doubts == ["the 20 classes of Pascal VOC are taken for granted"]


def test_pascal_voc_without_objects_is_semantic_and_its_lists_are_the_split(tmp_path: Path) -> None:
    voc(tmp_path, "SegmentationClass")
    lists: dict[str, str | None] = {"train": None, "val": None, "test": None}
    for name in lists:
        path = tmp_path / "ImageSets/Segmentation" / f"{name}.txt"
        if name == "test":
            expected = {"by": "lists", "ratios": {"train": 0.85, "val": 0, "test": 0.15}, "stratify": True, "lists": lists}
            assert only(tmp_path).split == expected
        else:
            assert only(tmp_path).split == {}, "until there is another beside train"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\n")
        lists[name] = f"ImageSets/Segmentation/{name}.txt"
    guess = only(tmp_path)
    assert (guess.task, guess.source["task"]) == ("semantic", "semantic")
    assert guess.split == {"by": "lists", "ratios": None, "stratify": False, "lists": lists}


def test_a_data_set_of_other_classes_in_vocs_layout_is_left_to_its_masks(tmp_path: Path) -> None:
    assert found(write_palette_masks(tmp_path)) == []


@pytest.mark.parametrize("home", ["", "data/"])
def test_cityscapes(tmp_path: Path, home: str) -> None:
    write(tmp_path / f"{home}leftImg8bit/train/ulm/a_leftImg8bit.png", picture(0))
    write(tmp_path / f"{home}gtFine/train/ulm/a_gtFine_labelIds.png", scene(0))
    places = {"images": f"{home}leftImg8bit/{{split}}", "masks": f"{home}gtFine/{{split}}"}
    guesses = found(tmp_path)
    assert [(g.option, g.task, g.source) for g in guesses] == [
        ("cityscapes", "semantic", places),
        ("cityscapes_instances", "instance", places),
    ]


def test_pet(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg", picture(0))
    assert found(tmp_path) == []
    write(tmp_path / "annotations/trimaps/a.png", scene(0) + 1)
    assert (only(tmp_path).option, only(tmp_path).source) == ("pet", {})


def test_camvid(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write(tmp_path / name / "a.png", picture(0))
        assert found(tmp_path) == []
    for name in ("train", "val", "test"):
        write(tmp_path / f"{name}annot" / "a.png", scene(0))
    assert only(tmp_path).option == "camvid"
    assert only(tmp_path).doubts == ["the 11 classes of CamVid are taken for granted"]


@pytest.mark.parametrize("home", ["", "stage1_train/"])
def test_a_file_an_object_in_a_folder_an_image(tmp_path: Path, home: str) -> None:
    guess = only(write_object_files(tmp_path, f"{home}{{}}/images", f"{home}{{}}/masks"))
    places = {"images": f"{home}{{image}}/images", "masks": f"{home}{{image}}/masks", "category": "object"}
    assert (guess.option, guess.task, guess.source) == ("dsb2018", "instance", places)
    assert f"{4 * 3 + 2 * 2} in all: one an object" in guess.why[0], "every third scene has no dog"
    write(tmp_path / f"{home}a/images/second.png", picture(9))
    assert found(tmp_path) == [], "two images in one folder"


@pytest.mark.parametrize(("prefix", "category"), [("", "object"), ("mask_", "object"), ("cell", "cell")])
def test_a_file_an_object_beside_one_folder_of_images(tmp_path: Path, prefix: str, category: str) -> None:
    for file in write_object_files(tmp_path, "images", "masks/{}").rglob("masks/*/*.png"):
        file.rename(file.with_name(f"{prefix}{file.name}"))
    guess = only(tmp_path)
    assert (guess.option, guess.source) == ("dsb2018", {"images": "images", "masks": "masks/{image}", "category": category})
    assert [c["name"] for c in guess.classes or ()] == ["background", category]


@pytest.mark.parametrize("pattern", ["{class}/{image}", "{image}/{class}", "{image}_{class}"])
def test_a_file_a_class(tmp_path: Path, pattern: str) -> None:
    guess = only(write_class_files(tmp_path, pattern))
    assert (guess.option, guess.task, guess.source) == ("class_files", "semantic", {"images": "images", "masks": f"masks/{pattern}"})
    assert [c["name"] for c in guess.classes or ()] == ["background", "cat", "dog"]


def test_a_file_for_the_background_and_one_for_void(tmp_path: Path) -> None:
    write_class_files(tmp_path, "{class}/{image}", ["background", "cat", "dog"])
    for name in NAMES:
        write(tmp_path / "masks" / "void" / f"{name}.png", scene(0) * 0)
    guess = only(tmp_path)
    assert (guess.classes or [{}])[0]["name"] == "background"
    assert [c["name"] for c in guess.classes or ()] == ["background", "cat", "dog"]
    assert guess.source["ignore"] == ["void"]


def test_names_of_images_that_begin_alike(tmp_path: Path) -> None:
    """And classes with underscores: b_red_house is the red house of b, and b_red_car the car of b_red."""
    for number, name in enumerate(("a", "b", "b_red", "c")):
        write(tmp_path / "images" / f"{name}.png", picture(number))
        for label in ("car", "red_house"):
            write(tmp_path / "masks" / f"{name}_{label}.png", scene(number))
    assert [c["name"] for c in only(tmp_path).classes or ()] == ["background", "car", "red_house"]
    write_masks(tmp_path / "sub", names=("a", "a_left", "a_right"), masks="masks/{}_P.png")
    assert found(tmp_path / "sub") == [], "one ending"


def test_masks_of_the_images_own_names_are_no_file_a_class(tmp_path: Path) -> None:
    assert found(write_masks(tmp_path)) == []
    assert found(write_masks(tmp_path / "sub", masks="masks/{}_mask.png")) == [], "one ending is no two classes"


def test_voc_settings_are_plain_data(tmp_path: Path) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        return isinstance(value, str | int | float | list | None)

    assert plain(only(voc(tmp_path, "SegmentationClass")).source)
