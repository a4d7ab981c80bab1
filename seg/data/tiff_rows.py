"""TIFF of which some rows and columns are read, as far as they are needed: tiles, strips, planes, pages as channels; BigTIFF."""

import mmap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from seg.data import tiff
from seg.data.decoders import ALL, Decoded, Window, cut_off


@dataclass(frozen=True, slots=True)
class Parts:
    """An image whose windows are decoded alone, each by `decode`, which may give the indices of a palette in place of its colours. at_once:
    pixels that are decoded together at most, however small the window."""

    height: int
    width: int
    decode: Callable[[Window, bool], Decoded]
    at_once: int = 0


class FileRows:
    """Pixels that lie in a file as they are in memory: `planes` times (height, width, ...) of `dtype`, from `offset` on."""

    def __init__(self, file: BinaryIO, path: Path, offset: int, dtype: np.dtype, shape: tuple[int, ...], axis: int) -> None:
        """shape: of the array in the file; axis: the one of its height, behind which comes its width."""
        self.file, self.path, self.offset, self.dtype, self.shape, self.axis = file, path, offset, dtype, shape, axis

    def read(self, start: int, stop: int, columns: slice = ALL) -> np.ndarray:
        """The array, with the rows from `start` to before `stop`, and the columns, alone."""
        outer, height, (width, *inner) = self.shape[: self.axis], self.shape[self.axis], self.shape[self.axis + 1 :]
        planes, pixel = int(np.prod(outer)), int(np.prod(inner)) * self.dtype.itemsize
        left, right, _ = columns.indices(width)
        step = stop - start if right - left == width else 1  # rows that lie in the file one behind another
        found = np.empty((planes, (stop - start) // step, step * (right - left) * pixel), np.uint8)
        for plane, number in np.ndindex(found.shape[:2]):
            self.file.seek(self.offset + ((plane * height + start + number * step) * width + left) * pixel)
            if self.file.readinto(found[plane, number].data) != found.shape[2]:  # type: ignore[attr-defined]
                raise cut_off(self.path)
        return found.view(self.dtype).reshape(*outer, stop - start, right - left, *inner)


class PageRows:
    """The pages of a series, each in tiles or strips. The row of them that was decoded last is kept, as rows are read in turn."""

    def __init__(self, series: Any, axis: int) -> None:
        """axis: the series' of its height, behind which comes its width."""
        page = series.keyframe
        self.pages = list(series.pages)
        self.outer, self.inner = series.shape[:axis], series.shape[axis + 2 :]
        self.height, self.width = series.shape[axis : axis + 2]
        self.step = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        self.wide = page.tilewidth if page.is_tiled else self.width
        self.last: tuple[tuple[int, range], np.ndarray] | None = None

    def read(self, start: int, stop: int, columns: slice = ALL) -> np.ndarray:
        left, right, _ = columns.indices(self.width)
        across = range(left // self.wide, -(-right // self.wide))
        parts, skipped = [], across.start * self.wide
        for number in range(start // self.step, -(-stop // self.step)):
            first = number * self.step
            part = self._decoded(number, across)[:, max(0, start - first) : stop - first, left - skipped : right - skipped]
            parts.append(np.ascontiguousarray(part))  # not the whole strip
        return np.concatenate(parts, axis=1).reshape(*self.outer, stop - start, right - left, *self.inner)

    def _decoded(self, number: int, across: range) -> np.ndarray:
        """Neighbours in a row of tiles, or a strip, of all pages: (pages and planes, h, w, samples), in the order of the series' array."""
        if self.last is None or self.last[0] != (number, across):
            self.last = None  # before the next is made
            self.last = (number, across), np.concatenate([self._of_page(page, number, across) for page in self.pages])
        return self.last[1]

    def _of_page(self, page: Any, number: int, across: range) -> np.ndarray:
        frame = page.keyframe
        planes, _, height, width, samples = frame.shaped
        skipped, rows = across.start * self.wide, min(self.step, height - number * self.step)
        right = min(width, across.stop * self.wide)
        found = np.full((planes, rows, right - skipped, samples), frame.nodata, frame.dtype)
        down, tables = -(-height // self.step), {"jpegtables": page.jpegtables, "jpegheader": frame.jpegheader}
        for plane in range(planes):
            for column in across:
                index = (plane * down + number) * -(-width // self.wide) + column
                handle = page.parent.filehandle
                handle.seek(page.dataoffsets[index])
                data = handle.read(page.databytecounts[index]) if page.databytecounts[index] else None
                segment, at, (_, h, w, _) = frame.decode(data, index, **(tables if frame.compression in tiff.JPEG else {}))
                if segment is not None:
                    found[plane, :h, at[3] - skipped : at[3] - skipped + w] = segment[0, :rows, : right - at[3]]
        return found


def tiff_rows(file: BinaryIO, path: Path, channels: int | None, stack: ExitStack) -> Parts | None:
    """The image of a TIFF; None where its rows cannot be had without the whole: an Orientation tag, axes in another order, colours that
    OpenCV reads. channels: as many as are wanted, or None. `stack` closes what is opened."""
    with tiff.one_line_errors(path):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            tiff.refuse_cut(content, path)
            length = len(content)
        file.seek(0)
        opened = stack.enter_context(tifffile.TiffFile(file))
        series = tiff.only_series(opened, length, path)
        page, axes = series.keyframe, series.axes
        if page.tags.valueof(tiff.ORIENTATION, 1) != 1 or "YX" not in axes or page.imagedepth != 1 or page.tiledepth > 1:
            return None
        if tiff.is_left_to_opencv(page) or (series.kind == "shaped" and axes == "QYX" and series.shape[2] == channels != series.shape[0]):
            return None  # the latter is an array (H, W, C), a row a page
        axis = axes.index("Y")
        height, width = series.shape[axis : axis + 2]
        stored: FileRows | PageRows
        if series.dataoffset is not None:
            stored = FileRows(file, path, series.dataoffset, series.dtype.newbyteorder(page.parent.byteorder), series.shape, axis)
        elif "Y" in page.axes and all(p is not None for p in series.pages):
            stored = PageRows(series, axis)
        else:
            return None
        spacing = tiff.spacing_of(opened, page)

    def decode(window: Window, indices: bool) -> Decoded:
        start, stop, _ = window[0].indices(height)
        with tiff.one_line_errors(path):
            pixels = tiff.channels_last(stored.read(start, stop, window[1]), series, None, path)
            return tiff.as_decoded(pixels, page, spacing, indices)

    return Parts(height, width, decode, stored.step * stored.wide if isinstance(stored, PageRows) else 0)
