"""The gallery of an evaluation: images with their truth, prediction and errors to toggle, filter and enlarge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from seg.data.sample import IGNORE, ClassInfo, Color
from seg.pictures.draw import IGNORED_GRAY
from seg.report.gallery_frame import (
    IMAGE,
    NAMED,
    TRUTH,
    Gallery,
    Layer,
    bytes_of_an_entry,
    card,
    color_key,
    gallery_html,
    items,
    keys_hint,
    legend,
    select,
    stack,
)
from seg.report.html import class_name
from seg.report.layers import OTHER_VERDICT, VERDICTS, WRONG, layers_of
from seg.report.page_data import KINDS, GalleryEntry, Outlines

PREDICTED, ERRORS = Layer("predicted", "Prediction", "prediction"), Layer("errors", "Errors", "errors", "errors")
LAYERS = (IMAGE, TRUTH, PREDICTED, ERRORS)


@dataclass(slots=True)
class Seen:
    """What the entries so far hold: how many images of each kind, with each class, with each kind of error."""

    kinds: Counter[str] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    verdicts: set[str] = field(default_factory=set)
    outlined: bool = False

    def add(self, entry: GalleryEntry, classes: Sequence[int]) -> None:
        self.kinds[entry.kind] += 1
        self.classes.update(classes)
        self.errors.update(entry.errors.keys())
        for labels in (entry.truth, entry.predicted):
            if isinstance(labels, Outlines):
                self.outlined = True
                self.verdicts.update(verdict for verdict, crowd in zip(labels.verdicts, labels.crowd, strict=True) if not crowd)

    def number(self, error: str) -> int:
        """Of a kind of error, in the order in which they came."""
        return list(self.errors).index(error)


def gallery_section(gallery: Sequence[GalleryEntry], classes: Sequence[ClassInfo], score_name: str) -> str:
    """Each entry of the gallery is asked for once, and let go before the next."""
    most = bytes_of_an_entry(len(gallery))
    seen = Seen()
    cards = [_card(gallery[index], classes, score_name, most, seen) for index in range(len(gallery))]
    selects = (
        select("kind", "images", {kind: (kind, seen.kinds[kind]) for kind in KINDS if seen.kinds[kind]}),
        select("classes", "with the class", {str(c): (classes[c].name, n) for c, n in sorted(seen.classes.items())}),
        select("errors", "with the error", {str(seen.number(e)): (e, n) for e, n in seen.errors.most_common()}),
    )
    above = _intro(seen, score_name) + _legend(classes, seen)
    return gallery_html(Gallery(LAYERS, PREDICTED.key, above, selects, cards, _names(classes, seen), seen.outlined))


def _intro(seen: Seen, score_name: str) -> str:
    kinds = ", ".join(f"{seen.kinds[kind]} {kind}" for kind in KINDS if seen.kinds[kind])
    shares = "" if seen.outlined else " Percentages beside an image are shares of its pixels."
    return f"<p>Images by their {escape(score_name)}: {kinds}.{shares} {keys_hint(LAYERS)}</p>"


def _card(entry: GalleryEntry, classes: Sequence[ClassInfo], score_name: str, most: int, seen: Seen) -> str:
    if entry.kind not in KINDS:
        raise ValueError(f"{entry.row.image_id}: a gallery's image must be one of {', '.join(KINDS)}, got {entry.kind}")
    present = classes_in(entry.truth, entry.predicted)
    seen.add(entry, present)
    layers = layers_of(entry, classes, most)
    maps = ((TRUTH, layers.truth), (PREDICTED, layers.predicted), (ERRORS, layers.errors))
    pictures = stack(layers.image, maps, entry.row.image_id, (entry.image.shape[0], entry.image.shape[1]))
    figures = {score_name: entry.row.score, **{key: value for key, value in entry.row.figures.items() if value == value}}
    errors = [f"{escape(kind)} {escape(text)}" if text else escape(kind) for kind, text in entry.errors.items()]
    lists = (
        items("facts", [f"{escape(key)} {value:.4g}" for key, value in figures.items()]),
        items("mistakes", errors, NAMED),
        items("facts", [class_name(classes[c].name, classes[c].color) for c in present], NAMED),
    )
    data: dict[str, Sequence[int | str]] = {"kind": [entry.kind], "classes": present, "errors": [seen.number(e) for e in entry.errors]}
    return card(data, pictures, entry.kind, entry.row.image_id, lists)


def classes_in(*labels: np.ndarray | Outlines) -> list[int]:
    """The classes in the truth and the predictions of an image."""
    found: set[int] = set()
    for each in labels:
        found |= set(each.categories.tolist()) if isinstance(each, Outlines) else set(np.unique(each).tolist()) - {IGNORE}
    return sorted(found)


def _legend(classes: Sequence[ClassInfo], seen: Seen) -> str:
    own = [class_name(classes[c].name, classes[c].color) for c in sorted(seen.classes)]
    if seen.outlined:
        text = "Truth and prediction outline each object in the colour of its class, errors in the colour of what it was found to be."
        own.append(class_name("hatched: a crowd, which is not counted", (IGNORED_GRAY,) * 3))
        return legend(text, own, items("facts", [class_name(verdict, color) for verdict, color in _verdicts(seen).items()]))
    text = "Truth and prediction lay each class over the image in its colour; errors are the pixels that are wrong."
    return legend(text, [*own, class_name("wrong", WRONG), class_name("ignored, among the errors", (255, 255, 255))])


def _verdicts(seen: Seen) -> dict[str, Color]:
    """What objects of the gallery were found to be, and the colours of it."""
    known = {verdict: color for verdict, color in VERDICTS.items() if verdict in seen.verdicts}
    return known | dict.fromkeys(sorted(seen.verdicts - known.keys()), OTHER_VERDICT)


def _names(classes: Sequence[ClassInfo], seen: Seen) -> dict[str, dict[str, str]]:
    """What a colour means on the layers of classes and of errors."""
    by_color = names_of_colors(classes, sorted(seen.classes))
    if seen.outlined:
        gray = {color_key((IGNORED_GRAY,) * 3): "ignored"}
        return {"classes": by_color | gray, "errors": {color_key(color): verdict for verdict, color in _verdicts(seen).items()} | gray}
    return {"classes": by_color, "errors": {color_key(WRONG): "wrong", color_key((255, 255, 255)): "ignored"}}


def names_of_colors(classes: Sequence[ClassInfo], present: Sequence[int]) -> dict[str, str]:
    """The classes by their colours; a colour that classes share is each of them."""
    by_color: dict[str, str] = {}
    for index in present:
        key = color_key(classes[index].color)
        by_color[key] = f"{by_color[key]} or {classes[index].name}" if key in by_color else classes[index].name
    return by_color
