"""What stands in an image: its values or colours, how flat it is, and what its pixels tell of its role. A few files say it of many."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from seg.core.errors import DataError
from seg.data.imagefile import decode, decode_palette, has_palette, read_bytes
from seg.data.sample import Color, Label
from seg.sources.masks import lossy_kind, runs

FLAT = 0.8  # share of neighbouring pixels that are equal: more in a label image, less in a photograph
PIECES = 100  # values of an image that are looked through for pieces
LOOKED_AT = 400_000  # pixels of an image, whole rows evenly chosen, that a look takes in
COLORS = 50_000  # pixels of these whose colours are counted
SMALL = 96  # side of the grid of pixels that label images are compared by
NEAR = 40  # gray values from black or white that an edge of a drawn mask, or a JPEG of it, does not leave
MANY = 1000  # colours of a picture that are told apart
PLENTY = 64  # values or colours, more than which are no classes
CLEAR = 0xFE01FE  # of transparent pixels, a colour that nobody draws with
VOID = -(2**31)  # of pixels that the file's tag GDAL_NODATA calls no measurement
Kind = Literal["gray", "palette", "color", "floats", "bands"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What an image holds. size: height and width. labels: pixels by value, or by colour. palette: of the indices that occur, the colours.

    flat: share of equal neighbours. single: share of the values above 0 that are one connected piece each, as ids of instances are.
    ends: share of gray pixels near black or white. reach: height and width of what is not 0, as shares of the image's. whole: share of
    what is not 0 that is one piece. small: codes at the points of a grid. lossy: a JPEG. clear: a part is transparent."""

    kind: Kind
    size: tuple[int, int]
    labels: dict[Label, int]
    palette: dict[int, Color]
    flat: float
    single: float
    ends: float
    reach: tuple[float, float]
    whole: float
    small: np.ndarray
    lossy: bool
    clear: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """kind; codes (H, W): gray values, indices, colours as 0xRRGGBB, or of more bands the first."""

    kind: Kind
    codes: np.ndarray
    palette: dict[int, Color]
    clear: bool


@lru_cache(maxsize=2048)
def look(path: Path) -> Look | None:
    """What an image holds; None where it cannot be read."""
    try:
        data = read_bytes(path)
        pixels = _pixels(data, path)
    except DataError:
        return None
    height, width = pixels.codes.shape
    rows = pixels.codes[:: max(1, height * width // LOOKED_AT)]
    few = rows if pixels.kind != "color" else rows[:: max(1, rows.size // COLORS)]
    labels = _counted(pixels.kind, few, MANY)
    flat = float((rows[:, 1:] == rows[:, :-1]).mean()) if width > 1 else 1.0
    grid = pixels.codes[np.ix_(_points(height), _points(width))].astype(np.int64)
    ends = ((rows <= NEAR) | (rows >= 255 - NEAR)).mean() if pixels.kind in ("gray", "palette") else 0.0
    step = max(1, int((height * width / LOOKED_AT) ** 0.5))
    shrunk = pixels.codes[::step, ::step]  # so that pieces are counted quickly
    above = (shrunk != 0) & (shrunk != VOID) & ~((pixels.kind == "color") & (shrunk == CLEAR))
    single = _single(shrunk) if flat >= FLAT and len(labels) <= PIECES * 4 else 0.0
    lossy = lossy_kind(data) is not None
    return Look(pixels.kind, (height, width), labels, pixels.palette, flat, single, float(ends), *_extent(above), grid, lossy, pixels.clear)


def _points(length: int) -> np.ndarray:
    """Up to SMALL places, evenly chosen."""
    count = min(SMALL, length)
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)


def labels_of(paths: Sequence[Path]) -> tuple[Counter[Label], list[frozenset[Label]]]:
    """The pixels of each value or colour over all files, and of each file what occurs in it: in threads, as decoding is most of it."""
    total, together = Counter[Label](), list[frozenset[Label]]()
    with ThreadPoolExecutor() as pool:
        for found in pool.map(_labels, paths):
            total.update(found)
            together.append(frozenset(found))
    return total, together


def color_of(code: int) -> Color:
    """0xRRGGBB as a colour."""
    return code >> 16, code >> 8 & 255, code & 255


def _labels(path: Path) -> dict[Label, int]:
    try:
        pixels = _pixels(read_bytes(path), path)
    except DataError:
        return {}
    return {} if pixels.kind == "bands" else _counted(pixels.kind, pixels.codes)


def _pixels(data: bytes, path: Path) -> _Pixels:
    if has_palette(data):
        indices, colors = decode_palette(data, path)
        found = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
        known = {int(i): tuple(int(c) for c in colors[i]) if i < len(colors) else (0, 0, 0) for i in found}
        return _Pixels("palette", indices, known, False)  # type: ignore[arg-type]
    decoded = decode(data, path, None)
    values, hidden = decoded.pixels, np.zeros(decoded.pixels.shape[:2], bool)
    if decoded.alpha:
        hidden = values[..., -1] <= np.iinfo(values.dtype).max // 2 if values.dtype.kind in "ui" else hidden
        values = values[..., :-1]
    clear = bool(hidden.any())
    if values.shape[2] == 3 and (decoded.color or values.dtype == np.uint8):
        if values.dtype == np.uint16 and not (values % 257).any():
            values = (values // 257).astype(np.uint8)
        spread = int(np.ptp(values[:: max(1, len(values) // 64)], axis=2).max())
        if spread > 0 or not (values[..., :1] == values[..., 1:]).all():
            if lossy_kind(data) and spread <= NEAR:  # a gray JPEG of three channels
                return _Pixels("gray", values[..., 1], {}, clear)
            if values.dtype != np.uint8:
                return _Pixels("bands", values[..., 0], {}, clear)
            codes = cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
            return _Pixels("color", np.where(hidden, CLEAR, codes) if clear else codes, {}, clear)
        values = values[..., :1]
    if values.shape[2] != 1:
        return _Pixels("bands", values[..., 0], {}, clear)
    codes = values[..., 0]
    if clear:
        return _Pixels("color", np.where(hidden, CLEAR, codes.astype(np.int64) * 0x010101), {}, clear)
    if decoded.inverted:
        codes = np.iinfo(codes.dtype).max - codes
    if decoded.nodata:  # 0 is a label as a rule
        void = np.isnan(codes) if np.isnan(decoded.nodata) else codes == decoded.nodata
        codes = np.where(void, VOID, codes) if void.any() else codes
    if codes.dtype.kind == "f":
        whole = np.isfinite(codes).all() and (codes == np.round(codes)).all()
        codes = np.nan_to_num(codes, posinf=0, neginf=0)
        return _Pixels("gray" if whole else "floats", codes.astype(np.int64) if whole else (codes * 1000).astype(np.int64), {}, clear)
    return _Pixels("gray", codes // decoded.step if decoded.step > 1 else codes, {}, clear)


def _counted(kind: Kind, codes: np.ndarray, most: int | None = None) -> dict[Label, int]:
    """The pixels of each value, or colour; of `most` of them at most."""
    flat = codes.ravel()
    if codes.dtype == np.uint8:
        counts = np.bincount(flat, minlength=256)
        values = np.flatnonzero(counts)
        return {int(v): int(counts[v]) for v in values}
    values, places, lengths = runs(flat)
    counts = np.bincount(places, weights=lengths)
    pairs = zip(values[:most].tolist(), counts[:most].tolist(), strict=True)
    return {color_of(v) if kind == "color" else v: int(n) for v, n in pairs if v != VOID}


def _extent(above: np.ndarray) -> tuple[tuple[float, float], float]:
    _, _, width, height = cv2.boundingRect(above.astype(np.uint8))
    if not width:
        return (0.0, 0.0), 0.0
    _, _, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
    return (height / above.shape[0], width / above.shape[1]), float(stats[1:, cv2.CC_STAT_AREA].max() / above.sum())


def _single(codes: np.ndarray) -> float:
    """Of the values above 0, the share that is one connected piece."""
    above = [value for value in np.unique(codes) if value > 0][:PIECES]
    pieces = [cv2.connectedComponents((codes == value).astype(np.uint8), connectivity=8)[0] - 1 for value in above]
    return sum(number == 1 for number in pieces) / len(pieces) if pieces else 0.0
