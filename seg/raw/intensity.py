"""Images of any depth to 8 bit, which prepared data has: by data.range, alike for all images or each by its own percentiles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg.core.errors import PixelError
from seg.data.sample import Range
from seg.raw.record import Finding

PERCENTILES = (0.1, 99.9)  # of an image's own range, as is usual in microscopy
MAX_CLIPPED = 0.01  # share of an image's values outside of the range, above which it is a finding
LOW = 255  # the largest value of 8 bit
TABLED = 1 << 16


def to_8_bit(
    pixels: np.ndarray, wanted: Range, path: Path, nodata: float | None = None, remedy: str = ""
) -> tuple[np.ndarray, list[Finding]]:
    """(H, W, C) of any number type -> uint8 and what is odd about it. DataError for deeper pixels than 8 bit without a range. low becomes
    0, high 255, what lies between is rounded to the nearest, what lies outside is clipped. NaN becomes 0, and so does `nodata`, the value
    for no measurement, which counts in no range. remedy: what to do where data.range cannot be set."""
    findings = []
    first = pixels.reshape(-1)[:4096]
    if wanted is None and pixels.dtype == np.uint8 and (first != first[0]).any():  # as nearly every image has several values
        return pixels, []
    void = None if nodata is None else pixels == nodata
    measured = pixels if void is None or void.all() else pixels[~void]
    low, high = _ends(measured)
    if wanted is None and pixels.dtype != np.uint8:
        both = f"data.range={_guess(pixels, low, high)} (the values that become 0 and 255 in all images) or data.range=image"
        fix = remedy or f"set {both} (each image's own range)"
        raise PixelError(f"{path}: has {pixels.dtype} pixels from {low:g} to {high:g}, expected 8 bit; {fix}")
    if wanted is not None:
        if void is not None and void.any():
            what = f"{void.mean():.1%} of its values are {nodata:g}, which its tag GDAL_NODATA calls no measurement; they become 0"
            findings.append(Finding("no-data", str(path), what, "see whether the labels ignore these pixels"))
        if measured.dtype.kind == "f" and (odd := int((~np.isfinite(measured)).sum())):
            what = f"{odd} of its values are not finite: NaN becomes 0, infinity the nearer end"
            findings.append(Finding("not-finite", str(path), what, "replace them if they mean something else"))
        findings += _on_range(measured, high, wanted, path)
    if low == high:
        findings.append(Finding("constant-image", str(path), f"has the value {low:g} throughout", "remove it if it shows nothing"))
    if wanted is None:
        return pixels, findings
    return _scaled(pixels if void is None else np.where(void, np.nan, pixels), wanted), findings


def _on_range(pixels: np.ndarray, high: float, wanted: Sequence[float] | str, path: Path) -> list[Finding]:
    findings = []
    top = float("inf") if isinstance(wanted, str) else wanted[1]
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize > 1 and high <= LOW < top:
        what = f"has {pixels.dtype} pixels but no value above {high:g}: 8-bit data saved deeper"
        findings.append(Finding("low-range", str(path), what, "set data.range=[0,255] if all images are so"))
    if not isinstance(wanted, str):
        clipped = float(((pixels < wanted[0]) | (pixels > wanted[1])).mean())
        if clipped > MAX_CLIPPED:
            what = f"{clipped:.1%} of its values lie outside of data.range=[{wanted[0]:g},{wanted[1]:g}] and are clipped"
            findings.append(Finding("clipped-range", str(path), what, "widen data.range, or set data.range=image"))
    return findings


def _scaled(pixels: np.ndarray, wanted: Sequence[float] | str) -> np.ndarray:
    if isinstance(wanted, str):
        finite = np.where(np.isfinite(pixels), pixels, np.nan) if pixels.dtype.kind == "f" else pixels
        percentile = np.nanpercentile if pixels.dtype.kind == "f" else np.percentile
        ends = [percentile(finite[..., c], PERCENTILES) if np.isfinite(finite[..., c]).any() else (0, 0) for c in range(pixels.shape[2])]
        return np.stack([_linear(pixels[..., c], float(low), float(high)) for c, (low, high) in enumerate(ends)], axis=2)
    return _linear(pixels, *(float(end) for end in wanted))


def _linear(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values to 0..255; all 0 where low and high are one value."""
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return _linear(np.arange(TABLED, dtype=np.float64), low, high)[pixels]
    if low == high:
        return np.zeros(pixels.shape, np.uint8)
    scaled = (pixels.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0, posinf=255, neginf=0), 0, 255)).astype(np.uint8)


def _ends(pixels: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest finite value; 0 and 0 where there is none."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        pixels = pixels[np.isfinite(pixels)]
    return (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)


def _guess(pixels: np.ndarray, low: float, high: float) -> str:
    """A range that is likely meant: 0 to the largest value of 8, 10, 12, 14 or 16 bits, 0 to 1, or the image's own."""
    if low >= 0 and pixels.dtype.kind in "ui" and high < TABLED:
        return f"[0,{next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)}]"
    return "[0,1]" if low >= 0 and high <= 1 else f"[{low:g},{high:g}]"
