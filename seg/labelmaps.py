"""Pure functions on label maps: layered id maps to boxes, binary masks, RLE and class maps, and back.

A layered id map is (H, W, L) int32: 0 = none, ids 1..N, each id in exactly one layer. Of instances that overlap, the
one with the higher id lies on top. RLE is COCO's (https://github.com/cocodataset/cocoapi).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numba
import numpy as np

from seg.sample import IGNORE

Rle = dict[str, Any]
"""COCO's compressed run lengths: {"size": [height, width], "counts": text}."""


def layers_from_masks(masks: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """N binary masks (H, W) -> layered id map (H, W, L); mask i gets id i + 1 in the first layer where it fits.

    An empty mask keeps its id, in no pixel. L == 0 when there is no mask at all.
    """
    layers: list[np.ndarray] = []
    for number, mask in enumerate(masks, start=1):
        if mask.shape != (height, width):
            raise ValueError(f"mask {number}: expected shape {(height, width)}, got {mask.shape}")
        inside = mask.astype(bool)
        for layer in layers:
            if not layer[inside].any():
                break
        else:
            layer = np.zeros((height, width), np.int32)
            layers.append(layer)
        layer[inside] = number
    return np.stack(layers, axis=2) if layers else np.zeros((height, width, 0), np.int32)


def mask_of(instances: np.ndarray, instance_id: int) -> np.ndarray:
    """The binary mask (H, W) bool of one instance of a layered id map."""
    mask = np.zeros(instances.shape[:2], bool)
    for layer in range(instances.shape[2]):  # a fifth of the time of `any` over an axis as short as this
        mask |= instances[:, :, layer] == instance_id
    return mask


def measure(instances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Areas (count,) int64 in pixels and boxes (count, 4) int64, xyxy half-open, of ids 1..count; zeros for an id without a pixel."""
    areas, boxes = np.zeros(count + 1, np.int64), np.zeros((count + 1, 4), np.int64)
    _measure(instances, areas, boxes)
    return areas[1:], boxes[1:]


def boxes_of(instances: np.ndarray, count: int) -> np.ndarray:
    """Boxes (count, 4) int64, xyxy half-open pixels, of ids 1..count; zeros for an id without a pixel."""
    return measure(instances, count)[1]


def encode(instances: np.ndarray, count: int) -> list[Rle]:
    """The RLE of ids 1..count of a layered id map, in order."""
    height, width = instances.shape[:2]
    rles = []
    for number, (x1, y1, x2, y2) in enumerate(boxes_of(instances, count).tolist(), start=1):
        in_layer = (instances[y1 : y1 + 1, x1:x2] == number).any(axis=(0, 1))  # the box's first row has some of its pixels
        crop = mask_of(instances[y1:y2, x1:x2, in_layer], number)
        rles.append(encode_crop(crop, x1, y1, height, width))
    return rles


def encode_crop(crop: np.ndarray, left: int, top: int, height: int, width: int) -> Rle:
    """The RLE of a mask (height, width) that is False but for `crop` (h, w) bool, whose first pixel lies at (left, top).

    Costs as much as the crop is large; the same bytes as pycocotools gives for the whole mask.
    """
    h, w = crop.shape
    if left < 0 or top < 0 or left + w > width or top + h > height:
        raise ValueError(f"a crop of {w}x{h} pixels at ({left}, {top}) does not lie within {width}x{height}")
    counts = _runs(np.ascontiguousarray(crop), left, top, height, width)
    return {"size": [height, width], "counts": _text(counts).tobytes().decode("ascii")}


def decode_crop(rle: Rle) -> tuple[np.ndarray, int, int]:
    """The reverse of `encode_crop`: the part (h, w) bool of a mask that its box holds, and its left and top; (0, 0) for an empty mask.

    Costs as much as the crop is large. ValueError where the RLE is none.
    """
    height, width = rle["size"]
    return _crop(run_lengths(rle, height, width), height)


def moved(rle: Rle, left: int, top: int, height: int, width: int) -> Rle:
    """The RLE of a mask whose first pixel is brought to (left, top) of an image (height, width), beyond whose ends nothing is kept.

    Costs as much as the runs are many.
    """
    h, w = rle["size"]
    counts = _moved(run_lengths(rle, h, w), h, w, left, top, height, width)
    return {"size": [height, width], "counts": _text(counts).tobytes().decode("ascii")}


def run_lengths(rle: Rle, height: int, width: int) -> np.ndarray:
    """The runs (R,) int64 of an RLE, down the columns, of zeros and ones in turn; they add up to height * width.

    ValueError where it is of another size, or its text is none of COCO's.
    """
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"expected size {[height, width]}, got {list(rle['size'])}")
    text = rle["counts"] if isinstance(rle["counts"], bytes) else rle["counts"].encode("ascii", "replace")
    counts = _counts(np.frombuffer(text, np.uint8))
    if counts.sum() != height * width or counts.min(initial=0) < 0 or counts.max(initial=0) > height * width:
        raise ValueError(f"its run lengths do not add up to {height} x {width} pixels")
    return counts


def decode(rles: Sequence[Rle], height: int, width: int) -> np.ndarray:
    """RLEs of one image -> layered id map (H, W, L); RLE i becomes id i + 1, in the first layer where it fits.

    ValueError where an RLE is of another size than (height, width), or is none.
    """
    layers: list[np.ndarray] = []
    for number, rle in enumerate(rles, start=1):
        try:
            counts = run_lengths(rle, height, width)
        except ValueError as error:
            raise ValueError(f"RLE {number}: {error}") from None
        for layer in layers:
            if _is_free(counts, layer):
                break
        else:
            layer = np.zeros((width, height), np.int32)  # runs go down the columns
            layers.append(layer)
        _paint(counts, layer, number)
    if not layers:
        return np.zeros((height, width, 0), np.int32)
    return np.ascontiguousarray(np.stack([layer.T for layer in layers], axis=2))


@numba.njit(nogil=True, cache=True)
def _measure(instances: np.ndarray, areas: np.ndarray, boxes: np.ndarray) -> None:
    """Into tables that start with id 0, whose entry means nothing."""
    height, width, num_layers = instances.shape
    for y in range(height):
        for layer in range(num_layers):
            instance, start = instances[y, 0, layer], 0
            for x in range(1, width + 1):
                if x < width and instances[y, x, layer] == instance:
                    continue
                if areas[instance] == 0:
                    boxes[instance] = (start, y, x, y + 1)
                areas[instance] += x - start
                boxes[instance, 0] = min(boxes[instance, 0], start)
                boxes[instance, 2] = max(boxes[instance, 2], x)
                boxes[instance, 3] = y + 1
                if x < width:
                    instance, start = instances[y, x, layer], x


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


@numba.njit(nogil=True, cache=True)
def _is_free(counts: np.ndarray, layer: np.ndarray) -> bool:
    pixels = layer.ravel()
    start = 0
    for i in range(len(counts)):
        if i % 2:
            for position in range(start, start + counts[i]):
                if pixels[position]:
                    return False
        start += counts[i]
    return True


@numba.njit(nogil=True, cache=True)
def _paint(counts: np.ndarray, layer: np.ndarray, number: int) -> None:
    pixels = layer.ravel()
    start = 0
    for i in range(len(counts)):
        if i % 2:
            pixels[start : start + counts[i]] = number
        start += counts[i]


def semantic_from_instances(instances: np.ndarray, categories: np.ndarray, crowd: np.ndarray, background: int) -> np.ndarray:
    """The class map (H, W) uint8 of a layered id map: the class of the topmost instance, 255 in a crowd, else `background`."""
    classes = np.concatenate([[background], np.where(crowd, IGNORE, categories)]).astype(np.uint8)
    top = instances.max(axis=2) if instances.shape[2] else np.zeros(instances.shape[:2], np.int32)
    return classes[top]


def areas_of(instances: np.ndarray, count: int) -> np.ndarray:
    """Areas (count,) int64 in pixels of ids 1..count: `measure` without the boxes, in less time."""
    areas = np.zeros(count + 1, np.int64)
    height, width, num_layers = instances.shape
    _count(instances.reshape(height * width, num_layers), areas)
    return areas[1:]


@numba.njit(nogil=True, cache=True)
def _count(pixels: np.ndarray, areas: np.ndarray) -> None:
    num_pixels, num_layers = pixels.shape
    for layer in range(num_layers):
        instance, start = np.int32(0), 0
        for i in range(num_pixels):
            if pixels[i, layer] != instance:  # adding up runs, not pixels, is three times as fast
                areas[instance] += i - start
                instance, start = pixels[i, layer], i
        areas[instance] += num_pixels - start
