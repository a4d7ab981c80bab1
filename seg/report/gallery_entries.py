"""An evaluated image -> its entry in the gallery, whatever the task."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from seg.data.labelmaps import decode
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.evaluation.errors import InstanceVerdict, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.semantic import confusion_matrix
from seg.report.confusions import kinds_of_errors
from seg.report.page_data import GalleryEntry, ImageRow, Outlines

WORDS = {
    "matched": "found",
    "crowd": "found",  # a prediction in a crowd is no error
    "missed": "missed",
    "background": "made up",
    "split": "split",
    "merged": "merged",
    "wrong_class": "wrong class",
    "wrong_class_poor_mask": "wrong class",
    "poor_mask": "poor mask",
    "duplicate": "duplicate",
}
"""What the page calls the kinds of `seg.evaluation.errors`; `seg.report.layers.VERDICTS` has a colour for each."""


def class_map_entry(
    kind: str, row: ImageRow, sample: Sample, predicted: np.ndarray, classes: Sequence[ClassInfo], least_share: float
) -> GalleryEntry:
    """Of class maps (H, W) uint8. least_share: of the image's pixels that a confusion must take to be named beside it."""
    errors = kinds_of_errors(confusion_matrix(sample.semantic, predicted, len(classes)), classes, least_share)
    return GalleryEntry(kind, row, sample.image, sample.semantic, predicted, errors)


def outlines_entry(
    kind: str, row: ImageRow, sample: Sample, prediction: Prediction, image: ImageInstances, score_threshold: float
) -> GalleryEntry:
    """Of instances, of predictions that score at least `score_threshold`. image: the same instances, as the metrics keep them."""
    verdicts = judge(image, score_threshold)
    ids = decode([image.rle(counts) for counts in image.counts], *sample.size)
    true = Outlines(ids, image.categories, image.crowd, _words(verdicts, "truth", len(image.counts)))
    kept = np.flatnonzero(prediction.scores >= np.float32(score_threshold))
    ids = decode([prediction.masks[i] for i in kept], *sample.size)
    words = _words(verdicts, "predicted", len(prediction.scores))
    said = Outlines(ids, prediction.categories[kept], np.zeros(len(kept), bool), [words[i] for i in kept.tolist()], prediction.scores[kept])
    return GalleryEntry(kind, row, sample.image, true, said, _errors(verdicts))


def _words(verdicts: Sequence[InstanceVerdict], which: str, count: int) -> list[str]:
    """Of `count` instances, what each was found to be."""
    words = ["found"] * count
    for verdict in verdicts:
        if verdict.which == which:
            words[verdict.index] = WORDS[verdict.kind]
    return words


def _errors(verdicts: Sequence[InstanceVerdict]) -> dict[str, str]:
    """How many instances there are of each kind of error; of truths and predictions that tell of the same, the larger number."""
    sides = [Counter(WORDS[v.kind] for v in verdicts if v.which == which) for which in ("truth", "predicted")]
    most = sides[0] | sides[1]  # the larger count of each
    return {word: str(most[word]) for word in dict.fromkeys(WORDS.values()) if word != "found" and most[word]}
