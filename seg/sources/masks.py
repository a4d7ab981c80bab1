"""Mask files: read where they keep labels exactly, and turned from values or colours into class indices."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import DataError, PixelError, UnreadableError
from seg.data.decoders import Decoded, Window, is_tiff
from seg.data.imagefile import decode, decode_color, decode_palette, has_palette, index_of, read_bytes, to_channels
from seg.data.sample import IGNORE, Label
from seg.data.windows import read_window, window_of
from seg.raw.record import Finding
from seg.sources.class_map import ClassMap

GRAYS = "save it with a palette, or as gray values"
READINGS = ("index", "color", "palette")
OTHERWISE = "set data.source.labels=color to read classes by their colour, or data.source.labels=palette for the indices of a palette PNG"
UNKNOWN = 254  # should a class have this index, its masks are only looked at twice


def read_mask(path: Path, lossy: bool = False) -> bytes:
    """The bytes of a mask file; DataError where it has several pages, or its kind changes labels (JPEG, lossy WebP), unless `lossy`."""
    data = read_bytes(path)
    if not lossy and (kind := lossy_kind(data)):
        again = "export the mask again as PNG, from before it was compressed (saving this file as PNG does not bring them back)"
        fix = f"{again}, or if it is black and white, set data.source.threshold=128"
        raise PixelError(f"{path}: is a {kind} file, which does not keep labels as they were; {fix}")
    if is_tiff(data) and (pages := _num_pages(data, path)) != 1:
        raise PixelError(f"{path}: has {pages} pages, expected one; save each page as a file of its own, with its image")
    return data


def mask_of(path: Path, window: Window | None, indices: bool, lossy: bool = False) -> tuple[bytes, Decoded | None]:
    """What is read of a mask file: its bytes, or of a window no bytes, but the pixels. indices: those of a palette, not its colours; lossy:
    as `read_mask` has it."""
    if (part := window_of(path, window)) is not None:
        return b"", read_window(path, part, None, indices)
    return read_mask(path, lossy), None


def gray_values(data: bytes, path: Path, fix: str, decoded: Decoded | None = None) -> np.ndarray:
    """(H, W) whole numbers of a gray image; DataError where it is in colour, or has a palette, which may mean indices or colours. fix: what
    the error advises. decoded: of the data, where it is known already."""
    if has_palette(data):
        raise PixelError(f"{path}: is a colour or palette image, expected one gray value a pixel; {fix}")
    return index_of(decoded or decode(data, path, None), path, fix)


def binary_mask(path: Path, threshold: int | None = None) -> np.ndarray:
    """(H, W) bool of a file of black, which is False, and one other value or colour; DataError where it has more of them. threshold: what
    has this gray value (1 to 255) or a higher one is True, and the file may be of any kind."""
    data = read_mask(path, threshold is not None)
    if threshold is not None:
        return _gray(decode(data, path, 1), path) >= threshold
    if has_palette(data):
        values = packed(decode_color(data, path))
    else:
        values = gray_values(data, path, "save the mask as a black and white or gray PNG")
    mask: np.ndarray = values != 0
    inside = values[mask]
    if inside.size and (inside != inside[0]).any():
        found = [int(v) for v in np.unique(values)]
        listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        fix = "save it without smoothing, set data.source.threshold=128, or read files of many instances with data=id_maps"
        what = f"has the values {listed}, expected 0 and one other; {fix}, of many classes with data=folders"
        raise DataError(f"{path}: {what}", kind="unknown-value")
    return mask


def packed(colors: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (H, W) uint32, R + 256 G + 65536 B, as COCO writes ids into colours."""
    return cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)


def labels_of(values: np.ndarray, class_map: ClassMap) -> list[Label]:
    """What a class map knows values by: themselves, or the colours of those that `packed` gave."""
    return [(v & 255, v >> 8 & 255, v >> 16 & 255) if class_map.kind is tuple else v for v in values.tolist()]


def numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values (N,) of a map, in order, and (H, W) int32 of each pixel's place among them."""
    present, places, lengths = runs(values)
    return present, np.repeat(places.astype(np.int32), lengths).reshape(values.shape)


class PixelClasses:
    """From a mask's pixels to class indices. The arguments are as `seg.sources.folders.Folders` has them."""

    def __init__(self, labels: str, class_map: ClassMap, threshold: int | None = None, transparent: Sequence[int] | None = None) -> None:
        self.labels, self.class_map, self.threshold, self.transparent = labels, class_map, threshold, transparent
        known = [UNKNOWN if index is None else index for index in map(class_map.get, range(256))]
        self.classes = np.array(known, np.int16).astype(np.uint8)

    def read(self, path: Path, findings: list[Finding] | None = None, window: Window | None = None) -> np.ndarray:
        """The class map (H, W) uint8 of a mask file, or of a window of it; DataError for values or colours without class, all of them in
        one. findings: to which is added what is odd about the file."""
        findings = [] if findings is None else findings
        data, part = mask_of(path, window, self.labels == "palette", self.threshold is not None)
        if self.labels == "palette":
            return self.of(index_of(part, path, GRAYS) if part else decode_palette(data, path)[0], path)
        decoded = self._opaque(part or decode(data, path, 3 if self.labels == "color" else None), path, findings)
        if decoded.orientation != 1:
            what = "is turned upright by its own Orientation tag"
            findings.append(Finding("turned-image", str(path), what, "see that its image is, too"))
        if self.labels == "color":
            if has_palette(data):
                findings += _merged(data, path)
            return self.of(packed(decode_color(data, path, decoded)), path)
        if self.threshold is not None:
            gray = _gray(decoded, path)
            findings += _between(data, gray, self.threshold, path)
            return self.of(np.where(gray >= self.threshold, np.uint8(255), np.uint8(0)), path)
        return self._by_value(data, decoded, path, findings)

    def _by_value(self, data: bytes, decoded: Decoded, path: Path, findings: list[Finding]) -> np.ndarray:
        void, decoded = self._void(decoded, path, findings)
        values = gray_values(data, path, OTHERWISE, decoded)
        if decoded.step == 255 and 1 not in self.class_map.lookup and 255 in self.class_map.lookup:
            values = values * 255  # the white of one bit
        if void is None:
            return self.of(values, path)
        found = np.full(values.shape, IGNORE, np.uint8)
        if not void.all():
            found[~void] = self.of(values[~void][None], path)[0]
        return found

    def _void(self, decoded: Decoded, path: Path, findings: list[Finding]) -> tuple[np.ndarray | None, Decoded]:
        """Where (H, W) a file says that nothing was measured, if its value is no label; and the image with 0 there."""
        if decoded.nodata is None:
            return None, decoded
        void = np.isnan(decoded.pixels) if np.isnan(decoded.nodata) else decoded.pixels == decoded.nodata
        if not void.any():
            return None, decoded
        note = f"{void.mean():.1%} of its pixels are {decoded.nodata:g}, which its tag GDAL_NODATA calls no measurement"
        if decoded.nodata in self.class_map.lookup:
            findings.append(Finding("no-data", str(path), f"{note}, and the settings a label; they are read as the label"))
            return None, decoded
        findings.append(Finding("no-data", str(path), f"{note}; they are ignored"))
        return np.asarray(void.all(axis=2)), replace(decoded, pixels=np.where(void, 0, decoded.pixels))

    def _opaque(self, decoded: Decoded, path: Path, findings: list[Finding]) -> Decoded:
        """Without alpha; DataError where pixels are transparent, and no colour is set for them."""
        if not decoded.alpha or decoded.pixels.dtype.kind not in "ui":
            return decoded
        clear = decoded.pixels[..., -1] <= np.iinfo(decoded.pixels.dtype).max // 2
        bare = np.ascontiguousarray(decoded.pixels[..., :-1])
        if clear.any():
            if self.transparent is None:
                fix = "data.source.transparent=[0,0,0] reads them as black, and any colour that data.source.ignore lists ignores them"
                what = f"{clear.mean():.1%} of its pixels are transparent, though they have colours, too"
                raise PixelError(f"{path}: {what}; say what they are: {fix}")
            if self.labels == "color" and bare.shape[2] == 1:
                bare = np.repeat(bare, 3, axis=2)
            bare[clear] = self.transparent[: bare.shape[2]]
            what = f"{clear.mean():.1%} of its pixels are transparent and are read as {list(self.transparent)}"
            findings.append(Finding("transparent-mask", str(path), what))
        return replace(decoded, pixels=bare, alpha=False, color=bare.shape[2] == 3)

    def of(self, values: np.ndarray, path: Path) -> np.ndarray:
        """The class map (H, W) uint8 of values, or of colours as `packed` gives them."""
        if values.dtype == np.uint8:
            found = cv2.LUT(values, self.classes)
            if not cv2.countNonZero(cv2.inRange(found, UNKNOWN, UNKNOWN)):
                return found
        present, places, lengths = runs(values)
        classes = self.class_map.of_values(labels_of(present, self.class_map), path, lambda: np.bincount(places, lengths, len(present)))
        return np.repeat(np.array(classes, np.uint8)[places], lengths).reshape(values.shape)


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different values (N,) of a map, in order; and of each run of equal pixels, row by row, its place among them and its length. Label
    maps hold long runs, so sorting those and not the pixels takes a twentieth of the time."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    present, places = np.unique(flat[starts], return_inverse=True)
    return present, places, np.diff(starts, append=flat.size)


def lossy_kind(data: bytes) -> str | None:
    """The name of a kind of file that changes values."""
    if data[:2] == b"\xff\xd8":
        return "JPEG"
    return "lossy WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in data[12:64] else None


def _gray(decoded: Decoded, path: Path) -> np.ndarray:
    """(H, W) gray values 0 to 255 of any image: colours by their luminance, 16 bit scaled where they use more than 8."""
    gray = to_channels(decoded, 1, path)[..., 0]
    if gray.dtype.kind == "f":
        gray = index_of(replace(decoded, pixels=gray[..., None], alpha=False), path, "")
    return gray / 257 if gray.dtype == np.uint16 and gray.max(initial=0) > 255 else gray


def _between(data: bytes, gray: np.ndarray, threshold: int, path: Path) -> list[Finding]:
    """That a mask is not black and white alone."""
    kind = lossy_kind(data)
    soft = float(((gray > 0) & (gray < 255)).mean())
    if not soft and not kind:
        return []
    is_a = f"is a {kind} file, which does not keep labels exactly: " if kind else ""
    middle = float(((gray >= 64) & (gray < 192)).mean())
    what = f"{is_a}{soft:.1%} of its pixels are neither black nor white ({middle:.1%} from 64 to 191); from {threshold} on is white"
    return [Finding("lossy-mask" if kind else "soft-mask", str(path), what)]


def _merged(data: bytes, path: Path) -> list[Finding]:
    """That indices of a palette have one colour, and become one class."""
    indices, palette = decode_palette(data, path)
    by_color: dict[tuple[int, ...], list[int]] = {}
    for index in np.unique(indices).tolist():
        color = tuple(palette[index].tolist()) if index < len(palette) else (0, 0, 0)
        by_color.setdefault(color, []).append(index)
    merged = {color: ", ".join(map(str, same)) for color, same in by_color.items() if len(same) > 1}
    fix = "set data.source.labels=palette to read classes by their indices"
    told = sorted(f"{same} of its palette have one colour, {list(color)}" for color, same in merged.items())
    return [Finding("merged-indices", str(path), f"the indices {what}, and are read as one label", fix) for what in told]


def _num_pages(data: bytes, path: Path) -> int:
    import tifffile  # takes a while, and few masks need it

    try:
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            return sum(not page.is_reduced for page in tiff.pages)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, OSError):
        raise UnreadableError(f"{path}: is not a readable image; restore it or remove it with its label") from None
