"""Data sets of many kinds, drawn as a stranger would bring them, and trained by their plan alone.

    python benchmarks/kinds.py --out outputs/kinds --minutes 2
    python benchmarks/kinds.py --out outputs/kinds --sets vessels two --stages draw init prepare plan

Each set is drawn with a fixed seed into a folder of files in a usual format. Then a new project (`seg new`) takes it: `seg init`,
`prepare`, `plan`, `augment`, `train`, `evaluate`, and `predict` on one of its images, with no setting but the data, the task and the
minutes. The table has the test figure beside a plain baseline: for pixels the most frequent class everywhere, for objects none found.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import yaml

Rng = np.random.Generator
STAGES = ("draw", "init", "prepare", "plan", "augment", "train", "evaluate", "predict")


def noise(rng: Rng, height: int, width: int, grain: float, low: float, high: float) -> np.ndarray:
    """Smooth random values (H, W) between two levels; grain: pixels of a patch."""
    coarse = rng.random((max(2, int(height / grain)), max(2, int(width / grain))), np.float32)
    return low + (high - low) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def textured(rng: Rng, height: int, width: int, color: tuple[float, ...], strength: float = 30) -> np.ndarray:
    """(H, W, C) float32: a colour with patches and grain."""
    patches = noise(rng, height, width, 40, -strength, strength) + rng.normal(0, strength / 4, (height, width)).astype(np.float32)
    return np.array(color, np.float32) + patches[..., None]


def save(path: Path, image: np.ndarray) -> None:
    """An 8-bit image, gray or RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image.clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def blob(rng: Rng, centre: tuple[float, float], radius: float, corners: int = 14, rough: float = 0.25) -> np.ndarray:
    """A closed outline (N, 2) of int32 about (x, y)."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = radius * (1 + rng.uniform(-rough, rough, corners))
    return np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], 1).round().astype(np.int32)


def walk(rng: Rng, height: int, width: int, steps: int, length: float, bend: float) -> np.ndarray:
    """A winding line (N, 2) of int32 that starts anywhere."""
    at, angle, points = np.array([rng.uniform(0, width), rng.uniform(0, height)]), rng.uniform(0, 2 * np.pi), []
    for _ in range(steps):
        points.append(at.copy())
        angle += rng.normal(0, bend)
        at += length * np.array([np.cos(angle), np.sin(angle)])
    return np.array(points).round().astype(np.int32)


def photographs(folder: Path, rng: Rng) -> None:
    """60 photographs with one to four large objects of three kinds, and a COCO file of polygons."""
    names, images, annotations = ("mug", "book", "plant"), [], []
    colors = {"mug": (70, 110, 190), "book": (190, 60, 50), "plant": (50, 130, 50)}
    for number in range(60):
        height, width = [(480, 640), (640, 480), (600, 800)][number % 3]
        image = textured(rng, height, width, tuple(rng.uniform(120, 190, 3)))
        image[int(height * rng.uniform(0.4, 0.6)) :] -= 60  # a table before a wall
        for _ in range(rng.integers(1, 5)):
            kind, radius = int(rng.integers(3)), rng.uniform(0.12, 0.3) * min(height, width)
            centre = (rng.uniform(0.15, 0.85) * width, rng.uniform(0.3, 0.85) * height)
            outline = blob(rng, centre, radius, 16, 0.3) if kind == 2 else blob(rng, centre, radius, 24, 0.02)
            if kind == 1:
                outline = cv2.boxPoints((centre, (radius * 2, radius * 1.4), rng.uniform(-20, 20))).round().astype(np.int32)
            outline = outline.clip(0, (width - 1, height - 1))
            mask = cv2.fillPoly(np.zeros((height, width), np.uint8), [outline], 1) > 0
            image[mask] = (textured(rng, height, width, colors[names[kind]], 25))[mask]
            box = cv2.boundingRect(outline)
            polygon = outline.reshape(-1).tolist()
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "segmentation": [polygon], "bbox": list(box)}
                | {"area": float(mask.sum()), "iscrowd": 0}
            )
        file = f"IMG_{number:04d}.jpg"
        images.append({"id": number, "file_name": file, "height": height, "width": width})
        save(folder / "images" / file, image)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))


def vessels(folder: Path, rng: Rng) -> None:
    """24 photographs of an eye's ground, 1000 x 1000, with vessels 3 pixels wide, and masks of 0 and 255."""
    for number in range(24):
        image, mask = textured(rng, 1000, 1000, (190, 90, 40), 25), np.zeros((1000, 1000), np.uint8)
        for _ in range(40):
            cv2.polylines(mask, [walk(rng, 1000, 1000, 40, 15, 0.2)], False, 255, 3)
        image -= cv2.GaussianBlur(mask, (3, 3), 0)[..., None] / 255 * np.array([45, 40, 20]) * rng.uniform(0.6, 1.1)
        save(folder / "images" / f"{number:02d}_training.jpg", image)
        save(folder / "masks" / f"{number:02d}_training.png", mask)


AERIAL = {"soil": (13, 120, 7), "road": (255, 0, 255), "roof": (17, 17, 99), "water": (250, 250, 3)}


def land(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """500 x 500 pixels of land from above (H, W, 3), and the places of their classes in AERIAL (H, W)."""
    looks, labels = ((95, 115, 70), (130, 130, 135), (165, 90, 75), (50, 75, 95)), np.zeros((500, 500), np.uint8)
    if rng.random() < 0.4:
        cv2.fillPoly(labels, [blob(rng, tuple(rng.uniform(0, 500, 2)), rng.uniform(60, 140))], 3)
    for _ in range(rng.integers(1, 4)):
        cv2.polylines(labels, [walk(rng, 500, 500, 30, 30, 0.1)], False, 1, int(rng.integers(8, 16)))
    for _ in range(rng.integers(4, 14)):
        shape = (tuple(rng.uniform(0, 500, 2)), tuple(rng.uniform(20, 60, 2)), rng.uniform(0, 90))
        cv2.fillPoly(labels, [cv2.boxPoints(shape).astype(np.int32)], 2)
    image = np.zeros((500, 500, 3), np.float32)
    for index, color in enumerate(looks):
        image[labels == index] = textured(rng, 500, 500, color, 22)[labels == index]
    return image.clip(0, 255).astype(np.uint8), labels


def aerial(folder: Path, rng: Rng) -> None:
    """60 tiles of 500 x 500 from above, and masks in colours of their own."""
    for number in range(60):
        image, labels = land(rng)
        save(folder / "tiles" / f"tile_{number:03d}.png", image)
        save(folder / "labels" / f"tile_{number:03d}.png", np.array(list(AERIAL.values()), np.uint8)[labels])


def huge(folder: Path, rng: Rng) -> None:
    """One image of 20,000 x 20,000 from above as a TIFF of 1.2 GB, and class indices."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    image = tifffile.memmap(folder / "images" / "ortho.tif", shape=(20_000, 20_000, 3), dtype=np.uint8, photometric="rgb")
    labels = np.zeros((20_000, 20_000), np.uint8)
    lands = [land(rng) for _ in range(60)]
    for y in range(0, 20_000, 500):
        for x in range(0, 20_000, 500):
            turns, (pixels, classes) = int(rng.integers(4)), lands[int(rng.integers(60))]
            image[y : y + 500, x : x + 500] = np.rot90(pixels, turns)
            labels[y : y + 500, x : x + 500] = np.rot90(classes, turns)
    image.flush()
    tifffile.imwrite(folder / "masks" / "ortho.tif", labels, compression="zlib", rowsperstrip=512)


def sections(folder: Path, rng: Rng) -> None:
    """A stack of 30 gray sections, 512 x 512 in 16 bit, and the cells' membranes as 255 on 0. Cells move a little between sections."""
    seeds, (y, x) = rng.uniform(-40, 552, (220, 2)).astype(np.float32), np.mgrid[:512, :512].astype(np.float32)
    for number in range(30):
        seeds += rng.normal(0, 2.5, seeds.shape).astype(np.float32)
        labels = np.zeros((512, 512), np.int32)
        nearest = np.full((512, 512), np.inf, np.float32)
        for index, (cy, cx) in enumerate(seeds):
            distance = (y - cy) ** 2 + (x - cx) ** 2
            labels[distance < nearest] = index
            nearest = np.minimum(nearest, distance)
        edges = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        mask = cv2.dilate(edges.astype(np.uint8), np.ones((2, 2), np.uint8))
        image = (
            noise(rng, 512, 512, 30, 2200, 2900)
            + rng.normal(0, 160, (512, 512))
            - 900 * cv2.GaussianBlur(mask.astype(np.float32), (5, 5), 0)
        )
        for _ in range(60):  # organelles, as dark as membranes
            cv2.circle(image, tuple(rng.integers(0, 512, 2).tolist()), int(rng.integers(3, 8)), float(rng.uniform(1300, 1900)), -1)
        for part, values in (("raw", image.clip(0, 4095).astype(np.uint16)), ("membranes", mask * np.uint8(255))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / part / f"section{number:03d}.tif", values)


def leaves(folder: Path, rng: Rng, count: int = 20, size: tuple[int, int] = (300, 400)) -> None:
    """Few photographs of leaves with spots: class indices 0, 1, 2."""
    for number in range(count):
        labels = np.zeros(size, np.uint8)
        for _ in range(rng.integers(2, 5)):
            centre = (rng.uniform(0, size[1]), rng.uniform(0, size[0]))
            cv2.fillPoly(labels, [blob(rng, centre, rng.uniform(0.15, 0.3) * size[0])], 1)
        for y, x in rng.permutation(np.argwhere(labels == 1))[: int(rng.integers(5, 20))]:
            cv2.circle(labels, (int(x), int(y)), int(rng.integers(4, 12)), 2, -1)
        image = np.zeros((*size, 3), np.float32)
        for index, color in enumerate(((120, 95, 75), (70, 140, 60), (150, 130, 50))):
            image[labels == index] = textured(rng, *size, color, 25)[labels == index]
        save(folder / "images" / f"leaf{number}.jpg", image)
        save(folder / "masks" / f"leaf{number}.png", labels)


def two(folder: Path, rng: Rng) -> None:
    """The same, of two images in all."""
    leaves(folder, rng, 2, (600, 600))


def sizes(folder: Path, rng: Rng) -> None:
    """24 images of 200 to 4000 pixels, of walls with cracks as wide as a hundredth of the image."""
    for number, side in enumerate(np.geomspace(200, 4000, 24)):
        height, width = int(side), int(side * rng.uniform(0.6, 1.0))
        image, mask = textured(rng, height, width, (170, 165, 155), 20), np.zeros((height, width), np.uint8)
        for _ in range(3):
            cv2.polylines(mask, [walk(rng, height, width, 40, side / 40, 0.3)], False, 1, max(2, int(side / 100)))
        image[mask > 0] -= 70
        save(folder / "photos" / f"wall_{number:02d}.jpg", image)
        save(folder / "masks" / f"wall_{number:02d}.png", mask)


def bands(folder: Path, rng: Rng) -> None:
    """60 scenes of five bands of reflectance as float TIFF, and land cover by index."""
    spectra = np.array([(0.05, 0.08, 0.06, 0.35, 0.2), (0.1, 0.14, 0.18, 0.25, 0.3), (0.04, 0.05, 0.03, 0.02, 0.01)], np.float32)
    for number in range(60):
        labels = (noise(rng, 256, 256, 60, 0, 1) > 0.55).astype(np.uint8)
        cv2.fillPoly(labels, [blob(rng, tuple(rng.uniform(0, 256, 2)), rng.uniform(25, 70))], 2)
        image = spectra[labels] * noise(rng, 256, 256, 50, 0.7, 1.3)[..., None] + rng.normal(0, 0.02, (256, 256, 5)).astype(np.float32)
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            folder / "images" / f"scene_{number:03d}.tif", image.transpose(2, 0, 1).astype(np.float32), photometric="minisblack"
        )
        save(folder / "labels" / f"scene_{number:03d}.png", labels)


def rare(folder: Path, rng: Rng) -> None:
    """80 pictures of cloth; scratches and holes have 0.2 % of the pixels."""
    for number in range(80):
        image, mask = textured(rng, 512, 512, (110, 110, 125), 18), np.zeros((512, 512), np.uint8)
        image += 12 * np.sin(np.arange(512) / 2.5)[:, None, None]
        for _ in range(rng.integers(1, 4)):
            x, y = rng.integers(20, 490, 2).tolist()
            if rng.random() < 0.5:
                cv2.line(mask, (x, y), (x + int(rng.integers(-60, 60)), y + int(rng.integers(-60, 60))), 255, 4)
            else:
                cv2.circle(mask, (x, y), int(rng.integers(5, 11)), 255, -1)
        image[mask > 0] += rng.choice([-45, 45])
        save(folder / "images" / f"cloth{number:03d}.png", image)
        save(folder / "ground_truth" / f"cloth{number:03d}_mask.png", mask)


def discs(folder: Path, rng: Rng) -> None:
    """30 images of about 300 small discs that touch, 400 x 400 gray, and id maps in 16 bit."""
    for number in range(30):
        ids, image = np.zeros((400, 400), np.uint16), noise(rng, 400, 400, 50, 30, 60)
        left, top = rng.uniform(-12, 12, 2)
        for row in range(-1, 20):
            for column in range(-1, 19):
                centre = (left + column * 23 + 11 * (row % 2) + rng.normal(0, 1.2), top + row * 21 + rng.normal(0, 1.2))
                disc = cv2.circle(np.zeros((400, 400), np.uint8), tuple(map(round, centre)), int(rng.integers(9, 12)), 1, -1) > 0
                disc &= ids == 0
                ids[disc] = ids.max() + 1
                image[disc] = rng.uniform(110, 170)
        image = cv2.GaussianBlur(image, (3, 3), 0) + rng.normal(0, 6, image.shape)
        save(folder / "images" / f"plate_{number:02d}.png", image)
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / "masks" / f"plate_{number:02d}.tif", ids)


@dataclass(frozen=True)
class Kind:
    """draw: writes the files of a set. image: one to predict. init: arguments, of which `seg init` itself says that they are needed."""

    draw: Callable[[Path, Rng], None]
    image: str
    init: tuple[str, ...] = ()


KINDS = {
    "photographs": Kind(photographs, "images/IMG_0000.jpg"),
    "vessels": Kind(vessels, "images/00_training.jpg"),
    "aerial": Kind(aerial, "tiles/tile_000.png"),
    "sections": Kind(sections, "raw/section000.tif"),
    "leaves": Kind(leaves, "images/leaf0.jpg"),
    "two": Kind(two, "images/leaf0.jpg"),
    "sizes": Kind(sizes, "photos/wall_23.jpg"),
    "bands": Kind(bands, "images/scene_000.tif"),
    "rare": Kind(rare, "images/cloth000.png"),
    "discs": Kind(discs, "images/plate_00.png"),
    "huge": Kind(huge, "images/ortho.tif"),
}


@dataclass(frozen=True)
class Place:
    """Where a set is drawn and taken through. data: its files; project: of all sets; runs: what the stages write of it."""

    out: Path
    name: str

    @property
    def data(self) -> Path:
        return self.out / "data" / self.name

    @property
    def project(self) -> Path:
        return self.out / "project"

    @property
    def runs(self) -> Path:
        return self.project / "runs" / self.name

    def seg(self, *arguments: str) -> str:
        """What a command prints, which is kept in a file, too."""
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "seg", *arguments], cwd=self.project, capture_output=True, text=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        text = f"{done.stdout}{done.stderr}\n{arguments[0]}: {time.perf_counter() - started:.0f} s, at most {peak:.1f} GB so far\n"
        (self.out / "said").mkdir(exist_ok=True)
        (self.out / "said" / f"{self.name}_{arguments[0]}.txt").write_text(text)
        if done.returncode:
            raise RuntimeError(f"{self.name}: seg {' '.join(arguments)} ended with {done.returncode}:\n{text[-3000:]}")
        return text


def taken(place: Place, kind: Kind, minutes: float, stages: list[str]) -> None:
    """Draw a set, and take it through the stages."""
    if "draw" in stages and not place.data.exists():
        kind.draw(place.data, np.random.default_rng(list(KINDS).index(place.name)))
    if not place.project.exists():
        subprocess.run([sys.executable, "-m", "seg", "new", str(place.project)], check=True, capture_output=True)
    if "init" in stages:
        place.seg("init", str(place.data), "--force", *kind.init)
    said = (place.out / "said" / f"{place.name}_init.txt").read_text()
    task = ["task=instance"] if "task=instance" in said else []
    paths = [f"paths.{name}=runs/{place.name}/{name}" for name in ("prepare", "augment", "train", "evaluate", "plan")]
    own = [f"data={place.name}", *task, f"plan.minutes={minutes:g}", *paths, "runtime.progress=none"]
    for stage in ("prepare", "plan", "augment", "train", "evaluate"):
        if stage in stages:
            place.seg(stage, *own, f"hydra.run.dir=runs/{place.name}/{stage}")
    if "predict" in stages:
        place.seg("predict", f"runs/{place.name}/train/best.ckpt", str(place.data / kind.image), "--out", f"runs/{place.name}/predict")


def row(place: Place) -> str:
    """A line of the table."""
    plan = yaml.safe_load((place.runs / "plan/plan.yaml").read_text())
    info = json.loads((place.runs / "prepare/dataset.json").read_text())
    figures = json.loads((place.runs / "evaluate/metrics.json").read_text())["test"]
    if "mask_ap50" in figures:
        shown, plain = f"mask AP50 {figures['mask_ap50']:.3f}, F1 {figures['f1_50']:.3f}", "0"
    else:
        shown, plain = f"mIoU {figures['miou']:.3f}", f"{baseline(info['splits']['test']):.3f}"
    crop, trainer = plan["augment"]["crop"], plan["trainer"]
    seen = "whole" if not crop else "x".join(map(str, crop["size"]))
    steps = trainer["epoch_steps"] * trainer["max_epochs"]
    return f"| {place.name} | {shown} | {plain} | {plan['model']['name']}, scale {plan['model']['scale']}, {seen}, {steps} steps |"


def baseline(counts: dict[str, Any]) -> float:
    """mIoU of the most frequent class everywhere."""
    pixels = np.array(counts["class_pixels"])
    return float(pixels.max() / pixels.sum() / (pixels > 0).sum())


def main() -> None:
    """Take each set through, and print a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/kinds"))
    parser.add_argument("--sets", nargs="+", choices=KINDS, default=[name for name in KINDS if name != "huge"])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    given.out.mkdir(parents=True, exist_ok=True)
    print("| data | test figure | baseline | planned |\n|---|---|---|---|", flush=True)
    for name in given.sets:
        place = Place(given.out.resolve(), name)
        taken(place, KINDS[name], given.minutes, given.stages)
        if "evaluate" in given.stages:
            print(row(place), flush=True)


if __name__ == "__main__":
    main()
