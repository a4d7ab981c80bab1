"""COCO's average precision and recall (https://cocodataset.org/#detection-eval), computed by faster-coco-eval.

Enter images with their true and predicted instances as run lengths; leave the figures of each class. Classes are evaluated
one by one, each on the images that have it, so that no more is in memory at once than one class's annotations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask

from seg.data.rle import Rle
from seg.metrics.matching import areas_of

KINDS = {"mask": "segm", "box": "bbox"}  # what is compared, and COCO's name for it

MAX_DETECTIONS = 100  # COCO's own limit: the best 100 predictions of a class in an image count, any more are left out

AREAS = ("all", "small", "medium", "large")  # COCO's ranges of area, in its order: up to 32 x 32 pixels is small, from 96 x 96 large

IOUS = {"0.50:0.95": slice(None), "0.50": slice(0, 1), "0.75": slice(5, 6)}
"""Which of COCO's ten IoU thresholds, 0.50, 0.55 .. 0.95, are averaged."""

FIGURES = {
    "ap": ("precision", "0.50:0.95", "all"),
    "ap50": ("precision", "0.50", "all"),
    "ap75": ("precision", "0.75", "all"),
    "ap_small": ("precision", "0.50:0.95", "small"),
    "ap_medium": ("precision", "0.50:0.95", "medium"),
    "ap_large": ("precision", "0.50:0.95", "large"),
    "ar": ("recall", "0.50:0.95", "all"),
}
"""Of each figure: which of the `Curves` it averages, at which of IOUS, over which of AREAS."""


@dataclass(frozen=True, slots=True)
class ImageInstances:
    """One image's true and predicted instances, in as little memory as their run lengths take.

    size: (height, width). categories: (N,) int32, crowd: (N,) bool and counts: N texts of COCO's RLE, all of the truth.
    predicted_categories: (M,) int32, scores: (M,) float32, boxes: (M, 4) float32 xyxy half-open pixels, predicted_counts: M texts.
    areas: (N,) pixels of the true instances, where these are of other shapes than their texts: those of boxes are filled boxes.
    void: the text of the pixels that are of no segment, where there are segments.
    """

    image_id: str
    size: tuple[int, int]
    categories: np.ndarray
    crowd: np.ndarray
    counts: list[str]
    predicted_categories: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    predicted_counts: list[str]
    areas: np.ndarray | None = None
    void: str | None = None

    def true_areas(self, rows: np.ndarray) -> np.ndarray:
        """(G,) pixels of the true instances at `rows` (G,)."""
        return areas_of([self.rle(self.counts[i]) for i in rows]) if self.areas is None else self.areas[rows]

    def truth(self, category: int, crowd: bool) -> list[Rle]:
        """The true masks of a category: its instances, or its crowds."""
        return [self.rle(self.counts[i]) for i in np.flatnonzero((self.categories == category) & (self.crowd == crowd))]

    def predicted(self, category: int, least: float) -> list[Rle]:
        """The predicted masks of a category whose score is `least` or more, both as float32."""
        kept = (self.predicted_categories == category) & (self.scores >= np.float32(least))
        return [self.rle(self.predicted_counts[i]) for i in np.flatnonzero(kept)]

    def rle(self, counts: str) -> Rle:
        return {"size": list(self.size), "counts": counts}


@dataclass(frozen=True, slots=True)
class Curves:
    """COCO's curves of K classes; -1 where a class has no truth.

    precision: (10 IoU thresholds, 101 recalls, K, 4 areas) float64. recall: (10, K, 4) float64, the highest reached.
    """

    precision: np.ndarray
    recall: np.ndarray

    def figures(self) -> dict[str, float]:
        """FIGURES over the classes that have truth; NaN without any."""
        values = {}
        for name, (curve, iou, area) in FIGURES.items():
            points = {"precision": self.precision, "recall": self.recall}[curve][IOUS[iou]][..., AREAS.index(area)]
            points = points[points > -1]
            values[name] = float(points.mean()) if points.size else float("nan")
        return values

    def of_class(self, index: int) -> "Curves":
        return Curves(self.precision[:, :, index : index + 1], self.recall[:, index : index + 1])


def evaluate(images: Sequence[ImageInstances], categories: Sequence[int], kind: str, max_detections: int = MAX_DETECTIONS) -> Curves:
    """The curves of each of `categories` by the overlap of masks or of boxes (`kind`, one of KINDS).

    Where scores are equal, the order of the images and of the predictions within them decides. As with COCO's own files, the
    area of a true instance is that of its mask for both kinds, and the area of a prediction that of its mask or of its box.
    """
    having: dict[int, list[ImageInstances]] = {category: [] for category in categories}
    for image in images:
        for category in np.union1d(image.categories, image.predicted_categories).tolist():
            if category in having:
                having[category].append(image)
    each = [_evaluate_class(having[category], category, kind, max_detections) for category in categories]
    return Curves(np.stack([precision for precision, _ in each], axis=2), np.stack([recall for _, recall in each], axis=1))


def _evaluate_class(images: Sequence[ImageInstances], category: int, kind: str, max_detections: int) -> tuple[np.ndarray, np.ndarray]:
    """precision (10, 101, 4) and recall (10, 4) over the images that have the category."""
    if not any((i.categories == category).any() for i in images):
        return np.full((10, 101, 4), -1.0), np.full((10, 4), -1.0)
    numbered = list(enumerate(images, start=1))
    header = {
        "images": [{"id": n, "height": image.size[0], "width": image.size[1]} for n, image in numbered],
        "categories": [{"id": category}],
    }
    truth = _index(header, [a for n, image in numbered for a in _true_annotations(image, n, category)])
    predicted = _index(header, [a for n, image in numbered for a in _predicted_annotations(image, n, category, kind)])
    run = COCOeval_faster(truth, predicted, KINDS[kind], print_function=_silent)
    run.params.maxDets = [max_detections]
    run.evaluate()
    run.accumulate()
    return run.eval["precision"][:, :, 0, :, 0], run.eval["recall"][:, 0, :, 0]


def _true_annotations(image: ImageInstances, number: int, category: int) -> list[dict[str, Any]]:
    rows = np.flatnonzero(image.categories == category)
    masks = [image.rle(image.counts[i]) for i in rows]
    boxes = np.asarray(coco_mask.toBbox(masks)).reshape(-1, 4)
    return [
        {"image_id": number, "category_id": category, "iscrowd": int(c), "area": a, "bbox": b, "segmentation": m}
        for c, a, b, m in zip(image.crowd[rows], image.true_areas(rows).tolist(), boxes.tolist(), masks, strict=True)
    ]


def _predicted_annotations(image: ImageInstances, number: int, category: int, kind: str) -> list[dict[str, Any]]:
    rows = np.flatnonzero(image.predicted_categories == category)
    masks = [image.rle(image.predicted_counts[i]) for i in rows]
    corners = image.boxes[rows].astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)  # COCO's are x, y, width, height
    areas = areas_of(masks) if kind == "mask" else boxes[:, 2] * boxes[:, 3]
    return [
        {"image_id": number, "category_id": category, "score": s, "area": a, "bbox": b, "segmentation": m}
        for s, a, b, m in zip(image.scores[rows].tolist(), areas.tolist(), boxes.tolist(), masks, strict=True)
    ]


def _index(header: Mapping[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    """Annotations as faster-coco-eval reads them; their ids start at 1, because it takes 0 for a missing match."""
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return COCO({**header, "annotations": annotations}, print_function=_silent)


def _silent(*_: object) -> None:
    """In place of the library's logging, which a stage's log would show."""
