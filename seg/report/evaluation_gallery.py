"""The gallery of an evaluation: images with their truth, prediction and errors."""

from collections import Counter
from collections.abc import Collection, Sequence

from seg.data.sample import ClassInfo, Color
from seg.report.gallery import IMAGE, TRUTH, Card, Gallery, Layer, bytes_of_an_entry, classes_in, filters_of
from seg.report.layers import OTHER_VERDICT, VERDICTS, WRONG, layers_of
from seg.report.page_data import KINDS, Evaluation, GalleryEntry, Outlines

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
        error_words=_words(verdicts) if outlined else {"wrong": WRONG},
        errors_kind="mistakes",
        outlined=outlined,
    )


def _card(entry: GalleryEntry, classes: Sequence[ClassInfo], score_name: str, most: int) -> Card:
    if entry.kind not in KINDS:
        raise ValueError(f"{entry.row.image_id}: a gallery's image must be one of {', '.join(KINDS)}, got {entry.kind}")
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


def _words(verdicts: Collection[str]) -> dict[str, Color]:
    """What objects of the gallery were found to be, and the colours of it."""
    known = {verdict: color for verdict, color in VERDICTS.items() if verdict in verdicts}
    return known | dict.fromkeys(sorted(set(verdicts) - known.keys()), OTHER_VERDICT)
