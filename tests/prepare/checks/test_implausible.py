"""Data sets that were taken for something else are told; sound ones like them are not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import folders, picture, split, write

from seg.data.sample import ClassInfo
from seg.prepare.assignment import Assignment
from seg.prepare.run import examine
from seg.raw.record import Finding

SIZE = (48, 64)
COUNT = 8
NAMED = [ClassInfo("background", (0, 0, 0)), *(ClassInfo(f"c{i}", (i * 20, 0, 9)) for i in range(1, 6))]
KINDS = {"mask-as-image", "gray-classes", "much-foreground", "ignored-blobs", "ids-as-classes"}


def disc(classes: np.ndarray, x: int, y: int, radius: int, value: int) -> None:
    cv2.circle(classes, (x, y), radius, value, -1)


def found(
    root: Path,
    label: Callable[[int, np.ndarray], object],
    classes: list[ClassInfo] = NAMED,
    image: Callable[[int], np.ndarray] = lambda number: picture(number, SIZE),
    count: int = COUNT,
) -> list[Finding]:
    """What is implausible of images whose class maps `label` draws on zeros."""
    for number in range(count):
        drawn = np.zeros(SIZE, np.uint8)
        label(number, drawn)
        write(root / "images" / f"{number}.png", image(number))
        write(root / "masks" / f"{number}.png", drawn)
    diagnosis = examine(folders(root, classes=classes), classes, Assignment(split(), None), root, 0, "none", None).diagnosis
    return [f for f in diagnosis.findings if f.kind in KINDS]


def several(number: int, classes: np.ndarray) -> None:
    """One disc to four of them, each with its number."""
    for place in range(1 + number % 4):
        disc(classes, 8 + 15 * place, 12 + number, 5, place + 1)


def cells(number: int, classes: np.ndarray) -> None:
    """Two classes, of which one has several areas."""
    for place, value in enumerate((1, 2, 1, 2)[: 2 + number % 3]):
        disc(classes, 8 + 15 * place, 12 + number, 5, value)


def test_numbers_of_objects_are_told_from_classes(tmp_path: Path) -> None:
    assert [f.kind for f in found(tmp_path / "ids", several)] == ["ids-as-classes"]
    assert found(tmp_path / "cells", cells) == []
    assert found(tmp_path / "few", several, count=3) == [], "three images are chance"
    assert found(tmp_path / "gaps", lambda n, classes: several(n, classes) if n else disc(classes, 20, 20, 5, 4)) == [], "4 without 1 to 3"


def test_areas_of_an_ignored_class_are_told_from_borders(tmp_path: Path) -> None:
    def ignored_class(number: int, classes: np.ndarray) -> None:
        disc(classes, 30, 24, 9, 255)
        disc(classes, 10, 10, 4, 1)

    def soft(number: int, classes: np.ndarray) -> None:
        for ring in range(3):
            disc(classes, 30, 24, 12 - ring, 3 + ring)
        disc(classes, 30, 24, 9, 255)
        disc(classes, 10, 10, 4, 1)

    def border(number: int, classes: np.ndarray) -> None:
        disc(classes, 30, 24, 9, 1)
        cv2.circle(classes, (30, 24), 10, 255, 2)
        classes[:, :8] = 255  # what the camera does not show

    kinds = [(f.kind, f.image_id is not None) for f in found(tmp_path / "blobs", ignored_class)]
    assert kinds == [("ignored-blobs", True)]

    def between(number: int, classes: np.ndarray) -> None:
        classes[:, 30:] = 1
        disc(classes, 30, 24, 9, 255)

    assert [f.kind for f in found(tmp_path / "soft", soft)] == ["ignored-blobs"]
    assert found(tmp_path / "between", between) == [], "what may be of either class is void"
    assert found(tmp_path / "border", border) == []


@pytest.mark.parametrize(("columns", "told"), [(60, True), (50, False)])
def test_much_foreground(tmp_path: Path, columns: int, told: bool) -> None:
    def wide(number: int, classes: np.ndarray) -> None:
        classes[:, :columns] = 1
        disc(classes, 20, 20, 4, 2)
        disc(classes, 40, 20 + number, 4, 2)

    assert [f.kind for f in found(tmp_path, wide)] == ["much-foreground"] * told


def test_masks_taken_for_images(tmp_path: Path) -> None:
    def mask(number: int) -> np.ndarray:
        return np.where(picture(number, SIZE)[..., 0] > 128, 255, 0).astype(np.uint8)

    assert [f.kind for f in found(tmp_path / "all", cells, image=mask)] == ["mask-as-image"]
    assert found(tmp_path / "one", cells, image=lambda n: mask(n) if n == 3 else picture(n, SIZE)) == []


def test_shades_of_gray_that_are_classes(tmp_path: Path) -> None:
    grays = [ClassInfo(f"class{value}", (value,) * 3, (value,)) for value in range(40)]

    def soft(number: int, classes: np.ndarray) -> None:
        classes[:] = np.arange(64) % 40

    assert "gray-classes" in [f.kind for f in found(tmp_path, soft, grays)]
