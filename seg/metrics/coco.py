"""COCO's average precision and recall (https://cocodataset.org/#detection-eval), of images with their true and predicted instances as
run lengths: of many data sets at once, in each of which every image occurs so many times, for bootstraps and groups.

The figures of the data set itself are those where every image occurs once, and agree with pycocotools. What is costly, which prediction
finds which instance, is done once; for each data set the predictions are only counted again, best first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.rle import Rle
from seg.metrics.matching import areas_of

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
"""Of each figure: which curve it averages, at which of IOUS, over which of RANGES."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of area, in pixels and in its order; both ends belong to them."""


@dataclass(frozen=True, slots=True)
class ImageInstances:
    """One image's true and predicted instances, in as little memory as their run lengths take.

    size: (height, width). categories: (N,) int32, crowd: (N,) bool and counts: N texts of COCO's RLE, all of the truth.
    predicted_categories: (M,) int32, scores: (M,) float32, boxes: (M, 4) float32 xyxy half-open pixels, predicted_counts: M texts.
    areas: (N,) pixels of the true instances, where these are of other shapes than their texts: those of boxes are filled boxes.
    void: the text of the pixels that are of no segment, where there are segments."""

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
class Ranked:
    """The predictions of one category in one range of area, best first.

    images: (D,) int64, the place of each one's image. scores: (D,). hits, counted: (10, D) bool, by IoU threshold: whether it finds an
    instance, and whether it counts at all. truth: (N,) float64, the instances of each image that are to be found."""

    images: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    counted: np.ndarray
    truth: np.ndarray


def figures_by_class(
    images: Sequence[ImageInstances], categories: Sequence[int], kind: str, max_detections: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """FIGURES of each class in R data sets in which image i occurs weights[r, i] times: {name: (K, R)}; NaN where a
    class has no truth.

    weights: (R, N) float64, whole numbers. kind: mask or box, whose overlap counts. Of equal scores the order of the images, and of the
    predictions within them, decides. A prediction whose image occurs twice counts twice in its place. The area of a true instance is that
    of its mask for both kinds, as with COCO's own files."""
    each: dict[str, list[np.ndarray]] = {name: [] for name in FIGURES}
    for category in categories:
        for area, ranked in ranked_by_area(images, category, kind, max_detections):
            precision, recall = _curves(ranked.images, ranked.hits, ranked.counted, ranked.truth, weights)
            for name, (curve, iou, wanted) in FIGURES.items():
                if wanted == area:
                    each[name].append({"precision": precision, "recall": recall}[curve][:, IOUS[iou]].mean(axis=1))
    return {name: np.stack(values) for name, values in each.items()}


def ranked_by_area(images: Sequence[ImageInstances], category: int, kind: str, max_detections: int) -> Iterator[tuple[str, Ranked]]:
    """What is left of one category in each of COCO's ranges of area."""
    having = [(n, i) for n, i in enumerate(images) if (i.categories == category).any() or (i.predicted_categories == category).any()]
    found = [(place, _of_image(image, category, kind, max_detections)) for place, image in having]
    for area, (low, high) in RANGES.items():
        truth = np.zeros(len(images))
        parts = []
        for place, one in found:
            outside = one.crowd | (one.truth_areas < low) | (one.truth_areas > high)
            order = np.argsort(outside, kind="stable")  # as COCO: what counts is offered first
            matched, ignored = _match(one.overlaps[:, order], outside[order], one.crowd[order], THRESHOLDS)
            ignored |= ~matched & ((one.areas < low) | (one.areas > high))
            truth[place] = (~outside).sum()
            parts.append((np.full(len(one.scores), place), one.scores, matched & ~ignored, ~ignored))
        if not parts:
            yield area, Ranked(np.zeros(0, np.int64), np.zeros(0), np.zeros((10, 0), bool), np.zeros((10, 0), bool), truth)
            continue
        places, scores, hits, counted = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
        best = np.argsort(-scores, kind="stable")
        yield area, Ranked(places[best], scores[best], np.ascontiguousarray(hits[:, best]), np.ascontiguousarray(counted[:, best]), truth)


def scored_matches(
    images: Sequence[ImageInstances], categories: Sequence[int], max_detections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each predicted instance its image's place (D,) int64, its score (D,) float64, and whether it matches a true one (D,) bool.

    As COCO matches masks at an IoU of 0.5, best scores first; without those that lie in a crowd."""
    places, scores, hits = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, bool)]
    for category in categories:
        _, ranked = next(ranked_by_area(images, category, "mask", max_detections))  # of all areas
        kept = ranked.counted[0]
        places.append(ranked.images[kept])
        scores.append(ranked.scores[kept].astype(np.float64))
        hits.append(ranked.hits[0][kept])
    return np.concatenate(places), np.concatenate(scores), np.concatenate(hits)


@dataclass(frozen=True, slots=True)
class _OfImage:
    """One category in one image: D predictions, best first, and G true instances. overlaps: (D, G) float64."""

    overlaps: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    truth_areas: np.ndarray
    crowd: np.ndarray


def _of_image(image: ImageInstances, category: int, kind: str, max_detections: int) -> _OfImage:
    rows = np.flatnonzero(image.predicted_categories == category)
    rows = rows[np.argsort(-image.scores[rows], kind="stable")[:max_detections]]
    truth = np.flatnonzero(image.categories == category)
    masks, true_masks = ([image.rle(c[i]) for i in which] for c, which in ((image.predicted_counts, rows), (image.counts, truth)))
    corners = image.boxes[rows].astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)  # COCO's are x, y, width, height
    crowd = image.crowd[truth]
    overlaps = np.zeros((len(rows), len(truth)))
    if overlaps.size and kind == "mask":
        overlaps = np.asarray(coco_mask.iou(masks, true_masks, crowd.tolist()))
    elif overlaps.size:
        overlaps = np.asarray(coco_mask.iou(boxes, np.asarray(coco_mask.toBbox(true_masks)), crowd.tolist()))
    areas = areas_of(masks) if kind == "mask" else boxes[:, 2] * boxes[:, 3]
    return _OfImage(overlaps, image.scores[rows], areas, image.true_areas(truth), crowd)


@numba.njit(nogil=True, cache=True)
def _match(overlaps: np.ndarray, outside: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO's greedy matching: (T, D) bool, whether a prediction has a partner, and whether that one does not count.

    Predictions come best first, and instances that count before those that do not. Each takes the instance of the highest
    overlap that is left, the last of equals; a crowd is never used up."""
    count, num_truth = overlaps.shape
    matched = np.zeros((len(thresholds), count), np.bool_)
    ignored = np.zeros((len(thresholds), count), np.bool_)
    for t in range(len(thresholds)):
        taken = np.zeros(num_truth, np.bool_)
        for d in range(count):
            best, partner = min(thresholds[t], 1 - 1e-10), -1
            for g in range(num_truth):
                if taken[g] and not crowd[g]:
                    continue
                if partner > -1 and not outside[partner] and outside[g]:
                    break
                if overlaps[d, g] >= best:
                    best, partner = overlaps[d, g], g
            if partner > -1:
                taken[partner] = True
                matched[t, d] = True
                ignored[t, d] = outside[partner]
    return matched, ignored


@numba.njit(nogil=True, cache=True)
def _curves(
    images: np.ndarray, hits: np.ndarray, counted: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over 101 recalls and the highest recall, (R, T) float64 each; NaN without truth."""
    num_sets, num_thresholds, count = len(weights), len(hits), len(images)
    precision = np.full((num_sets, num_thresholds), np.nan)
    recall = np.full((num_sets, num_thresholds), np.nan)
    found, right = np.empty(count), np.empty(count)
    for r in range(num_sets):
        total = (weights[r] * truth).sum()
        if total == 0:
            continue
        for t in range(num_thresholds):
            tp, fp, kept = 0.0, 0.0, 0
            for d in range(count):
                weight = weights[r, images[d]]
                if weight == 0 or not counted[t, d]:
                    continue
                if hits[t, d]:
                    tp += weight
                else:
                    fp += weight
                found[kept], right[kept] = tp / total, tp / (tp + fp)
                kept += 1
            recall[r, t] = tp / total
            for k in range(kept - 1, 0, -1):
                right[k - 1] = max(right[k - 1], right[k])
            area, k = 0.0, 0
            for level in RECALLS:
                while k < kept and found[k] < level:
                    k += 1
                if k < kept:
                    area += right[k]
            precision[r, t] = area / len(RECALLS)
    return precision, recall
