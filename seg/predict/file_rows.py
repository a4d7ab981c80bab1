"""Files whose images are read a few rows at a time: .npy and TIFF; of other formats the whole image is decoded at once."""

import mmap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from seg.core.errors import UnreadableError
from seg.data.decoders import NPY, Decoded, cut_off, is_tiff
from seg.data.imagefile import to_channels
from seg.data.tiff import JPEG, ORIENTATION, as_decoded, channels_last, is_left_to_opencv, one_line_errors, only_series, refuse_cut
from seg.raw.intensity import to_8_bit
from seg.sources.images import ImageReader
from seg.tiles.grid import ArrayRows, Rows


@contextmanager
def open_rows(path: Path, reader: ImageReader) -> Iterator[Rows]:
    """A file's image, to be read by rows. DataError where it is unreadable, or is not as `reader` is configured.

    TIFF (tiles, strips, planes, pages as channels; BigTIFF) and .npy are read from the disk as far as they are needed. Other formats, TIFF
    whose rows do not lie as they are shown (an Orientation tag, axes in another order), and images that are brought to 8 bit by
    their own range (`image`) are decoded at once."""
    with ExitStack() as stack:
        yield _by_rows(path, reader, stack) or ArrayRows(reader.read(path).pixels)


def _by_rows(path: Path, reader: ImageReader, stack: ExitStack) -> Rows | None:
    if isinstance(reader.range, str):
        return None
    try:
        file = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
        start = file.read(8)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from None
    if start.startswith(NPY):
        return npy_rows(file, path, reader)
    if is_tiff(start):
        return tiff_rows(file, path, reader, stack)
    return None


class FileRows:
    """Pixels that lie in a file as they are in memory: `planes` times (height, ...) of `dtype`, from `offset` on."""

    def __init__(self, file: BinaryIO, path: Path, offset: int, dtype: np.dtype, shape: tuple[int, ...], axis: int) -> None:
        """shape: of the array in the file; axis: the one of its height."""
        self.file, self.path, self.offset, self.dtype, self.shape, self.axis = file, path, offset, dtype, shape, axis

    def read(self, start: int, stop: int) -> np.ndarray:
        """The array, with the rows from `start` to before `stop` alone."""
        outer, height, inner = self.shape[: self.axis], self.shape[self.axis], self.shape[self.axis + 1 :]
        planes = int(np.prod(outer))
        row = int(np.prod(inner)) * self.dtype.itemsize
        found = np.empty((planes, (stop - start) * row), np.uint8)
        for plane in range(planes):
            self.file.seek(self.offset + (plane * height + start) * row)
            if self.file.readinto(found[plane].data) != found.shape[1]:  # type: ignore[attr-defined]
                raise cut_off(self.path)
        return found.view(self.dtype).reshape(*outer, stop - start, *inner)


class DecodedRows:
    """An image by rows, which `decode` gives as the file holds them; they become what `ImageReader` makes of the whole."""

    def __init__(self, decode: Callable[[int, int], Decoded], height: int, width: int, path: Path, reader: ImageReader) -> None:
        self.decode, self.path, self.reader = decode, path, reader
        self.shape = (height, width, reader.channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        decoded, reader = self.decode(start, stop), self.reader
        return to_8_bit(to_channels(decoded, reader.channels, self.path), reader.range, self.path, decoded.nodata, reader.remedy)[0]


def npy_rows(file: BinaryIO, path: Path, reader: ImageReader) -> Rows | None:
    """None for arrays that are refused, or not laid out by rows."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None  # the decoder of whole files says what is wrong
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif" or not array.size or not array.flags.c_contiguous:
        return None
    stored = FileRows(file, path, array.offset, array.dtype, array.shape, 0)

    def decode(start: int, stop: int) -> Decoded:
        pixels = stored.read(start, stop)
        return Decoded(pixels.astype(pixels.dtype.newbyteorder("="), copy=False).reshape(*pixels.shape[:2], -1))

    return DecodedRows(decode, array.shape[0], array.shape[1], path, reader)


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
    with one_line_errors(path):
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
        stored: FileRows | PageRows
        if series.dataoffset is not None:
            stored = FileRows(file, path, series.dataoffset, series.dtype.newbyteorder(page.parent.byteorder), series.shape, axis)
        elif "Y" in page.axes and all(p is not None for p in series.pages):
            stored = PageRows(series, axis)
        else:
            return None

    def decode(start: int, stop: int) -> Decoded:
        with one_line_errors(path):
            return as_decoded(channels_last(stored.read(start, stop), series, None, path), page, None)

    return DecodedRows(decode, height, width, path, reader)
