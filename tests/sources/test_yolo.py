"""YOLO's text files: polygons in shares of the image, the files of names, images without objects, boxes."""

from pathlib import Path

import numpy as np
import pytest
from annotations import YOLO_SQUARE, write_yolo, yolo
from tiny import masks_of, picture, read_all, write

from seg.core.errors import DataError


def test_polygons_are_shares_of_the_image(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"train/a": f"1 {YOLO_SQUARE}\n\n0.0 0.5 0.5 1 0.5 1 1 0.5 1\n", "b": "", "c": None, "d": None})
    write(root / "labels" / "x.png", picture(1))
    (root / "labels" / "lost.txt").write_text("")
    (root / "labels" / "classes.txt").write_text("cat\ndog")
    source = yolo(root)
    samples = read_all(source)
    assert list(samples) == ["b", "c", "d", "train/a"]
    assert [int(m.sum()) for m in masks_of(samples["train/a"])] == [36, 16 * 12]
    assert samples["train/a"].categories.tolist() == [2, 1]
    assert [len(samples[name].categories) for name in "bcd"] == [0, 0, 0]
    assert [(f.kind, str(f).partition(": ")[2]) for f in source.findings] == [
        ("label-without-image", "1 label files have no image and are left out, such as lost.txt"),
        ("image-without-label", "2 images have no label file and are taken to hold no object, such as c.png"),
    ]


@pytest.mark.parametrize(
    ("file", "names", "index"),
    [
        ("data.yaml", "nc: 2\nnames: [cat, dog]", 1),
        ("config.yaml", "names:\n  3: cat\n  17: dog\n", 17),
        ("classes.txt", "cat\ndog\n", 1),
        ("sub.yaml", "names: {0: cat, 90: 'dog'}", 90),
    ],
)
def test_names_as_list_and_table_and_text(tmp_path: Path, file: str, names: str, index: int) -> None:
    root = write_yolo(tmp_path, {"a": f"{index} {YOLO_SQUARE}"}, names, file)
    assert read_all(yolo(root, names="sub.yaml" if file == "sub.yaml" else None))["a"].categories.tolist() == [2]


def test_a_box_alone_is_refused_or_becomes_a_rectangle(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a": f"0 {YOLO_SQUARE}\n1 0.5 0.5 0.25 0.5"})
    with pytest.raises(DataError, match=r"a.txt, line 2: is a box alone, which is no mask; export polygons, make rectangles of boxes"):
        read_all(yolo(root))
    mask = masks_of(read_all(yolo(root, boxes=True))["a"])[1]
    y, x = np.nonzero(mask)
    assert (mask.sum(), x.min(), x.max(), y.min(), y.max()) == (8 * 12, 12, 19, 6, 17)


def test_what_lies_a_little_outside_is_cut_off_and_told(tmp_path: Path) -> None:
    source = yolo(write_yolo(tmp_path, {"a": "0 -0.25 0.5 0.5 0.5 0.5 1.25 -0.25 1.25"}))
    (item,) = source.items()
    record = source.read(item)
    assert int(masks_of(record.sample)[0].sum()) == 16 * 12
    assert [f.kind for f in record.findings] == ["outside-image"]
    assert str(record.findings[0]).startswith(f"{tmp_path}/labels/a.txt, line 1: its polygon has 3 of its 4 points outside")
