"""Images that are read a few rows at a time: arrays, .npy files and TIFF; of other formats the whole image is decoded at once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from seg.core.errors import DataError
from seg.data.decoders import NPY, Decoded, cut_off, is_tiff
from seg.data.imagefile import to_channels
from seg.data.intensity import to_8_bit
from seg.sources.images import ImageReader


class Rows(Protocol):
    """An image of which any rows can be read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from `start` to before `stop`: (stop - start, W, C) uint8. One thread at a time may read."""
        ...


class ArrayRows:
    """An array or a memory map (H, W, C) uint8."""

    def __init__(self, pixels: np.ndarray) -> None:
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise DataError(f"expected an image (height, width, channels) of uint8, got {pixels.shape} of {pixels.dtype}")
        self.pixels = pixels
        self.shape: tuple[int, int, int] = pixels.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]


@contextmanager
def open_rows(path: Path, reader: ImageReader) -> Iterator[Rows]:
    """A file's image, to be read by rows. DataError where it is unreadable, or is not as `reader` is configured.

    TIFF (tiles, strips, planes, pages as channels; BigTIFF) and .npy are read from the disk as far as they are needed. Other formats, TIFF
    whose rows do not lie as they are shown (an Orientation tag, axes in another order), and images that are brought to 8 bit by
    their own range (`image`) are decoded at once.
    """
    with ExitStack() as stack:
        yield _by_rows(path, reader, stack) or ArrayRows(reader.read(path).pixels)


def _by_rows(path: Path, reader: ImageReader, stack: ExitStack) -> Rows | None:
    if isinstance(reader.range, str):
        return None
    try:
        file = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
        start = file.read(8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None
    if start.startswith(NPY):
        return npy_rows(file, path, reader)
    if is_tiff(start):
        from seg.predict.tiles.tiff_rows import tiff_rows  # takes a while to import, and is seldom needed

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


class NpyRows:
    """An .npy file (H, W) or (H, W, C)."""

    def __init__(self, rows: FileRows, reader: ImageReader) -> None:
        self.rows, self.reader = rows, reader
        self.shape = (rows.shape[0], rows.shape[1], reader.channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        pixels = self.rows.read(start, stop)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return as_stored(Decoded(pixels.reshape(*pixels.shape[:2], -1)), self.reader, self.rows.path)


def npy_rows(file: BinaryIO, path: Path, reader: ImageReader) -> NpyRows | None:
    """None for arrays that are refused, or not laid out by rows."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None  # the decoder of whole files says what is wrong
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif" or not array.size or not array.flags.c_contiguous:
        return None
    return NpyRows(FileRows(file, path, array.offset, array.dtype, array.shape, 0), reader)


def as_stored(decoded: Decoded, reader: ImageReader, path: Path) -> np.ndarray:
    """Some rows of a file's image -> (h, W, channels) uint8, as `ImageReader` makes them of the whole."""
    pixels, _ = to_8_bit(to_channels(decoded, reader.channels, path), reader.range, path)
    return pixels
