"""Folders of an image and a mask file an instance: masks arrive whole, overlap included; each mistake is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import SIZE, Blobs, findings_of, masks_of, picture, prepare_tiny, read_all, read_back, refusal, split, write

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo
from seg.sources.images import ImageReader
from seg.sources.instance_files import InstanceFiles
from seg.sources.settings import Split

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("nucleus", (0, 200, 160))]
NAMES = [f"cell{number}" for number in range(6)]


def write_cells(root: Path, names: list[str] = NAMES, folder: str = "stage1_train") -> Path:
    """A folder an image; image number i has the masks of the random scene i, the 1 without any."""
    for number, name in enumerate(names):
        write(root / folder / name / "images" / f"{name}.png", picture(number))
        (root / folder / name / "masks").mkdir()
        for i, mask in enumerate(Blobs().masks(number)):
            write(root / folder / name / "masks" / f"{i}.png", mask.astype(np.uint8) * 255)
    return root


def cells(root: Path, section: Split | None = None, **changed: object) -> InstanceFiles:
    arguments = {
        "images": "stage1_train/{image}/images",
        "masks": "stage1_train/{image}/masks",
        "category": "nucleus",
        "category_pattern": None,
        "ignore": [],
        "drop": [],
        "others": "refuse",
    }
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return InstanceFiles(**{**arguments, **given, **changed})


def test_every_mask_is_an_instance_overlap_included(tmp_path: Path) -> None:
    samples = read_all(cells(write_cells(tmp_path)))
    assert list(samples) == NAMES
    for number, sample in enumerate(samples.values()):
        expected = Blobs().masks(number)
        assert [np.array_equal(m, e) for m, e in zip(masks_of(sample), expected, strict=True)] == [True] * len(expected)
        assert sample.categories.tolist() == [1] * len(expected)
        assert not sample.crowd.any()
        assert np.array_equal(sample.semantic, expected.any(axis=0))
        assert np.array_equal(sample.image, picture(number))
    assert samples["cell0"].instances.shape[2] >= 3, "three of its masks share pixels"
    assert samples["cell1"].instances.shape == (*SIZE, 0), "a folder masks/ without a file"


KINDS = [CLASSES[0], ClassInfo("car", (200, 0, 0)), ClassInfo("tree", (0, 150, 0), ("tree", "bush"))]


def write_kinds(root: Path, form: str) -> Path:
    """One image whose masks say in their paths of which class they are: pixel i is of file i."""
    write(root / "images" / "a.png", picture(0, (1, 6)))
    for place, label in enumerate(("car", "tree", "bush", "glass", "car")):
        row = np.zeros((1, 6), np.uint8)
        row[0, place] = 255
        write(root / "masks" / "a" / f"{form.format(label=label, place=place)}.png", row)
    return root


@pytest.mark.parametrize(
    ("form", "pattern"), [("{label}/{place}", "^([^/]+)/"), ("{label}_{place}", "^[a-z]+"), ("x{place}-{label}", "-(.*)$")]
)
def test_the_class_stands_in_the_path_of_a_mask(tmp_path: Path, form: str, pattern: str) -> None:
    """All images in one folder; classes merged, ignored as a crowd beneath, or dropped."""
    given = {"images": "images", "masks": "masks/{image}", "category": None, "category_pattern": pattern, "classes": KINDS}
    root = write_kinds(tmp_path, form)
    sample = read_all(cells(root, ignore=["glass"], **given))["a"]
    assert sample.semantic.tolist() == [[1, 2, 2, 255, 1, 0]]
    assert sample.crowd.tolist() == [True, False, False, False, False]
    assert np.argwhere(masks_of(sample)[0]).tolist() == [[0, 3]]
    assert sorted(sample.categories[1:].tolist()) == [1, 1, 2, 2]
    for change in ({"drop": ["glass"]}, {"others": "drop"}):
        sample = read_all(cells(root, **given, **change))["a"]
        assert (sample.semantic.tolist(), sample.crowd.any()) == ([[1, 2, 2, 0, 1, 0]], False)


def test_masks_are_in_natural_order(tmp_path: Path) -> None:
    write(tmp_path / "stage1_train" / "a" / "images" / "a.png", picture(0, (1, 3)))
    for number in (1, 2, 10):
        write(tmp_path / "stage1_train" / "a" / "masks" / f"{number}.png", np.array([[0, 255, 255 * (number == 10)]], np.uint8))
    sample = read_all(cells(tmp_path))["a"]
    assert [m[0].tolist() for m in masks_of(sample)] == [[False, True, False]] * 2 + [[False, True, True]]


@pytest.mark.parametrize("value", [1, 255])
def test_one_value_beside_0_is_the_instance_whatever_it_is(tmp_path: Path, value: int) -> None:
    write(tmp_path / "stage1_train" / "a" / "images" / "a.png", picture(0, (2, 2)))
    write(tmp_path / "stage1_train" / "a" / "masks" / "0.png", np.array([[0, value], [0, 0]], np.uint8))
    Image.fromarray(np.array([[True, False], [True, False]])).save(tmp_path / "stage1_train" / "a" / "masks" / "bits.png")
    assert read_all(cells(tmp_path))["a"].instances[..., 0].tolist() == [[2, 1], [2, 0]]


def test_without_a_class_background_pixels_of_no_instance_are_ignored(tmp_path: Path) -> None:
    source = cells(write_cells(tmp_path / "raw"), classes=CLASSES[1:])
    for number, sample in enumerate(read_all(source).values()):
        assert np.array_equal(sample.semantic, np.where(Blobs().masks(number).any(axis=0), 0, 255))
    info = prepare_tiny(source, tmp_path / "out", classes=CLASSES[1:])
    assert info.task == "instance", "a single class is no mistake where there are instances to tell apart"


def test_folders_that_name_the_split(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write_cells(tmp_path, [f"{name}_a", f"{name}_b"], folder=name)
    items = cells(tmp_path, split("folders"), images="{split}/{image}/images", masks="{split}/{image}/masks").items()
    assert [(i.split, i.image_id) for i in items] == [(s, f"{s}_{x}") for s in ("train", "val", "test") for x in "ab"]
    with pytest.raises(
        ConfigError, match=r"^data.split.by=folders: data.source.images and .masks must hold {split}, as in '{split}/{image}/images'"
    ):
        cells(tmp_path, split("folders"))


def test_empty_masks_are_left_out_and_noted(tmp_path: Path) -> None:
    root = write_cells(tmp_path / "raw")
    masks = root / "stage1_train" / "cell0" / "masks"
    for name in ("2a.png", "9.png"):
        write(masks / name, np.zeros(SIZE, np.uint8))
    source = cells(root)
    assert len(read_all(source)["cell0"].categories) == 6
    assert findings_of(source, tmp_path / "out", "empty-instance") == [f"{masks}: 2 masks are empty and are left out, such as 2a.png"]
    assert len(read_back(tmp_path / "out")["cell0"].categories) == 6


def test_files_that_are_no_images_are_not_looked_at(tmp_path: Path) -> None:
    root = write_cells(tmp_path)
    (root / "stage1_train" / "notes.txt").write_text("seen in spring")
    (root / "stage1_train" / ".cache").mkdir()
    (root / "stage1_train" / "cell0" / "masks" / "Thumbs.db").write_bytes(b"x")
    assert [len(s.categories) for s in read_all(cells(root)).values()] == [6, 0, 6, 6, 6, 6]


def empty_all(place: Path) -> None:
    for path in (place / "masks").iterdir():
        write(path, np.zeros(SIZE, np.uint8))


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


BROKEN = {
    "on its side": (
        lambda place: write(place / "masks" / "3.png", np.zeros((32, 24), np.uint8)),
        "{place}/masks/3.png: is 24x32 pixels, but its image {place}/images/cell2.png is 32x24; give both the same size; an image's EXIF",
    ),
    "all empty": (empty_all, "{place}/masks: all 6 masks are empty; remove them where the image holds no instance, or remove the image"),
    "no image": (
        lambda place: (place / "images" / "cell2.png").unlink(),
        "{place}/images: expected one image there, found none; add it, or remove the folder cell2",
    ),
    "no folder of images": (lambda place: remove(place / "images"), "{place}/images: expected one image there, found none"),
    "two images": (
        lambda place: write(place / "images" / "more.png", picture(7)),
        "{place}/images: expected one image there, found cell2.png, more.png",
    ),
    "no folder of masks": (lambda place: remove(place / "masks"), "{place}/masks: there is no such folder; add it (empty, if the image"),
    "an empty image": (lambda place: (place / "images" / "cell2.png").write_bytes(b""), "{place}/images/cell2.png: is an empty file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_mistake_is_refused(tmp_path: Path, kind: str) -> None:
    change, message = BROKEN[kind]
    raw = write_cells(tmp_path / "raw")
    place = raw / "stage1_train" / "cell2"
    change(place)
    answer = refusal(lambda: cells(raw), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(message.replace("{place}", str(place)))
    assert "\n" not in answer


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    raw = write_cells(tmp_path / "raw")
    (raw / "nothing").mkdir()
    for changed, message in (
        (
            {"images": "stage1/{image}/images"},
            f"{raw}/stage1: there is no such folder; set data.source.images ({raw} holds: nothing, stage1_train)",
        ),
        ({"images": "nothing/{image}/images"}, f"{raw}/nothing: holds no folders of images; set data.source.images"),
        ({"images": "nothing"}, f"{raw}/nothing: holds no images (.jpg, .jpeg,"),
        ({"masks": "stage1_train"}, "data.source.masks=stage1_train: expected a folder an image, with {image} in its name"),
        ({"category": None}, "data.source.category=None and data.source.category_pattern=None: one must name the class of all"),
        ({"category_pattern": "^(.)"}, "data.source.category=nucleus and data.source.category_pattern=^(.): one must name the class"),
        (
            {"category": None, "category_pattern": "(["},
            "data.source.category_pattern='([': is not a regular expression (unterminated character set",
        ),
        (
            {"category": "nucleos"},
            "data.source.category=nucleos: no class of data.classes has this name; did you mean 'nucleus'? (classes: ",
        ),
        ({"category": "background"}, "data.source.category=background: no class of data.classes has this name; classes: nucleus"),
    ):
        answer = refusal(lambda changed=changed: cells(raw, **changed), tmp_path / "out", classes=CLASSES)
        assert answer.startswith(message)
