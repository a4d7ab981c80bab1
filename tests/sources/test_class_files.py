"""A mask file a class: three ways to name them, overlap, absence and class lists, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from tiny import picture, prepare_tiny, read_all, read_back, refusal, split, write

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo
from seg.sources.class_files import ClassFiles
from seg.sources.images import ImageReader
from seg.sources.settings import Split

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("car", (200, 0, 0)), ClassInfo("red_house", (0, 150, 0))]
PATTERNS = ["masks/{class}/{image}", "masks/{image}/{class}", "masks/{image}_{class}", "{class}_of_{image}"]
ROWS = {
    "a": {"car": [1, 1, 0, 0], "red_house": [0, 0, 1, 0]},
    "b": {"car": [0, 0, 0, 1], "red_house": [1, 0, 0, 0]},
    "b_red": {"car": [0, 0, 0, 0], "red_house": [1, 1, 1, 1]},
    "c": {"red_house": [0, 1, 0, 0]},
    "e": {"car": [0, 0, 0, 0]},
}
EXPECTED = {"a": [1, 1, 2, 0], "b": [2, 0, 0, 1], "b_red": [2, 2, 2, 2], "c": [0, 2, 0, 0], "e": [0, 0, 0, 0]}


def write_files(root: Path, pattern: str = PATTERNS[0], rows: dict[str, dict[str, list[int]]] = ROWS, suffix: str = ".png") -> Path:
    for seed, (name, classes) in enumerate(rows.items()):
        write(root / "images" / f"{name}.png", picture(seed, (1, 4)))
        for label, row in classes.items():
            place = pattern.replace("{image}", name).replace("{class}", label)
            write(root / f"{place}{suffix}", np.array([row], np.uint8) * 255)
    return root


def files(root: Path, masks: str = PATTERNS[0], section: Split | None = None, **changed: object) -> ClassFiles:
    arguments = {"images": "images", "masks": masks, "image_suffix": "", "ignore": [], "drop": [], "others": "refuse"}
    arguments |= {"overlap": "refuse", "skip_unlabelled": False}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return ClassFiles(**{**arguments, **given, **changed})


def rows_of(source: ClassFiles) -> dict[str, list[int]]:
    return {name: sample.semantic[0].tolist() for name, sample in read_all(source).items()}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_way_to_name_them(tmp_path: Path, pattern: str) -> None:
    """Names with underscores on either side, one image's name within another's, and classes that an image lacks."""
    source = files(write_files(tmp_path, pattern), pattern)
    assert rows_of(source) == EXPECTED
    assert [str(f) for f in source.findings if f.kind == "absent-class-file"] == [
        f"{tmp_path / pattern.split('{')[0]}: 1 of 5 images have no file of the class car, which counts as absent there".replace("/:", ":"),
        f"{tmp_path / pattern.split('{')[0]}: 1 of 5 images have no file of the class red_house, which counts as absent there",
    ]
    assert all(sample.instances.shape == (1, 4, 0) for sample in read_all(source).values())


def test_a_class_map_survives_preparing(tmp_path: Path) -> None:
    prepare_tiny(files(write_files(tmp_path / "raw")), tmp_path / "out", classes=CLASSES)
    assert {name: s.semantic[0].tolist() for name, s in read_back(tmp_path / "out").items()} == EXPECTED


def test_without_background_pixels_of_no_file_are_ignored(tmp_path: Path) -> None:
    rows = {"a": {"car": [1, 0, 0, 0]}, "b": {"red_house": [0, 0, 1, 1]}}
    assert rows_of(files(write_files(tmp_path, rows=rows), classes=CLASSES[1:])) == {"a": [0, 255, 255, 255], "b": [255, 255, 1, 1]}


def test_classes_list_their_labels(tmp_path: Path) -> None:
    """Merged (vans and buses may overlap), renamed, ignored, dropped."""
    rows = {"a": {"van": [1, 1, 0, 0], "bus": [0, 1, 1, 0], "glass": [0, 0, 0, 1]}, "b": {"hut": [1, 0, 0, 0], "bird": [1, 1, 1, 1]}}
    classes = [CLASSES[0], ClassInfo("vehicle", (1, 1, 1), ("van", "bus")), ClassInfo("building", (2, 2, 2), ("hut",))]
    source = files(write_files(tmp_path, rows=rows), classes=classes, ignore=["glass"], drop=["bird"])
    assert rows_of(source) == {"a": [1, 1, 1, 255], "b": [2, 0, 0, 0]}
    others = {"ignore": {"a": [1, 1, 1, 255], "b": [255, 255, 255, 255]}, "drop": {"a": [1, 1, 1, 0], "b": [2, 0, 0, 0]}}
    for word, expected in others.items():
        assert rows_of(files(tmp_path, classes=classes, others=word, overlap="last")) == expected


def test_overlap(tmp_path: Path) -> None:
    rows = {"a": {"car": [1, 1, 1, 0], "red_house": [0, 1, 1, 1]}, "b": {"car": [1, 0, 0, 0]}}
    write_files(tmp_path, rows=rows)
    message = refusal(lambda: files(tmp_path), tmp_path / "out", classes=CLASSES)
    assert message.startswith(
        f"{tmp_path}/masks/red_house/a.png: 2 pixels that it has as red_house are claimed by other classes too (2 by car); correct the"
    )
    assert rows_of(files(tmp_path, overlap="last"))["a"] == [1, 2, 2, 2]
    assert rows_of(files(tmp_path, overlap="last", classes=[CLASSES[0], CLASSES[2], CLASSES[1]]))["a"] == [2, 2, 2, 1]


def test_images_without_a_file_are_left_out_only_when_asked(tmp_path: Path) -> None:
    write_files(tmp_path)
    write(tmp_path / "images" / "d.png", picture(9, (1, 4)))
    write(tmp_path / "masks" / "car" / "zzz.png", np.zeros((1, 4), np.uint8))
    source = files(tmp_path, skip_unlabelled=True)
    assert list(read_all(source)) == list(EXPECTED)
    assert {str(f) for f in source.findings if f.kind != "absent-class-file"} == {
        f"{tmp_path}/masks: 1 masks have no image and are left out, such as zzz.png",
        f"{tmp_path}/images: 1 images have no mask and are left out, such as d.png",
    }
    message = refusal(lambda: files(tmp_path), tmp_path / "out", classes=CLASSES)
    assert message.startswith(f"{tmp_path}/images/d.png: has no mask {tmp_path}/masks/{{class}}/d.*; add one (all black, if it")


def test_folders_that_name_the_split(tmp_path: Path) -> None:
    for place in ("train", "val", "test"):
        write_files(tmp_path / place)
    source = files(tmp_path, "{split}/masks/{image}_{class}", split("folders"), images="{split}/images")
    for place in ("train", "val", "test"):
        write_files(tmp_path / place, "masks/{image}_{class}")
        for folder in ("car", "red_house"):
            for path in (tmp_path / place / "masks" / folder).iterdir():
                path.unlink()
    found = [(i.split, i.image_id, source.read(i).sample.semantic[0].tolist()) for i in source.items()]
    assert found == [(place, name, row) for place in ("train", "val", "test") for name, row in EXPECTED.items()]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"masks": "masks/{class}"}, r"data.source.masks=masks/\{class\}: expected \{image\} and \{class\} in it, once each, as in"),
        ({"overlap": "first"}, "data.source.overlap=first: expected: last, refuse"),
        ({"others": "drp"}, "data.source.others=drp: did you mean 'drop'"),
        ({"ignore": [3]}, "data.source.ignore: the label 3: expected a name, such as car"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        files(tmp_path, **changed)
