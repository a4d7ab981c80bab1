"""What is worth saying of a data set: the one type that sources, checks and the doctor speak in."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from seg.core.errors import InputError

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
