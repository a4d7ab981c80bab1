"""Id maps: every id is an instance, whatever its number; classes from a table; each mistake is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny import SIZE, findings_of, masks_of, picture, read_all, refusal, split, write

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo
from seg.sources.id_maps import IdMaps
from seg.sources.images import ImageReader
from seg.sources.settings import Split

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("object", (255, 140, 0)), ClassInfo("stone", (90, 90, 90))]
NAMES = ["a", "b", "c", "d", "e", "f"]


def ids(seed: int, dtype: type = np.uint16, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An id map of up to five rectangles, the later on top, with ids far apart; the seed 1 has none."""
    rng = np.random.default_rng([5, seed])
    drawn = np.zeros(size, dtype)
    for number in rng.choice(np.arange(1, np.iinfo(dtype).max + 1), 0 if seed == 1 else 5, replace=False):
        (top, left), (height, width) = rng.integers(0, size), rng.integers(2, 12, 2)
        drawn[top : top + height, left : left + width] = number
    return drawn


def write_maps(root: Path, names: list[str] = NAMES, suffix: str = ".png", dtype: type = np.uint16) -> Path:
    for seed, name in enumerate(names):
        write(root / "images" / f"{name}.jpg", picture(seed))
        write(root / "masks" / f"{name}{suffix}", ids(seed, dtype))
    return root


def maps(root: Path, section: Split | None = None, **changed: object) -> IdMaps:
    arguments = {
        "images": "images",
        "masks": "masks",
        "image_suffix": "",
        "mask_suffix": "",
        "ids": "index",
        "skip_unlabelled": False,
        "category": "object",
        "categories": None,
        "ignore": [],
        "drop": [],
        "others": "refuse",
    }
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return IdMaps(**{**arguments, **given, **changed})


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16)])
def test_every_id_is_an_instance(tmp_path: Path, suffix: str, dtype: type) -> None:
    samples = read_all(maps(write_maps(tmp_path, suffix=suffix, dtype=dtype)))
    assert list(samples) == NAMES
    for seed, sample in enumerate(samples.values()):
        drawn = ids(seed, dtype)
        expected = [drawn == number for number in np.unique(drawn) if number]
        assert [np.array_equal(m, e) for m, e in zip(masks_of(sample), expected, strict=True)] == [True] * len(expected)
        assert sample.categories.tolist() == [1] * len(expected)
        assert (sample.instances.shape, sample.instances.dtype) == ((*SIZE, 1), np.int32)
        assert np.array_equal(sample.semantic, drawn > 0)
    assert [len(s.categories) > 0 for s in samples.values()] == [True, False, True, True, True, True]


def test_ids_become_consecutive_by_hand(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (2, 3)))
    write(tmp_path / "masks" / "a.png", np.array([[0, 700, 7], [65535, 700, 0]], np.uint16))
    sample = read_all(maps(tmp_path))["a"]
    assert sample.instances[..., 0].tolist() == [[0, 2, 1], [3, 2, 0]]


def test_an_id_map_without_a_pixel_of_no_instance(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 3)))
    write(tmp_path / "masks" / "a.png", np.array([[4, 4, 9]], np.uint8))
    assert read_all(maps(tmp_path))["a"].instances[..., 0].tolist() == [[1, 1, 2]]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_ids_of_32_bit(tmp_path: Path, dtype: type) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (2, 3)))
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "a.tif", np.array([[0, 2_000_000_000, 70_000], [7, 70_000, 7]], dtype))
    assert read_all(maps(tmp_path))["a"].instances[..., 0].tolist() == [[0, 3, 2], [1, 2, 1]]


def test_ids_in_colours(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (2, 3)))
    write(tmp_path / "masks" / "a.png", np.array([[[0, 0, 0], [255, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 0], [0, 0, 1]]], np.uint8))
    assert read_all(maps(tmp_path, ids="rgb"))["a"].instances[..., 0].tolist() == [[0, 2, 3], [4, 1, 4]], "1, 255, 256 and 65536"


def test_ids_in_a_palette(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 4)))
    (tmp_path / "masks").mkdir()
    image = Image.fromarray(np.array([[0, 7, 5, 7]], np.uint8), mode="P")
    image.putpalette([9, 9, 9] * 8)
    image.save(tmp_path / "masks" / "a.png")
    assert read_all(maps(tmp_path, ids="palette"))["a"].instances[..., 0].tolist() == [[0, 2, 1, 2]]
    with pytest.raises(ConfigError, match=r"^data.source.ids=pallete: did you mean 'palette'"):
        maps(tmp_path, ids="pallete")


def test_without_a_class_background_pixels_of_no_instance_are_ignored(tmp_path: Path) -> None:
    samples = read_all(maps(write_maps(tmp_path), classes=CLASSES[1:]))
    assert [np.array_equal(s.semantic, np.where(ids(seed), 0, 255)) for seed, s in enumerate(samples.values())] == [True] * 6


def test_names_pair_as_for_masks(tmp_path: Path) -> None:
    for seed, name in enumerate(["day/x", "night/x"]):
        write(tmp_path / "images" / f"{name}.png", picture(seed))
        write(tmp_path / "masks" / f"{name}_ids.tif", ids(seed))
        write(tmp_path / "masks" / f"{name}_edges.tif", ids(seed + 7))
    write(tmp_path / "images" / "z.png", picture(9))
    source = maps(tmp_path, mask_suffix="_ids", skip_unlabelled=True)
    assert {n: len(s.categories) for n, s in read_all(source).items()} == {"day/x": len(np.unique(ids(0))) - 1, "night/x": 0}
    assert [str(f) for f in source.findings] == [f"{tmp_path}/images: 1 images have no mask and are left out, such as z.png"]
    with pytest.raises(
        ConfigError, match=r"^data.split.by=folders: data.source.images and .masks must hold {split}, as in '{split}/images'"
    ):
        maps(tmp_path, split("folders"))


def write_table(root: Path, rows: list[str], name: str = "classes.csv") -> Path:
    """Six images of two rows of pixels: the ids 5 and 300 above, 9 below; and a table of their classes."""
    for seed, image in enumerate(NAMES):
        write(root / "images" / f"{image}.png", picture(seed, (2, 4)))
        write(root / "masks" / f"{image}.png", np.array([[5, 5, 300, 300], [9, 9, 0, 0]], np.uint16))
    (root / name).write_text("\n".join(["image,id,class", *rows]) + "\n")
    return root


ROWS = [f"{image},{number},{name}" for image in NAMES for number, name in ((300, "object"), (5, "stone"), (9, "object"))]
TABLE: dict[str, Any] = {"category": None, "categories": "classes.csv"}


def test_a_table_gives_each_id_its_class(tmp_path: Path) -> None:
    rows = [row.replace("b,", "b.png,") for row in ROWS]  # with its suffix is as good
    samples = read_all(maps(write_table(tmp_path, rows), **TABLE))
    for sample in samples.values():
        assert sample.categories.tolist() == [2, 1, 1], "of 5, 9 and 300"
        assert sample.semantic.tolist() == [[2, 2, 1, 1], [1, 1, 0, 0]]


def test_names_of_the_table_are_renamed_merged_ignored_and_dropped(tmp_path: Path) -> None:
    """Of 5, 9 and 300, which a table calls granite, marble and so on."""
    classes = [CLASSES[0], ClassInfo("stone", (90, 90, 90), ("granite", "marble"))]
    rows = [f"{image},{number},{name}" for image in NAMES for number, name in ((5, "granite"), (9, "shadow"), (300, "marble"))]
    root = write_table(tmp_path, rows)
    sample = read_all(maps(root, classes=classes, ignore=["shadow"], **TABLE))["a"]
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([1, 1, 1], [True, False, False]), "the ignored one is a crowd"
    assert sample.semantic.tolist() == [[1, 1, 1, 1], [255, 255, 0, 0]]
    for change in ({"drop": ["shadow"]}, {"others": "drop"}):
        sample = read_all(maps(root, classes=classes, **change, **TABLE))["a"]
        assert sample.semantic.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
        assert sample.instances[..., 0].tolist() == [[1, 1, 2, 2], [0, 0, 0, 0]]


def test_rows_without_pixels_and_rows_of_other_images_are_noted(tmp_path: Path) -> None:
    root = write_table(tmp_path / "raw", [*ROWS, "a,77,stone", "a,78,stone", "zzz,1,stone"])
    source = maps(root, **TABLE)
    assert findings_of(source, tmp_path / "out", "label-without-image", "empty-instance") == [
        f"{root}/classes.csv: 1 rows are of no image here and are passed over, such as 'zzz'",
        f"{root}/masks/a.png: 2 ids of classes.csv are in no pixel and are left out, such as 77",
    ]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for name, category in (("train", "object"), ("val", "stone"), ("test", "object")):
        write_table(tmp_path / name, [f"{image},{number},{category}" for image in NAMES for number in (5, 9, 300)])
    given = {"images": "{split}/images", "masks": "{split}/masks", "category": None}
    source = maps(tmp_path, split("folders"), categories="{split}/classes.csv", **given)
    samples = [source.read(item).sample for item in source.items()]
    assert [s.categories.tolist() for s in samples] == [[1, 1, 1]] * 6 + [[2, 2, 2]] * 6 + [[1, 1, 1]] * 6
    (tmp_path / "classes.csv").write_text((tmp_path / "val" / "classes.csv").read_text())
    answer = refusal(lambda: maps(tmp_path, split("folders"), categories="classes.csv", **given), tmp_path / "out", split("folders"))
    there = [f"{tmp_path}/{name}/images/a.png" for name in ("train", "val", "test")]
    assert answer.startswith(
        f"{tmp_path}/classes.csv, line 2: 'a' may be {there[0]} or {there[2]}; write more of the path, or give a table"
    )


BROKEN_ROWS = {
    "an id without row": (ROWS[1:], "{raw}/masks/a.png: the id 300 has no row in classes.csv; add image, id and class there"),
    "ids without rows": (ROWS[3:], "{raw}/masks/a.png: the id 5 (and 2 more ids) has no row in classes.csv"),
    "an unknown class": (
        [*ROWS, "a,5,stones"],
        "{raw}/classes.csv, line 20: no class of data.classes has the name 'stones' (nearest: stone); add it to a class",
    ),
    "an id of 0": ([*ROWS, "a,0,stone"], "{raw}/classes.csv, line 20: has the id '0', expected a whole number from 1"),
    "an id in words": ([*ROWS, "a,five,stone"], "{raw}/classes.csv, line 20: has the id 'five', expected a whole number from 1"),
    "two classes": ([*ROWS, "a.png,5,object"], "{raw}/classes.csv, line 20: the id 5 of 'a.png' has another class in a line before"),
    "no class": ([*ROWS, "a,5,"], "{raw}/classes.csv, line 20: has no value in the column 'class'"),
}


@pytest.mark.parametrize("kind", BROKEN_ROWS)
def test_a_mistake_in_the_table_is_refused(tmp_path: Path, kind: str) -> None:
    rows, message = BROKEN_ROWS[kind]
    raw = write_table(tmp_path / "raw", rows)
    answer = refusal(lambda: maps(raw, **TABLE), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(message.replace("{raw}", str(raw)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"category": "objects"},
            "data.source.category=objects: no class of data.classes has this name; did you mean 'object'? (classes: ",
        ),
        (
            {"category": None},
            "data.source.category=None and data.source.categories=None: one must name the class of all instances, or a CSV",
        ),
        ({"categories": "classes.csv"}, "data.source.category=object and data.source.categories=classes.csv: one must name the class"),
        (
            {**TABLE, "categories": "kinds.csv"},
            "{raw}/kinds.csv: there is no such file; set data.source.categories ({raw} holds: classes.csv)",
        ),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    raw = write_table(tmp_path / "raw", ROWS)
    answer = refusal(lambda: maps(raw, **changed), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(message.replace("{raw}", str(raw)))
