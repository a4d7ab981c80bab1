"""Checks of what was prepared; those of single files and splits are tried in test_preparation.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from seg.checks import absent_classes, refuse_no_instances
from seg.errors import DataError
from seg.sample import ClassInfo
from seg.store import DatasetInfo, Entry, Stored


def stored(*crowds: int) -> Stored:
    """An image with an annotation for each flag."""
    empty = np.zeros(256, np.int64)
    return Stored(Entry("a", "a.png", 4, 4, len(crowds), ""), empty, empty[None], [{"iscrowd": crowd} for crowd in crowds], "", ())


def test_instances_are_looked_for_in_all_splits_and_in_train() -> None:
    refuse_no_instances({"train": [stored(), stored(1, 0)], "val": [stored()], "test": []})
    with pytest.raises(DataError, match=r"^the labels hold no instance in any image: compare data.source with the layout of the files$"):
        refuse_no_instances({"train": [stored()], "val": [stored()], "test": [stored()]})
    with pytest.raises(DataError, match=r"^the labels hold no instance in any image \(3 crowd or ignored regions alone\)"):
        refuse_no_instances({"train": [stored(1, 1)], "val": [stored(1)], "test": [stored()]})
    with pytest.raises(DataError, match=r"^the split train holds no instance \(train 0, val 2, test 1 instances\); change data.split"):
        refuse_no_instances({"train": [stored(1)], "val": [stored(0, 1, 0)], "test": [stored(0)]})


def test_absent_classes_take_a_line_a_split(make_info: Callable[..., DatasetInfo]) -> None:
    info = make_info(classes=16)
    every = [5] * 16
    splits = {"train": every, "val": [*every[:15], 0], "test": [5, 0, 5, 0, *every[4:]]}
    info = replace(info, splits={name: {"class_pixels": pixels} for name, pixels in splits.items()})
    assert absent_classes(info) == [
        "the class class15 has no pixel in val: its figures will be blank",
        "2 classes have no pixel in test: their figures will be blank (class1, class3)",
    ]
    info = replace(info, splits={"train": {"class_pixels": [5, *[0] * 15]}})
    assert absent_classes(info) == [
        f"15 classes have no pixel in train: they cannot be learned ({', '.join(f'class{k}' for k in range(1, 13))} and 3 more)"
    ]
    info = replace(info, classes=[ClassInfo("sky", (0, 0, 0)), ClassInfo("sea", (0, 0, 1))], splits={"train": {"class_pixels": [5, 0]}})
    assert absent_classes(info) == ["the class sea has no pixel in train: it cannot be learned"]
