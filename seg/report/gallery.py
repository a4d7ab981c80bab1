"""A gallery as all pages have it: cards of images whose layers are toggled, filters, and what the colours mean."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg.data.sample import IGNORE, ClassInfo, Color
from seg.pictures.draw import IGNORED_GRAY
from seg.report.page_data import Outlines

PAGE = 20_000_000  # bytes of pictures in a page, which base64 makes a third larger
ENTRY = 300_000  # bytes of an image's pictures, at most
GRAY: Color = (IGNORED_GRAY,) * 3
WHITE: Color = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Layer:
    """What can be seen of an image. key: its class in the style. name: on its button. word: what it is within a sentence.

    colors: which table of `Gallery.names` tells what its colours mean, `classes` or `errors`; None: the image itself."""

    key: str
    name: str
    word: str
    colors: str | None = "classes"


IMAGE = Layer("image", "Image", "image", None)
TRUTH = Layer("truth", "Truth", "truth")


@dataclass(frozen=True, slots=True)
class Card:
    """An image of the gallery.

    why: it is shown. found_by: the words by which each filter finds it. size: (height, width). files: a JPEG, then a PNG of each further
    layer. figures, errors: lines beside the image; of errors and classes the first are named, the others counted."""

    image_id: str
    why: str
    found_by: Mapping[str, Sequence[str]]
    size: tuple[int, int]
    files: Sequence[bytes]
    figures: Sequence[str]
    errors: Sequence[str]
    classes: Sequence[tuple[str, Color]]


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of images. counts: how many images each word of it finds."""

    key: str
    label: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Gallery:
    """layers: IMAGE first, what is wrong last. chosen: the key of the one that is seen at first. intro, legend: sentences.

    classes: those in the images. error_words: what the colours of the last layer mean. errors_kind: the style of the cards' errors.
    outlined: objects are outlined, instead of laid over the image."""

    layers: Sequence[Layer]
    chosen: str
    intro: str
    legend: str
    cards: Sequence[Card]
    filters: Sequence[Filter]
    classes: Sequence[ClassInfo]
    error_words: Mapping[str, Color]
    errors_kind: str
    outlined: bool

    @property
    def class_colors(self) -> list[tuple[str, Color]]:
        """What the legend says of classes."""
        crowd = [("hatched: a crowd, which is not counted", GRAY)] if self.outlined else []
        return [(info.name, info.color) for info in self.classes] + crowd

    @property
    def error_colors(self) -> list[tuple[str, Color]]:
        """What the legend says of the last layer."""
        return [*self.error_words.items(), *([] if self.outlined else [("ignored", WHITE)])]

    @property
    def names(self) -> dict[str, dict[str, str]]:
        """What a colour `r,g,b` means, on the layers of classes and on the last."""
        ignored = {_key(GRAY): "ignored"} if self.outlined else {}
        classes: dict[str, str] = {}
        for info in self.classes:  # a colour that classes share is each of them
            classes[_key(info.color)] = " or ".join(filter(None, (classes.get(_key(info.color)), info.name)))
        return {"classes": classes | ignored, "errors": {_key(color): word for word, color in self.error_colors} | ignored}


def bytes_of_an_entry(count: int) -> int:
    """What the pictures of one of `count` images may take at most."""
    return min(ENTRY, PAGE // max(1, count))


def filters_of(cards: Sequence[Card], classes: Sequence[ClassInfo], labels: Mapping[str, str]) -> list[Filter]:
    """Filters with these labels by their keys, without those that every image passes; of words the most frequent comes first.

    classes: the order of the words of `classes`."""
    filters = []
    for key, label in labels.items():
        counts = Counter(word for card in cards for word in card.found_by[key])
        words = [info.name for info in classes if info.name in counts] if key == "classes" else [word for word, _ in counts.most_common()]
        if any(counts[word] < len(cards) for word in words):
            filters.append(Filter(key, label, {word: counts[word] for word in words}))
    return filters


def classes_in(classes: Sequence[ClassInfo], *labels: np.ndarray | Outlines) -> list[ClassInfo]:
    """The classes in the truth and the predictions of an image."""
    found: set[int] = set()
    for each in labels:
        found |= set(each.categories.tolist()) if isinstance(each, Outlines) else set(np.unique(each).tolist()) - {IGNORE}
    return [classes[index] for index in sorted(found)]


def _key(color: Color) -> str:
    return ",".join(map(str, color))
