"""The images that the page of a comparison shows, made one after another from the prepared data and the stored predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg.compare.comparison import FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER, ComparedImage, ImageScores
from seg.compare.disagreement import BOTH_WRONG, FIRST_RIGHT, OTHER_RIGHT, compare_instances, compare_maps
from seg.compare.gallery import words_of
from seg.data.labelmaps import decode
from seg.data.sample import Prediction, Sample
from seg.evaluation.predictions import StoredPredictions
from seg.loading.batch import collate
from seg.loading.dataset import SampleDataset
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import instances_of
from seg.report.page_data import InTurn, Outlines
from seg.report.rendering import percent


def compared_images(runs: "StoredRuns", chosen: Sequence[tuple[ImageScores, int]]) -> InTurn[ComparedImage]:
    """chosen: images, each with the place of the run that is compared with the first."""
    place_of = {entry.image_id: place for place, (_, entry) in enumerate(runs.dataset.rows)}
    return InTurn(lambda one: runs.compared(place_of[one[0].image_id], *one), chosen)


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """names, predictions: of each run. thresholds: of each run, the score from which an instance counts. dataset: of their images."""

    names: Sequence[str]
    predictions: Sequence[StoredPredictions]
    thresholds: Sequence[float]
    dataset: SampleDataset
    num_classes: int

    def compared(self, place: int, scores: ImageScores, other: int) -> ComparedImage:
        """An image by its place, on which the run at `other` is compared with the first."""
        sample, entry = self.dataset.read(place), self.dataset.rows[place][1]
        predictions = [stored.read(entry) for stored in self.predictions]
        if predictions[0].semantic is None:
            return self._of_instances(scores, other, sample, predictions)
        return self._of_pixels(scores, other, sample, [p.semantic for p in predictions if p.semantic is not None])

    def _of_pixels(self, scores: ImageScores, other: int, sample: Sample, predicted: Sequence[np.ndarray]) -> ComparedImage:
        apart = compare_maps(sample.semantic, predicted[0], predicted[other], self.num_classes)
        counts = np.bincount(apart.ravel(), minlength=256)
        total = max(1, int(counts[:255].sum()))
        words = words_of(self.names[0], self.names[other], outlined=False)
        numbers = dict(zip(words, (FIRST_RIGHT, OTHER_RIGHT, BOTH_WRONG), strict=True))
        kinds = {word: percent(int(counts[number]) / total) for word, number in numbers.items()}
        return ComparedImage(scores, other, sample.image, sample.semantic, predicted, apart, kinds)

    def _of_instances(self, scores: ImageScores, other: int, sample: Sample, predictions: Sequence[Prediction]) -> ComparedImage:
        batch = collate([sample])
        images = [instances_of(batch, 0, prediction) for prediction in predictions]
        first, second = images[0], images[other]
        found = compare_instances(first, second, (self.thresholds[0], self.thresholds[other]))
        parts = {
            FOUND_BY_FIRST: [(first.counts[i], first.categories[i]) for i in found[FOUND_BY_FIRST]],
            FOUND_BY_OTHER: [(first.counts[i], first.categories[i]) for i in found[FOUND_BY_OTHER]],
            MADE_UP_BY_FIRST: [(first.predicted_counts[i], first.predicted_categories[i]) for i in found[MADE_UP_BY_FIRST]],
            MADE_UP_BY_OTHER: [(second.predicted_counts[i], second.predicted_categories[i]) for i in found[MADE_UP_BY_OTHER]],
        }
        verdicts = [verdict for verdict, members in parts.items() for _ in members]
        apart = _outlines(first, [m for members in parts.values() for m in members], verdicts)
        truth = Outlines(_drawn(first, first.counts), first.categories, first.crowd, [""] * len(first.crowd))
        said = [_said(image, threshold) for image, threshold in zip(images, self.thresholds, strict=True)]
        words = words_of(self.names[0], self.names[other], outlined=True)
        kinds = {word: str(len(members)) for word, members in zip(words, parts.values(), strict=True)}
        return ComparedImage(scores, other, sample.image, truth, said, apart, kinds)


def _drawn(image: ImageInstances, counts: Sequence[str]) -> np.ndarray:
    """The layered id map of run lengths."""
    return decode([image.rle(c) for c in counts], *image.size)


def _outlines(image: ImageInstances, members: Sequence[tuple[str, int]], verdicts: Sequence[str]) -> Outlines:
    categories = np.array([category for _, category in members], np.int32)
    return Outlines(_drawn(image, [counts for counts, _ in members]), categories, np.zeros(len(members), bool), verdicts)


def _said(image: ImageInstances, threshold: float) -> Outlines:
    """The predictions that score `threshold` or more."""
    kept = np.flatnonzero(image.scores >= np.float32(threshold))
    ids = _drawn(image, [image.predicted_counts[i] for i in kept])
    return Outlines(ids, image.predicted_categories[kept], np.zeros(len(kept), bool), [""] * len(kept), image.scores[kept])
