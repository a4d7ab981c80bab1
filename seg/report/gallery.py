"""The gallery of a page: images with their truth, prediction and errors to toggle, filter and enlarge."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from seg.report.draw import IGNORED_GRAY
from seg.report.evaluation import KINDS, GalleryEntry, Outlines
from seg.report.html import class_name, data_uri
from seg.report.layers import OTHER_VERDICT, VERDICTS, WRONG, Layers, layers_of
from seg.sample import IGNORE, ClassInfo, Color

PAGE = 20_000_000  # bytes of pictures in a page, which base64 makes a third larger
ENTRY = 300_000  # bytes of an image's pictures, at most
NAMED = 6  # classes, and errors, that are named beside an image
LAYERS = {"image": "Image", "truth": "Truth", "predicted": "Prediction", "errors": "Errors"}


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
    most = min(ENTRY, PAGE // len(gallery))
    seen = Seen()
    cards = [_card(gallery[index], classes, score_name, most, seen) for index in range(len(gallery))]
    names = json.dumps(_names(classes, seen)).replace("<", "\\u003c")
    kind = "gallery" if seen.outlined else "gallery filled"
    above = f"{_intro(seen, score_name)}{_legend(classes, seen)}{_controls(classes, seen, len(gallery))}"
    colors = f'<script type="application/json" id="names">{names}</script>'
    return f'<div class="{kind}">{above}<ul class="entries">{"".join(cards)}</ul>{_DIALOG}{colors}</div>'


def _intro(seen: Seen, score_name: str) -> str:
    kinds = ", ".join(f"{seen.kinds[kind]} {kind}" for kind in KINDS if seen.kinds[kind])
    keys = '<span class="scripted">Select an image to enlarge it; the keys 1 to 4 choose what is shown.</span>'
    shares = "" if seen.outlined else " Percentages beside an image are shares of its pixels."
    return f"<p>Images by their {escape(score_name)}: {kinds}.{shares} {keys}</p>"


def _card(entry: GalleryEntry, classes: Sequence[ClassInfo], score_name: str, most: int, seen: Seen) -> str:
    if entry.kind not in KINDS:
        raise ValueError(f"{entry.row.image_id}: a gallery's image must be one of {', '.join(KINDS)}, got {entry.kind}")
    present = classes_in(entry)
    seen.add(entry, present)
    height, width = entry.image.shape[:2]
    name = escape(entry.row.image_id)
    data = f'data-kind="{entry.kind}" data-classes="{_words(present)}" data-errors="{_words(seen.number(e) for e in entry.errors)}"'
    figures = {score_name: entry.row.score, **{key: value for key, value in entry.row.figures.items() if value == value}}
    errors = [f"{escape(kind)} {escape(text)}" if text else escape(kind) for kind, text in entry.errors.items()]
    shown = [class_name(classes[c].name, classes[c].color) for c in present]
    return (
        f'<li class="entry" {data}>{_stack(layers_of(entry, classes, most), name, width, height)}'
        f'<p><span class="why">{entry.kind}</span> <strong class="id">{name}</strong></p>'
        f"{_list('facts', [f'{escape(key)} {value:.4g}' for key, value in figures.items()])}"
        f"{_list('mistakes', errors, NAMED)}{_list('facts', shown, NAMED)}</li>"
    )


def classes_in(entry: GalleryEntry) -> list[int]:
    """The classes of an entry's truth and prediction."""
    found: set[int] = set()
    for labels in (entry.truth, entry.predicted):
        found |= set((labels.categories if isinstance(labels, Outlines) else np.unique(labels)).tolist())
    return sorted(found - {IGNORE} if isinstance(entry.truth, np.ndarray) else found)


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _list(kind: str, items: Sequence[str], most: int | None = None) -> str:
    """most: how many are named; the others are counted."""
    more = f'<li class="more">{len(items) - most} more</li>' if most is not None and len(items) > most else ""
    return f'<ul class="{kind}">{"".join(f"<li>{item}</li>" for item in items[:most])}{more}</ul>' if items else ""


def _stack(layers: Layers, name: str, width: int, height: int) -> str:
    """The image with its layers over it; a browser decodes those alone that are seen."""
    lazy = 'loading="lazy" decoding="async"'
    photo = f'<img class="photo" {lazy} src="{data_uri(layers.image, "jpeg")}" alt="{name}" width="{width}" height="{height}">'
    over = "".join(
        f'<img class="layer {kind}" {lazy} src="{data_uri(file, "png")}" alt="{LAYERS[kind].lower()}">'
        for kind, file in (("truth", layers.truth), ("predicted", layers.predicted), ("errors", layers.errors))
    )
    return f'<button type="button" class="stack" style="aspect-ratio:{width}/{height}" title="enlarge">{photo}{over}</button>'


def _controls(classes: Sequence[ClassInfo], seen: Seen, count: int) -> str:
    radios = "".join(
        f'<label><input type="radio" name="layer" value="{kind}"{" checked" if kind == "predicted" else ""}> {name}'
        f' <kbd class="scripted">{key}</kbd></label>'
        for key, (kind, name) in enumerate(LAYERS.items(), start=1)
    )
    selects = (
        _select("kind", "images", {kind: (kind, seen.kinds[kind]) for kind in KINDS if seen.kinds[kind]}),
        _select("classes", "with the class", {str(c): (classes[c].name, n) for c, n in sorted(seen.classes.items())}),
        _select("errors", "with the error", {str(seen.number(e)): (e, n) for e, n in seen.errors.most_common()}),
    )
    slider = f'<input type="range" id="strength" min="0" max="100" value="{100 if seen.outlined else 60}">'
    strength = f'<label class="scripted">strength {slider}</label>'
    return (
        f'<form class="filters scripted" autocomplete="off">{"".join(selects)}'
        f'<output id="shown" aria-live="polite">{count} of {count} images</output></form>'
        f'<form class="controls" autocomplete="off"><fieldset><legend>Show</legend>{radios}</fieldset>{strength}</form>'
    )


def _select(key: str, label: str, options: Mapping[str, tuple[str, int]]) -> str:
    if not options:
        return ""
    choices = "".join(f'<option value="{value}">{escape(name)} ({count})</option>' for value, (name, count) in options.items())
    return f'<label>{label} <select data-of="{key}"><option value="">all</option>{choices}</select></label>'


def _legend(classes: Sequence[ClassInfo], seen: Seen) -> str:
    own = [class_name(classes[c].name, classes[c].color) for c in sorted(seen.classes)]
    if seen.outlined:
        text = "Truth and prediction outline each object in the colour of its class, errors in the colour of what it was found to be."
        own.append(class_name("hatched: a crowd, which is not counted", (IGNORED_GRAY,) * 3))
        errors = _list("facts", [class_name(verdict, color) for verdict, color in _verdicts(seen).items()])
    else:
        text = "Truth and prediction lay each class over the image in its colour; errors are the pixels that are wrong."
        own += [class_name("wrong", WRONG), class_name("ignored, among the errors", (255, 255, 255))]
        errors = ""
    opened = "open" if len(own) <= 14 else ""
    return f'<details class="legend" {opened}><summary>What the colours mean</summary><p>{text}</p>{_list("facts", own)}{errors}</details>'


def _verdicts(seen: Seen) -> dict[str, Color]:
    """What objects of the gallery were found to be, and the colours of it."""
    known = {verdict: color for verdict, color in VERDICTS.items() if verdict in seen.verdicts}
    return known | dict.fromkeys(sorted(seen.verdicts - known.keys()), OTHER_VERDICT)


def _names(classes: Sequence[ClassInfo], seen: Seen) -> dict[str, dict[str, str]]:
    """What a colour means on the layers of classes and of errors; a colour that classes share is each of them."""
    by_color: dict[str, str] = {}
    for index in sorted(seen.classes):
        key = _key(classes[index].color)
        by_color[key] = f"{by_color[key]} or {classes[index].name}" if key in by_color else classes[index].name
    if seen.outlined:
        gray = {_key((IGNORED_GRAY,) * 3): "ignored"}
        return {"classes": by_color | gray, "errors": {_key(color): verdict for verdict, color in _verdicts(seen).items()} | gray}
    return {"classes": by_color, "errors": {_key(WRONG): "wrong", _key((255, 255, 255)): "ignored"}}


def _key(color: Color) -> str:
    return ",".join(map(str, color))


_DIALOG = (
    '<dialog class="large" aria-labelledby="large-name"><div class="bar-of-buttons"><strong id="large-name"></strong>'
    + "".join(f'<button type="button" data-layer="{kind}">{name}</button>' for kind, name in LAYERS.items())
    + '<button type="button" data-layer="all">Side by side</button>'
    '<button type="button" data-zoom="0.8" aria-label="smaller">&minus;</button>'
    '<button type="button" data-zoom="1.25" aria-label="larger">+</button><button type="button" data-step="-1">Previous</button>'
    '<button type="button" data-step="1">Next</button><button type="button" data-close>Close</button></div>'
    '<p class="pixel" aria-live="off">Point at the image to see what is there.</p><div class="panes"></div></dialog>'
)
