"""What the galleries of all pages share: cards of images whose layers are toggled, filters, legends and the close-up."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from seg.data.sample import Color
from seg.report.html import data_uri

PAGE = 20_000_000  # bytes of pictures in a page, which base64 makes a third larger
ENTRY = 300_000  # bytes of an image's pictures, at most
NAMED = 6  # classes, and errors, that are named beside an image


@dataclass(frozen=True, slots=True)
class Layer:
    """What can be seen of an image. key: its class in the style. name: on its button. word: what it is within a sentence.

    colors: which table of `Gallery.names` tells what its colours mean, `classes` or `errors`; None: the image itself.
    """

    key: str
    name: str
    word: str
    colors: str | None = "classes"


IMAGE = Layer("image", "Image", "image", None)
TRUTH = Layer("truth", "Truth", "truth")


@dataclass(frozen=True, slots=True)
class Gallery:
    """layers: in the order of their keys, IMAGE first. chosen: the key of the one that is seen at first. above: intro and legend.

    selects: the filters, as `select` makes them. cards: as `card` makes them. names: what a colour `r,g,b` means, of classes and of
    errors. outlined: objects are outlined, instead of laid over the image.
    """

    layers: Sequence[Layer]
    chosen: str
    above: str
    selects: Sequence[str]
    cards: Sequence[str]
    names: Mapping[str, Mapping[str, str]]
    outlined: bool


def bytes_of_an_entry(count: int) -> int:
    """What the pictures of one of `count` images may take at most."""
    return min(ENTRY, PAGE // max(1, count))


def gallery_html(gallery: Gallery) -> str:
    """The whole of a gallery; a page has one at most."""
    names = json.dumps(gallery.names).replace("<", "\\u003c")
    kind = "gallery" if gallery.outlined else "gallery filled"
    colors = f'<script type="application/json" id="names">{names}</script>'
    cards = f'<ul class="entries">{"".join(gallery.cards)}</ul>'
    return f'<div class="{kind}">{gallery.above}{_controls(gallery)}{cards}{_dialog(gallery.layers)}{colors}</div>'


def card(data: Mapping[str, Iterable[int | str]], pictures: str, why: str, image_id: str, lists: Sequence[str]) -> str:
    """An image of the gallery. data: the values by which each filter finds it; pictures: as `stack` makes them; why: it is shown."""
    values = " ".join(f'data-{key}="{" ".join(map(str, words))}"' for key, words in data.items())
    head = f'<p><span class="why">{escape(why)}</span> <strong class="id">{escape(image_id)}</strong></p>'
    return f'<li class="entry" {values}>{pictures}{head}{"".join(lists)}</li>'


def stack(image: bytes, maps: Sequence[tuple[Layer, bytes]], image_id: str, size: tuple[int, int]) -> str:
    """A JPEG with the PNGs of its layers over it; a browser decodes those alone that are seen. size: (height, width) of the image."""
    height, width = size
    lazy = 'loading="lazy" decoding="async"'
    photo = f'<img class="photo" {lazy} src="{data_uri(image, "jpeg")}" alt="{escape(image_id)}" width="{width}" height="{height}">'
    over = "".join(
        f'<img class="layer {layer.key}" {lazy} src="{data_uri(file, "png")}" alt="{escape(layer.word)}">' for layer, file in maps
    )
    return f'<button type="button" class="stack" style="aspect-ratio:{width}/{height}" title="enlarge">{photo}{over}</button>'


def items(kind: str, texts: Sequence[str], most: int | None = None) -> str:
    """A list of HTML texts. most: how many are named; the others are counted."""
    more = f'<li class="more">{len(texts) - most} more</li>' if most is not None and len(texts) > most else ""
    return f'<ul class="{kind}">{"".join(f"<li>{text}</li>" for text in texts[:most])}{more}</ul>' if texts else ""


def select(key: str, label: str, options: Mapping[str, tuple[str, int]]) -> str:
    """A filter by the data `key` of cards. options: by value, what it is called and how many images have it."""
    if not options:
        return ""
    choices = "".join(f'<option value="{value}">{escape(name)} ({count})</option>' for value, (name, count) in options.items())
    return f'<label>{escape(label)} <select data-of="{key}"><option value="">all</option>{choices}</select></label>'


def legend(text: str, colors: Sequence[str], more: str = "") -> str:
    """What the colours mean. colors: as `class_name` makes them."""
    opened = "open" if len(colors) <= 14 else ""
    return f'<details class="legend" {opened}><summary>What the colours mean</summary><p>{text}</p>{items("facts", colors)}{more}</details>'


def keys_hint(layers: Sequence[Layer]) -> str:
    """How to toggle and enlarge."""
    return f'<span class="scripted">Select an image to enlarge it; the keys 1 to {len(layers)} choose what is shown.</span>'


def color_key(color: Color) -> str:
    """A colour as the tables of names have it."""
    return ",".join(map(str, color))


def _controls(gallery: Gallery) -> str:
    radios = "".join(
        f'<label><input type="radio" name="layer" value="{layer.key}" data-word="{escape(layer.word)}"{_colors(layer)}'
        f'{" checked" if layer.key == gallery.chosen else ""}> {escape(layer.name)} <kbd class="scripted">{number}</kbd></label>'
        for number, layer in enumerate(gallery.layers, start=1)
    )
    slider = f'<input type="range" id="strength" min="0" max="100" value="{100 if gallery.outlined else 60}">'
    count = len(gallery.cards)
    return (
        f'<form class="filters scripted" autocomplete="off">{"".join(gallery.selects)}'
        f'<output id="shown" aria-live="polite">{count} of {count} images</output></form>'
        f'<form class="controls" autocomplete="off"><fieldset><legend>Show</legend>{radios}</fieldset>'
        f'<label class="scripted">strength {slider}</label></form>'
    )


def _colors(layer: Layer) -> str:
    return f' data-colors="{layer.colors}"' if layer.colors else ""


def _dialog(layers: Sequence[Layer]) -> str:
    buttons = "".join(f'<button type="button" data-layer="{layer.key}">{escape(layer.name)}</button>' for layer in layers)
    return (
        f'<dialog class="large" aria-labelledby="large-name"><div class="bar-of-buttons"><strong id="large-name"></strong>{buttons}'
        '<button type="button" data-layer="all">Side by side</button>'
        '<button type="button" data-zoom="0.8" aria-label="smaller">&minus;</button>'
        '<button type="button" data-zoom="1.25" aria-label="larger">+</button><button type="button" data-step="-1">Previous</button>'
        '<button type="button" data-step="1">Next</button><button type="button" data-close>Close</button></div>'
        '<p class="pixel" aria-live="off">Point at the image to see what is there.</p><div class="panes"></div></dialog>'
    )
