"""What is worth saying of a data set: the one type that sources, checks and the doctor speak in."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or odd, with a file.

    kind: a slug such as `unknown-value`; docs/data.md lists all. file: a path, or what else the finding is of. what: what was
    found. fix: what to do about it. error: preparing stops at it; else it is listed. image_id: of the image that shows it,
    where there is one. box: where in that image, xyxy half-open pixels.
    """

    kind: str
    file: str
    what: str
    fix: str = ""
    severity: Severity = "warning"
    image_id: str | None = None
    box: tuple[int, int, int, int] | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" + (f"; {self.fix}" if self.fix else "")
