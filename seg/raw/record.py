"""What a source of raw data is: it lists Items cheaply, and reads one Item into a Record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from seg.data.sample import Sample
from seg.raw.findings import Finding


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a raw data set, not read yet.

    Attributes:
        image_id: The name without suffix. It is unique in its split.
        split: train, val or test, where the layout says it; else None.
        files: Paths or numbers that `Source.read` needs.
        names: The names that a list of a split, or a table, may use for the image.
        labels: The labels of the image as text, where one file holds the labels of all images. That file is then read once.
        columns: The row of the image in data.split.table. Sources leave it empty.
    """

    image_id: str
    split: str | None = None
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A sample as read.

    Attributes:
        sample: The image and its labels.
        encoded: The bytes of the image file, if `seg.data.imagefile.decode_image` gives exactly the sample's image for them; else
            None, and the image is written as PNG or .npy.
        suffix: The suffix of the file that `encoded` comes from.
        findings: Everything that `Source.read` left out or found odd.
        spacing: Height and width of a pixel in micrometres, where known.
    """

    sample: Sample
    encoded: bytes | None = None
    suffix: str = ".png"
    findings: tuple[Finding, ...] = ()
    spacing: tuple[float, float] | None = None


class Source(Protocol):
    """A layout of raw data. It is sent to worker processes, so it holds plain values only.

    The constructor takes the keys of `data.source`, and those of `root` (str), `classes` (list of ClassInfo), `reader` (ImageReader) and
    `split` (the section data.split) that its signature names.

    Attributes:
        findings: Everything that `items` left out or found odd.
        with_instances: Whether the data set has instances. Such a data set must hold at least one.
    """

    findings: list[Finding]
    with_instances: bool

    def items(self) -> list[Item]:
        """All images, in a fixed order, without reading them.

        Raises:
            DataError: The layout is not as configured.
        """
        ...

    def read(self, item: Item) -> Record:
        """Read, decode and convert one image and its labels.

        Args:
            item: One of `items`.

        Raises:
            DataError: A file cannot be read or contradicts another. The message names the file.
        """
        ...
