"""Tiny data sets in the formats of annotation programs, and their sources: each writer makes images and annotations."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny import SIZE, encoded, masks_of, picture, split, write

from seg.data.sample import ClassInfo, Sample
from seg.sources.cvat import Cvat
from seg.sources.images import ImageReader
from seg.sources.labelme import Labelme
from seg.sources.settings import Split
from seg.sources.via import Via
from seg.sources.voc import Voc
from seg.sources.yolo import Yolo

CLASSES = [ClassInfo("background", (0, 0, 0), ("_background_", "background")), ClassInfo("cat", (250, 0, 0)), ClassInfo("dog", (0, 250, 0))]
VOC_CLASSES = [ClassInfo(c.name, c.color) for c in CLASSES]


def areas(sample: Sample) -> list[int]:
    return [int(mask.sum()) for mask in masks_of(sample)]


def shape(label: str, points: list[list[float]], kind: str | None = "polygon", **more: object) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def square(label: str, left: float, top: float, right: float, bottom: float, **more: object) -> dict[str, Any]:
    return shape(label, [[left, top], [right, top], [right, bottom], [left, bottom]], **more)


def write_labelme(path: Path, shapes: list[dict[str, Any]], image: str | None = None, **more: object) -> Path:
    """A JSON file that names the image `image`, by default the PNG of its own name."""
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image or f"{path.stem}.png", "imageData": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "imageHeight": SIZE[0], "imageWidth": SIZE[1], **more}))
    return path


def write_images(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        write(folder / f"{name}.png", picture(seed))


def labelme(root: Path, section: Split | None = None, **changed: object) -> Labelme:
    arguments = {"images": ".", "annotations": ".", "skip_unlabelled": False, "line_width": 4, "point_radius": 3, "holes": False}
    rules = {"ignore": ["__ignore__"], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return Labelme(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


def png_text(mask: np.ndarray) -> str:
    return base64.b64encode(encoded(mask.astype(np.uint8), ".png")).decode()


VIA_SQUARE = {"name": "polygon", "all_points_x": [2, 8, 8, 2], "all_points_y": [3, 3, 9, 9]}


def via_region(shape: dict[str, Any], label: object = "cat") -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": {"label": label, "quality": {"blurred": True}}}


def via_rect(left: float, top: float, width: float, height: float) -> dict[str, Any]:
    return {"name": "rect", "x": left, "y": top, "width": width, "height": height}


def write_via(root: Path, regions: dict[str, Any], project: bool = False) -> Path:
    """An image for each entry of `regions`, and a file with them, by default as VIA 2 exports it."""
    entries = {}
    for seed, (name, given) in enumerate(regions.items()):
        size = write(root / "images" / name, picture(seed)).stat().st_size
        entries[f"{name}{size}"] = {"filename": name, "size": size, "regions": given, "file_attributes": {}}
    content = {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}} if project else entries
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def via(root: Path, **changed: object) -> Via:
    arguments = {"annotations": "annotations.json", "images": "images", "attribute": "label", "category": None}
    rules = {"line_width": 4, "point_radius": 3, "ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return Via(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


YOLO_SQUARE = "0.0625 0.125 0.25 0.125 0.25 0.375 0.0625 0.375"  # x 2..8 of 32, y 3..9 of 24


def write_yolo(root: Path, labels: dict[str, str | None], names: str = "names: [cat, dog]", file: str = "data.yaml") -> Path:
    """An image for each entry of `labels`, and its text file, unless that is None."""
    for seed, (name, text) in enumerate(labels.items()):
        write(root / "images" / f"{name}.png", picture(seed))
        if text is not None:
            path = root / "labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (root / file).write_text(names)
    return root


def yolo(root: Path, **changed: object) -> Yolo:
    arguments = {"images": "images", "annotations": "labels", "names": None, "boxes": False, "ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return Yolo(**{**arguments, **given, **changed})  # type: ignore[arg-type]


CVAT_HEADER = '<?xml version="1.0" encoding="utf-8"?>\n'
CVAT_SQUARE = '<polygon label="cat" source="manual" occluded="0" points="2.00,3.00;8.00,3.00;8.00,9.00;2.00,9.00" z_order="0"></polygon>'


def cvat_box(label: str, left: float, top: float, right: float, bottom: float, more: str = 'z_order="0"') -> str:
    return f'<box label="{label}" occluded="1" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" {more}></box>'


def write_cvat(root: Path, shapes: dict[str, str]) -> Path:
    """An image for each entry of `shapes`, and a file with them."""
    images = []
    for seed, (name, text) in enumerate(shapes.items()):
        write(root / "images" / name, picture(seed))
        images.append(f'<image id="{seed}" name="{name}" width="{SIZE[1]}" height="{SIZE[0]}">{text}</image>')
    (root / "annotations.xml").write_text(f"{CVAT_HEADER}<annotations><version>1.1</version><meta/>{''.join(images)}</annotations>")
    return root


def cvat(root: Path, **changed: object) -> Cvat:
    arguments = {"annotations": "annotations.xml", "images": "images", "line_width": 4, "point_radius": 3, "holes": False}
    rules = {"ignore": [], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": split()}
    return Cvat(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]


def write_palette(path: Path, indices: np.ndarray, seed: int = 0) -> None:
    """A palette PNG whose colours mean nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette(np.random.default_rng(seed).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path)


def voc_scene(*, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes and objects: a cat of 4 x 4 pixels, number 1, within void of 6 x 6, and a dog of 5 x 3, number 3."""
    classes, objects = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    for rows, columns, index, number in (
        (slice(4, 10), slice(4 + shift, 10 + shift), 255, 255),
        (slice(5, 9), slice(5 + shift, 9 + shift), 1, 1),
        (slice(12, 15), slice(20, 25), 2, 3),
    ):
        classes[rows, columns], objects[rows, columns] = index, number
    return classes, objects


def write_voc(root: Path, count: int = 3) -> Path:
    for number in range(count):
        write(root / "JPEGImages" / f"{number}.png", picture(number))
        classes, objects = voc_scene(shift=number)
        write_palette(root / "SegmentationClass" / f"{number}.png", classes, number)
        write_palette(root / "SegmentationObject" / f"{number}.png", objects, 5)
    return root


def voc(root: Path, **changed: object) -> Voc:
    arguments = {"images": "JPEGImages", "masks": "SegmentationClass", "objects": "SegmentationObject", "task": "instance"}
    rules = {"ignore": [255], "drop": [], "others": "refuse"}
    given = {"root": str(root), "classes": VOC_CLASSES, "reader": ImageReader(3), "split": split()}
    return Voc(**{**arguments, **rules, **given, **changed})  # type: ignore[arg-type]
