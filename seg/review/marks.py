"""What people said of suspect labels: files that review.html saves, and whose `right` marks the next review does not ask about again.

A mark is of an image's content, not of its name: the sha256 of its pixels, the kind of suspicion, and the masks that it was about. It holds
for a later suspicion of the same kind in the same image whose masks reach an IoU of one half with it, so another model's slightly other
outline is no new question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pycocotools import mask as coco_mask
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from seg.core.errors import DataError
from seg.core.textfile import json_of
from seg.data.rle import Rle
from seg.data.sample import ClassInfo
from seg.review.suspects import KINDS, Suspect

SAME = 0.5  # the IoU from which on a suspicion is the one that was marked


class Mark(BaseModel):
    """image: sha256 of its pixels. size: (height, width). counts: COCO's run lengths of the masks together. image_id, label, likely: for
    people."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    image: str
    kind: str
    size: tuple[int, int]
    counts: str
    mark: Literal["right", "wrong", "unsure"]
    image_id: str = ""
    label: str | None = None
    likely: str | None = None


_MARKS = TypeAdapter(list[Mark])


def read_marks(folder: Path) -> list[Mark]:
    """Those of all JSON files in a folder; DataError where one is none that the page saves."""
    found: list[Mark] = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            marks = _MARKS.validate_python(json_of(path.read_bytes())["marks"], strict=False)
            bad = next((mark for mark in marks if mark.kind not in KINDS), None)
            for mark in marks:
                coco_mask.area(_rle(mark))
        except (ValidationError, TypeError, KeyError, ValueError) as error:
            raise DataError(f"{path}: is no file of marks that review.html saved ({str(error).splitlines()[0]}); move it away") from None
        if bad:
            raise DataError(f"{path}: has a mark of the kind {bad.kind!r}, expected {', '.join(KINDS)}; save it again by review.html")
        found += marks
    return found


def mark_of(suspect: Suspect, sha256: str, marks: Sequence[Mark]) -> str | None:
    """What was said of a suspect last; None where nobody said anything."""
    own = masks_of(suspect)
    about = [m for m in reversed(marks) if (m.image, m.kind, list(m.size)) == (sha256, suspect.kind, own["size"])]
    return next((m.mark for m in about if coco_mask.iou([_rle(m)], [own], [0])[0, 0] >= SAME), None)


def masks_of(suspect: Suspect) -> Rle:
    """The masks of the label and of the suggestion together."""
    merged = coco_mask.merge([*suspect.labelled, *suspect.suggested])
    counts = merged["counts"]
    return {"size": list(merged["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def row_of(suspect: Suspect, sha256: str, classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """A `Mark` of a suspect but for what is said of it. sha256: of its image's pixels."""
    label, likely = (None if index is None else classes[index].name for index in (suspect.label, suspect.likely))
    own = {"image": sha256, "image_id": suspect.image_id, "kind": suspect.kind, "label": label, "likely": likely}
    return own | masks_of(suspect)


def _rle(mark: Mark) -> Rle:
    return {"size": list(mark.size), "counts": mark.counts}
