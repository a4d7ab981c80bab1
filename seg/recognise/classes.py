"""Names and colours for classes that a data set does not describe itself, or describes in a text file beside the labels."""

from collections.abc import Iterable, Sequence
from typing import Any

from seg.data.sample import BACKGROUND

NAME_FILES = ("codes.txt", "classes.txt", "class_names.txt", "labels.txt", "label_names.txt", "names.txt", "obj.names")
VOID_NAMES = frozenset(
    ("void", "ignore", "ignore_label", "ignored", "__ignore__", "unlabeled", "unlabelled", "unknown", "don't care", "dontcare")
)
BACKGROUND_NAMES = frozenset((BACKGROUND, "_background_", "__background__", "bg", "back ground"))


def is_void(name: str) -> bool:
    """Whether a class by its name is of pixels that count nowhere."""
    return name.strip().lower() in VOID_NAMES


def is_background(name: str) -> bool:
    return name.strip().lower() in BACKGROUND_NAMES


def entry(name: str, color: Sequence[int], labels: Sequence[Any] = ()) -> dict[str, Any]:
    """An entry of data.classes."""
    return {"name": name, "color": [int(c) for c in color]} | ({"labels": list(labels)} if labels else {})


def color(index: int) -> list[int]:
    """The colour of class `index` in PASCAL VOC's map: the bits of the index, dealt to red, green and blue from the highest down."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << (7 - place)
        index >>= 3
    return channels


def instance_classes(names: Iterable[str]) -> list[dict[str, Any]]:
    """`background`, with the labels that mean it, and a class for each name of an object."""
    known = list(dict.fromkeys(names))
    background = [name for name in known if is_background(name)]
    objects = [name for name in known if not is_void(name) and name not in background]
    labels = background if background != [BACKGROUND] else []
    return [entry(BACKGROUND, (0, 0, 0), labels), *(entry(name, color(number)) for number, name in enumerate(objects, start=1))]


def void_of(names: Iterable[str]) -> dict[str, Any]:
    """The key data.source.ignore for the labels whose regions count nowhere; none where no label is one."""
    void = [name for name in dict.fromkeys(names) if is_void(name)]
    return {"ignore": void} if void else {}
