"""The gallery of a comparison: the images on which runs differ most, with truth, every run's prediction, and where two disagree."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from seg.compare.comparison import FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER, ComparedImage, Comparison, signed
from seg.compare.disagreement import BOTH_WRONG, FIRST_RIGHT, OTHER_RIGHT
from seg.data.sample import IGNORE, ClassInfo, Color
from seg.report.gallery import IMAGE, TRUTH, Card, Gallery, Layer, bytes_of_an_entry, classes_in, filters_of
from seg.report.layers import IGNORED_WHITE, Labels, Size, label_layers, laid_over, outline_paint, outlined, palette_png, sized
from seg.report.page_data import Outlines

PIXELS: Mapping[int, Color] = {FIRST_RIGHT: (0, 114, 178), OTHER_RIGHT: (230, 159, 0), BOTH_WRONG: (204, 121, 167)}
"""The colours of pixels on which two runs disagree (Okabe and Ito 2008): what is the first's is blue, the other's yellow."""

INSTANCES: Mapping[str, Color] = {
    FOUND_BY_FIRST: (0, 114, 178),
    FOUND_BY_OTHER: (230, 159, 0),
    MADE_UP_BY_FIRST: (86, 180, 233),
    MADE_UP_BY_OTHER: (240, 228, 66),
}
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
