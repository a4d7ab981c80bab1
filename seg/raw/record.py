"""What a source of raw data is: it lists Items cheaply, and reads one Item into a Record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from seg.data.sample import Sample
from seg.raw.findings import Finding


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a raw data set, not read yet.

    image_id: its name without suffix; unique in its split. split: train, val or test where the layout says so.
    files: paths or numbers that `Source.read` needs. names: what a list of a split, or a table, may call it. labels: its
    labels as text, where one file holds those of all images; so that file is read once, and no worker process reads it. columns: what
    a table says of it, which sources leave empty.
    """

    image_id: str
    split: str | None = None
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A Sample as read, with the image's original bytes where `seg.data.imagefile.decode_image` makes exactly the sample's image of them.

    findings: what `Source.read` left out of it, or found odd. spacing: height and width of a pixel in micrometres, where known.
    """

    sample: Sample
    encoded: bytes | None = None
    suffix: str = ".png"
    findings: tuple[Finding, ...] = ()
    spacing: tuple[float, float] | None = None


class Source(Protocol):
    """A layout of raw data. It is sent to worker processes, so it holds plain values only.

    findings: what `items` left out, or found odd. with_instances: whether it is a data set of instances, which must hold some.
    """

    findings: list[Finding]
    with_instances: bool

    def items(self) -> list[Item]:
        """Every image, in a fixed order. Raises DataError where the layout is not as configured."""
        ...

    def read(self, item: Item) -> Record:
        """Read, decode and convert one image and its labels. Raises DataError naming the file."""
        ...
