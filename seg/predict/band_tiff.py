"""A tiled TIFF that is written band by band, beside the network, and keeps the georeference of the image that it is of."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np
import tifffile

from seg.core.errors import DataError
from seg.data.imagefile import is_tiff
from seg.data.tiff import ORIENTATION
from seg.predict.file_rows import open_rows
from seg.predict.inputs import reader_of
from seg.tiles.tiled import Tiled, predict_bands

TILE = 256  # pixels, of the files that are written
BIG = (1 << 32) - (1 << 25)  # bytes of pixels from which on offsets of 32 bits may not do
WAITING = 2  # bands that may wait to be written
GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""GeoTIFF 1.1 (OGC 19-008r4): ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams."""

Tags = list[tuple[int, int, int, Any, bool]]  # as tifffile takes them: code, type, count, value, and whether the first page alone has it


def georeference(path: Path) -> Tags:
    """The tags of a GeoTIFF that say where on the ground its pixels lie; none of other files, and of images that are stored turned."""
    with open(path, "rb") as file:
        if not is_tiff(file.read(4)):
            return []
        file.seek(0)
        with tifffile.TiffFile(file) as opened:
            tags = opened.pages[0].tags
            if tags.valueof(ORIENTATION, 1) != 1:
                return []
            return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags if tag.code in GEOREFERENCE]


class BandTiff:
    """A TIFF of one channel in tiles, compressed with deflate, to be written as `with BandTiff(...) as out: out.write(rows)`.

    Bands are written in another thread. The file appears when the block ends well and all rows were written; else nothing is left of it.
    """

    def __init__(self, path: Path, height: int, width: int, dtype: type[np.generic], tags: Tags) -> None:
        """tags: what `georeference` gave of the image. BigTIFF where the pixels would not fit into a TIFF."""
        self.path, self.height, self.width, self.dtype, self.tags = path, height, width, np.dtype(dtype), tags
        self.partial = path.with_name(f"{path.name}.partial")
        self.bands: Queue[np.ndarray | None] = Queue(WAITING)
        self.rows = 0
        self.pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "BandTiff":
        self.done: Future[None] = self.pool.submit(self._write)
        return self

    def write(self, rows: np.ndarray) -> None:
        """The next rows (h, W). DataError where they cannot be written."""
        if rows.shape[1] != self.width or rows.dtype != self.dtype or self.rows + len(rows) > self.height:
            raise ValueError(f"expected rows (h, {self.width}) of {self.dtype} up to {self.height}, got {rows.shape} of {rows.dtype}")
        self.rows += len(rows)
        self._hand_over(rows)

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if not (kind is None and self.rows == self.height):  # the writer is not left waiting
                self._hand_over(None)
            self.pool.shutdown()
            if kind is None:
                if self.rows != self.height:
                    raise ValueError(f"{self.path}: {self.rows} of {self.height} rows were written")
                self._result()
                self.partial.replace(self.path)
        finally:
            self.partial.unlink(missing_ok=True)

    def _hand_over(self, rows: np.ndarray | None) -> None:
        while not self.done.done():
            try:
                return self.bands.put(rows, timeout=0.1)
            except Full:
                continue
        if rows is not None:
            self._result()
        return None

    def _result(self) -> None:
        try:
            self.done.result()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror or error})") from None

    def _write(self) -> None:
        big = self.height * self.width * self.dtype.itemsize >= BIG
        with tifffile.TiffWriter(self.partial, bigtiff=big) as file:
            file.write(
                self._tiles(),
                shape=(self.height, self.width),
                dtype=self.dtype,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                software=False,
                extratags=self.tags,
                maxworkers=1,  # more would gather many tiles first
            )

    def _tiles(self) -> Iterator[np.ndarray]:
        """What the bands hold, in rows of tiles; 0 beyond the image."""
        whole, filled = np.zeros((TILE, -(-self.width // TILE) * TILE), self.dtype), 0
        rows = 0
        while rows < self.height:
            band = self.bands.get()
            if band is None:
                raise InterruptedError("given up")
            rows += len(band)
            while len(band):
                taken = min(len(band), TILE - filled)
                whole[filled : filled + taken, : self.width] = band[:taken]
                band, filled = band[taken:], filled + taken
                if filled == TILE or (rows == self.height and not len(band)):
                    whole[filled:] = 0
                    for left in range(0, whole.shape[1], TILE):
                        yield whole[:, left : left + TILE]
                    filled = 0


def stream_class_map(network: Tiled, image: Path, target: Path) -> Iterator[float]:
    """Write the class map of the image in a file to a tiled TIFF, georeferenced like the image; yields the share that is done.

    Raises DataError where the image cannot be read, or the file not be written; then nothing is left of it.
    """
    with open_rows(image, reader_of(network.facts.channels, network.facts.data_range)) as rows:
        height, width, _ = rows.shape
        target.parent.mkdir(parents=True, exist_ok=True)
        with BandTiff(target, height, width, np.uint8, georeference(image)) as out:
            for band in predict_bands(network.network, rows, network.tiling, network.batch_size, network.blend):
                out.write(band.classes)
                yield (band.top + len(band.classes)) / height
