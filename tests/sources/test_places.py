"""Patterns of folders and of names."""

from pathlib import Path

import pytest

from seg.core.errors import DataError
from seg.sources.listing import Place

FILES = (
    "train/images_1st/a.png",
    "train/images_2nd/a.png",
    "train/images/a.png",
    "train/labels/21_manual1.png",
    "train/labels/21_x.png",
    "x/lab_1.png",
    "x/sub/lab_2.png",
    "x/a.jpg",
    "x/a.png",
)


@pytest.mark.parametrize(
    ("pattern", "ending", "found"),
    [
        ("train/images{folder}", "", {"_1st/a": 0, "_2nd/a": 1, "a": 2}),
        ("{folder}/images", "", {"train/a": 2}),
        ("train/label*", "_manual*", {"21": 3}),
        ("train/labels", "_x", {"21": 4}),
        ("x/lab_{image}", "", {"1": 5}),
        ("x", ".jpg", {"a": 7}),
        ("x/{image}", ".png", {"lab_1": 5, "a": 8}),
    ],
)
def test_what_a_pattern_stands_for(tmp_path: Path, pattern: str, ending: str, found: dict[str, int]) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    fixed, rest = Place.fixed(pattern)
    assert Place(tmp_path / fixed, rest).files(ending) == {name: tmp_path / FILES[place] for name, place in found.items()}


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for name in FILES[3:5]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"labels/21_x.png: has the same name as .*labels/21_manual1.png; rename one of them$"):
        Place(tmp_path / "train/labels", "").files("_*")
