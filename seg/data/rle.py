"""Binary masks as run lengths, in COCO's compressed form (https://github.com/cocodataset/cocoapi), at a cost that does not depend on
the image's size where a mask is small."""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

Rle = dict[str, Any]  # COCO's compressed run lengths: {"size": [height, width], "counts": text}


def encode_crop(crop: np.ndarray, left: int, top: int, height: int, width: int) -> Rle:
    """The RLE of a mask (height, width) that is False but for `crop` (h, w) bool, whose first pixel lies at (left, top). Costs as much as
    the crop is large; the same bytes as pycocotools gives for the whole mask."""
    h, w = crop.shape
    if left < 0 or top < 0 or left + w > width or top + h > height:
        raise ValueError(f"a crop of {w}x{h} pixels at ({left}, {top}) does not lie within {width}x{height}")
    counts = _runs(np.ascontiguousarray(crop), left, top, height, width)
    return {"size": [height, width], "counts": _text(counts).tobytes().decode("ascii")}


def decode_crop(rle: Rle) -> tuple[np.ndarray, int, int]:
    """The reverse of `encode_crop`: the part (h, w) bool of a mask that its box holds, and its left and top; (0, 0) for an empty mask.
    Costs as much as the crop is large. ValueError where the RLE is none."""
    height, width = rle["size"]
    return _crop(run_lengths(rle, height, width), height)


def moved(rle: Rle, left: int, top: int, height: int, width: int) -> Rle:
    """The RLE of a mask whose first pixel is brought to (left, top) of an image (height, width), beyond whose ends nothing is kept. Costs
    as much as the runs are many."""
    h, w = rle["size"]
    counts = _moved(run_lengths(rle, h, w), h, w, left, top, height, width)
    return {"size": [height, width], "counts": _text(counts).tobytes().decode("ascii")}


def run_lengths(rle: Rle, height: int, width: int) -> np.ndarray:
    """The runs (R,) int64 of an RLE, down the columns, of zeros and ones in turn; they add up to height * width. ValueError where it is of
    another size, or its text is none of COCO's."""
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"expected size {[height, width]}, got {list(rle['size'])}")
    text = rle["counts"] if isinstance(rle["counts"], bytes) else rle["counts"].encode("ascii", "replace")
    counts = _counts(np.frombuffer(text, np.uint8))
    if counts.sum() != height * width or counts.min(initial=0) < 0 or counts.max(initial=0) > height * width:
        raise ValueError(f"its run lengths do not add up to {height} x {width} pixels")
    return counts


def turns(rles: Sequence[Rle]) -> tuple[np.ndarray, np.ndarray]:
    """Where the runs of ones of sound RLEs begin and where they end, (R,) int64 each, of all of them one after the other. One pass, however
    many there are. A run that ends with the image ends at height * width."""
    texts = [rle["counts"] if isinstance(rle["counts"], bytes) else rle["counts"].encode("ascii") for rle in rles]
    return _turns(np.frombuffer(b"".join(texts), np.uint8), np.cumsum([len(text) for text in texts]))


@numba.njit(nogil=True, cache=True)
def paint(counts: np.ndarray, layer: np.ndarray, number: int) -> bool:
    """Write a number where the ones of run lengths (R,) int64 are in a layer (W, H) int32, whose rows are the mask's columns. Gives
    whether it was done: all of them must be 0 there."""
    pixels = layer.ravel()
    for free in (False, True):
        start = 0
        for i in range(len(counts)):
            run = pixels[start : start + counts[i]]
            if i % 2 and free:
                run[:] = number
            elif i % 2 and run.any():
                return False
            start += counts[i]
    return True


@numba.njit(nogil=True, cache=True)
def _runs(crop: np.ndarray, left: int, top: int, height: int, width: int) -> np.ndarray:
    """Run lengths of zeros and ones in turn, down the columns of the whole mask."""
    h, w = crop.shape
    counts = np.empty(h * w + w + 2, np.int64)
    num, start, value = 0, 0, False
    for x in range(w):
        first = (left + x) * height + top
        for y in range(h):
            if crop[y, x] != value:
                counts[num] = first + y - start
                num, start, value = num + 1, first + y, not value
        if value and h < height:  # the run ends with the crop's column
            counts[num] = first + h - start
            num, start, value = num + 1, first + h, False
    if value and left + w < width:
        counts[num] = (left + w) * height - start
        num, start = num + 1, (left + w) * height
    if start < height * width:
        counts[num] = height * width - start
        num += 1
    return counts[:num]


@numba.njit(nogil=True, cache=True)
def _moved(counts: np.ndarray, h: int, w: int, left: int, top: int, height: int, width: int) -> np.ndarray:
    """Run lengths of a mask (h, w) as those of the image (height, width) that it lies in."""
    result = np.empty(2 * (len(counts) + w) + 1, np.int64)
    num, position, end = 0, 0, 0  # end: of the last run of ones
    for i in range(len(counts)):
        stop = position + counts[i]
        while i % 2 and position < stop:  # a run goes on at the top of the next column
            x, y = position // h, position % h
            below = min(h, y + stop - position)
            position += below - y
            start, length = (left + x) * height + top + y, min(below, height - top) - y
            if x >= width - left or length <= 0:
                continue
            if num and start == end:
                result[num - 1] += length
            else:
                result[num], result[num + 1] = start - end, length
                num += 2
            end = start + length
        position = stop
    if end < height * width:
        result[num] = height * width - end
        num += 1
    return result[:num]


@numba.njit(nogil=True, cache=True)
def _text(counts: np.ndarray) -> np.ndarray:
    """COCO's text (T,) uint8 of run lengths: the reverse of `_counts`."""
    text = np.empty(13 * len(counts), np.uint8)  # 64 bits are 13 characters at most
    position = 0
    for num in range(len(counts)):
        value, more = counts[num] - (counts[num - 2] if num > 2 else 0), True
        while more:
            c = value & 0x1F
            value >>= 5
            more = value != (-1 if c & 0x10 else 0)
            text[position] = c + (48 + 0x20 if more else 48)
            position += 1
    return text[:position]


@numba.njit(nogil=True, cache=True)
def _counts(text: np.ndarray) -> np.ndarray:
    """The run lengths that COCO's text holds: 5 bits a character, each length from the fourth on as the difference to the last but one."""
    counts = np.empty(len(text), np.int64)
    num, position = 0, 0
    while position < len(text):
        value, shift, more = np.int64(0), 0, True
        while more and position < len(text):
            c = int(text[position]) - 48
            value |= (c & 0x1F) << shift
            more = (c & 0x20) != 0
            position += 1
            shift += 5
            if not more and c & 0x10:
                value |= -1 << shift
        counts[num] = value + (counts[num - 2] if num > 2 else 0)
        num += 1
    return counts[:num]


@numba.njit(nogil=True, cache=True)
def _turns(text: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    begins, ends = np.empty(len(text), np.int64), np.empty(len(text), np.int64)
    num, start = 0, 0
    for stop in stops:
        position = 0
        for i, count in enumerate(_counts(text[start:stop])):
            if i % 2:
                begins[num], ends[num] = position, position + count
                num += 1
            position += count
        start = stop
    return begins[:num], ends[:num]


@numba.njit(nogil=True, cache=True)
def _crop(counts: np.ndarray, height: int) -> tuple[np.ndarray, int, int]:
    """The mask of run lengths down the columns within its box, and the box's left and top."""
    left, right, top, bottom, start = -1, 0, height, 0, 0
    for i in range(len(counts)):
        stop = start + counts[i]
        if i % 2 and counts[i]:
            first, last = start // height, (stop - 1) // height
            left, right = first if left < 0 else left, last + 1
            top = min(top, start % height if first == last else 0)
            bottom = max(bottom, (stop - 1) % height + 1 if first == last else height)
        start = stop
    if left < 0:
        return np.zeros((0, 0), np.bool_), 0, 0
    crop, start = np.zeros((bottom - top, right - left), np.bool_), 0
    for i in range(len(counts)):
        stop = start + counts[i]
        if i % 2:
            for position in range(start, stop):
                crop[position % height - top, position // height - left] = True
        start = stop
    return crop, left, top
