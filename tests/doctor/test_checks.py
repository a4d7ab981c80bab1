"""Bad data sets, one mistake each, and what is found in them; the sound ones that they are made from give no finding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from tiny import CLASSES, colored, encoded, folders, picture, split, write

from seg.core.errors import DataError
from seg.data.labelmaps import layers_from_masks, semantic_from_instances
from seg.data.sample import BACKGROUND, ClassInfo, Sample
from seg.prepare.assignment import Assignment
from seg.prepare.run import examine
from seg.raw.record import Finding, Item, Record, Source, finding_of
from seg.sources.settings import Split

COUNT = 24
SIZE = (48, 64)
KINDS = [ClassInfo(BACKGROUND, (0, 0, 0)), ClassInfo("cell", (255, 140, 0)), ClassInfo("dirt", (0, 90, 200))]
SPLITS = ("train", "val", "test")


def named(number: int) -> str:
    return f"scene{number:02d}"


def bands(seed: int) -> np.ndarray:
    """A class map (H, W) uint8 of four bands, a class each, from another column on in each image."""
    return np.tile(np.roll(np.repeat(np.arange(4, dtype=np.uint8), 16), 5 * seed), (SIZE[0], 1))


def found(
    source: Source, classes: Sequence[ClassInfo], section: Split | None = None, root: Path | None = None, fold: int | None = None
) -> list[Finding]:
    """What `seg doctor` finds."""
    try:
        return examine(source, classes, Assignment(section or split(), fold), root, 0, "none", None).diagnosis.findings
    except DataError as error:
        return [finding_of(error)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A sound data set of classes."""
    for number in range(COUNT):
        write(tmp_path / "images" / f"{named(number)}.png", picture(number, SIZE))
        write(tmp_path / "masks" / f"{named(number)}.png", bands(number))
    return tmp_path


def image(raw: Path, number: int) -> Path:
    return raw / "images" / f"{named(number)}.png"


def mask(raw: Path, number: int) -> Path:
    return raw / "masks" / f"{named(number)}.png"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def add(raw: Path, name: str, pixels: np.ndarray, classes: np.ndarray | None = None) -> None:
    write(raw / "images" / f"{name}.png", pixels)
    write(raw / "masks" / f"{name}.png", bands(COUNT) if classes is None else classes)


def with_value(value: int, rows: slice = slice(0, 5), base: int = 3) -> np.ndarray:
    classes = bands(base)
    classes[rows] = value
    return classes


def without(value: int, *kept: int) -> Callable[[Path], None]:
    """Labels that hold a class in the images `kept` alone."""

    def change(raw: Path) -> None:
        for number in range(COUNT):
            if number not in kept:
                classes = bands(number)
                classes[classes == value] = 0
                write(mask(raw, number), classes)

    return change


def dot(raw: Path) -> None:
    """Class 3 in 10 pixels an image."""
    for number in range(COUNT):
        classes = bands(number)
        classes[classes == 3] = 0
        classes[:2, 10:15] = 3
        write(mask(raw, number), classes)


def halves(*values: int) -> Callable[[Path], None]:
    return lambda raw: [write(mask(raw, n), np.tile(np.uint8(values), (SIZE[0], SIZE[1] // 2))) for n in range(COUNT)] and None


def grays(*numbers: int) -> Callable[[Path], None]:
    return lambda raw: [write(image(raw, n), np.repeat(picture(n, SIZE, 1), 3, axis=2)) for n in numbers] and None


IN_FOLDERS = {"by": "folders", "changed": {"images": "{split}/images", "masks": "{split}/masks"}}


@dataclass(frozen=True)
class Case:
    """kinds: that are found, and how often. names: in the file of the first. says: in what or fix of the first."""

    change: Callable[[Path], object]
    kinds: dict[str, int]
    says: str
    names: str = ""
    severity: str = "warning"
    section: dict[str, object] = field(default_factory=dict)
    source: dict[str, object] = field(default_factory=dict)
    fold: int | None = None


CASES = {
    "an image that is none": Case(
        lambda raw: image(raw, 5).write_bytes(b"no picture" * 9), {"unreadable-file": 1}, "is not a readable", "images/scene05.png", "error"
    ),
    "an empty file": Case(lambda raw: mask(raw, 5).write_bytes(b""), {"unreadable-file": 1}, "is an empty", "masks/scene05.png", "error"),
    "a cut image": Case(lambda raw: cut(image(raw, 5)), {"truncated-file": 1}, "is cut off", "images/scene05.png", "error"),
    "two cut masks": Case(lambda raw: (cut(mask(raw, 5)), cut(mask(raw, 6))), {"truncated-file": 2}, "cut", "masks/scene05.png", "error"),
    "a colour mask as index mask": Case(
        lambda raw: write(mask(raw, 7), colored(bands(7))), {"pixel-type": 1}, "is a colour", "masks/scene07.png", "error"
    ),
    "a mask of another size": Case(
        lambda raw: write(mask(raw, 1), bands(1)[:, 1:]), {"size-mismatch": 1}, "is 63x48 pixels", "masks/scene01.png", "error"
    ),
    "a mask on its side": Case(
        lambda raw: write(mask(raw, 1), bands(1).T), {"size-mismatch": 1}, "the mask may need turning", "masks/scene01.png", "error"
    ),
    "an unknown value": Case(lambda raw: write(mask(raw, 3), with_value(9)), {"unknown-value": 1}, "9", "masks/scene03.png", "error"),
    "an image without mask": Case(
        lambda raw: mask(raw, 3).unlink(), {"image-without-label": 1}, "has no mask", "images/scene03.png", "error"
    ),
    "images without mask beside another error": Case(
        lambda raw: [mask(raw, 3).unlink(), mask(raw, 4).unlink(), cut(mask(raw, 5))],
        {"image-without-label": 2, "truncated-file": 1},
        "has no mask",
        "images/scene03.png",
        "error",
    ),
    "an image without mask, left out": Case(
        lambda raw: mask(raw, 3).unlink(), {"image-without-label": 1}, "1 images have no mask", source={"skip_unlabelled": True}
    ),
    "a mask without image": Case(lambda raw: image(raw, 3).unlink(), {"label-without-image": 1}, "1 masks have no image"),
    "two images of one name": Case(
        lambda raw: write(raw / "images" / "scene03.bmp", picture(90)), {"name-collision": 1}, "has the same name", severity="error"
    ),
    "no such folder": Case(lambda raw: None, {"missing-file": 1}, "no such folder", "pictures", "error", source={"images": "pictures"}),
    "names that differ in case": Case(
        lambda raw: add(raw, "SCENE03", picture(90, SIZE)),
        {"case-collision": 1},
        "differs from SCENE03 in case alone, so on macOS",
        "scene03.png",
    ),
    "an image that is all ignored": Case(
        lambda raw: write(mask(raw, 3), np.full(SIZE, 255, np.uint8)), {"all-ignored": 1}, "every pixel is ignored", "scene03.png"
    ),
    "a class that never occurs": Case(without(2), {"absent-class": 3}, "the class tree does not occur in train: cannot be learned"),
    "a class in one image": Case(
        without(2, 3),
        {"absent-class": 2},
        "the class tree does not occur in",
        section={"ratios": {"train": 0.5, "val": 0.25, "test": 0.25}},
    ),
    "labels of one class": Case(
        halves(1, 255),
        {"one-class": 1, "absent-class": 3},
        "the class house alone, and 50% of the pixels are ignored; compare the classes' labels and data.source.ignore",
        severity="error",
    ),
    "labels of no class": Case(
        halves(255, 255), {"one-class": 1, "absent-class": 3, "all-ignored": COUNT}, "hold no class", severity="error"
    ),
    "a class of few pixels": Case(dot, {"class-imbalance": 1}, "the class road has less than a hundredth of the training pixels of ground"),
    "a small image": Case(
        lambda raw: add(raw, "small", picture(90, (11, 15)), bands(0)[:11, :15] % 4),
        {"size-outlier": 1},
        "is 15x11 pixels, far smaller than the rest",
        "small.png",
    ),
    "a large image": Case(
        lambda raw: add(raw, "large", picture(90, (100, 257)), np.resize(bands(0), (100, 257))),
        {"size-outlier": 1},
        "is 257x100 pixels, far larger than the rest",
        "large.png",
    ),
    "a gray image among colours": Case(grays(4), {"mixed-color": 1}, "is a gray image, as 1 of 24 are", "scene04.png"),
    "colour images among gray ones": Case(
        grays(*range(2, COUNT)), {"mixed-color": 1}, "is a colour image, as 2 of 24 are; the others are gray", "images/scene0"
    ),
    "the same picture twice": Case(
        lambda raw: add(raw, "again", picture(3, SIZE), bands(3)), {"duplicate-image": 1}, "with the same labels", "scene03.png"
    ),
    "the same picture with other labels": Case(
        lambda raw: add(raw, "again", picture(3, SIZE), bands(4)), {"duplicate-image": 1}, "but has other labels", "scene03.png"
    ),
    "few images": Case(
        lambda raw: [p.unlink() for n in range(6, COUNT) for p in (image(raw, n), mask(raw, n))],
        {"few-images": 3},
        "the split train has 3 images: is little to learn from",
    ),
    "an empty split": Case(
        lambda raw: None,
        {"empty-split": 1},
        "the split test is empty (train 18, val 6, test 0 images)",
        severity="error",
        section={"ratios": {"train": 0.75, "val": 0.25, "test": 0.0}},
    ),
    "too few groups": Case(
        lambda raw: None, {"few-groups": 1}, "1 groups of images cannot fill 3 splits", "data.split", "error", section={"group": "scene"}
    ),
    "images in no list": Case(
        lambda raw: [
            (raw / f"{s}.txt").write_text("\n".join(named(n) for n in range(first, first + 8 - (s == "test"))))
            for s, first in (("train", 0), ("val", 8), ("test", 16))
        ],
        {"unlisted-image": 1},
        "1 images stand in no list and are left out, such as scene23",
        section={"by": "lists", "lists": {s: f"{s}.txt" for s in SPLITS}},
    ),
}


def test_a_sound_data_set_is_sound(raw: Path) -> None:
    assert found(folders(raw), CLASSES) == []


@pytest.mark.parametrize("name", CASES)
def test_a_bad_data_set_of_classes(raw: Path, name: str) -> None:
    case = CASES[name]
    case.change(raw)
    section = split(**{"by": "ratios", **case.section})
    findings = found(folders(raw, section, **case.source), CLASSES, section, raw, case.fold)
    expect(findings, case.kinds, case.says, case.names, case.severity)


def expect(findings: Sequence[Finding], kinds: dict[str, int], says: str, names: str, severity: str) -> None:
    counts = {kind: sum(f.kind == kind for f in findings) for kind in {f.kind for f in findings}}
    assert counts == kinds, [str(f) for f in findings]
    first = next(f for f in findings if f.kind == next(iter(kinds)))
    assert says in f"{first.what}; {first.fix}"
    assert names in first.file
    assert first.severity == severity
    assert first.fix or first.kind in ("image-without-label", "label-without-image", "unlisted-image", "bad-data")


def test_a_rare_class(raw: Path) -> None:
    for number in range(COUNT, 2 * COUNT):
        add(raw, named(number), picture(number, SIZE), bands(number))
    for number in range(2 * COUNT):
        classes = bands(number)
        classes[classes == 2] = 2 if number == 7 else 0
        write(mask(raw, number), classes)
    section = split("ratios", stratify=True)  # the one image goes to the split that lacks most: train
    assert {(f.kind, f.what) for f in found(folders(raw, section), CLASSES, section)} == {
        ("rare-class", "the class tree occurs in a single image of train: hard to learn"),
        ("absent-class", "the class tree does not occur in val: its figures are blank, or 0 where it is predicted"),
        ("absent-class", "the class tree does not occur in test: its figures are blank, or 0 where it is predicted"),
    }


def test_an_unknown_colour(raw: Path) -> None:
    for number in range(COUNT):
        write(mask(raw, number), colored(bands(number)))
    source = {"labels": "color", "ignore": [[1, 1, 1]]}
    assert found(folders(raw, **source), CLASSES) == []
    wrong = colored(bands(3))
    wrong[10, 4:7] = (3, 146, 9)
    write(mask(raw, 3), wrong)
    findings = found(folders(raw, **source), CLASSES)
    expect(findings, {"unknown-color": 1}, "[3, 146, 9]", "masks/scene03.png", "error")
    assert findings[0].image_id == "scene03"


def in_folders(raw: Path, test_image: np.ndarray, train_name: str = "train0") -> list[Finding]:
    """A data set in folders, with a picture beside those of the test split, and one of the train split renamed."""
    for name, first in (("train", 0), ("val", 8), ("test", 16)):
        for number in range(first, first + 8):
            stem = train_name if number == 0 else f"{name}{number}"
            write(raw / name / "images" / f"{stem}.png", picture(number, SIZE))
            write(raw / name / "masks" / f"{stem}.png", bands(number))
    write(raw / "test" / "images" / "other.png", test_image)
    write(raw / "test" / "masks" / "other.png", cv2.resize(bands(0), test_image.shape[1::-1], interpolation=cv2.INTER_NEAREST))
    section = split("folders")
    return found(folders(raw, section, images="{split}/images", masks="{split}/masks"), CLASSES, section)


def test_pictures_in_two_splits(raw: Path) -> None:
    assert in_folders(raw, picture(80, SIZE)) == []
    expect(in_folders(raw, picture(3, SIZE)), {"same-picture": 1}, "is the same picture as train/train3.png", "test/images/other", "error")
    near = cv2.add(cv2.resize(picture(3, SIZE), (100, 75)), (9, 9, 9, 0))
    findings = in_folders(raw, near)
    expect(findings, {"near-duplicate": 1}, "is nearly the same picture as train/train3.png (correlation ", "test/images/other", "warning")
    assert (findings[0].split, findings[0].image_id, findings[0].other) == ("test", "other", ("train", "train3"))


def test_folds_refuse_one_name_in_train_and_val(raw: Path) -> None:
    in_folders(raw, picture(80, SIZE), train_name="val8")
    section = split("folders")
    source = folders(raw, section, images="{split}/images", masks="{split}/masks")
    assert found(source, CLASSES, section) == []
    expect(found(source, CLASSES, section, fold=1), {"name-collision": 1}, "train and val both have an image val8", "data.fold", "error")


@dataclass(frozen=True)
class Drawn:
    """A source of instances that are given as masks: of each image three squares, or what `changed` has for it."""

    changed: dict[int, list[tuple[np.ndarray, int]]] = field(default_factory=dict)
    with_instances: ClassVar[bool] = True
    findings: list[Finding] = field(default_factory=list)
    background: int = 0

    def items(self) -> list[Item]:
        return [Item(named(number), SPLITS[number * 3 // COUNT], (f"/raw/{named(number)}.png",)) for number in range(COUNT)]

    def read(self, item: Item) -> Record:
        number = int(item.image_id[-2:])
        drawn = self.changed.get(number, [(square(4, 4), 1), (square(20, 20), 2), (square(4, 40), 1)])
        instances = layers_from_masks([region for region, _ in drawn], *SIZE)
        categories, crowd = (
            np.array([abs(k) - (self.background > 0) for _, k in drawn], np.int32),
            np.array([k < 0 for _, k in drawn], bool),
        )
        semantic = semantic_from_instances(instances, categories, crowd, self.background)
        return Record(Sample(item.image_id, picture(number, SIZE), semantic, instances, categories, crowd))


def square(top: int, left: int, side: int = 12) -> np.ndarray:
    region = np.zeros(SIZE, bool)
    region[top : top + side, left : left + side] = True
    return region


INSTANCE_CASES = {
    "one id for two far objects": (
        Drawn({3: [(square(2, 2) | square(2, 50), 1), (square(25, 20), 2)]}),
        {"far-pieces": 1},
        "a cell is in pieces: 50% of it lies 36 pixels from the rest",
    ),
    "the same object twice": (
        Drawn({3: [(square(2, 2, 20), 1), (square(2, 2, 20) & ~square(2, 2, 3), 1), (square(25, 40), 2)]}),
        {"duplicate-instance": 1},
        "a cell is labelled twice: two instances with an IoU of 0.98",
    ),
    "one object of two classes": (
        Drawn({3: [(square(2, 2), 1), (square(2, 3), 2)]}),
        {"two-classes": 1},
        "a cell and a dirt are nearly the same region (IoU 0.85)",
    ),
    "tiny objects": (
        Drawn({n: [(square(2, 2), 1), (square(30, 40 + n % 3, 3), 2)] for n in range(COUNT)}),
        {"tiny-instances": 1, "class-imbalance": 1},
        "holds a dirt of 9 pixels; of 24 instances of this class 100% below 4 x 4, 100% below 8 x 8, 100% below 16 x 16 pixels",
    ),
    "an image without instances": (Drawn({3: []}), {"empty-label": 1}, "holds no instance; right if nothing is there"),
    "an image of a crowd alone": (Drawn({3: [(square(2, 2), -1)]}), {"empty-label": 1}, "holds no instance, only 1 crowd or ignored"),
}


def test_sound_instances_are_sound() -> None:
    near = [(square(2, 2) | square(2, 20), 1), (square(25, 20) | square(45, 60, 1), 2)]  # pieces that are near, or a stray pixel
    touching = [(square(2, 2), 1), (square(2, 8), 1), (square(8, 4), 2)]
    crowd = [(square(2, 2) | square(2, 50), -1), (square(2, 2) | square(2, 50), -1), (square(25, 20), 2)]
    assert found(Drawn({3: near, 4: touching, 5: crowd}), KINDS) == []


def test_where_no_instance_means_ignored_an_image_without_is_empty() -> None:
    findings = found(Drawn({3: []}, background=255), KINDS[1:])
    assert [(f.kind, f.image_id) for f in findings] == [("empty-label", "scene03")]


@pytest.mark.parametrize("name", INSTANCE_CASES)
def test_a_bad_data_set_of_instances(name: str) -> None:
    source, kinds, says = INSTANCE_CASES[name]
    findings = found(source, KINDS)
    expect(findings, kinds, says, "/raw/scene", "warning")
    assert next(f for f in findings if f.kind in kinds and f.kind != "class-imbalance").box is not None or "empty-label" in kinds


def test_the_place_of_an_instance_is_marked() -> None:
    source, _, _ = INSTANCE_CASES["the same object twice"]
    assert [(f.split, f.image_id, f.box) for f in found(source, KINDS)] == [("train", "scene03", (2, 2, 22, 22))]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({n: [] for n in range(COUNT)}, "the labels hold no instance in any image"),
        ({n: [(square(2, 2), -1)] for n in range(COUNT)}, "the labels hold no instance in any image (24 crowd or ignored regions alone)"),
        ({n: [] for n in range(8)}, "the split train holds no instance (train 0, val 24, test 24 instances)"),
    ],
)
def test_data_sets_without_instances_to_learn_from(changed: dict, says: str) -> None:
    findings = found(Drawn(changed), KINDS)
    assert [f.what for f in findings if f.severity == "error"] == [says]
    assert findings[0].kind == "no-instance"


def test_an_image_of_background_alone(raw: Path) -> None:
    write(mask(raw, 3), np.zeros(SIZE, np.uint8))
    classes = [ClassInfo(BACKGROUND, (0, 0, 0)), *CLASSES[1:]]
    expect(found(folders(raw, classes=classes), classes), {"empty-label": 1}, "every pixel is background", "scene03.png", "warning")
    assert found(folders(raw), CLASSES) == [], "class 0 is an ordinary class there"


class Contradicting(Drawn):
    def read(self, item: Item) -> Record:
        sample = super().read(item).sample
        if item.image_id == named(20):
            sample.semantic[5, 5] = 9
        return Record(sample)


def test_a_sample_that_contradicts_the_class_list() -> None:
    findings = found(Contradicting(), KINDS)
    expect(findings, {"bad-data": 1}, "class index 9 is not in the class list", "/raw/scene20.png", "error")


def test_a_findings_words_are_the_errors() -> None:
    files = ("/a: b/x.png", "/a: b/masks")
    for message in (
        "/a: b/x.png: is bad; mend it",
        "/a: b/masks/1.png: is bad; mend it; or not",
        "/a: b/masks: all 3 are empty; remove them",
    ):
        finding = finding_of(DataError(message, kind="some-kind"), files, "x", "val")
        assert str(finding) == message
        assert (finding.kind, finding.severity, finding.image_id, finding.split) == ("some-kind", "error", "x", "val")
    assert str(finding_of(DataError("what is wrong"), files)) == "/a: b/x.png: what is wrong"
    assert str(finding_of(DataError("x: is bad; mend it"))) == "x: is bad; mend it"


def test_an_image_encoded_as_gray_jpeg_is_gray(raw: Path) -> None:
    gray = cv2.imdecode(np.frombuffer(encoded(picture(3, SIZE, 1), ".jpg"), np.uint8), cv2.IMREAD_GRAYSCALE)
    image(raw, 3).write_bytes(encoded(gray, ".png"))
    assert [f.kind for f in found(folders(raw), CLASSES)] == ["mixed-color"]
