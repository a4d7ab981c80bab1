"""What a source of raw data is: it lists Items cheaply, reads one Item into a Record, and tells in Findings what is odd."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from seg.core.errors import InputError
from seg.data.sample import Sample

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd in a data set: the one type that sources, checks and the doctor speak in.

    kind: a slug such as `unknown-value`; docs/reference.md lists all. file: its path, or the name of another subject. what: the message.
    fix: the remedy, or nothing. severity: `error` stops `prepare`, `warning` is listed. image_id: the image that shows it, where there is
    one; box: the place in it, xyxy half-open pixels; split: the split of it, which sources leave None. other: split and image_id of a
    second image, where the finding is about a pair.
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
    file, found, rest = message.partition(": ")
    if named:  # a path may hold a colon
        longest = max(named, key=len)
        tail, found, rest = message[len(longest) :].partition(": ")
        file = longest + tail
    elif (files and "/" not in file) or not found:
        file, rest = (files[0] if files else "the data set"), message
    what, _, fix = rest.partition("; ")
    return Finding(getattr(error, "kind", "bad-data"), file, what, fix, "error", image_id, split=split)


def counted(findings: Iterable[Finding]) -> str:
    """How many there are of each kind, the most frequent first: `unreadable-file 3, size-mismatch 1`."""
    return ", ".join(f"{kind} {count}" for kind, count in Counter(f.kind for f in findings).most_common())


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a raw data set, not read yet.

    image_id: the name without suffix, unique in its split. split: train, val or test, where the layout says it. files: paths or numbers
    that `Source.read` needs. names: what a list of a split, or a table, may call the image. labels: those of the image as text, where one
    file holds the labels of all images: that file is then read once. columns: the image's row in data.split.table; sources leave it empty.
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

    encoded: the bytes of the image file, if `seg.data.imagefile.decode_image` gives exactly the sample's image for them; else None, and the
    image is written as PNG or .npy. suffix: of the file that `encoded` comes from. findings: all that `Source.read` left out or found odd.
    spacing: height and width of a pixel in micrometres, where known.
    """

    sample: Sample
    encoded: bytes | None = None
    suffix: str = ".png"
    findings: tuple[Finding, ...] = ()
    spacing: tuple[float, float] | None = None


class Source(Protocol):
    """A layout of raw data. It is sent to worker processes, so it holds plain values only.

    The constructor takes the keys of `data.source`, and those of `root` (str), `classes` (list of ClassInfo), `reader` (ImageReader) and
    `split` (the section data.split) that its signature names. findings: all that `items` left out or found odd. with_instances: whether the
    data set has instances; such a data set must hold at least one.
    """

    findings: list[Finding]
    with_instances: bool

    def items(self) -> list[Item]:
        """All images, in a fixed order, without reading them. DataError where the layout is not as configured."""
        ...

    def read(self, item: Item) -> Record:
        """Read, decode and convert one image and its labels. DataError where a file cannot be read or contradicts another; it names it."""
        ...
