"""What was stored of an image, with the bulk of it on disk: for the time in which all images are known and none is written up."""

import json
from typing import Any

import numpy as np

from seg.prepare.array_file import Piece, Spool
from seg.storing.statistics import Counts
from seg.storing.write import Stored


class SetAside(Stored):
    """A Stored whose counts and annotations lie in a Spool, so that memory does not grow with them."""

    _rows: Piece
    _annotations: Piece | None

    def __init__(self, stored: Stored, spool: Spool) -> None:
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
