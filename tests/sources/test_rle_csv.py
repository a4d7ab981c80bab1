"""Tables of run lengths: down the columns or along the rows, labels in a column or in the name, against masks that are encoded here."""

from pathlib import Path

import numpy as np
import pytest
from annotations import CLASSES
from tiny import SIZE, masks_of, picture, split, write

from seg.core.errors import DataError
from seg.sources.images import ImageReader
from seg.sources.rle_csv import RleCsv


def mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SIZE) < 0.3


def runs(inside: np.ndarray, order: str = "F", first: int = 1) -> str:
    """Pixel by pixel: "start length ..." of the ones."""
    flat = inside.flatten(order)
    found: list[list[int]] = []
    for place in np.flatnonzero(flat).tolist():
        if found and place == sum(found[-1]):
            found[-1][1] += 1
        else:
            found.append([place, 1])
    return " ".join(f"{start + first} {length}" for start, length in found)


def write_table(root: Path, header: str, rows: list[str], names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    for seed, name in enumerate(names):
        write(root / "train" / f"{name}.png", picture(seed))
    (root / "train.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8-sig")
    return root


def rle_csv(root: Path, **changed: object) -> RleCsv:
    table = {
        "image_column": "ImageId",
        "rle_column": "EncodedPixels",
        "category": "cat",
        "class_column": None,
        "order": "columns",
        "first": 1,
    }
    rules = {"annotations": "train.csv", "images": "train", "ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return RleCsv(**{**table, **rules, **given, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(("order", "letter"), [("columns", "F"), ("rows", "C")])
@pytest.mark.parametrize("first", [0, 1])
def test_runs_are_the_masks_they_were_made_of(tmp_path: Path, order: str, letter: str, first: int) -> None:
    rows = [f"a.png,{runs(mask(1), letter, first)}", f"a.png,{runs(mask(2), letter, first)}", "b.png,", "c.png,-1"]
    source = rle_csv(write_table(tmp_path, "ImageId,EncodedPixels", rows), order=order, first=first)
    samples = [source.read(item).sample for item in source.items()]
    assert [np.array_equal(found, mask(seed)) for found, seed in zip(masks_of(samples[0]), (1, 2), strict=True)] == [True, True]
    assert [len(s.categories) for s in samples] == [2, 0, 0]


@pytest.mark.parametrize(
    ("header", "rows", "changed"),
    [
        ("Id,Rle,Kind", ["a,{0},cat", "a,{1},dog"], {"image_column": "Id", "rle_column": "Rle", "class_column": "Kind"}),
        ("ImageId_ClassId,EncodedPixels", ["a.png_cat,{0}", "a.png_dog,{1}", "b.png_cat,"], {"image_column": "ImageId_ClassId"}),
    ],
)
def test_labels_stand_in_a_column_or_behind_the_name(tmp_path: Path, header: str, rows: list[str], changed: dict) -> None:
    rows = [row.format(runs(mask(1)), runs(mask(2))) for row in rows]
    source = rle_csv(write_table(tmp_path, header, rows), category=None, **changed)
    sample = source.read(source.items()[0]).sample
    assert sample.categories.tolist() == [1, 2]
    assert [f.kind for f in source.findings] == ["image-without-label"], "images of no row are told"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,1 2 3", "train.csv, line 2: has the run lengths '1 2 3', expected pairs"),
        ("a.png,1 x", "train.csv, line 2: has the run lengths '1 x'"),
        ("z.png,1 2", "there is no image .*train/z.png"),
    ],
)
def test_what_is_broken_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rle_csv(write_table(tmp_path, "ImageId,EncodedPixels", [row])).items()


def test_runs_that_leave_the_image_are_an_error_of_the_image(tmp_path: Path) -> None:
    source = rle_csv(write_table(tmp_path, "ImageId,EncodedPixels", [f"a.png,{SIZE[0] * SIZE[1]} 2"]))
    record = source.read(source.items()[0])
    assert [(f.severity, f.kind) for f in record.findings] == [("error", "bad-region")]
    with pytest.raises(DataError, match=r"has no column 'Runs' in its first line"):
        rle_csv(tmp_path, rle_column="Runs").items()
