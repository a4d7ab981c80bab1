"""What a source of raw data is: it lists Items cheaply, and reads one Item into a Record."""

from dataclasses import dataclass, field
from typing import Protocol

from seg.sample import Sample


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a raw data set, not read yet.

    image_id: its name without suffix; unique in its split. split: train, val or test where the layout says so.
    files: paths or numbers that `Source.read` needs. names: what a list of a split may call it.
    """

    image_id: str
    split: str | None = None
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Record:
    """A Sample as read, with the image's original bytes where they decode to exactly the sample's image."""

    sample: Sample
    encoded: bytes | None = None
    suffix: str = ".png"


class Source(Protocol):
    """A layout of raw data. It is sent to worker processes, so it holds plain values only.

    notes: what `items` left out, a line each.
    """

    notes: list[str]

    def items(self) -> list[Item]:
        """Every image, in a fixed order. Raises DataError where the layout is not as configured."""
        ...

    def read(self, item: Item) -> Record:
        """Read, decode and convert one image and its labels. Raises DataError naming the file."""
        ...
