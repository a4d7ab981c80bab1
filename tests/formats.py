"""One set of drawn scenes, written in every format that `seg init` recognises: the class maps must come back the same from each."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from annotations import square, write_cvat, write_labelme, write_via, write_yolo
from PIL import Image
from tiny import SIZE, picture, write

NAMES = ("a", "b", "c", "d", "e", "f")
CLASSES = ("background", "cat", "dog")
PALETTE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
HEIGHT, WIDTH = SIZE


def boxes(number: int) -> list[tuple[str, int, int, int, int]]:
    """(label, left, top, right, bottom) of the objects of a scene, half-open; none overlap, and every third scene has no dog."""
    found = [("cat", 2, 3 + number, 8, 12 + number), ("cat", 20, 1, 22 + number, 5)]
    return found if number % 3 == 2 else [*found, ("dog", 10, 9, 18, 15 + number)]


def scene(number: int) -> np.ndarray:
    """The class map (H, W) uint8 of a scene: indices of CLASSES."""
    classes = np.zeros(SIZE, np.uint8)
    for label, left, top, right, bottom in boxes(number):
        classes[top:bottom, left:right] = CLASSES.index(label)
    return classes


def instances(number: int) -> np.ndarray:
    """The id map (H, W) uint16 of a scene, with ids beyond 8 bit."""
    ids = np.zeros(SIZE, np.uint16)
    for index, (_, left, top, right, bottom) in enumerate(boxes(number), start=1):
        ids[top:bottom, left:right] = 300 * index
    return ids


def write_pictures(folder: Path, names: Sequence[str] = NAMES, suffix: str = ".png") -> None:
    for number, name in enumerate(names):
        write(folder / f"{name}{suffix}", picture(number))


def write_masks(
    root: Path,
    made: Callable[[int], np.ndarray] = scene,
    names: Sequence[str] = NAMES,
    images: str = "images/{}.png",
    masks: str = "masks/{}.png",
) -> Path:
    """Images, and a label image for each as `made` gives it by number; `{}` in the paths stands for the name."""
    for number, name in enumerate(names):
        write(root / images.format(name), picture(number))
        write(root / masks.format(name), made(number))
    return root


def write_palette_masks(root: Path) -> Path:
    """Palette PNGs in PASCAL VOC's colours, and their names beside them."""
    write_pictures(root / "JPEGImages")
    (root / "SegmentationClass").mkdir()
    for number, name in enumerate(NAMES):
        image = Image.fromarray(scene(number), mode="P")
        image.putpalette(PALETTE.tobytes())
        image.save(root / "SegmentationClass" / f"{name}.png")
    (root / "class_names.txt").write_text("__ignore__\n_background_\ncat\ndog\n".partition("\n")[2])
    return root


def coco_content(numbers: Sequence[int], names: Sequence[str] = NAMES) -> dict[str, Any]:
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
    ids = {c["name"]: c["id"] for c in categories}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    for number in numbers:
        content["images"].append({"id": number, "file_name": f"{names[number]}.png", "height": HEIGHT, "width": WIDTH})
        for label, left, top, right, bottom in boxes(number):
            polygon = [left, top, right, top, right, bottom, left, bottom]
            entry = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": ids[label], "iscrowd": 0}
            content["annotations"].append(entry | {"segmentation": [polygon], "area": 1, "bbox": [0, 0, 1, 1]})
    return content


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_coco(root: Path) -> Path:
    write_pictures(root / "images")
    write_json(root / "annotations.json", coco_content(range(len(NAMES))))
    return root


def write_coco_splits(root: Path, annotations: str, images: str, words: Sequence[str] = ("train", "val", "test")) -> Path:
    """A file for each split, of two scenes; `{}` in the paths stands for the split's word."""
    for place, word in enumerate(words):
        numbers = [2 * place, 2 * place + 1]
        write_json(root / annotations.format(word), coco_content(numbers))
        for number in numbers:
            write(root / images.format(word) / f"{NAMES[number]}.png", picture(number))
    return root


def write_panoptic(root: Path) -> Path:
    """Images and label images are PNGs of the same names."""
    categories = [{"id": k, "name": name, "isthing": int(k > 0), "color": PALETTE[k].tolist()} for k, name in enumerate(CLASSES)]
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    for number, name in enumerate(NAMES):
        ids = instances(number).astype(int)
        ids[ids == 0] = 5
        write(root / "input" / f"{name}.png", picture(number))
        write(root / "ids" / f"{name}.png", np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8))
        segments = [{"id": 5, "category_id": 0, "iscrowd": 0}]
        segments += [{"id": 300 * k, "category_id": CLASSES.index(b[0]), "iscrowd": 0} for k, b in enumerate(boxes(number), start=1)]
        content["images"].append({"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        content["annotations"].append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    write_json(root / "ids.json", content)
    return root


def write_labelme_set(root: Path, images: str = "{}", annotations: str = "{}", words: Sequence[str] = ("",) * 6) -> Path:
    """A JSON file an image; `{}` in the paths stands for the image's word, as of its split."""
    for number, (name, word) in enumerate(zip(NAMES, words, strict=True)):
        write(root / images.format(word) / f"{name}.png", picture(number))
        write_labelme(root / annotations.format(word) / f"{name}.json", [square(*box) for box in boxes(number)])
    return root


def write_via_set(root: Path, numbered: bool, project: bool) -> Path:
    """VIA 1 numbers the regions, VIA 2 lists them."""
    files: dict[str, Any] = {}
    for number, name in enumerate(NAMES):
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top},
                "region_attributes": {"kind": f" {label}", "sure": {"yes": True, "no": False}, "note": ""},
            }
            for label, left, top, right, bottom in boxes(number)
        ]
        files[f"{name}.png"] = dict(enumerate(regions)) if numbered else regions
    return write_via(root, files, project)


def yolo_text(number: int, first: int = 0) -> str:
    lines = []
    for label, left, top, right, bottom in boxes(number):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        lines.append(f"{CLASSES.index(label) - 1 + first} " + " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in corners))
    return "\n".join(lines) + "\n"


def write_yolo_set(root: Path, names: str = "names: [cat, dog]", file: str = "data.yaml") -> Path:
    return write_yolo(root, {name: yolo_text(number) for number, name in enumerate(NAMES)}, names, file)


def write_yolo_splits(root: Path, images: str, labels: str, words: Sequence[str]) -> Path:
    for number, name in enumerate(NAMES):
        word = words[number // 2]
        write(root / images.format(word) / f"{name}.png", picture(number))
        (root / labels.format(word)).mkdir(parents=True, exist_ok=True)
        (root / labels.format(word) / f"{name}.txt").write_text(yolo_text(number))
    (root / "data.yaml").write_text("names: {0: cat, 1: dog}")
    return root


def write_cvat_set(root: Path) -> Path:
    def polygon(label: str, left: int, top: int, right: int, bottom: int) -> str:
        points = ";".join(f"{x},{y}" for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)))
        return f'<polygon label="{label}" occluded="0" points="{points}" z_order="0"/>'

    shapes = {f"{name}.png": "".join(polygon(*box) for box in boxes(number)) for number, name in enumerate(NAMES)}
    return write_cvat(root, shapes)


def write_class_files(root: Path, pattern: str, classes: Sequence[str] = CLASSES[1:]) -> Path:
    """A black and white file a class; `pattern` with {image} and {class}, below masks/."""
    write_pictures(root / "images")
    for number, name in enumerate(NAMES):
        for label in classes:
            mask = (scene(number) == CLASSES.index(label)).astype(np.uint8) * 255
            write(root / "masks" / f"{pattern.replace('{image}', name).replace('{class}', label)}.png", mask)
    return root


def write_object_files(root: Path, images: str, masks: str) -> Path:
    """A black and white file an object; `{}` in the paths stands for the image's name."""
    for number, name in enumerate(NAMES):
        write(root / images.format(name) / f"{name}.png", picture(number))
        ids = instances(number)
        for place, value in enumerate(np.unique(ids)[1:]):
            write(root / masks.format(name) / f"{place}.png", (ids == value).astype(np.uint8) * 255)
    return root
