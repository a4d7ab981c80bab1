"""What was stored of an image, with the bulk of it on disk: for the time in which all images are known and none is written up."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seg.storing.statistics import Counts
from seg.storing.write import StoredRecord


class Spool:
    """Bytes put aside on the disk of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as what reads it does
        self.end = 0

    def add(self, data: bytes) -> Callable[[], bytes]:
        """Put bytes aside; what comes back reads them."""
        start, length = self.end, len(data)
        self.file.seek(start)
        self.file.write(data)
        self.end += length

        def read() -> bytes:
            self.file.seek(start)
            return self.file.read(length)

        return read


class SpooledRecord(StoredRecord):
    """A StoredRecord whose counts and annotations lie in a Spool, so that memory does not grow with them."""

    _rows: Callable[[], bytes]
    _annotations: Callable[[], bytes] | None

    def __init__(self, stored: StoredRecord, spool: Spool) -> None:
        counts = stored.counts
        light = {name: getattr(stored, name) for name in ("entry", "labels_sha256", "thumbnail", "findings", "spacing")}
        rows = np.concatenate([counts.class_pixels[None], counts.histogram, counts.foreground])
        regions = spool.add(json.dumps(stored.annotations).encode()) if stored.annotations else None
        kept = {"_rows": spool.add(rows.astype(np.uint32).tobytes()), "_annotations": regions}  # an image has fewer pixels than 2**32
        for name, value in (light | kept).items():
            object.__setattr__(self, name, value)

    @property
    def counts(self) -> Counts:
        rows = np.frombuffer(self._rows(), np.uint32).reshape(-1, 256).astype(np.int64)
        channels = len(rows) // 2
        return Counts(rows[0], rows[1 : 1 + channels], rows[1 + channels :])

    @property
    def annotations(self) -> list[dict[str, Any]]:
        return json.loads(self._annotations()) if self._annotations else []
