"""What a source of raw data is: it lists Items cheaply, reads one Item into a Record, and tells in Findings what is odd."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from seg.core.errors import InputError
from seg.data.decoders import Window
from seg.data.sample import Sample

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd in a data set.

    Attributes:
        kind: A slug such as `unknown-value`. docs/reference.md lists all.
        file: The path of the file, or the name of another subject.
        what: The message.
        fix: The remedy, or nothing.
        severity: `error` stops `prepare`; `warning` is listed.
        image_id: The image that shows it, where there is one.
        box: The place in that image, xyxy half-open pixels.
        split: The split of that image. Sources leave it None.
        other: Split and image_id of a second image, where the finding is about a pair.
    """

    kind: str
    file: str
    what: str
    fix: str = ""
    severity: Severity = "warning"
    image_id: str | None = None
    box: tuple[int, int, int, int] | None = None
    split: str | None = None
    other: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" + (f"; {self.fix}" if self.fix else "")


def finding_of(error: InputError, files: Sequence[str] = (), image_id: str | None = None, split: str | None = None) -> Finding:
    """An error as a finding. files: of the item that was read; the one that the message names, or else the first, is the finding's."""
    message = str(error)
    named = [file for file in files if message.startswith(file)]
    longest = max(named, key=len, default="")  # a path may hold a colon
    tail, found, rest = message[len(longest) :].partition(": ")
    file = longest + tail
    if not named and ((files and "/" not in file) or not found):
        file, rest = (files[0] if files else "the data set"), message
    what, _, fix = rest.partition("; ")
    return Finding(getattr(error, "kind", "bad-data"), file, what, fix, "error", image_id, split=split)


def of_several(kind: str, file: object, names: Sequence[object], what: str, fix: str = "") -> list[Finding]:
    """A finding that counts several things and names the first; none where there are none. what: is said of them."""
    return [Finding(kind, str(file), f"{len(names)} {what}, such as {names[0]}", fix)] if names else []


def counted(findings: Iterable[Finding]) -> str:
    """How many there are of each kind, the most frequent first: `unreadable-file 3, size-mismatch 1`."""
    return ", ".join(f"{kind} {count}" for kind, count in Counter(f.kind for f in findings).most_common())


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a raw data set, not read yet.

    Attributes:
        image_id: The name without suffix. It is unique in its split.
        split: train, val or test, where the layout says it; else None.
        files: Paths or numbers that `Source.read` needs.
        names: The names that a list of a split, or a table, may use for the image.
        labels: The labels of the image as text, where one file holds the labels of all images. That file is then read once.
        columns: The row of the image in data.split.table, and whether its labels are corrected. Sources leave it empty.
        window: The rows and columns that are read of the files, of a tile of a larger image. Sources leave it None.
    """

    image_id: str
    split: str | None = None
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    window: Window | None = None


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
        classes_before: Of an image whose labels are corrected the class indices that its class map had before: these decide its split.
    """

    sample: Sample
    encoded: bytes | None = None
    suffix: str = ".png"
    findings: tuple[Finding, ...] = ()
    spacing: tuple[float, float] | None = None
    classes_before: tuple[int, ...] = ()


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
        """All images, in a fixed order, without reading them; DataError where the layout is not as configured."""

    def read(self, item: Item) -> Record:
        """Read, decode and convert one of `items` and its labels; DataError, which names the file, where one cannot be read or contradicts
        another."""
