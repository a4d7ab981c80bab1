"""A tiled TIFF that is written band by band, beside the network, and keeps the georeference of the image that it is of."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from seg.core.errors import DataError
from seg.data.imagefile import is_tiff
from seg.data.tiff import ORIENTATION
from seg.predict.file_rows import open_rows
from seg.predict.inputs import reader_of
from seg.tiles.grid import read_ahead
from seg.tiles.tiled import Tiled, predict_bands

TILE = 256  # pixels, of the files that are written
BIG = (1 << 32) - (1 << 25)  # bytes of pixels from which on offsets of 32 bits may not do
WAITING = 2  # bands that are made before the one that is written
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


def write_bands(path: Path, height: int, width: int, dtype: type[np.generic], tags: Tags, bands: Iterator[np.ndarray]) -> None:
    """Write a TIFF of one channel in tiles, compressed with deflate, of rows (h, W) that come band by band, and are made in another thread.

    tags: what `georeference` gave of the image. BigTIFF where the pixels would not fit into a TIFF. The file appears when all rows were
    written; else nothing is left of it. DataError where it cannot be written."""
    partial, kind = path.with_name(f"{path.name}.partial"), np.dtype(dtype)
    try:
        with (
            tifffile.TiffWriter(partial, bigtiff=height * width * kind.itemsize >= BIG) as file,
            closing(read_ahead(bands, WAITING)) as ready,
        ):
            file.write(
                _tiles(ready, height, width, kind),
                shape=(height, width),
                dtype=kind,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                software=False,
                extratags=tags,
                maxworkers=1,  # more would gather many tiles first
            )
            if next(ready, None) is not None:
                raise ValueError(f"{path}: more rows were given than the {height} of the image")
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        partial.unlink(missing_ok=True)


def _tiles(bands: Iterator[np.ndarray], height: int, width: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """What the bands hold, in rows of tiles; 0 beyond the image."""
    whole, filled = np.zeros((TILE, -(-width // TILE) * TILE), dtype), 0
    rows = 0
    for band in bands:
        rows += len(band)
        if band.shape[1] != width or band.dtype != dtype or rows > height:
            raise ValueError(f"expected rows (h, {width}) of {dtype} up to {height}, got {band.shape} of {band.dtype}")
        while len(band):
            taken = min(len(band), TILE - filled)
            whole[filled : filled + taken, :width] = band[:taken]
            band, filled = band[taken:], filled + taken
            if filled == TILE or (rows == height and not len(band)):
                whole[filled:] = 0
                for left in range(0, whole.shape[1], TILE):
                    yield whole[:, left : left + TILE]
                filled = 0
    if rows != height:
        raise ValueError(f"{rows} of {height} rows were written")


def stream_class_map(network: Tiled, image: Path, target: Path, show: Callable[[float], None], done: int) -> None:
    """Write the class map of the image in a file to a tiled TIFF, georeferenced like the image. show: is told how many images are done, of
    which there were `done` before, and the share of this one.

    Raises DataError where the image cannot be read, or the file not be written; then nothing is left of it."""
    with open_rows(image, reader_of(network.facts.channels, network.facts.data_range)) as rows:
        height, width, _ = rows.shape

        def bands() -> Iterator[np.ndarray]:
            for band in predict_bands(network.network, rows, network.tiling, network.batch_size, network.blend):
                yield band.classes
                show(done + (band.top + len(band.classes)) / height)

        target.parent.mkdir(parents=True, exist_ok=True)
        write_bands(target, height, width, np.uint8, georeference(image), bands())
