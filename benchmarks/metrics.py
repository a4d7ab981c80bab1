"""What evaluation costs without the network: our figures and torchmetrics', of the same labels and predictions.

    python benchmarks/metrics.py semantic --images 64 --rounds 15
    python benchmarks/metrics.py instance --images 500 --rounds 3

semantic: mIoU from pairs of uint8 class maps, ours against JaccardIndex. All variants run shuffled in one process with one thread;
ours runs twice (A/A), and the ratio of the two says how far the others can be trusted.

instance: mask AP, ours against MeanAveragePrecision with each of its backends. Images hold random ellipses that overlap; most are
predicted, shifted by a few pixels, some of another class, and some predictions are invented. Every variant is handed dense
predicted masks and encodes them; of the truth ours is handed id maps, which it encodes, torchmetrics dense masks. "all figures" adds
what `evaluate` counts beside mask AP: that of boxes, matching at nine thresholds, panoptic quality and AJI; "as run lengths" is handed
predictions encoded, as the project's models give them. Each run is a process of its own, variants in turn. Making images is not
timed. peak: highest resident size of the process; added: less that before the first image.

Times are of the processor, which neighbours change little, and of the wall. A ratio is (variant / ours) of the same round: its
median, in brackets the middle half. benchmarks/evaluation.py says what the further parts of an evaluation cost.
"""

import argparse
import multiprocessing
import os
import resource

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import cv2
import numpy as np
import torch

from seg.data.labelmaps import layers_from_masks
from seg.data.rle import encode_crop
from seg.data.sample import Prediction, Sample
from seg.loading.batch import Batch, collate
from seg.metrics.coco import ImageInstances, figures_by_class
from seg.metrics.instance import InstanceMetrics, instances_of
from seg.metrics.semantic import confusion_matrix, mean_iou, mean_of_known, totals

CLASSES = ["background", "a", "b", "c"]
Costs = dict[str, list[tuple[float, float]]]
"""{variant: (processor, wall) seconds of each round}."""

BATCH = 4  # dense masks of a batch would outweigh what is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["semantic", "instance"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--classes", type=int, default=20, help="of class maps")
    parser.add_argument("--instances", type=int, default=20, help="true instances in an image")
    given = parser.parse_args()
    torch.set_num_threads(1)
    (semantic if given.task == "semantic" else instance)(given)


def semantic(given: argparse.Namespace) -> None:
    pairs = [class_maps(seed, given.size, given.classes) for seed in range(given.images)]
    variants: dict[str, Callable[[], float]] = {
        "ours": lambda: ours_miou(pairs, given.classes),
        "ours again (A/A)": lambda: ours_miou(pairs, given.classes),
        "JaccardIndex": lambda: jaccard(pairs, given.classes, True),
        "JaccardIndex, validate_args=False": lambda: jaccard(pairs, given.classes, False),
    }
    found = [run() for run in variants.values()]
    np.testing.assert_allclose(found, found[0], atol=1e-6)
    costs = shuffled(variants, given.rounds)
    print(f"mIoU of {given.images} pairs of {given.size}x{given.size} pixels, {given.classes} classes, {given.rounds} rounds")
    show(costs, given.images, "ours")


def shuffled(variants: Mapping[str, Callable[[], object]], rounds: int) -> Costs:
    """Every variant once a round, in an order of chance."""
    costs: Costs = {name: [] for name in variants}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for name in rng.permutation(list(variants)).tolist():
            clock = Clock()
            with clock:
                variants[name]()
            costs[name].append((clock.cpu, clock.wall))
    return costs


def class_maps(seed: int, size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A truth of blocks with a tenth ignored, and a prediction that is wrong in a tenth, uint8."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(classes, size=(-(-size // 16),) * 2), np.ones((16, 16), int))[:size, :size].astype(np.uint8)
    predicted = np.where(rng.random((size, size)) < 0.1, rng.integers(classes, size=(size, size)), truth).astype(np.uint8)
    truth[rng.random((size, size)) < 0.1] = 255
    return truth, predicted


def ours_miou(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> float:
    return float(mean_iou(totals(sum((confusion_matrix(t, p, classes) for t, p in pairs), start=np.zeros((classes, classes), np.int64)))))


def jaccard(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int, validate: bool) -> float:
    from torchmetrics import JaccardIndex  # here, as it would weigh in the memory of what does not need it

    metric = JaccardIndex(task="multiclass", num_classes=classes, ignore_index=255, validate_args=validate)
    for truth, predicted in pairs:
        metric.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    return float(metric.compute())


def instance(given: argparse.Namespace) -> None:
    costs: Costs = {name: [] for name in VARIANTS}
    memory: dict[str, tuple[float, float]] = {}
    for number in range(given.rounds):
        turn = list(VARIANTS)[:: -1 if number % 2 else 1]
        done = {name: alone(name, given) for name in turn}
        np.testing.assert_allclose([d.ap for d in done.values()], done["ours"].ap, atol=1e-6)
        for name, cost in done.items():
            costs[name].append((cost.cpu, cost.wall))
            memory[name] = tuple(max(a, b) for a, b in zip(memory.get(name, (0, 0)), (cost.peak_mb, cost.added_mb), strict=True))
    print(
        f"mask AP of {given.images} images of {given.size}x{given.size} pixels, {given.instances} instances in each, {given.rounds} rounds"
    )
    show(costs, given.images, "ours")
    for name, (peak, added) in memory.items():
        print(f"{name:<36} memory: peak {peak:5.0f} MB, added {added:5.0f} MB")


def show(costs: Costs, images: int, reference: str) -> None:
    """A row a variant; ratios to the variant `reference`."""
    print(f"{'':<36}{'processor, an image':>20}{'wall, an image':>16}{'ratio, processor':>26}{'ratio, wall':>26}")
    base = np.array(costs[reference])
    for name, spent in costs.items():
        own = np.array(spent)
        low, middle, high = np.quantile(own / base, [0.25, 0.5, 0.75], axis=0)
        ratios = "".join(f"{f'{middle[i]:.2f} ({low[i]:.2f}..{high[i]:.2f})':>26}" for i in (0, 1))
        cpu, wall = np.median(own, axis=0) / images * 1e3
        print(f"{name:<36}{cpu:>17.3f} ms{wall:>13.3f} ms{ratios}")


@dataclass
class Cost:
    cpu: float
    wall: float
    peak_mb: float
    added_mb: float
    ap: float


def alone(name: str, given: argparse.Namespace) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, given.images, given.instances, given.size))


def measure(name: str, images: int, instances: int, size: int) -> Cost:
    torch.set_num_threads(1)
    warm = VARIANTS[name]()
    for made in batches(BATCH, instances, size):  # compiled loops are loaded, and what is loaded late
        warm.update(made)
    warm.ap()
    variant, clock, before = VARIANTS[name](), Clock(), peak_mb()
    for made in batches(images, instances, size):
        if name.endswith("run lengths"):
            encode_predictions(made)
        with clock:
            variant.update(made)
    with clock:
        ap = variant.ap()
    return Cost(clock.cpu, clock.wall, peak_mb(), peak_mb() - before, ap)


class Clock:
    """Adds up the seconds spent within it."""

    wall = cpu = 0.0

    def __enter__(self) -> None:
        self.started = perf_counter(), process_time()

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = self.wall + perf_counter() - self.started[0], self.cpu + process_time() - self.started[1]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Made:
    """A batch in the forms that the variants take."""

    batch: Batch
    truth: list[np.ndarray]  # per image (N, H, W) bool
    predicted: list[np.ndarray]
    predictions: list[Prediction]


class Ours:
    def __init__(self) -> None:
        self.images: list[ImageInstances] = []

    def update(self, made: Made) -> None:
        encode_predictions(made)
        self.images += [instances_of(made.batch, index, p) for index, p in enumerate(made.predictions)]

    def ap(self) -> float:
        found = figures_by_class(self.images, range(1, len(CLASSES)), "mask", 100, np.ones((1, len(self.images))))
        return float(mean_of_known(found["ap"], 0)[0])


class AllFigures:
    def __init__(self) -> None:
        self.metrics = InstanceMetrics(CLASSES, 0.5, 100)

    def update(self, made: Made) -> None:
        if not made.predictions[0].masks:
            encode_predictions(made)
        self.metrics.update(made.batch, made.predictions)

    def ap(self) -> float:
        return self.metrics.figures()["mask_ap"]


class Torchmetrics:
    def __init__(self, backend: str) -> None:
        from torchmetrics.detection import MeanAveragePrecision

        # its own thresholds are rounded to float32, which is not quite COCO's average precision
        ious, recalls = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0, 1, 101).tolist()
        self.metric = MeanAveragePrecision(iou_type="segm", iou_thresholds=ious, rec_thresholds=recalls, backend=backend)

    def update(self, made: Made) -> None:
        predictions = [
            {"masks": torch.from_numpy(m), "scores": torch.from_numpy(p.scores), "labels": torch.from_numpy(p.categories)}
            for m, p in zip(made.predicted, made.predictions, strict=True)
        ]
        truth = [{"masks": torch.from_numpy(m), "labels": c} for m, c in zip(made.truth, made.batch.categories, strict=True)]
        self.metric.update(predictions, truth)

    def ap(self) -> float:
        return float(self.metric.compute()["map"])


VARIANTS: dict[str, Callable[[], Ours | AllFigures | Torchmetrics]] = {
    "ours": Ours,
    "ours again (A/A)": Ours,
    "ours, all figures": AllFigures,
    "ours, all figures, as run lengths": AllFigures,
    "pycocotools": lambda: Torchmetrics("pycocotools"),
    "faster_coco_eval": lambda: Torchmetrics("faster_coco_eval"),
}


def encode_predictions(made: Made) -> None:
    """Run lengths of dense masks by their boxes, which hold every pixel."""
    for prediction, masks in zip(made.predictions, made.predicted, strict=True):
        corners = prediction.boxes.astype(int).tolist()
        prediction.masks = [encode_crop(m[y1:y2, x1:x2], x1, y1, *m.shape) for m, (x1, y1, x2, y2) in zip(masks, corners, strict=True)]


def batches(images: int, instances: int, size: int) -> Iterator[Made]:
    for start in range(0, images, BATCH):
        made = [make_image(index, instances, size) for index in range(start, min(images, start + BATCH))]
        yield Made(collate([m[0] for m in made]), [m[1] for m in made], [m[2] for m in made], [m[3] for m in made])


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
    corners = [cv2.boundingRect(m.astype(np.uint8)) for m in predicted]
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32)
    prediction = Prediction(scores=rng.random(len(found)).astype(np.float32), categories=found, boxes=boxes)
    image, labels = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    sample = Sample(f"{index:06d}", image, labels, layers_from_masks(truth, size, size), categories, np.zeros(instances, bool))
    return sample, truth, predicted, prediction


def draw(ellipse: np.ndarray, angle: int, size: int) -> np.ndarray:
    x, y, a, b = (int(v) for v in ellipse)
    canvas = np.zeros((size, size), np.uint8)
    cv2.ellipse(canvas, (min(max(x, 0), size - 1), min(max(y, 0), size - 1)), (max(a, 1), max(b, 1)), int(angle), 0, 360, 1, -1)
    return canvas.astype(bool)


if __name__ == "__main__":
    main()
