"""Suspect labels of instances: labels that contradict predictions, each with what a contradiction was to be expected from."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from seg.data.rle import Rle, decode_crop
from seg.evaluation.errors import InstanceVerdict, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.matching import Overlaps, areas_of, measure_overlaps
from seg.review.expected import Asked
from seg.review.suspects import Suspect

LEAST = 0.3  # predictions of a lower score say nothing


def asked_of_instances(image: ImageInstances) -> list[Asked]:
    """An image's labels compared with its predictions."""
    compared = _Compared(image)
    return [*compared.of_labels(), *compared.of_predictions(), *compared.of_pairs()]


class _Compared:
    def __init__(self, image: ImageInstances) -> None:
        self.image = image
        self.truth, self.predicted = ([image.rle(c) for c in counts] for counts in (image.counts, image.predicted_counts))
        self.overlaps: Overlaps = measure_overlaps(self.truth, [], self.predicted)
        self.inside = self.overlaps.intersections / np.maximum(self.overlaps.areas, 1)
        verdicts = judge(image, LEAST)
        self.labels, self.found = ([v for v in verdicts if v.which == which] for which in ("truth", "predicted"))
        self.shapes = {v.index: float(np.log(1.02 - min(1.0, solidity(self.predicted[v.index])))) for v in self.found}
        self.sure = float(np.mean([v.score for v in self.found])) if self.found else LEAST  # of this image, the model is so sure

    def of_labels(self) -> Iterator[Asked]:
        for v in self.labels:
            suspect = self.suspect("made up", [v.index], []) if v.kind == "missed" else None
            yield self.asked("made up", [_log(v.area), self.sure], v.category, float(suspect is not None), suspect)

    def of_predictions(self) -> Iterator[Asked]:
        joined: dict[int | None, list[int]] = {}
        for v in self.labels:
            joined.setdefault(v.partner if v.kind in ("merged", "matched") else None, []).append(v.index)
        for v in self.found:
            own = self.features(v)
            # a prediction of which half lies in labelled objects is a piece of them
            nowhere = v.kind == "background" and self.inside[:, v.index].sum() < 0.5
            yield self.asked("missed", own, v.category, float(nowhere), self.suspect("missed", [], [v.index]) if nowhere else None)
            held = joined.get(v.index, [])
            several = self.suspect("split", held, [v.index]) if len(held) > 1 else None
            yield self.asked("split", own, v.category, float(several is not None), several)
            if v.partner is None:
                continue
            if v.kind in ("matched", "wrong_class"):
                other = self.suspect("wrong class", [v.partner], [v.index]) if v.kind == "wrong_class" else None
                yield self.asked("wrong class", own, v.category, float(self.image.categories[v.partner]), other)
            if v.kind in ("matched", "poor_mask"):
                yield self.asked("outline", own, v.category, v.iou, self.suspect("outline", [v.partner], [v.index]))

    def of_pairs(self) -> Iterator[Asked]:
        """Each prediction beside the nearest better one of its class: whether one label holds both."""
        image, areas = self.image, areas_of(self.predicted)
        centres, sides = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2, np.sqrt(areas)
        within = measure_overlaps(self.predicted, [], self.predicted).intersections / np.maximum(areas, 1)
        ranked = sorted(self.found, key=lambda v: (-v.score, v.index))
        for place, v in enumerate(ranked):
            better = np.array([b.index for b in ranked[:place] if b.category == v.category and within[b.index, v.index] < 0.5], int)
            if not len(better):
                continue
            gaps = np.hypot(*(centres[better] - centres[v.index]).T) / (sides[better] + sides[v.index])
            labels = (self.inside[:, v.index] > 0.5) & (image.categories == v.category) & ~image.crowd
            parts = self.overlaps.intersections[:, better] + self.overlaps.intersections[:, [v.index]]
            hold = labels[:, None] & (self.inside[:, better] > 0.5) & (2 * parts >= self.overlaps.truth_areas[:, None])
            near = int(np.argmin(gaps + 1e6 * (hold.any() & ~hold.any(axis=0))))
            other, gap, held = int(better[near]), float(gaps[near]), np.flatnonzero(hold[:, near]).tolist()
            features = [*self.features(v), float(np.log(gap + 0.1)), gap, float(image.scores[other]), _log(areas[other])]
            suspect = self.suspect("merged", held[:1], [other, v.index]) if held else None
            yield self.asked("merged", features, v.category, float(bool(held)), suspect)

    def asked(self, *given: Any) -> Asked:
        return Asked(self.image.image_id, *given)

    def features(self, v: InstanceVerdict) -> list[float]:
        """Of a prediction. One that joins two objects is less convex than each of them."""
        return [_log(v.area), v.score, float(np.log(1.001 - v.score)), self.shapes[v.index], self.sure]

    def suspect(self, kind: str, truths: Sequence[int], predictions: Sequence[int]) -> Suspect:
        image = self.image
        label = int(image.categories[truths[0]]) if truths else None
        likely = int(image.predicted_categories[predictions[0]]) if predictions else None
        return Suspect(image.image_id, kind, 0.0, label, likely, [self.truth[i] for i in truths], [self.predicted[i] for i in predictions])


def solidity(mask: Rle) -> float:
    """The share of a mask in its convex hull, whose pixels are squares: 1 where it is convex, or empty."""
    pixels = decode_crop(mask)[0].astype(np.uint8)
    if not pixels.any():
        return 1.0
    hull = cv2.convexHull(cv2.findNonZero(pixels))
    return float(pixels.sum() / (cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1))


def _log(area: float) -> float:
    return float(np.log(max(area, 1)))
