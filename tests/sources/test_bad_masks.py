"""Every mistake that mask files and their configuration are likely to hold, in every format: one line, and nothing is left behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from sources.test_cityscapes import source as cityscapes_instances
from sources.test_class_files import files
from sources.test_coco_panoptic import panoptic
from sources.test_id_maps import maps
from sources.test_instance_files import cells
from tiny import CLASSES, colored, encoded, folders, labels, picture, refusal, write, write_folders

from seg.data.sample import ClassInfo
from seg.raw.record import Source

NAMES = [f"s{number}" for number in range(6)]
OBJECTS = [ClassInfo("background", (0, 0, 0)), ClassInfo("cell", (255, 140, 0)), ClassInfo("stone", (90, 90, 90))]
Make = Callable[[Path], Callable[[], Source]]


def of_folders(change: Callable[[Path], object], classes: list[ClassInfo] = CLASSES, **changed: Any) -> Make:
    """Six pairs, one of which is changed; `change` gets the path of its mask."""

    def make(raw: Path) -> Callable[[], Source]:
        write_folders(raw, NAMES)
        change(raw / "masks" / "s3.png")
        return lambda: folders(raw, classes=classes, **changed)

    return make


Draw = Callable[[Path, int, str], object]


def of(source: Callable[..., Source], draw: Draw, changed_file: str = "s3.png", **settings: Any) -> Callable[..., Make]:
    """Makers of six images and what `draw` draws of each below masks/; one file there is changed."""

    def made(change: Callable[[Path], object], **changed: Any) -> Make:
        def make(raw: Path) -> Callable[[], Source]:
            for seed, name in enumerate(NAMES):
                write(raw / "images" / f"{name}.png", picture(seed))
                draw(raw / "masks", seed, name)
            change(raw / "masks" / changed_file)
            return lambda: source(raw, **{"classes": OBJECTS, **settings, **changed})

        return make

    return made


def draw_classes(folder: Path, seed: int, name: str) -> None:
    for number, label in enumerate(("cell", "stone")):
        write(folder / label / f"{name}.png", (labels(seed) == number + 1).astype(np.uint8) * 255)


def draw_segments(folder: Path, seed: int, name: str) -> None:
    """And the JSON file, as far as it goes."""
    write(folder / f"{name}.png", np.full((24, 32, 3), (seed, 1, 0), np.uint8))
    file = folder.parent / "panoptic.json"
    content = json.loads(file.read_text()) if seed else {"images": [], "annotations": [], "categories": [CELLS]}
    content["images"].append({"id": seed, "file_name": f"{name}.png"})
    segments = [{"id": seed + 256, "category_id": 4}]
    content["annotations"].append({"image_id": seed, "file_name": f"{name}.png", "segments_info": segments})
    file.write_text(json.dumps(content))


CELLS = {"id": 4, "name": "cell", "isthing": 1}
of_ids = of(maps, lambda folder, seed, name: write(folder / f"{name}.png", labels(seed).astype(np.uint16)), category="cell")
of_class_files = of(files, draw_classes, "cell/s3.png")
of_instance_files = of(
    cells,
    lambda folder, seed, name: write(folder / name / "cell_1.png", (labels(seed) == 0).astype(np.uint8) * 255),
    "s3/cell_1.png",
    images="images",
    masks="masks/{image}",
    category=None,
    category_pattern="^([a-z]+)_",
)
of_cityscapes = of(
    cityscapes_instances,
    lambda folder, _, name: write(folder / f"{name}.png", np.full((24, 32), 1000, np.uint16)),
    things=["cell"],
    ignore=[],
    others="refuse",
)
of_panoptic = of(panoptic, draw_segments, masks="masks")


def nothing(path: Path) -> None:
    """Leave all as it is."""


def as_jpeg(path: Path) -> None:
    path.with_suffix(".jpg").write_bytes(encoded(labels(3), ".jpg"))
    path.unlink()


def as_pages(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), np.stack([labels(3)] * 2), photometric="minisblack")
    path.unlink()


def as_palette(path: Path) -> None:
    image = Image.fromarray(labels(3) % 4, mode="P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    image.save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def marked(value: int, count: int, dtype: type = np.uint8) -> Callable[[Path], object]:
    """A mask with an unknown value in so many pixels."""

    def change(path: Path) -> None:
        values = labels(3).astype(dtype)
        values[9, :count] = value
        write(path, values)

    return change


def smoothed(path: Path) -> None:
    write(path, np.tile(np.array([0, 90, 255, 0], np.uint8), (24, 8)))


def as_colors(path: Path) -> None:
    write(path, colored(labels(3)))


def also(name: str, image: np.ndarray) -> Callable[[Path], object]:
    """A further file beside the mask's."""
    return lambda path: write(path.parent / name, image)


def sized(path: Path) -> None:
    write(path, np.zeros((12, 16), np.uint8))


BLACK = np.zeros((24, 32), np.uint8)
MASK = "{raw}/masks/s3.png"
CHOICE = "set data.source.labels=color to read classes by their colour, or data.source.labels=palette for"

BAD: dict[str, tuple[Make, str]] = {
    "a JPEG": (of_folders(as_jpeg), "{raw}/masks/s3.jpg: is a JPEG file, which does not keep labels as they were; export the mask again"),
    "pages": (of_folders(as_pages), "{raw}/masks/s3.tif: has 2 pages, expected one; save each page as a file of its own"),
    "a palette": (of_folders(as_palette), f"{MASK}: is a colour or palette image, expected one gray value a pixel; {CHOICE}"),
    "colours": (of_folders(as_colors), f"{MASK}: is a colour or palette image, expected one gray value a pixel; {CHOICE}"),
    "no palette": (of_folders(as_colors, labels="palette"), f"{MASK}: is a colour or palette image, expected one gray value a pixel; save"),
    "an unknown value": (
        of_folders(marked(9, 4)),
        f"{MASK}: has the value 9 in 4 pixels, which no class has (the classes have 0, 1, 2, 3)",
    ),
    "an unknown value of 16 bit": (of_folders(marked(900, 4, np.uint16)), f"{MASK}: has the value 900 in 4 pixels, which no class has"),
    "a class without its value": (
        of_folders(nothing, [ClassInfo("a", (1, 1, 1), (0, 1)), ClassInfo("b", (2, 2, 2), (2,))]),
        f"{MASK}: has the value 3 in 28 pixels, which no class has (the classes have 0, 1, 2)",
    ),
    "an unknown colour": (
        of_folders(lambda path: [write(path.parent / f"{n}.png", colored(labels(5), (9, 9, 9))) for n in NAMES], labels="color", ignore=[]),
        "{raw}/masks/s0.png: has the colour [9, 9, 9] in 2 pixels (nearest: ground [10, 20, 30]), which no class has; add it to a class",
    ),
    "fractions": (
        of_folders(lambda path: [path.unlink(), write(path.with_suffix(".tif"), labels(3).astype(np.float32) / 2)]),
        "{raw}/masks/s3.tif: has float32 pixels, expected whole numbers, not ",
    ),
    "a cut mask": (of_folders(cut), f"{MASK}: is cut off before its end"),
    "an empty mask": (of_folders(lambda path: path.write_bytes(b"")), f"{MASK}: is an empty file"),
    "text": (of_folders(lambda path: path.write_text("mask " * 20)), f"{MASK}: is not a readable image"),
    "another size": (of_folders(sized), f"{MASK}: is 16x12 pixels, but its image {{raw}}/images/s3.jpg is 32x24; give both the same size"),
    "a label of two classes": (
        of_folders(nothing, [ClassInfo("a", (1, 1, 1), (1,)), ClassInfo("b", (2, 2, 2))]),
        "data.classes[1] (b): the label 1 stands twice; a label belongs to one class, or to data.source.ignore or drop",
    ),
    "a name for a value": (
        of_folders(nothing, [ClassInfo("a", (1, 1, 1), ("road",)), ClassInfo("b", (2, 2, 2))]),
        "data.classes[0] (a): the label 'road': expected a value, such as 7",
    ),
    "two masks of one name": (of_folders(also("s3.bmp", BLACK)), "{raw}/masks/s3.png: has the same name as {raw}/masks/s3.bmp; rename"),
    "ids in colours": (
        of_ids(as_colors),
        f"{MASK}: is a colour or palette image, expected one gray value a pixel; set data.source.ids=rgb",
    ),
    "ids below zero": (
        of_ids(lambda path: [path.unlink(), tifffile.imwrite(path.with_suffix(".tif"), BLACK.astype(np.int32) - 1)]),
        "{raw}/masks/s3.tif: has the value -1, expected ids from 1 and 0 for no instance",
    ),
    "ids of another size": (
        of_ids(sized),
        f"{MASK}: is 16x12 pixels, but its image {{raw}}/images/s3.png is 32x24; give both the same size",
    ),
    "ids as fractions": (
        of_ids(lambda path: [path.unlink(), write(path.with_suffix(".tif"), labels(2).astype(np.float32) / 2)]),
        "{raw}/masks/s3.tif: has float32 pixels, expected whole",
    ),
    "an image without ids": (of_ids(lambda path: path.unlink()), "{raw}/images/s3.png: has no mask {raw}/masks/s3.*; add it"),
    "no folder of ids": (of_ids(lambda path: path.parent.rename(path.parent.with_name("ids"))), "{raw}/masks: there is no such folder"),
    "ids as a JPEG": (of_ids(as_jpeg), "{raw}/masks/s3.jpg: is a JPEG file"),
    "no palette of ids": (of_ids(as_colors, ids="palette"), f"{MASK}: is a colour or palette image"),
    "a class that is smoothed": (of_class_files(smoothed), "{raw}/masks/cell/s3.png: has the values 0, 90, 255, expected 0 and one other"),
    "a class of another size": (of_class_files(sized), "{raw}/masks/cell/s3.png: is 16x12 pixels, but its image {raw}/images/s3.png is"),
    "two classes for a pixel": (
        of_class_files(lambda path: [write(path, BLACK + 1), write(path.parents[1] / "stone" / "s3.png", np.eye(24, 32, dtype=np.uint8))]),
        "{raw}/masks/stone/s3.png: 24 pixels that it has as stone are claimed by other classes too (24 by cell); correct the masks",
    ),
    "an unknown class": (
        of_class_files(lambda path: write(path.parents[1] / "cells" / "s3.png", BLACK)),
        "{raw}/masks/cells/s3.png: no class of data.classes has the name 'cells' (nearest: cell); add it to a class",
    ),
    "an instance that is smoothed": (of_instance_files(smoothed), "{raw}/masks/s3/cell_1.png: has the values 0, 90, 255, expected 0 and"),
    "an instance of no class": (
        of_instance_files(also("sell_2.png", BLACK)),
        "{raw}/masks/s3/sell_2.png: no class of data.classes has the name 'sell' (nearest: cell); add it to a class",
    ),
    "an instance without a class in its name": (
        of_instance_files(also("2.png", BLACK)),
        "{raw}/masks/s3/2.png: data.source.category_pattern='^([a-z]+)_' does not match '2'; widen the expression",
    ),
    "an instance in pages": (of_instance_files(as_pages), "{raw}/masks/s3/cell_1.tif: has 2 pages, expected one"),
    "an id of no class": (
        of_cityscapes(lambda path: write(path, np.full((24, 32), 65001, np.uint16))),
        f"{MASK}: has the value 65 in 768 pixels, which no class has (the classes have 0, 1, 2); add it to a class",
    ),
    "a thing without class": (
        of_cityscapes(nothing, things=["cells"]),
        "data.source.things=cells: no class of data.classes has this name; did you mean 'cell'? (classes: cell, stone)",
    ),
    "a segment of nothing": (
        of_panoptic(lambda path: write(path, np.full((24, 32, 3), (4, 1, 0), np.uint8))),
        f"{MASK}: has the id 260 in 768 pixels, which segments_info in {{raw}}/panoptic.json does not list; add the segment there",
    ),
    "a panoptic mask as a JPEG": (of_panoptic(lambda path: path.write_bytes(encoded(BLACK, ".jpg"))), f"{MASK}: is a JPEG file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_mistake_is_refused(tmp_path: Path, kind: str) -> None:
    make, message = BAD[kind]
    raw = tmp_path / "raw"
    source = make(raw)
    answer = refusal(source, tmp_path / "out", classes=CLASSES)
    assert answer.split("\n")[0].startswith(message.replace("{raw}", str(raw)))


@pytest.mark.parametrize("make", [of_folders, of_ids, of_class_files, of_instance_files, of_cityscapes, of_panoptic])
def test_without_the_mistake_nothing_is_refused(tmp_path: Path, make: Callable[..., Make]) -> None:
    source = make(nothing)(tmp_path / "raw")()
    assert [source.read(item).sample.image_id for item in source.items()] == NAMES
