"""Folder trees as real data sets have them, drawn: pictures of noise, and label images of discs and rectangles."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
RNG = np.random.default_rng(0)


def photo() -> np.ndarray:
    """Noise (H, W, 3) uint8, each time another."""
    return RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def shapes(seed: int, values: Sequence[int] = (1,)) -> np.ndarray:
    """(H, W) uint8: a rectangle or disc for each value, none upon another, on 0."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    width = WIDTH // len(values)
    for place, value in enumerate(values):
        left, top = place * width + 2 + seed % 3, 4 + (seed * (place + 1)) % 9
        if place % 2:
            cv2.circle(drawn, (left + width // 3, top + 12), 6 + seed % 4, value, -1)
        else:
            drawn[top : top + 20, left : left + width - 8] = value
    return drawn


def field() -> np.ndarray:
    """A field of view: 255 in a disc that reaches from side to side."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(drawn, (WIDTH // 2, HEIGHT // 2), (WIDTH // 2, HEIGHT // 2), 0, 0, 360, 255, -1)
    return drawn


def soft(seed: int) -> np.ndarray:
    """Black and white of gray RGB, with edges in between."""
    return np.repeat(cv2.GaussianBlur(shapes(seed, (255,)), (5, 5), 1)[..., None], 3, axis=2)


def save(path: Path, pixels: np.ndarray, palette: Sequence[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image = Image.fromarray(pixels, mode="P")
        image.putpalette(bytes(palette))
    image.save(path)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def content(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def sites(root: Path) -> None:
    """A split, and a folder a site with images/ and masks/ of its own; numbers start anew in each split."""
    palette = [0, 0, 0, 250, 0, 0, 0, 250, 0]
    for split in ("training", "testing"):
        for place, site in enumerate("AB"):
            for number in range(1, 7):
                name = f"{100 * place + number:04}"
                save(root / split / site / "images" / f"{name}.jpg", photo())
                save(root / split / site / "masks" / f"{name}_gt.png", shapes(number, (1, 2)), palette)


def uneven(root: Path) -> None:
    """Folders and endings that are not called alike in the two splits."""
    for number in range(6):
        save(root / f"train/images/{21 + number}_training.tif", photo())
        save(root / f"train/labels/{21 + number}_manual1.png", shapes(number, (255,)))
        save(root / f"test/images/{number + 1:02}_test.tif", photo())
        save(root / f"test/label/{number + 1:02}_manual1.png", shapes(number + 3, (255,)))


def several(root: Path) -> None:
    """Four folders of masks, of which one holds what the others say, and lists of a split."""
    for number in range(10):
        both = shapes(number, (1, 2))
        save(root / f"images/p{number}.jpg", photo())
        save(root / f"masks_crown/p{number}_c.png", (both == 1).astype(np.uint8) * 255)
        save(root / f"masks_root/p{number}_r.png", (both == 2).astype(np.uint8) * 255)
        save(root / f"masks_combined/p{number}_x.png", (both > 0).astype(np.uint8) * 255)
        save(root / f"masks_multiclass/p{number}.png", both)
        content(root / f"annotations/p{number}.json", {"patient": number})
    for split, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10))):
        text(root / f"splits/{split}.txt", *(f"p{number}" for number in numbers))


def ramp(root: Path) -> None:
    """Palette masks whose palette is a ramp of grays."""
    for number in range(8):
        save(root / f"images/{number}.jpg", photo())
        save(root / f"masks/{number}.png", shapes(number, (255,)), [value for gray in range(256) for value in (gray,) * 3])


def boxes_beside(root: Path) -> None:
    """Masks of three gray values, and a COCO file of boxes alone."""
    entries: list[dict[str, object]] = []
    for number in range(8):
        split = "train" if number < 6 else "val"
        save(root / f"images/{split}/{number}.jpg", photo())
        save(root / f"masks/{split}/{number}.png", shapes(number, (127, 254)))
        entries.append({"id": number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH})
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 9, 9], "segmentation": [], "iscrowd": 0} for n in range(8)]
    file = {"images": entries, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    content(root / "annotations/instances_default.json", file)


def years(root: Path, train: bool = True) -> None:
    """YOLO, with three parts of train beside each other."""
    text(root / "data.yaml", "train: ../train/images", "val: ../valid/images", "test: ../test/images", "names: [leaf]")
    parts = [f"train/{{}}_{part}" for part in ("1st", "2nd", "3rd")] if train else ["train/{}"]
    for place, folder in enumerate([*parts, "valid/{}", "test/{}"]):
        for number in range(4):
            save(root / folder.format("images") / f"f{10 * place + number}.jpg", photo())
            text(root / folder.format("labels") / f"f{10 * place + number}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5")


def prepared(root: Path) -> None:
    """Masks with soft edges, and the same as 0 and 1, beside another pair of folders."""
    for number in range(8):
        save(root / f"train/{number}.jpg", photo())
        save(root / f"mask/{number}.png", soft(number))
        save(root / f"mask_prep/{number}.png", (soft(number)[..., 0] >= 128).astype(np.uint8))
        save(root / f"data/images/{number}.jpg", photo())
        save(root / f"data/masks/{number}.png", (soft(number)[..., 0] >= 128).astype(np.uint8))


def via(root: Path) -> None:
    """VIA 1: two files of one split, beside others with other attributes."""
    for folder, label, count in (("", "kind", 6), ("other_a", "state", 3), ("other_b", "state", 3)):
        for split in ("train", "val"):
            files = {}
            for number in range(count):
                name = f"{folder}{split}{number}.jpg"
                save(root / folder / split / name, photo())
                region = {"name": "polygon", "all_points_x": [2, 20, 20, 2], "all_points_y": [3, 3, 15, 15]}
                value = f"{label}_{number % 2}"
                files[f"{name}99"] = {
                    "filename": name,
                    "size": 99,
                    "regions": {"0": {"shape_attributes": region, "region_attributes": {label: value}}},
                }
            content(root / folder / f"{split}_via_project.json", files)


def elsewhere(root: Path) -> None:
    """COCO as Roboflow has it, of which some images lie a folder deeper than the file says."""
    heading = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "cell", "supercategory": "cells"}]
    for split, count in (("train", 6), ("valid", 4)):
        file = {"images": [], "annotations": [], "categories": heading}  # type: ignore[var-annotated]
        for number in range(count):
            deeper = "images/" if split == "valid" and number % 2 else ""
            save(root / split / f"{deeper}{split}{number}.jpg", photo())
            file["images"].append({"id": number, "file_name": f"{split}{number}.jpg", "height": HEIGHT, "width": WIDTH})
            points = [2, 2, 20, 2, 20, 20, 2, 20]
            one = {"id": number, "image_id": number, "category_id": 1, "segmentation": [points], "bbox": [2, 2, 18, 18], "iscrowd": 0}
            file["annotations"].append(one)
        content(root / split / "_annotations.coco.json", file)


def views(root: Path) -> None:
    """Two views of each train, and lists of folds."""
    for number in range(8):
        for view in ("front", "side"):
            save(root / f"images/{view}_{number}.png", photo())
            save(root / f"masks/{view}_{number}.png", shapes(number, (255,)))
    for fold in range(2):
        text(root / f"folds/fold_{fold}.txt", *(f"{view}_{number}" for number in range(fold, 8, 2) for view in ("front", "side")))


def no_images(root: Path) -> None:
    for number in range(8):
        save(root / f"masks/{number}.png", shapes(number, (255,)))
    text(root / "README.md", "The images are to be had elsewhere.")


TREES: dict[str, Callable[[Path], None]] = {
    "sites": sites,
    "uneven": uneven,
    "several": several,
    "ramp": ramp,
    "boxes beside": boxes_beside,
    "years": years,
    "prepared": prepared,
    "via": via,
    "elsewhere": elsewhere,
    "views": views,
    "no images": no_images,
}
