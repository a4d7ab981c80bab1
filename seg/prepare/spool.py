"""What was stored of an image, with the bulk of it on disk: for the time in which all images are known and none is written up."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg.storing.statistics import Counts
from seg.storing.write import StoredRecord


@dataclass(frozen=True, slots=True)
class Piece:
    """Where bytes lie in a Spool."""

    spool: "Spool"
    start: int
    length: int

    def read(self) -> bytes:
        """The bytes that were added."""
        return self.spool.read(self)


class Spool:
    """Bytes put aside on the disk of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the pieces do
        self.end = 0

    def add(self, data: bytes) -> Piece:
        """Put bytes aside."""
        self.file.seek(self.end)
        self.file.write(data)
        piece = Piece(self, self.end, len(data))
        self.end += len(data)
        return piece

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece."""
        self.file.seek(piece.start)
        return self.file.read(piece.length)


class SpooledRecord(StoredRecord):
    """A StoredRecord whose counts and annotations lie in a Spool, so that memory does not grow with them."""

    _rows: Piece
    _annotations: Piece | None

    def __init__(self, stored: StoredRecord, spool: Spool) -> None:
        counts = stored.counts
        names = ("entry", "labels_sha256", "thumbnail", "findings", "spacing")
        light = {name: getattr(stored, name) for name in names}
        rows = np.concatenate([counts.class_pixels[None], counts.histogram, counts.foreground])
        regions = spool.add(json.dumps(stored.annotations).encode()) if stored.annotations else None
        kept = {"_rows": spool.add(rows.astype(np.uint32).tobytes()), "_annotations": regions}  # an image has fewer pixels than 2**32
        for name, value in (light | kept).items():
            object.__setattr__(self, name, value)

    @property
    def counts(self) -> Counts:
        rows = np.frombuffer(self._rows.read(), np.uint32).reshape(-1, 256).astype(np.int64)
        channels = len(rows) // 2
        return Counts(rows[0], rows[1 : 1 + channels], rows[1 + channels :])

    @property
    def class_pixels(self) -> np.ndarray:
        return self.counts.class_pixels

    @property
    def histogram(self) -> np.ndarray:
        return self.counts.histogram

    @property
    def foreground(self) -> np.ndarray:
        return self.counts.foreground

    @property
    def annotations(self) -> list[dict[str, Any]]:
        return json.loads(self._annotations.read()) if self._annotations else []
