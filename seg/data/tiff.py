"""TIFF of any kind to arrays, through tifffile: depths, compressions, pages, planes, axes and pixel sizes as its metadata say."""

import logging
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from defusedxml import ElementTree
from PIL import Image

from seg.core.errors import DataError, PixelError, UnreadableError
from seg.data.decoders import MEND, Decoded, cut_off, refuse_large, unreadable, upright

WHITE_IS_ZERO, GRAY, RGB, PALETTE, SEPARATED, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
SEPARATE = 2  # of the tag PlanarConfiguration
JPEG = (6, 7)
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes
PRIVATE = 32768  # the first of the tags that programs may use as they like
UNSPECIFIED = 0  # of the tag ExtraSamples
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, GDAL_NODATA = 274, 282, 283, 296, 42113
PRINTED = 10.0  # micrometres from which on a pixel by the resolution tags alone is one of a print, of 72 to 2400 dots an inch
MICROMETRES = dict.fromkeys(("um", "µm", "\u03bcm", "\\u00b5m", "micron", "microns"), 1.0)
MICROMETRES |= {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25400.0}

Bytes = bytes | mmap.mmap


def decode_tiff(data: bytes, path: Path, channels: int | None) -> Decoded:
    """A TIFF's image (H, W, C): samples, or pages of equal size, become channels. channels: as many as are wanted, or None; tells the
    channel axis where tifffile wrote an array (H, W, C) as H pages. DataError for a file that is cut or damaged, and for images of several
    sizes or with more than one axis beside height and width."""
    refuse_cut(data, path)
    with one_line_errors(path), tifffile.TiffFile(BytesIO(data)) as file:
        series = only_series(file, len(data), path)
        page = series.keyframe
        refuse_large(int(np.prod(series.shape, dtype=object)) // 4, 1, path)  # as many as an image of four channels has
        by_opencv = is_left_to_opencv(page)
        pixels = _by_opencv(data, path) if by_opencv else channels_last(series.asarray(maxworkers=1), series, channels, path)
        return as_decoded(pixels, page, spacing_of(file, page))


def is_palette(data: bytes) -> bool:
    """Whether a TIFF's pixels are indices of a palette; False where it cannot be read."""
    try:
        with one_line_errors(Path("image")), tifffile.TiffFile(BytesIO(data)) as file:
            return bool(file.pages[0].photometric == PALETTE)
    except DataError:
        return False


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a TIFF, as a DataError of one line."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is raised here
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # each codec fails in ways of its own
        raise UnreadableError(f"{path}: is not a readable TIFF ({' '.join(str(error).split())[:200]}); {MEND}") from None


def only_series(file: Any, length: int, path: Path) -> Any:
    """tifffile's series of a file of `length` bytes; DataError where it holds images of several sizes, or pixels are missing."""
    if not (whole := [series for series in file.series if not series.keyframe.is_reduced]):
        raise unreadable(path)
    if len(whole) > 1:
        sizes = ", ".join("x".join(map(str, series.shape)) for series in whole[:4])
        raise PixelError(f"{path}: holds {len(whole)} images of different kinds ({sizes}); save each as a file of its own")
    series = whole[0]
    _refuse_missing(series, length, path)
    _decode_planes_as_gray(series.keyframe)
    return series


def _decode_planes_as_gray(page: Any) -> None:
    """Let tifffile take each JPEG of a plane for gray, which it is: of an image in RGB it would look for three colours in it."""
    if page.planarconfig == SEPARATE and page.compression in JPEG and page.photometric == RGB:
        page.photometric = GRAY
        _ = page.decode  # made of the tags when it is first used, and kept
        page.photometric = RGB


def is_left_to_opencv(page: Any) -> bool:
    """Whether tifffile would leave the page's colours as they are."""
    return page.photometric in (YCBCR, CIELAB) and page.compression not in JPEG


def channels_last(pixels: np.ndarray, series: Any, channels: int | None, path: Path) -> np.ndarray:
    """The array of a series, or some rows of it, as (H, W, C)."""
    axes = series.axes
    if pixels.ndim == 3 and series.kind == "shaped" and axes == "QYX" and channels == pixels.shape[2] != pixels.shape[0]:
        return pixels  # tifffile.imwrite of an array (H, W, C): its description holds the shape, but no names of axes
    if "Y" not in axes or "X" not in axes:
        raise PixelError(f"{path}: has the axes {axes} ({'x'.join(map(str, pixels.shape))}), expected height and width")
    others = [i for i, axis in enumerate(axes) if axis not in "YX" and pixels.shape[i] > 1]
    if len(others) > 1:
        there = " and ".join(f"{pixels.shape[i]} along {axes[i]}" for i in others)
        fix = "save each image as a file of its own"
        raise PixelError(f"{path}: has the axes {axes}, {there}, expected one beside height and width; {fix}")
    order = [axes.index("Y"), axes.index("X"), *others]
    rest = [i for i in range(pixels.ndim) if i not in order]
    pixels = pixels.transpose([*order, *rest])
    return pixels.reshape(*pixels.shape[:2], -1)


def as_decoded(pixels: np.ndarray, page: Any, spacing: tuple[float, float] | None, indices: bool = False) -> Decoded:
    """The samples (H, W, C) of an image, or of a part of it, as the page's tags mean them. indices: those of a palette, not its colours."""
    step, count = 1, pixels.shape[2]
    color = page.photometric in (RGB, YCBCR, CIELAB) and count >= 3 and page.samplesperpixel == count
    palette = page.photometric == PALETTE and count == 1 and not indices
    if palette:
        colors = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        pixels, color = colors.astype(np.uint8).T[pixels[..., 0]], True
    elif page.photometric == SEPARATED and count == 4 and pixels.dtype == np.uint8:
        pixels, color = np.array(Image.fromarray(pixels, "CMYK").convert("RGB")), True
    elif pixels.dtype.kind == "b":
        pixels, step = pixels * np.uint8(255), 255
    elif page.bitspersample in (2, 4) and pixels.dtype == np.uint8:
        step = 255 // (2**page.bitspersample - 1)
        pixels = pixels * np.uint8(step)
    inverted = page.photometric == WHITE_IS_ZERO and pixels.dtype.kind == "u"
    if inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"its pixels are {pixels.dtype}")
    alpha = page.samplesperpixel == count and _has_alpha(page, pixels)
    orientation = page.tags.valueof(ORIENTATION, 1)
    if orientation in (5, 6, 7, 8) and spacing:
        spacing = spacing[::-1]
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return Decoded(upright(pixels, orientation), color, alpha, step, spacing, inverted, orientation, _nodata(page), palette)


def _has_alpha(page: Any, pixels: np.ndarray) -> bool:
    """Whether the last sample is opacity: by its tag, or where the tag is silent as a fourth that is opaque throughout."""
    extra = page.extrasamples
    if extra and extra[-1] != UNSPECIFIED:
        return True
    if page.photometric != RGB or pixels.shape[2] != 4 or pixels.dtype.kind != "u":
        return False
    return bool((pixels[..., 3] == np.iinfo(pixels.dtype).max).all())


def _nodata(page: Any) -> float | None:
    """The value that GDAL wrote for no measurement; it is text."""
    try:
        return float(str(page.tags.valueof(GDAL_NODATA, "")).strip("\0 "))
    except ValueError:
        return None


def _by_opencv(data: bytes, path: Path) -> np.ndarray:
    """Colours that tifffile leaves as they are, YCbCr and CIE L*a*b*, as RGB."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise unreadable(path)
    return pixels


def refuse_cut(data: Bytes, path: Path) -> None:
    """Raise DataError for the bytes, or the memory map, of a file that ends too soon. The chain of its directories is followed (TIFF 6.0,
    section 2; BigTIFF); tifffile would stop in silence at the last whole one. A directory is a count, entries of (tag, type, count, value
    or its place), and the place of the next."""
    order = "little" if data[:1] == b"I" else "big"
    big = 43 in data[2:4]
    word, count, entry, position = (8, 8, 20, 8) if big else (4, 2, 12, 4)

    def number(at: int, size: int) -> int:
        if at + size > len(data):
            raise cut_off(path)
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    offset, seen = number(position, word), set[int]()
    while offset and offset not in seen:
        seen.add(offset)
        length = number(offset, count)
        for at in range(offset + count, offset + count + entry * length, entry):
            size = TYPE_SIZES.get(number(at + 2, 2), 0) * number(at + 4, word)
            if size > word and number(at, 2) < PRIVATE and number(at + 4 + word, word) + size > len(data):
                raise cut_off(path)
        offset = number(offset + count + entry * length, word)


def _refuse_missing(series: Any, length: int, path: Path) -> None:
    if series.dataoffset is not None and series.dataoffset + series.nbytes > length:
        raise cut_off(path)
    for page in series.pages:
        if page is None or any(o + n > length for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
            raise cut_off(path)


def spacing_of(file: Any, page: Any) -> tuple[float, float] | None:
    """Height and width of a pixel in micrometres: from OME-XML, from ImageJ's description, or from the resolution tags."""
    if file.is_ome:
        pixels = next((e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
        sides = [_length(pixels, f"PhysicalSize{axis}") for axis in "YX"] if pixels is not None else [None]
        return (sides[0], sides[1]) if all(sides) else None  # type: ignore[return-value]
    unit = {2: "inch", 3: "cm"}.get(page.tags.valueof(RESOLUTION_UNIT, 2), "")
    if file.is_imagej:
        unit = str((file.imagej_metadata or {}).get("unit", "")).lower()
    resolutions = [page.tags.valueof(tag, None) for tag in (Y_RESOLUTION, X_RESOLUTION)]  # pixels a unit, as fractions
    if unit not in MICROMETRES or not all(r and all(r) for r in resolutions):
        return None
    height, width = (MICROMETRES[unit] * below / above for above, below in resolutions)
    return (height, width) if file.is_imagej or max(height, width) < PRINTED else None


def _length(element: Any, name: str) -> float | None:
    """An attribute of OME-XML in micrometres, its default unit."""
    factor = MICROMETRES.get(element.get(f"{name}Unit", "µm"))
    return float(element.get(name)) * factor if element.get(name) and factor else None
