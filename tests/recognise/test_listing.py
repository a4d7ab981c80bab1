"""What a folder holds, and the splits that names say."""

from pathlib import Path, PurePosixPath

import pytest

from seg.core.errors import DataError
from seg.recognise.listing import (
    Listing,
    by_folders,
    by_split,
    choices,
    home_of,
    list_folder,
    made_of_train,
    split_of,
    split_of_folders,
    with_split,
    words_of,
)


def paths(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in names]


def listing(*names: str) -> Listing:
    return Listing(Path("/nowhere"), tuple(paths(*names)))


@pytest.mark.parametrize(
    ("name", "split", "pattern"),
    [
        ("train", "train", "{split}"),
        ("images/training", "train", "images/{split}"),
        ("Train/images", "train", "{split}/images"),
        ("train2017", "train", "{split}2017"),
        ("trainannot", "train", "{split}annot"),
        ("instances_val.json", "val", "instances_{split}.json"),
        ("valid/x", "val", "{split}/x"),
        ("data/validation", "val", "data/{split}"),
        ("dev", "val", "{split}"),
        ("testing", "test", "{split}"),
        ("train/a/test", "test", "train/a/{split}"),
        ("latest", None, "latest"),
        ("contrain", None, "contrain"),
        ("images", None, "images"),
    ],
)
def test_the_split_that_a_name_says(name: str, split: str | None, pattern: str) -> None:
    assert split_of(name) == (split, pattern)


def test_names_that_differ_by_the_split_alone() -> None:
    found = by_split(["training/img", "validation/img", "train/gt", "val/gt", "x"])
    assert found == {
        "{split}/img": {"train": "training/img", "val": "validation/img"},
        "{split}/gt": {"train": "train/gt", "val": "val/gt"},
    }


def test_hidden_files_and_those_of_archives_are_passed_over(tmp_path: Path) -> None:
    for name in ("b/x.png", "a.png", ".git/x", "b/.DS_Store", "__MACOSX/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = list_folder(tmp_path)
    assert found.files == tuple(paths("a.png", "b/x.png"))
    assert found.pictures == paths("a.png", "b/x.png")
    assert found.folders == {PurePosixPath("."), PurePosixPath("b")}
    assert found.having(".png") == paths("a.png", "b/x.png")


def test_a_file_and_nothing_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match=r"x.json: is a file; give the folder that holds images and labels$"):
        list_folder(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"none: there is no such folder$"):
        list_folder(tmp_path / "none")


def test_links_to_folders_are_followed_and_no_ring_is(tmp_path: Path) -> None:
    (tmp_path / "store/deep").mkdir(parents=True)
    (tmp_path / "store/deep/x.png").write_bytes(b"")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "store/deep")
    (tmp_path / "set/self").symlink_to(tmp_path / "set")
    assert list_folder(tmp_path / "set").files == tuple(paths("images/x.png"))


def test_files_of_one_kind_that_are_read_together() -> None:
    three = paths("x/instances_test.json", "x/instances_train.json", "x/instances_val.json")
    plain = {"by": "folders", "ratios": None, "stratify": False, "folders": None}
    old = PurePosixPath("x/old.json")
    first, alone = choices([*three, old])
    assert (first[0].name, first[1], set(first[2])) == ("instances_train.json", plain, set(three))
    assert alone == (old, {}, [old])
    two = paths("instances_val2017.json", "instances_train2017.json")
    ((first_file, split, files),) = choices(two)
    assert (first_file, split, set(files)) == (two[1], by_folders({"train": "train", "val": "val"}), set(two))
    assert [choice[1] for choice in choices(paths("instances_val2017.json", "instances_test2017.json"))] == [{}, {}], "none is of train"


def test_what_stands_for_a_split_is_listed_where_it_is_called_otherwise() -> None:
    plain = {"train": "train", "val": "val", "test": "test"}
    assert by_folders(plain)["folders"] is None
    assert by_folders(plain | {"val": "valid"})["folders"] == {"train": "train", "val": "valid", "test": "test"}


@pytest.mark.parametrize(
    ("names", "ratios"),
    [
        ({"train": "train", "val": "val", "test": "test"}, None),
        ({"train": "train", "val": "val"}, {"train": 0.85, "val": 0, "test": 0.15}),
        ({"train": "training", "test": "testing"}, {"train": 0.85, "val": 0.15, "test": 0}),
    ],
)
def test_a_split_that_nothing_is_called_by_is_made_of_train_and_it_says_so(names: dict[str, str], ratios: dict[str, float] | None) -> None:
    split = by_folders(names)
    assert (split["ratios"], split["stratify"]) == (ratios, ratios is not None)
    missing = [name for name in ("train", "val", "test") if name not in names]
    assert made_of_train(split) == [f"nothing is called {m}: 15% of the images of train are taken for it (split.ratios)" for m in missing]
    assert sorted(words_of(split)) == sorted(names.values())


@pytest.mark.parametrize(
    ("folders", "pattern"),
    [
        (["train/labels", "valid/labels", "test/labels"], "{split}/labels"),
        (["labels/train/a", "labels/train/b", "labels/val/a", "labels/test/c"], "labels/{split}"),
        (["labels/train", "labels/val"], "labels/{split}"),
        (["labels/test", "labels/val"], None),
        (["labels/train", "labels/val", "labels/test", "more"], None),
    ],
)
def test_folders_below_those_of_the_splits(folders: list[str], pattern: str | None) -> None:
    found = split_of_folders(paths(*folders))
    assert (found and found[0]) == pattern


def test_folders_of_images_take_the_annotations_split_only_if_all_are_there() -> None:
    files = listing("img/train/a.png", "img/val/b.png", "all/c.png", "training/d.png")
    split = by_folders({"train": "train", "val": "val", "test": "test"})
    assert with_split("img/train", files, split) is None, "there is no img/test"
    assert with_split("all", files, split) == "all"
    assert with_split("img/train", files, {}) == "img/train"
    more = listing(*(f"img/{name}/a.png" for name in ("train", "val", "test")))
    assert with_split("img/train", more, split) == "img/{split}"


def test_the_folder_of_named_images() -> None:
    files = listing("masks/sub/a.png", "pictures/sub/a.png", "pictures/sub/b.png", "thumbs/x/sub/a.png", "a.txt")
    near = PurePosixPath("all.json")
    assert home_of(files, ["sub/a.png", "sub/b.png"], near) == "pictures"
    assert home_of(files, ["sub\\a.png"], near, avoid="pictures") == "thumbs/x"
    assert home_of(files, ["a", "b"], near, stems=True) == "pictures/sub"
    assert home_of(files, ["a.txt"], near) is None, "no image"
    splits = listing("test/a.png", "train/a.png", "val/a.png")
    assert home_of(splits, ["a.png"], PurePosixPath("json/train.json")) == "train"
