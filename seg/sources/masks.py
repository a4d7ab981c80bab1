"""Mask files: read where they keep labels exactly, and turned from values or colours into class indices."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.data.imagefile import decode_color, decode_index, decode_palette, read_bytes
from seg.data.sample import Label
from seg.sources.class_map import ClassMap

READINGS = ("index", "color", "palette")
BY_COLOR_OR_PALETTE = (
    "set data.source.labels=color to read classes by their colour, or data.source.labels=palette for the indices of a palette PNG"
)
UNKNOWN = 254  # should a class have this index, its masks are only looked at twice


def read_mask(path: Path) -> bytes:
    """The bytes of a mask file; DataError where its kind changes labels (JPEG, lossy WebP), or where it has several pages."""
    data = read_bytes(path)
    if data[:2] == b"\xff\xd8" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in data[12:64]):
        kind = "JPEG" if data[0] == 0xFF else "lossy WebP"
        raise DataError(
            f"{path}: is a {kind} file, which does not keep labels as they were; export the mask again as PNG, from before it was "
            "compressed (saving this file as PNG does not bring them back)",
            kind="pixel-type",
        )
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and (pages := _num_pages(data, path)) != 1:
        raise DataError(f"{path}: has {pages} pages, expected one; save each page as a file of its own, with its image", kind="pixel-type")
    return data


def gray_values(data: bytes, path: Path, fix: str) -> np.ndarray:
    """(H, W) whole numbers of a gray image; DataError where it is in colour, or a palette PNG, which may mean indices or colours.

    fix: what the error advises.
    """
    if _is_palette_png(data):
        raise DataError(f"{path}: is a colour or palette image, expected one gray value a pixel; {fix}", kind="pixel-type")
    return decode_index(data, path, fix)


def binary_mask(path: Path) -> np.ndarray:
    """(H, W) bool of a file of black, which is False, and one other value or colour; DataError where it has more of them."""
    data = read_mask(path)
    if _is_palette_png(data):
        values = packed(decode_color(data, path))
    else:
        values = gray_values(data, path, "save the mask as a black and white or gray PNG")
    mask: np.ndarray = values != 0
    inside = values[mask]
    if inside.size and (inside != inside[0]).any():
        found = [int(v) for v in np.unique(values)]
        listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"{path}: has the values {listed}, expected 0 and one other; save it without smoothing, or read files of many instances "
            "with data=id_maps, of many classes with data=folders",
            kind="unknown-value",
        )
    return mask


def packed(colors: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (H, W) uint32, R + 256 G + 65536 B, as COCO writes ids into colours."""
    return cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)


def numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values (N,) of a map, in order, and (H, W) int32 of each pixel's place among them."""
    present, places, lengths = _runs(values)
    return present, np.repeat(places.astype(np.int32), lengths).reshape(values.shape)


class PixelClasses:
    """From a mask's pixels to class indices. labels: "index", "color" or "palette", as `seg.sources.folders.Folders` has it."""

    def __init__(self, labels: str, class_map: ClassMap) -> None:
        self.labels, self.class_map = labels, class_map
        known = [UNKNOWN if index is None else index for index in map(class_map.get, range(256))]
        self.classes = np.array(known, np.int16).astype(np.uint8)

    def read(self, path: Path) -> np.ndarray:
        """The class map (H, W) uint8 of a mask file; DataError for values or colours without class, all of them in one."""
        data = read_mask(path)
        if self.labels == "color":
            return self.of(packed(decode_color(data, path)), path)
        if self.labels == "palette":
            return self.of(decode_palette(data, path)[0], path)
        return self.of(gray_values(data, path, BY_COLOR_OR_PALETTE), path)

    def of(self, values: np.ndarray, path: Path) -> np.ndarray:
        """The class map (H, W) uint8 of values, or of colours as `packed` gives them."""
        if values.dtype == np.uint8:
            found = cv2.LUT(values, self.classes)
            if not cv2.countNonZero(cv2.inRange(found, UNKNOWN, UNKNOWN)):
                return found
        present, places, lengths = _runs(values)
        labels = [self._label(int(value)) for value in present]
        classes = [self.class_map.get(label) for label in labels]
        if None in classes:
            pixels = np.bincount(places, lengths, len(labels)).astype(int).tolist()
            counts = {label: count for label, index, count in zip(labels, classes, pixels, strict=True) if index is None}
            kind = "unknown-color" if isinstance(labels[0], tuple) else "unknown-value"
            raise DataError(f"{path}: {self.class_map.unknown_pixels(counts)}", kind=kind)
        return np.repeat(np.array(classes, np.uint8)[places], lengths).reshape(values.shape)

    def _label(self, value: int) -> Label:
        return (value & 255, value >> 8 & 255, value >> 16) if self.class_map.kind is tuple else value


def check_choice(key: str, value: str, known: Sequence[str]) -> None:
    """ConfigError where a setting is none of the known words."""
    if value not in known:
        raise ConfigError(f"{key}={value}: {did_you_mean(value, known, 'expected')}")


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different values (N,) of a map, in order; and of each run of equal pixels, row by row, its place among them and its length.

    Label maps hold long runs, so sorting those and not the pixels takes a twentieth of the time.
    """
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    present, places = np.unique(flat[starts], return_inverse=True)
    return present, places, np.diff(starts, append=flat.size)


def _is_palette_png(data: bytes) -> bool:
    """Whether a PNG's pixels are indices of a palette: colour type 3 (PNG, Third Edition, 11.2.1)."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[25:26] == b"\x03"


def _num_pages(data: bytes, path: Path) -> int:
    import tifffile  # takes a while, and few masks need it

    try:
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            return sum(not page.is_reduced for page in tiff.pages)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, OSError):
        raise DataError(f"{path}: is not a readable image; restore it or remove it with its label", kind="unreadable-file") from None
