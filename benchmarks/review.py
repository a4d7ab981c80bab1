"""Does `seg review` find what is wrong with labels? Faults are planted in known ways, and looked for in its ranked list.

    python benchmarks/review.py --root ../shared/data --sets shapes nuclei --minutes 10
    python benchmarks/review.py --root ../shared/data --sets camvid shapes_classes --minutes 15

Of the labelled objects (of class maps: connected regions of at least 30 pixels) a share is damaged in each of these ways, all in one half
of the images: dropped, its class swapped, its outline shifted by 5 pixels, merged with its nearest neighbour, cut into two; and the labels
of some images are those of another image. A fault is found where one of the first suspects of the list lies on it: a tenth of as many as
there are labelled objects. Images are ranked by their worst suspect, and by cleanlab's score, the soft minimum of Lad and Mueller 2023.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from scipy.ndimage import center_of_mass, distance_transform_edt
from skimage.measure import label as connected
from sklearn.metrics import average_precision_score

from seg.data.sample import IGNORE, ClassInfo, Sample
from seg.data.store import read_annotations, read_entries, read_info, read_sample

ROOT = Path(__file__).resolve().parents[1]
SETS: dict[str, tuple[str, ...]] = {
    "shapes": ("data=shapes", "task=instance"),
    "nuclei": ("data=dsb2018", "task=instance"),
    "camvid": ("data=camvid",),
    "shapes_classes": ("data=shapes",),
}
FOLDERS = {"nuclei": "dsb2018_nuclei", "camvid": "camvid"}
SHIFT, LEAST = 5, 30
MOST_OF_A_KIND = 9  # faults in an image
KINDS = ("dropped", "swapped", "shifted", "merged", "cut")


@dataclass(frozen=True)
class Fault:
    """mask: (H, W) bool, where something is wrong."""

    image_id: str
    kind: str
    mask: np.ndarray


def run(stage: str, folder: Path, *overrides: str) -> None:
    command = [sys.executable, "-m", "seg", stage, *overrides, f"hydra.run.dir={folder}", "runtime.progress=none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def samples_of(prepared: Path, objects: bool) -> tuple[list[Sample], list[ClassInfo]]:
    info, found = read_info(prepared), []
    for split in ("train", "val", "test"):
        annotations = read_annotations(prepared / split) if objects else {}
        for entry in read_entries(prepared / split):
            found.append(read_sample(prepared / split, entry, info.channels, annotations.get(entry.file, ())))
    return found, info.classes


def maps_of(sample: Sample, objects: bool) -> tuple[np.ndarray, dict[int, int]]:
    """A map of ids, 0 where there is none, and the class of each: of instances the topmost, else connected regions of classes."""
    if objects:
        ids = sample.instances.max(axis=2, initial=0)
        return ids, {i + 1: int(c) for i, c in enumerate(sample.categories) if (ids == i + 1).any() and not sample.crowd[i]}
    ids = np.where(sample.semantic == IGNORE, 0, connected(sample.semantic.astype(np.int64), background=-1, connectivity=1))
    kept = [i for i in range(1, int(ids.max()) + 1) if (ids == i).sum() >= LEAST]
    return ids, {i: int(sample.semantic[ids == i][0]) for i in kept}


def damaged(
    ids: np.ndarray, classes: dict[int, int], number: int, kind: str, rng: np.random.Generator, known: list[int], objects: bool
) -> Any:
    """The map and the classes with a fault, and where it is; None where it is not possible here."""
    ids, classes, own = ids.copy(), dict(classes), ids == number
    if kind == "dropped" or (kind == "swapped" and not objects):
        if objects:
            ids[own] = 0
            del classes[number]
        elif kind == "dropped":  # as one of the regions around it
            around = ids[cv2.dilate(own.astype(np.uint8), np.ones((3, 3))).astype(bool) & ~own & (ids > 0)]
            around = around[[int(i) in classes and classes[int(i)] != classes[number] for i in around]]
            if not len(around):
                return None
            classes[number] = classes[int(np.bincount(around).argmax())]
        else:
            classes[number] = int(rng.choice([c for c in known if c != classes[number]]))
        return ids, classes, own
    if kind == "swapped":
        others = [c for c in known if c != classes[number]]
        if not others:
            return None
        classes[number] = int(rng.choice(others))
        return ids, classes, own
    if kind == "shifted":
        angle = rng.uniform(0, 2 * np.pi)
        dy, dx = round(SHIFT * float(np.sin(angle))), round(SHIFT * float(np.cos(angle)))
        moved = cv2.warpAffine(own.astype(np.uint8), np.float32([[1, 0, dx], [0, 1, dy]]), own.shape[::-1]).astype(bool)
        if not objects:
            ids = np.where(own, _nearest(np.where(own, 0, ids)), ids)
        else:
            ids[own] = 0
        ids[moved] = number
        return ids, classes, own ^ moved
    if not objects:
        return None
    if kind == "merged":
        centre = center_of_mass(own)
        alike = {i: center_of_mass(ids == i) for i, c in classes.items() if i != number and c == classes[number] and (ids == i).any()}
        close = min(alike, key=lambda i: np.hypot(alike[i][0] - centre[0], alike[i][1] - centre[1]), default=None)
        if close is None or np.hypot(alike[close][0] - centre[0], alike[close][1] - centre[1]) > 3 * own.sum() ** 0.5:
            return None
        place = own | (ids == close)
        ids[ids == close] = number
        del classes[close]
        return ids, classes, place
    rows, columns = np.nonzero(own)
    points = np.stack([rows - rows.mean(), columns - columns.mean()])
    axis = np.linalg.eigh(points @ points.T)[1][:, 1]
    new = max(classes) + 1
    ids[rows[axis @ points > 0], columns[axis @ points > 0]] = new
    classes[new] = classes[number]
    return ids, classes, own


def _nearest(ids: np.ndarray) -> np.ndarray:
    place = distance_transform_edt(ids == 0, return_distances=False, return_indices=True)
    return ids[tuple(place)]


def plant(samples: list[Sample], classes: list[ClassInfo], objects: bool, share: float, seed: int) -> tuple[list[Any], list[Fault]]:
    """(ids, classes of ids) of each image, and what is wrong with them. A label has one fault at most."""
    rng = np.random.default_rng(seed)
    maps = [maps_of(sample, objects) for sample in samples]
    total, faults = sum(len(c) for _, c in maps), []
    known = sorted({c for _, of_id in maps for c in of_id.values()})
    order = rng.permutation(len(samples)).tolist()
    whole = order[: max(1, round(share * len(samples)))] if len({s.size for s in samples}) == 1 else []
    originals = [maps[i] for i in whole]
    for place, other in zip(whole, originals[1:] + originals[:1], strict=True):
        if len(whole) > 1:
            maps[place] = other
            faults.append(Fault(samples[place].image_id, "image", np.ones(samples[place].size, bool)))
    left = order[len(whole) : len(order) // 2]  # the labels of the other half of the images stay as they are
    touched: dict[int, set[int]] = defaultdict(set)
    for kind in KINDS:
        wanted = round(share * total)
        for index in rng.permutation(left).tolist() * MOST_OF_A_KIND:
            ids, of_id = maps[index]
            free = of_id.keys() - touched[index]
            numbers = [n for n in sorted(free) if (ids == n).sum() >= LEAST and (objects or (ids == n).mean() < 0.2)]
            if not wanted:
                break
            if not numbers or not (made := damaged(ids, of_id, number := int(rng.choice(numbers)), kind, rng, known, objects)):
                continue
            touched[index] |= {number} | (of_id.keys() ^ made[1].keys()) | set(np.unique(made[0][made[2]]).tolist())
            maps[index] = made[:2]
            faults.append(Fault(samples[index].image_id, kind, made[2]))
            wanted -= 1
    return maps, faults


def write(folder: Path, samples: list[Sample], maps: list[Any], classes: list[ClassInfo], objects: bool) -> list[str]:
    """The damaged set as a raw folder; the overrides that read it."""
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    rows = [("image", "id", "class")]
    for sample, (ids, of_id) in zip(samples, maps, strict=True):
        name = sample.image_id.replace("/", "__")
        cv2.imwrite(str(folder / f"images/{name}.png"), sample.image[..., ::-1])
        if objects:
            cv2.imwrite(str(folder / f"masks/{name}.png"), np.where(np.isin(ids, list(of_id)), ids, 0).astype(np.uint16))
            rows += [(f"{name}.png", i, classes[c].name) for i, c in of_id.items()]
        else:
            table = np.full(int(ids.max()) + 1, -1)
            table[list(of_id)] = list(of_id.values())
            new = np.where(table[ids] >= 0, table[ids], sample.semantic)
            cv2.imwrite(str(folder / f"masks/{name}.png"), new.astype(np.uint8))
    with open(folder / "classes.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    named = ",".join(f"{{name:{c.name},color:{list(c.color)}}}".replace(" ", "") for c in classes)
    common = [
        f"data.root={folder}",
        "data.source.images=images",
        "data.source.masks=masks",
        f"data.classes=[{named}]",
        "data.split.stratify=false",
    ]
    return (
        [*common, "data=id_maps", "data.source.category=null", "data.source.categories=classes.csv"]
        if objects
        else [*common, "data=folders", f"data.source.ignore=[{IGNORE}]"]
    )


def score(folder: Path, faults: list[Fault], total: int) -> dict[str, Any]:
    """Share of the faults that the first tenth of the list finds, by kind; and average precisions of images."""
    suspects = json.loads((folder / "review/review.json").read_text())["suspects"]
    rows = csv.DictReader((folder / "review/images.csv").read_text().splitlines())
    quality = {row["image_id"]: 1 - float(row["label_quality"]) for row in rows}
    by_image: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_image[fault.image_id.replace("/", "__")].append(fault)
    first, counts = total // 10, Counter(fault.kind for fault in faults)
    seen: set[int] = set()
    for one in suspects[:first]:
        if left := [f for f in by_image.get(one["image_id"], ()) if id(f) not in seen]:
            masks = [{"size": one["size"], "counts": c} for c in one["labelled"] + one["suggested"]]
            mask = coco_mask.decode(coco_mask.merge(masks)).astype(bool)
            seen |= {id(f) for f in left if (mask & f.mask).sum() >= 0.3 * min(mask.sum(), f.mask.sum())}
    found = Counter(f.kind for f in faults if id(f) in seen)
    names = list(quality)
    bad = [name in by_image for name in names]
    worst = dict.fromkeys(names, 0.0)
    for one in reversed(suspects):
        worst[one["image_id"]] = one["score"]
    return {
        "objects": total,
        "faults": dict(counts),
        "found in the first tenth": {kind: round(found[kind] / counts[kind], 3) for kind in counts},
        "AP of images, by their worst suspect": round(float(average_precision_score(bad, [worst[n] for n in names])), 3),
        "AP of images, by label quality": round(float(average_precision_score(bad, [quality[n] for n in names])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds the real data sets")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_review"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--share", type=float, default=0.01, help="of the objects that are damaged in each way")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10, help="of all folds together")
    parser.add_argument("--images", type=int, default=600, help="of shapes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.sets:
        folder, objects = (given.out / name).resolve(), "task=instance" in SETS[name]
        root = [f"data.root={(given.root / FOLDERS[name]).resolve()}"] if name in FOLDERS else [f"data.source.num_images={given.images}"]
        run("prepare", folder / "clean", *SETS[name], *root)
        samples, classes = samples_of(folder / "clean", objects)
        maps, faults = plant(samples, classes, objects, given.share, given.seed)
        overrides = write(folder / "raw", samples, maps, classes, objects)
        own = [
            *overrides,
            *(["task=instance"] if objects else []),
            f"plan.folds={given.folds}",
            f"plan.minutes={given.minutes}",
            "plan.pretrained=false",
        ]
        own += [f"paths.{key}={folder / key}" for key in ("prepare", "plan", "divide", "fold", "review", "marks")]
        for stage in ("prepare", "plan", "divide"):
            run(stage, folder / stage, *own)
        for fold in range(1, given.folds + 1):
            place = folder / "fold" / str(given.folds) / str(fold)
            view = [*own, f"paths.prepare={folder / 'divide' / str(fold)}", f"paths.augment={place / 'augmented'}"]
            run("augment", place / "augmented", *view)
            run("train", place, *view)
        run("review", folder / "review", *own)
        told = score(folder, faults, sum(len(c) for _, c in maps))
        print(name, json.dumps(told, indent=1), flush=True)


if __name__ == "__main__":
    main()
