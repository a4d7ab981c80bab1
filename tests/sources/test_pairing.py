"""Pairs by name: suffixes on both sides, names of split folders, natural order, and what counts as an image or a mask."""

from pathlib import Path

import numpy as np
import pytest
from tiny import folders, labels, picture, prepare_tiny, split, write, write_folders

from seg.core.errors import ConfigError, DataError
from seg.sources.pairing import file_below, folder_below


def test_suffixes_on_both_sides(tmp_path: Path) -> None:
    for seed, name in enumerate(["ulm/x_1", "ulm/x_2"]):
        write(tmp_path / "images" / f"{name}_leftImg8bit.png", picture(seed))
        write(tmp_path / "masks" / f"{name}_gtFine_labelIds.png", labels(seed))
        write(tmp_path / "masks" / f"{name}_gtFine_color.png", picture(seed))
    write(tmp_path / "images" / "ulm" / "x_1_right.png", picture(7))
    source = folders(tmp_path, image_suffix="_leftImg8bit", mask_suffix="_gtFine_labelIds")
    items = source.items()
    assert [i.image_id for i in items] == ["ulm/x_1", "ulm/x_2"]
    assert {"ulm/x_1", "x_1_leftImg8bit.png", "ulm/x_1_leftImg8bit"} <= set(items[0].names), "a list may call it so"
    assert [np.array_equal(source.read(i).sample.semantic, labels(seed)) for seed, i in enumerate(items)] == [True, True]
    with pytest.raises(DataError, match=r"holds no images whose name ends with '_left' .*set data.source.image_suffix$"):
        folders(tmp_path, image_suffix="_left").items()


def test_names_are_in_natural_order(tmp_path: Path) -> None:
    names = ["0", "1", "2", "9", "10", "11", "20"]
    assert [i.image_id for i in folders(write_folders(tmp_path, names)).items()] == names


def test_upper_case_suffixes_and_arrays(tmp_path: Path) -> None:
    write_folders(tmp_path, ["a", "b"])
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.PNG")
    np.save(tmp_path / "images" / "c.npy", np.zeros((24, 32, 4), np.uint8))
    write(tmp_path / "masks" / "c.TIF", labels(2))
    np.save(tmp_path / "masks" / "d.npy", labels(3))
    source = folders(tmp_path)
    assert [Path(f).name for i in source.items() for f in i.files] == ["a.jpg", "a.PNG", "b.jpg", "b.png", "c.npy", "c.TIF"]
    assert [f.what for f in source.findings] == ["1 masks have no image and are left out, such as d.npy"]


def test_a_mask_of_another_suffix_is_pointed_at(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    write(tmp_path / "masks" / "a_Mask.png", labels(0))
    with pytest.raises(DataError, match=r"images/a.png: has no mask .*masks/a_mask\.\*; add it, set data.source.mask_suffix=_Mask \(if"):
        folders(tmp_path, mask_suffix="_mask").items()


FOLDERS = {"images": "{split}/images", "masks": "{split}/masks"}


def test_folders_that_are_not_called_as_their_splits(tmp_path: Path) -> None:
    places = ["training", "validation", "test"]
    for number, place in enumerate(places):
        for seed in range(number + 1):
            write(tmp_path / place / "images" / f"{seed}.png", picture(10 * number + seed))
            write(tmp_path / place / "masks" / f"{seed}.png", labels(10 * number + seed))
    section = split("folders", folders={"train": "training", "val": "validation"})
    info = prepare_tiny(folders(tmp_path, section, **FOLDERS), tmp_path / "out", section)
    assert {name: counts["num_images"] for name, counts in info.splits.items()} == {"train": 1, "val": 2, "test": 3}


def test_several_folders_of_a_split(tmp_path: Path) -> None:
    for seed, (place, name) in enumerate([("paris", "a"), ("rome", "b"), ("bonn", "a"), ("ulm", "a")]):
        write(tmp_path / "images" / place / f"{name}.png", picture(seed))
        write(tmp_path / "masks" / place / f"{name}.png", labels(seed))
    given = {"images": "images/{split}", "masks": "masks/{split}"}
    cities = {"train": ["paris", "rome"], "val": "bonn", "test": ["ulm"]}
    items = folders(tmp_path, split("folders", folders=cities), **given).items()
    assert [(i.split, i.image_id, Path(i.files[1]).parent.name) for i in items] == [
        ("train", "a", "paris"),
        ("train", "b", "rome"),
        ("val", "a", "bonn"),
        ("test", "a", "ulm"),
    ]
    with pytest.raises(DataError, match=r"images/bonn/a.png: has the same name, 'a', as .*images/paris/a.png; rename one of them"):
        folders(tmp_path, split("folders", folders={**cities, "train": ["paris", "bonn"]}), **given).items()


def test_a_missing_folder_of_a_split_says_both_ways_out(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", ["a"])
    (tmp_path / "validation").mkdir()
    with pytest.raises(DataError) as error:
        folders(tmp_path, split("folders"), **FOLDERS).items()
    assert str(error.value) == (
        f"{tmp_path}/val/images: there is no such folder; set data.source.images, or say in data.split.folders what {{split}} is "
        f"for val ({tmp_path} holds: train, validation)"
    )
    with pytest.raises(ConfigError, match=r"^data.split.folders.valid: did you mean 'val'\?"):
        folders(tmp_path, split("folders", folders={"valid": "validation"}), **FOLDERS)


def test_a_file_is_no_folder_and_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "train.json").touch()
    with pytest.raises(DataError, match=r"train.json: there is no such folder; set data.source.images \(.* holds: images\)"):
        folder_below(tmp_path, "train.json", None, "data.source.images")
    with pytest.raises(DataError, match=r"images: there is no such file; set data.source.annotations \(.* holds: train.json\)"):
        file_below(tmp_path, "images", None, "data.source.annotations")
