"""The layouts of public data sets, drawn: names of folders and files as they are published, taken without a word from the user."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trees
from recognised import faults, names, splits, taken

Numbers = dict[str, int]


def pair(root: Path, image: str, mask: str, drawn: np.ndarray) -> None:
    trees.save(root / image, trees.photo())
    trees.save(root / mask, drawn)


def two(number: int, white: int = 255) -> np.ndarray:
    return trees.shapes(number, (white,))


def kvasir(root: Path) -> None:
    for number in range(6):
        pair(root, f"Kvasir-SEG/images/cju{number}.jpg", f"Kvasir-SEG/masks/cju{number}.jpg", two(number))


def chase(root: Path) -> None:
    for number in range(1, 5):
        for eye in "LR":
            trees.save(root / f"Image_{number:02}{eye}.jpg", trees.photo())
            for reader in ("1st", "2nd"):
                trees.save(root / f"Image_{number:02}{eye}_{reader}HO.png", two(number + (reader == "2nd")))


def glas(root: Path) -> None:
    for split, count in (("train", 6), ("testA", 4), ("testB", 2)):
        for number in range(1, count + 1):
            pair(root, f"{split}_{number}.bmp", f"{split}_{number}_anno.bmp", trees.shapes(number, tuple(range(1, 13))))


def ade20k(root: Path) -> None:
    for split, short in (("training", "train"), ("validation", "val")):
        for number in range(4):
            name = f"ADE_{short}_{number:08}"
            pair(root, f"images/{split}/{name}.jpg", f"annotations/{split}/{name}.png", trees.shapes(number, (1, 3, 7)))
    trees.text(root / "objectInfo150.txt", "Idx\tRatio\tName", "1\t0.1\twall")


def loveda(root: Path) -> None:
    for split in ("Train", "Val"):
        for place, scene in enumerate(("Rural", "Urban")):
            for number in range(3):
                pair(
                    root,
                    f"{split}/{scene}/images_png/{100 * place + number}.png",
                    f"{split}/{scene}/masks_png/{100 * place + number}.png",
                    trees.shapes(number, (2, 4, 6)),
                )


def potsdam(root: Path) -> None:
    colors = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 0]], np.uint8)
    for number in range(10, 16):
        image = f"2_Ortho_RGB/top_potsdam_2_{number}_RGB.tif"
        pair(root, image, f"5_Labels_all/top_potsdam_2_{number}_label.tif", colors[trees.shapes(number, (1, 2))])


def fives(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(1, 5):
            pair(root, f"{split}/Original/{number}_A.png", f"{split}/Ground truth/{number}_A.png", two(number))


def deepcrack(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(4):
            pair(root, f"{split}_img/{split[:2]}{number}.jpg", f"{split}_lab/{split[:2]}{number}.png", two(number))


def deepglobe(root: Path) -> None:
    for number in range(6):
        pair(root, f"train/{1000 + number}_sat.jpg", f"train/{1000 + number}_mask.png", np.repeat(two(number)[..., None], 3, axis=2))
    for number in range(3):
        trees.save(root / f"valid/{2000 + number}_sat.jpg", trees.photo())


def bccd(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(4):
            pair(root, f"{split}/original/{split}{number}.png", f"{split}/mask/{split}{number}.png", two(number))


def inria(root: Path) -> None:
    for number in range(1, 7):
        pair(root, f"AerialImageDataset/train/images/austin{number}.tif", f"AerialImageDataset/train/gt/austin{number}.tif", two(number))
    for number in range(1, 4):
        trees.save(root / f"AerialImageDataset/test/images/bellingham{number}.tif", trees.photo())


def kitti_road(root: Path) -> None:
    """A word within the masks' names; two kinds of masks; and images of a test set that are called alike."""
    colors = np.array([[255, 0, 0], [255, 0, 255]], np.uint8)
    for kind in ("um", "umm", "uu"):
        for number in range(4):
            name = f"{kind}_{number:06}.png"
            image, mask = f"training/image_2/{name}", f"training/gt_image_2/{kind}_road_{number:06}.png"
            pair(root, image, mask, colors[trees.shapes(number)])
            if kind == "um":
                trees.save(root / mask.replace("road", "lane"), colors[trees.shapes(number + 3)])
            trees.save(root / f"testing/image_2/{name}", trees.photo())


def with_a_word_within(root: Path) -> None:
    for number in range(6):
        pair(root, f"img/s{number}.v{7 * number}.jpg", f"gt/s{number}-mask.v{7 * number}.png", two(number))


SETS: dict[str, tuple[Callable[[Path], None], str, Numbers, int]] = {
    "Kvasir-SEG": (kvasir, "folders", {"unsplit": 6}, 2),
    "CHASE_DB1": (chase, "folders", {"unsplit": 8}, 2),
    "GlaS": (glas, "id_maps", {"unsplit": 12}, 2),
    "ADE20K": (ade20k, "folders", {"unsplit": 4, "val": 4}, 4),
    "LoveDA": (loveda, "folders", {"unsplit": 6, "val": 6}, 4),
    "Potsdam": (potsdam, "folders", {"unsplit": 6}, 3),
    "FIVES": (fives, "folders", {"unsplit": 4, "test": 4}, 2),
    "DeepCrack": (deepcrack, "folders", {"unsplit": 4, "test": 4}, 2),
    "DeepGlobe": (deepglobe, "folders", {"unsplit": 6}, 2),
    "BCCD": (bccd, "folders", {"unsplit": 4, "test": 4}, 2),
    "KITTI road": (kitti_road, "folders", {"unsplit": 12}, 2),
    "a word within": (with_a_word_within, "folders", {"unsplit": 6}, 2),
    "Inria": (inria, "folders", {"unsplit": 6}, 2),
}


@pytest.mark.parametrize("name", SETS)
def test_a_public_layout(tmp_path: Path, name: str) -> None:
    draw, option, numbers, classes = SETS[name]
    draw(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.option, len(names(trial)), trial.odd) == (option, classes, ())
    assert {split: len(found) for split, found in splits(trial, tmp_path).items()} == numbers
    assert faults(trial, tmp_path) == []


def test_a_word_within_names_tells_two_kinds_of_masks_apart(tmp_path: Path) -> None:
    """Images of a test set that are called as those of train are no images of train's masks, and two colours no field of view."""
    kitti_road(tmp_path)
    places = {f"training/gt_image_2/*_{word}_*": "black and white" for word in ("road", "lane")}
    assert {seen.place: seen.what for seen in taken(tmp_path).guess.seen} == places
    assert len(taken(tmp_path, labels="training/gt_image_2/*_lane_*").items) == 4
