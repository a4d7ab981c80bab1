"""Files whose images are read a few rows at a time: .npy and TIFF; of other formats the whole image is decoded at once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from seg.core.errors import UnreadableError
from seg.data.decoders import ALL, NPY, Decoded, Window, is_tiff
from seg.data.imagefile import to_channels
from seg.data.tiff_rows import FileRows, Parts, tiff_rows
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
        parts = tiff_rows(file, path, reader.channels, stack)
        return None if parts is None else DecodedRows(parts, path, reader)
    return None


class DecodedRows:
    """An image by rows, which `parts` gives as the file holds them; they become what `ImageReader` makes of the whole."""

    def __init__(self, parts: Parts, path: Path, reader: ImageReader) -> None:
        self.parts, self.path, self.reader = parts, path, reader
        self.shape = (parts.height, parts.width, reader.channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        decoded, reader = self.parts.decode((slice(start, stop), ALL), False), self.reader
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

    def decode(window: Window, indices: bool) -> Decoded:
        pixels = stored.read(window[0].start, window[0].stop)
        return Decoded(pixels.astype(pixels.dtype.newbyteorder("="), copy=False).reshape(*pixels.shape[:2], -1))

    return DecodedRows(Parts(array.shape[0], array.shape[1], decode), path, reader)
