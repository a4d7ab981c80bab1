"""What each part of an evaluation of class maps costs an image, the network and the reading of files aside.

    python benchmarks/evaluation.py --images 32 --rounds 15

Parts are measured as `evaluate` calls them: figures of an image and counts that are kept. "intervals" is the bootstrap over all
images at the end, divided by their number. JaccardIndex is torchmetrics' mIoU of the same maps, which a ratio is to; nothing but
"confusion matrix" counts what it does. Truth and prediction are smooth regions whose outlines differ by some pixels, a fiftieth of the
image is ignored. All parts run shuffled in one process with one thread.
"""

import argparse
import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from metrics import jaccard, show, shuffled

from seg.data.sample import CERTAIN, IGNORE, Prediction, Sample, no_instances
from seg.data.store import ManifestEntry
from seg.evaluation.pixels import PixelMetrics
from seg.evaluation.predictions import write_predictions
from seg.evaluation.settings import BoundarySettings
from seg.loading.batch import Batch, collate
from seg.metrics.bootstrap import intervals
from seg.metrics.semantic import SemanticMetrics

BOUNDARY = BoundarySettings(width=0.02, tolerance=2)
BINS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    names = [f"class {k}" for k in range(given.classes)]
    images = [make_image(seed, given.size, given.classes) for seed in range(given.images)]
    pairs = [(image.truth, image.predicted) for image in images]

    def detail(boundary: BoundarySettings | None, surface: bool, bins: int | None) -> Callable[[], object]:
        return lambda: gather(PixelMetrics(names, boundary, surface, bins), images)

    whole = PixelMetrics(names, BOUNDARY, False, BINS)
    gather(whole, images)
    image_ids = [image.entry.image_id for image in images]

    def draw() -> object:
        return intervals(lambda weights: whole.resampled(image_ids, weights), len(images), given.draws, 0, 0.95)

    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[], object]] = {
            "JaccardIndex": lambda: jaccard(pairs, given.classes, True),
            "confusion matrix": lambda: gather(SemanticMetrics(names), images),
            "boundary": detail(BOUNDARY, False, None),
            "calibration": detail(None, False, BINS),
            "surface": detail(None, True, None),
            "writing predictions": lambda: write(Path(folder) / "predictions", images),
            f"intervals, {given.draws} draws": draw,
        }
        for run in parts.values():
            run()
        costs = shuffled(parts, given.rounds)
    print(f"{given.images} images of {given.size}x{given.size} pixels, {given.classes} classes, {given.rounds} rounds")
    show(costs, given.images, "JaccardIndex")


@dataclass
class Image:
    truth: np.ndarray
    predicted: np.ndarray
    entry: ManifestEntry
    batch: Batch
    prediction: Prediction


def make_image(seed: int, size: int, classes: int) -> Image:
    rng = np.random.default_rng(seed)

    def fields(detail: int) -> np.ndarray:
        coarse = rng.normal(size=(classes, detail, detail)).astype(np.float32)
        return np.stack([cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC) for field in coarse])

    regions = fields(9)
    truth, predicted = (f.argmax(axis=0).astype(np.uint8) for f in (regions, regions + 0.25 * fields(33)))
    ignored = cv2.resize(rng.random((16, 16)), (size, size), interpolation=cv2.INTER_NEAREST) < 0.02
    truth[ignored] = IGNORE
    confidence = (CERTAIN * (1 - 0.5 * rng.random((size, size)) ** 3)).astype(np.uint16)
    sample = Sample(f"{seed:06d}", np.zeros((size, size, 3), np.uint8), truth, *no_instances(size, size))
    entry = ManifestEntry(sample.image_id, f"{sample.image_id}.png", size, size, 0, "", "")
    return Image(truth, predicted, entry, collate([sample]), Prediction(predicted, confidence))


def gather(figures: SemanticMetrics | PixelMetrics, images: Sequence[Image]) -> dict[str, float]:
    for image in images:
        figures.update(image.batch, [image.prediction])
    return figures.figures()


def write(folder: Path, images: Sequence[Image]) -> None:
    with write_predictions(folder, [image.entry for image in images], "classes") as into:
        for image in images:
            into.add(image.entry, image.prediction)


if __name__ == "__main__":
    main()
