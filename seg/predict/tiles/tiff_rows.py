"""Rows of a TIFF, decoded a row of its tiles or strips at a time."""

import mmap
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import tifffile

from seg.data.tiff import JPEG, ORIENTATION, as_decoded, channels_last, is_left_to_opencv, only_series, refuse_cut, told_of
from seg.predict.tiles.rows import FileRows, Rows, as_stored
from seg.sources.images import ImageReader


class Stored(Protocol):
    """The array of a series as the file holds it, read by rows of its height."""

    def read(self, start: int, stop: int) -> np.ndarray: ...


class TiffRows:
    """The image of a series."""

    def __init__(self, stored: Stored, series: Any, height: int, width: int, path: Path, reader: ImageReader) -> None:
        self.stored, self.series, self.path, self.reader = stored, series, path, reader
        self.shape = (height, width, reader.channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        with told_of(self.path):
            pixels = channels_last(self.stored.read(start, stop), self.series, None, self.path)
            return as_stored(as_decoded(pixels, self.series.keyframe, None), self.reader, self.path)


class PageRows:
    """The pages of a series, each in tiles or strips. The row of them that was decoded last is kept, as rows are read in turn."""

    def __init__(self, series: Any, axis: int) -> None:
        """axis: the series' of its height."""
        page = series.keyframe
        self.pages = list(series.pages)
        self.outer, self.inner = series.shape[:axis], series.shape[axis + 1 :]
        self.height = series.shape[axis]
        self.step = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        self.across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        self.last: tuple[int, np.ndarray] | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = []
        for number in range(start // self.step, -(-stop // self.step)):
            first = number * self.step
            parts.append(self._decoded(number)[:, max(0, start - first) : stop - first])
        return np.concatenate(parts, axis=1).reshape(*self.outer, stop - start, *self.inner)

    def _decoded(self, number: int) -> np.ndarray:
        """A row of tiles or strips of all pages: (pages and planes, h, W * samples), in the order of the series' array."""
        if self.last is None or self.last[0] != number:
            self.last = None  # before the next is made
            self.last = number, np.concatenate([self._of_page(page, number) for page in self.pages])
        return self.last[1]

    def _of_page(self, page: Any, number: int) -> np.ndarray:
        frame = page.keyframe
        planes, _, height, width, samples = frame.shaped
        rows = min(self.step, height - number * self.step)
        found = np.full((planes, rows, width, samples), frame.nodata, frame.dtype)
        down, tables = -(-height // self.step), {"jpegtables": page.jpegtables, "jpegheader": frame.jpegheader}
        for plane in range(planes):
            for column in range(self.across):
                index = (plane * down + number) * self.across + column
                handle = page.parent.filehandle
                handle.seek(page.dataoffsets[index])
                data = handle.read(page.databytecounts[index]) if page.databytecounts[index] else None
                segment, at, (_, h, w, _) = frame.decode(data, index, **(tables if frame.compression in JPEG else {}))
                if segment is not None:
                    found[plane, :h, at[3] : at[3] + w] = segment[0, :rows, : width - at[3]]
        return found.reshape(planes, rows, width * samples)


def tiff_rows(file: BinaryIO, path: Path, reader: ImageReader, stack: ExitStack) -> Rows | None:
    """The image of a TIFF; None where its rows cannot be had without the whole. `stack` closes what is opened."""
    with told_of(path):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            refuse_cut(content, path)
            length = len(content)
        file.seek(0)
        opened = stack.enter_context(tifffile.TiffFile(file))
        series = only_series(opened, length, path)
        page, axes = series.keyframe, series.axes
        if page.tags.valueof(ORIENTATION, 1) != 1 or is_left_to_opencv(page) or page.imagedepth != 1 or page.tiledepth > 1:
            return None
        if "X" not in axes or "Y" not in axes or axes.index("X") < axes.index("Y"):
            return None
        if series.kind == "shaped" and axes == "QYX" and series.shape[2] == reader.channels != series.shape[0]:
            return None  # an array (H, W, C), a row a page
        axis = axes.index("Y")
        height, width = series.shape[axis], series.shape[axes.index("X")]
        stored: Stored
        if series.dataoffset is not None:
            order = page.parent.byteorder
            stored = FileRows(file, path, series.dataoffset, series.dtype.newbyteorder(order), series.shape, axis)
        elif "Y" in page.axes and all(p is not None for p in series.pages):
            stored = PageRows(series, axis)
        else:
            return None
        return TiffRows(stored, series, height, width, path, reader)
