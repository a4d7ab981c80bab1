"""Windows of image files: a part of an image is read without the rest of it. TIFF and Zarr are such formats."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from seg.core.errors import UnreadableError
from seg.data.decoders import ALL, ZARR, Decoded, Window, is_tiff, refuse_large

if TYPE_CHECKING:
    from seg.data.tiff_rows import Parts

AT_ONCE = 1 << 26  # pixels of a strip, or a chunk, above which a window takes as much memory as the whole


def window_of(path: Path, window: Window | None) -> Window | None:
    """The window itself; the whole of a Zarr array, which is never read otherwise."""
    return (ALL, ALL) if window is None and path.suffix.lower() == ZARR else window


def window_size(path: Path, above: int = 0) -> tuple[int, int] | None:
    """Height and width of an image of more than `above` pixels that can be read by windows; None of others. DataError where its file is
    damaged."""
    if path.suffix.lower() != ZARR and not (path.suffix.lower() in (".tif", ".tiff") and path.is_file()):
        return None
    with _opened(path, None) as parts:
        fits = parts is not None and parts.height * parts.width > above and parts.at_once <= AT_ONCE
        return (parts.height, parts.width) if parts is not None and fits else None


def read_window(path: Path, window: Window, channels: int | None = None, indices: bool = False) -> Decoded:
    """What `seg.data.imagefile.decode` gives of the whole, of these rows and columns alone. indices: those of a TIFF's palette, not its
    colours. DataError for a file that cannot be read so."""
    with _opened(path, channels) as parts:
        if parts is None:
            raise UnreadableError(f"{path}: cannot be read in parts; save it as a tiled TIFF without an Orientation tag")
        refuse_large(len(range(parts.height)[window[0]]), len(range(parts.width)[window[1]]), path)
        return parts.decode(window, indices)


@contextmanager
def _opened(path: Path, channels: int | None) -> "Iterator[Parts | None]":
    if path.suffix.lower() == ZARR:
        from seg.data.zarr_array import zarr_parts  # of an extra

        yield zarr_parts(path)
        return
    from seg.data.tiff_rows import tiff_rows  # takes a while to import

    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from None
        yield tiff_rows(file, path, channels, stack) if is_tiff(file.read(4)) else None
