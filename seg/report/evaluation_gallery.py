"""The gallery of an evaluation: images with their truth, prediction and errors, whatever the task."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from seg.data.labelmaps import decode
from seg.data.sample import ClassInfo, Color, Prediction, Sample
from seg.evaluation.errors import InstanceVerdict, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.semantic import confusion_matrix
from seg.report.confusions import kinds_of_errors
from seg.report.gallery import IMAGE, TRUTH, Card, Gallery, Layer, bytes_of_an_entry, classes_in, filters_of
from seg.report.layers import OTHER_VERDICT, VERDICTS, WRONG, layers_of
from seg.report.page_data import Evaluation, GalleryEntry, ImageRow, Outlines

PREDICTED, ERRORS = Layer("predicted", "Prediction", "prediction"), Layer("errors", "Errors", "errors", "errors")
OUTLINED = "Truth and prediction outline each object in the colour of its class, errors in the colour of what it was found to be."
OVERLAID = "Truth and prediction lay each class over the image in its colour; errors are the pixels that are wrong."


def evaluation_gallery(evaluation: Evaluation) -> Gallery | None:
    """None without images. Each is asked for once, and let go before the next."""
    classes, most = evaluation.classes, bytes_of_an_entry(len(evaluation.gallery))
    cards, verdicts, outlined = [], set[str](), False
    for entry in evaluation.gallery:
        cards.append(_card(entry, classes, evaluation.score_name, most))
        for labels in (entry.truth, entry.predicted):
            if isinstance(labels, Outlines):
                outlined = True
                verdicts |= {verdict for verdict, crowd in zip(labels.verdicts, labels.crowd, strict=True) if not crowd}
    if not cards:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(card.why for card in cards).items())
    shares = "" if outlined else " Percentages beside an image are shares of its pixels."
    present = {name for card in cards for name, _ in card.classes}
    return Gallery(
        layers=(IMAGE, TRUTH, PREDICTED, ERRORS),
        chosen=PREDICTED.key,
        intro=f"Images by their {evaluation.score_name}: {kinds}.{shares}",
        legend=OUTLINED if outlined else OVERLAID,
        cards=cards,
        filters=filters_of(cards, classes, {"kind": "images", "classes": "with the class", "errors": "with the error"}),
        classes=[info for info in classes if info.name in present],
        error_words=_colors(verdicts) if outlined else {"wrong": WRONG},
        errors_kind="mistakes",
        outlined=outlined,
    )


def _card(entry: GalleryEntry, classes: Sequence[ClassInfo], score_name: str, most: int) -> Card:
    present = classes_in(classes, entry.truth, entry.predicted)
    figures = {score_name: entry.row.score} | {key: value for key, value in entry.row.figures.items() if value == value}
    return Card(
        image_id=entry.row.image_id,
        why=entry.kind,
        found_by={"kind": [entry.kind], "classes": [info.name for info in present], "errors": list(entry.errors)},
        size=(entry.image.shape[0], entry.image.shape[1]),
        files=layers_of(entry, classes, most),
        figures=[f"{key} {value:.4g}" for key, value in figures.items()],
        errors=[f"{kind} {text}".rstrip() for kind, text in entry.errors.items()],
        classes=[(info.name, info.color) for info in present],
    )


def _colors(verdicts: Collection[str]) -> dict[str, Color]:
    """What objects of the gallery were found to be, and the colours of it."""
    known = {verdict: color for verdict, color in VERDICTS.items() if verdict in verdicts}
    return known | dict.fromkeys(sorted(set(verdicts) - known.keys()), OTHER_VERDICT)


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
