"""How long instance figures take, and how much memory: ours, and torchmetrics' MeanAveragePrecision on fewer images.

    python benchmarks/instance_metrics.py --images 1000 --compare 200

Images hold random ellipses that overlap; most are predicted, shifted by a few pixels, some of another class, and some
predictions are invented. Each variant runs in a process of its own, which makes the same images one batch after the other:
making them is not timed, and memory is the highest resident size less that before the first image. Ours is handed masks as run
lengths, as models give them; "dense" adds the time to encode them from the dense masks that torchmetrics is handed. Ours counts
more: AP of masks and of boxes, matching at nine thresholds, panoptic quality and AJI; torchmetrics AP of masks alone.
Wall time and processor time are both given: beside busy neighbours only the latter tells much, but it adds up all threads.
"""

import argparse
import multiprocessing
import os
import resource

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter, process_time

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

from seg.batch import Batch, collate
from seg.labelmaps import layers_from_masks
from seg.metrics.instance import InstanceMetrics
from seg.sample import Prediction, Sample

CLASSES = ["background", "a", "b", "c"]
BATCH = 8


@dataclass
class Made:
    """A batch in the forms that the variants take."""

    batch: Batch
    truth: list[np.ndarray]  # per image (N, H, W) bool
    predicted: list[np.ndarray]
    predictions: list[Prediction]  # without masks


@dataclass
class Cost:
    update_s: float
    figures_s: float
    cpu_s: float
    memory_mb: float
    ap: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=20, help="true instances in an image")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--compare", type=int, default=200, help="images of the comparison; 0 to leave it out")
    given = parser.parse_args()
    print(f"{given.instances} instances in an image of {given.size}x{given.size} pixels, {len(CLASSES) - 1} classes")
    print(f"{'':<36}{'images':>8}{'update':>10}{'figures':>10}{'wall':>10}{'cpu':>10}{'memory':>10}{'mask AP':>10}")
    show("ours", given.images, run("ours", given.images, given))
    if given.compare:
        costs = {name: run(name, given.compare, given) for name in ("ours", "ours, dense", "faster_coco_eval", "pycocotools")}
        for name, cost in costs.items():
            show(name if name.startswith("ours") else f"torchmetrics, {name}", given.compare, cost)
        for name in ("faster_coco_eval", "pycocotools"):
            own, theirs = costs["ours, dense"], costs[name]
            np.testing.assert_allclose(theirs.ap, own.ap, atol=1e-6)
            wall = (theirs.update_s + theirs.figures_s) / (own.update_s + own.figures_s)
            memory = theirs.memory_mb / own.memory_mb
            print(f"torchmetrics, {name} / ours, dense: wall {wall:.2f}, cpu {theirs.cpu_s / own.cpu_s:.2f}, memory {memory:.2f}")


def show(name: str, images: int, cost: Cost) -> None:
    times = [cost.update_s, cost.figures_s, cost.update_s + cost.figures_s, cost.cpu_s]
    print(f"{name:<36}{images:>8}" + "".join(f"{t:>8.2f} s" for t in times) + f"{cost.memory_mb:>7.0f} MB{cost.ap:>10.4f}", flush=True)


def run(name: str, images: int, given: argparse.Namespace) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(ours if name.startswith("ours") else torchmetrics_of, (name, images, given.instances, given.size))


def ours(name: str, images: int, instances: int, size: int) -> Cost:
    for made in batches(BATCH, instances, size):  # numba's loops are loaded, and what is loaded late
        warm = InstanceMetrics(CLASSES, 0.5, 100)
        warm.update(made.batch, with_masks(made))
        warm.figures()
    metrics, clock, before = InstanceMetrics(CLASSES, 0.5, 100), Clock(), peak_mb()
    for made in batches(images, instances, size):
        with clock if name == "ours, dense" else nullcontext():
            predictions = with_masks(made)
        with clock:
            metrics.update(made.batch, predictions)
    update = clock.wall
    with clock:
        ap = metrics.figures()["mask_ap"]
    return Cost(update, clock.wall - update, clock.cpu, peak_mb() - before, ap)


def torchmetrics_of(backend: str, images: int, instances: int, size: int) -> Cost:
    from torchmetrics.detection import MeanAveragePrecision

    def fresh() -> MeanAveragePrecision:
        # its own thresholds are rounded to float32, which is not quite COCO's average precision
        ious, recalls = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0, 1, 101).tolist()
        return MeanAveragePrecision(iou_type="segm", iou_thresholds=ious, rec_thresholds=recalls, backend=backend)

    def update(metrics: MeanAveragePrecision, made: Made) -> None:
        predictions = [
            {"masks": torch.from_numpy(m), "scores": torch.from_numpy(p.scores), "labels": torch.from_numpy(p.categories)}
            for m, p in zip(made.predicted, made.predictions, strict=True)
        ]
        truth = [{"masks": torch.from_numpy(m), "labels": c} for m, c in zip(made.truth, made.batch.categories, strict=True)]
        metrics.update(predictions, truth)

    for made in batches(BATCH, instances, size):
        warm = fresh()
        update(warm, made)
        warm.compute()
    metrics, clock, before = fresh(), Clock(), peak_mb()
    for made in batches(images, instances, size):
        with clock:
            update(metrics, made)
    updated = clock.wall
    with clock:
        ap = float(metrics.compute()["map"])
    return Cost(updated, clock.wall - updated, clock.cpu, peak_mb() - before, ap)


class Clock:
    """Adds up the seconds spent within it."""

    wall = cpu = 0.0

    def __enter__(self) -> None:
        self.started = perf_counter(), process_time()

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = self.wall + perf_counter() - self.started[0], self.cpu + process_time() - self.started[1]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def batches(images: int, instances: int, size: int) -> Iterator[Made]:
    for start in range(0, images, BATCH):
        yield make([make_image(index, instances, size) for index in range(start, min(images, start + BATCH))])


def make_image(index: int, instances: int, size: int) -> tuple[Sample, np.ndarray, np.ndarray, Prediction]:
    """A sample, its masks, the predicted masks, and the prediction without them."""
    rng = np.random.default_rng(index)
    ellipses = np.column_stack([rng.integers(0, size, (instances, 2)), rng.integers(3, max(4, size // 6), (instances, 2))])
    angles, categories = rng.integers(0, 180, instances), rng.integers(1, len(CLASSES), instances).astype(np.int32)
    truth = np.stack([draw(e, a, size) for e, a in zip(ellipses, angles, strict=True)])
    kept = np.flatnonzero(rng.random(instances) < 0.9)
    moved = ellipses[kept] + rng.integers(-2, 3, (len(kept), 4))
    invented = np.column_stack([rng.integers(0, size, (3, 2)), rng.integers(3, max(4, size // 6), (3, 2))])
    shapes, turns = np.concatenate([moved, invented]), np.concatenate([angles[kept], rng.integers(0, 180, 3)])
    predicted = np.stack([draw(e, a, size) for e, a in zip(shapes, turns, strict=True)])
    found = np.concatenate([categories[kept], rng.integers(1, len(CLASSES), 3)]).astype(np.int32)
    found = np.where(rng.random(len(found)) < 0.1, rng.integers(1, len(CLASSES), len(found)), found).astype(np.int32)
    boxes = np.array([[*np.argwhere(m).min(0)[::-1], *(np.argwhere(m).max(0)[::-1] + 1)] for m in predicted], np.float32)
    prediction = Prediction(scores=rng.random(len(found)).astype(np.float32), categories=found, boxes=boxes)
    image, semantic = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    sample = Sample(f"{index:06d}", image, semantic, layers_from_masks(truth, size, size), categories, np.zeros(instances, bool))
    return sample, truth, predicted, prediction


def draw(ellipse: np.ndarray, angle: int, size: int) -> np.ndarray:
    x, y, a, b = (int(v) for v in ellipse)
    canvas = np.zeros((size, size), np.uint8)
    cv2.ellipse(canvas, (min(max(x, 0), size - 1), min(max(y, 0), size - 1)), (max(a, 1), max(b, 1)), int(angle), 0, 360, 1, -1)
    return canvas.astype(bool)


def make(images: list[tuple[Sample, np.ndarray, np.ndarray, Prediction]]) -> Made:
    return Made(collate([i[0] for i in images]), [i[1] for i in images], [i[2] for i in images], [i[3] for i in images])


def with_masks(made: Made) -> list[Prediction]:
    """The predictions with run lengths that pycocotools encodes from the dense masks."""
    for prediction, masks in zip(made.predictions, made.predicted, strict=True):
        rles = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        prediction.masks = [{"size": r["size"], "counts": r["counts"].decode("ascii")} for r in rles]
    return made.predictions


if __name__ == "__main__":
    main()
