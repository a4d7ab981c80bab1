"""The gallery of a comparison: the images on which runs differ most, with truth, every run's prediction, and where two disagree.

Which of two is right is told of class maps by pixel, of instances one by one. Images are made one after another from the prepared data and
the stored predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from seg.compare.comparison import ComparedImage, Comparison, ImageScores, signed
from seg.data.labelmaps import decode
from seg.data.sample import IGNORE, ClassInfo, Color, Prediction, Sample
from seg.evaluation.errors import judge, matched_pairs
from seg.evaluation.predictions import StoredPredictions
from seg.loading.batch import collate
from seg.loading.dataset import SampleDataset
from seg.metrics.classmaps import comparable
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import instances_of
from seg.metrics.matching import measure_overlaps
from seg.report.gallery import IMAGE, TRUTH, Card, Gallery, Layer, bytes_of_an_entry, classes_in, filters_of
from seg.report.layers import IGNORED_WHITE, Labels, Size, label_layers, laid_over, outline_paint, outlined, palette_png, sized
from seg.report.page_data import InTurn, Outlines
from seg.report.rendering import percent

ALIKE, FIRST_RIGHT, OTHER_RIGHT, BOTH_WRONG = range(4)
"""Of a pixel: predicted alike; right in the first alone; right in the other alone; wrong in both, but not alike."""

FOUND_BY_FIRST, FOUND_BY_OTHER = "found by first", "found by other"
MADE_UP_BY_FIRST, MADE_UP_BY_OTHER = "made up by first", "made up by other"  # the verdicts on instances over which two runs disagree


def compare_maps(truth: np.ndarray, first: np.ndarray, other: np.ndarray, num_classes: int) -> np.ndarray:
    """Class maps (H, W) uint8 -> (H, W) uint8: ALIKE, FIRST_RIGHT, OTHER_RIGHT or BOTH_WRONG; 255 where the truth is 255.

    Raises ValueError as `comparable` does."""
    a, b = (comparable(truth, predicted, num_classes) for predicted in (first, other))
    found = np.full(truth.shape, BOTH_WRONG, np.uint8)
    found[a == truth], found[b == truth] = FIRST_RIGHT, OTHER_RIGHT
    found[a == b] = ALIKE
    found[truth == IGNORE] = IGNORE
    return found


def compare_instances(first: ImageInstances, other: ImageInstances, thresholds: tuple[float, float]) -> dict[str, np.ndarray]:
    """Where two runs disagree of one image, whose truth both hold: of each verdict the places of instances in `ImageInstances` (n,) int64.

    Found are true instances that one run alone found, at an IoU of 0.5 or more with one of their class: what `seg.evaluation.errors` calls
    matched. Made up are predictions that match no true instance, nor one of the other run that matches none either; a prediction in a crowd
    is not made up. thresholds: the score from which a prediction of each counts."""
    found, made_up = [], []
    for image, threshold in zip((first, other), thresholds, strict=True):
        verdicts = judge(image, threshold)
        found.append([v.index for v in verdicts if v.which == "truth" and v.kind == "matched"])
        made_up.append(np.array([v.index for v in verdicts if v.which == "predicted" and v.kind not in ("matched", "crowd")], np.int64))
    alike = _alike(first, other, *made_up)
    return {
        FOUND_BY_FIRST: np.setdiff1d(found[0], found[1]).astype(np.int64),
        FOUND_BY_OTHER: np.setdiff1d(found[1], found[0]).astype(np.int64),
        MADE_UP_BY_FIRST: np.setdiff1d(made_up[0], made_up[0][alike[0]]),
        MADE_UP_BY_OTHER: np.setdiff1d(made_up[1], made_up[1][alike[1]]),
    }


def _alike(first: ImageInstances, other: ImageInstances, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places in a and b of predictions of the two runs that are one and the same mistake: of one class, with an IoU of 0.5 or more."""
    overlaps = measure_overlaps([first.rle(first.predicted_counts[i]) for i in a], [], [other.rle(other.predicted_counts[i]) for i in b])
    rows, columns = np.nonzero(matched_pairs(overlaps, first.predicted_categories[a], other.predicted_categories[b]))
    return rows, columns


BLUE, YELLOW = (0, 114, 178), (230, 159, 0)
PIXELS = {FIRST_RIGHT: BLUE, OTHER_RIGHT: YELLOW, BOTH_WRONG: (204, 121, 167)}
"""The colours of pixels on which two runs disagree (Okabe and Ito 2008): what is the first's is blue, the other's yellow."""

INSTANCES = {FOUND_BY_FIRST: BLUE, FOUND_BY_OTHER: YELLOW, MADE_UP_BY_FIRST: (86, 180, 233), MADE_UP_BY_OTHER: (240, 228, 66)}
"""Likewise of instances; the paler colours are of what is not there."""


def compared_layers(entry: ComparedImage, classes: Sequence[ClassInfo], most: int) -> list[bytes]:
    """The image as JPEG, then truth, each run's prediction and the disagreement as PNG; all in `most` bytes where that is possible."""
    return label_layers(entry.image, (entry.truth, *entry.predicted), partial(_apart, entry.apart), classes, most)


def _apart(apart: Labels, size: Size) -> bytes:
    if isinstance(apart, np.ndarray):
        return palette_png(sized(apart, size), {kind: (*color, 255) for kind, color in PIXELS.items()} | {IGNORE: IGNORED_WHITE})
    verdicts = list(INSTANCES)
    codes = np.zeros((size[1], size[0]), np.int32)
    for place, verdict in enumerate(verdicts):
        own = np.array([v == verdict for v in apart.verdicts], bool)
        codes = laid_over(codes, outlined(apart, np.full(len(own), place), own, size))
    return palette_png(codes, outline_paint(list(INSTANCES.values())))


APART = Layer("apart", "Disagreement", "disagreement", "errors")
OUTLINED = (
    "Truth and predictions outline each object in the colour of its class; the disagreement outlines what one of two runs alone"
    " found, and the predictions of one alone that match nothing."
)
OVERLAID = "Truth and predictions lay each class over the image in its colour; the disagreement shows the pixels in which two runs differ."


def compared_gallery(comparison: Comparison) -> Gallery | None:
    """None without images. Each is asked for once, and let go before the next."""
    most = bytes_of_an_entry(len(comparison.gallery))
    cards, outlined = [], False
    for entry in comparison.gallery:
        outlined = isinstance(entry.truth, Outlines)
        cards.append(_card(comparison, entry, most))
    if not cards:
        return None
    first, *others = comparison.runs
    run, other = (others[0], others[0]) if len(others) == 1 else ("each further run", "the run that is compared")
    shares = "" if outlined else " Percentages beside an image are shares of the pixels that count."
    present = {name for card in cards for name, _ in card.classes}
    return Gallery(
        layers=[IMAGE, TRUTH, *(Layer(f"run{place}", name, name) for place, name in enumerate(comparison.runs)), APART],
        chosen=APART.key,
        intro=f"The images in which the {comparison.score_name} of {run} is farthest above and below that of {first}.{shares}",
        legend=OUTLINED if outlined else OVERLAID,
        cards=cards,
        filters=filters_of(cards, comparison.classes, {"other": "of the run", "kind": "images", "classes": "with the class"}),
        classes=[info for info in comparison.classes if info.name in present],
        error_words=words_of(first, other, outlined),
        errors_kind="facts",
        outlined=outlined,
    )


def _card(comparison: Comparison, entry: ComparedImage, most: int) -> Card:
    apart, other, first = entry.scores.difference(entry.other), comparison.runs[entry.other], comparison.runs[0]
    present = classes_in(comparison.classes, entry.truth, *entry.predicted)
    kind = f"{'better' if apart > 0 else 'worse'} than {first}"
    return Card(
        image_id=entry.scores.image_id,
        why=f"{other} {'better' if apart > 0 else 'worse'}: {signed(apart)}",
        found_by={"other": [other], "kind": [kind], "classes": [info.name for info in present]},
        size=(entry.image.shape[0], entry.image.shape[1]),
        files=compared_layers(entry, comparison.classes, most),
        figures=[f"{run} {score:.4g}" for run, score in zip(comparison.runs, entry.scores.scores, strict=True)],
        errors=[f"{word}: {text}" for word, text in entry.kinds.items()],
        classes=[(info.name, info.color) for info in present],
    )


def words_of(first: str, other: str, outlined: bool) -> dict[str, Color]:
    """What a disagreement is called, and its colour."""
    if outlined:
        texts = (f"found by {first} alone", f"found by {other} alone", f"made up by {first} alone", f"made up by {other} alone")
        return dict(zip(texts, INSTANCES.values(), strict=True))
    ways = (f"right in {first} alone", f"right in {other} alone", "both wrong, but not alike")
    return dict(zip(ways, PIXELS.values(), strict=True))


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """names, predictions: of each run. thresholds: of each run, the score from which an instance counts. dataset: of their images."""

    names: Sequence[str]
    predictions: Sequence[StoredPredictions]
    thresholds: Sequence[float]
    dataset: SampleDataset
    num_classes: int

    def in_turn(self, chosen: Sequence[tuple[ImageScores, int]]) -> InTurn[ComparedImage]:
        """chosen: images, each with the place of the run that is compared with the first."""
        place_of = {entry.image_id: place for place, (_, entry) in enumerate(self.dataset.rows)}
        return InTurn(lambda one: self.compared(place_of[one[0].image_id], *one), chosen)

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
        kinds = {word: percent(int(counts[number]) / total) for word, number in zip(words, PIXELS, strict=True)}
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
        every = [(verdict, *one) for verdict, members in parts.items() for one in members]
        ids, categories = _drawn(first, [counts for _, counts, _ in every]), np.array([c for _, _, c in every], np.int32)
        apart = Outlines(ids, categories, np.zeros(len(every), bool), [verdict for verdict, _, _ in every])
        truth = Outlines(_drawn(first, first.counts), first.categories, first.crowd, [""] * len(first.crowd))
        said = [_said(image, threshold) for image, threshold in zip(images, self.thresholds, strict=True)]
        words = words_of(self.names[0], self.names[other], outlined=True)
        kinds = {word: str(len(members)) for word, members in zip(words, parts.values(), strict=True)}
        return ComparedImage(scores, other, sample.image, truth, said, apart, kinds)


def _drawn(image: ImageInstances, counts: Sequence[str]) -> np.ndarray:
    """The layered id map of run lengths."""
    return decode([image.rle(c) for c in counts], *image.size)


def _said(image: ImageInstances, threshold: float) -> Outlines:
    """The predictions that score `threshold` or more."""
    kept = np.flatnonzero(image.scores >= np.float32(threshold))
    ids = _drawn(image, [image.predicted_counts[i] for i in kept])
    return Outlines(ids, image.predicted_categories[kept], np.zeros(len(kept), bool), [""] * len(kept), image.scores[kept])
