"""Pure functions on label maps: layered id maps to boxes, binary masks, RLE and class maps, and back.

A layered id map is (H, W, L) int32: 0 = none, ids 1..N, each id in exactly one layer. Of instances that overlap, the
one with the higher id lies on top. RLE is COCO's (https://github.com/cocodataset/cocoapi).

Panoptic segments (Kirillov et al. 2019) are things, one by one, and stuff, a region for each class. A pixel is of one segment, or of none.
A segment is an instance like any other: in `with_stuff` and `merged` alone stuff becomes one, and no two share a pixel."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numba
import numpy as np

from seg.data.rle import Rle, decode_crop, encode_crop, paint, run_lengths
from seg.data.sample import IGNORE, Prediction, Sample

# A thing of which better ones cover more than the rest of this share is left out (Kirillov et al. 2019, the heuristic combination).
VISIBLE = 0.5


def layers_from_masks(masks: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """N binary masks (H, W) -> layered id map (H, W, L); mask i gets id i + 1 in the first layer where it fits. An empty mask keeps its id,
    in no pixel. L == 0 when there is no mask at all."""
    rles = []
    for number, mask in enumerate(masks, start=1):
        if mask.shape != (height, width):
            raise ValueError(f"mask {number}: expected shape {(height, width)}, got {mask.shape}")
        rles.append(encode_crop(mask.astype(bool), 0, 0, height, width))
    return decode(rles, height, width)


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
        rles.append(encode_crop(mask_of(instances[y1:y2, x1:x2, in_layer], number), x1, y1, height, width))
    return rles


def fill_boxes(boxes: np.ndarray, height: int, width: int) -> list[Rle]:
    """The RLE of boxes (N, 4) xyxy in an image (height, width): the rows and columns whose centres lie within, and one at least."""
    size, corners = np.array([width, height]), np.ceil(np.asarray(boxes, np.float64).reshape(-1, 4) - 0.5).astype(np.int64)
    low = np.clip(corners[:, :2], 0, size - 1)
    sides = np.clip(corners[:, 2:], low + 1, size) - low
    return [encode_crop(np.ones((h, w), bool), x, y, height, width) for (x, y), (w, h) in zip(low.tolist(), sides.tolist(), strict=True)]


def boxed(prediction: Prediction, size: Sequence[int] | None = None) -> Prediction:
    """The same instances as boxes alone, whose masks are the boxes filled. size: of the image; None: that of the masks."""
    height, width = size or (prediction.masks[0]["size"] if prediction.masks else (1, 1))
    return replace(prediction, masks=fill_boxes(prediction.boxes, height, width), boxed=True)


def decode(rles: Sequence[Rle], height: int, width: int) -> np.ndarray:
    """RLEs of one image -> layered id map (H, W, L); RLE i becomes id i + 1, in the first layer where it fits. ValueError where an RLE is
    of another size than (height, width), or is none."""
    layers: list[np.ndarray] = []
    for number, rle in enumerate(rles, start=1):
        try:
            counts = run_lengths(rle, height, width)
        except ValueError as error:
            raise ValueError(f"RLE {number}: {error}") from None
        if not any(paint(counts, layer, number) for layer in layers):
            layers.append(np.zeros((width, height), np.int32))  # runs go down the columns
            paint(counts, layers[-1], number)
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


def semantic_from_instances(instances: np.ndarray, categories: np.ndarray, crowd: np.ndarray, background: int) -> np.ndarray:
    """The class map (H, W) uint8 of a layered id map: the class of the topmost instance, 255 in a crowd, else `background`."""
    classes = np.concatenate([[background], np.where(crowd, IGNORE, categories)]).astype(np.uint8)
    top = instances.max(axis=2) if instances.shape[2] else np.zeros(instances.shape[:2], np.int32)
    return classes[top]


def areas_of(instances: np.ndarray, count: int) -> np.ndarray:
    """Areas (count,) int64 in pixels of ids 1..count: `measure` without the boxes, in less time."""
    areas = np.zeros(count + 1, np.int64)
    height, width, num_layers = instances.shape
    add_up(instances.reshape(height * width, num_layers), areas)
    return areas[1:]


@numba.njit(nogil=True, cache=True)
def add_up(pixels: np.ndarray, areas: np.ndarray) -> None:
    """Add the number of pixels of each value of (P, L) whole numbers to a table (N,) int64."""
    num_pixels, num_layers = pixels.shape
    for layer in range(num_layers):
        instance, start = np.int32(0), 0
        for i in range(num_pixels):
            if pixels[i, layer] != instance:  # adding up runs, not pixels, is three times as fast
                areas[instance] += i - start
                instance, start = pixels[i, layer], i
        areas[instance] += num_pixels - start


def with_stuff(sample: Sample, things: Collection[int]) -> Sample:
    """The sample with segments for instances: what is seen of each thing, then the region of each class that is not among `things`. The
    class map says what is seen: pixels of an instance that are of another class there belong to none. A crowd stays one."""
    top = sample.instances.max(axis=2, initial=0)
    classes, crowd = np.append(IGNORE, sample.categories), np.append(True, sample.crowd)
    top = np.where((classes[top] == sample.semantic) | crowd[top], top, 0).astype(np.int32)
    stuff = [int(c) for c in np.unique(sample.semantic[top == 0]) if c != IGNORE and c not in things]
    for number, index in enumerate(stuff, start=len(sample.categories) + 1):
        top[(top == 0) & (sample.semantic == index)] = number
    categories, crowd = np.append(sample.categories, stuff).astype(np.int32), np.append(sample.crowd, np.zeros(len(stuff), bool))
    return replace(sample, instances=top[:, :, None], categories=categories, crowd=crowd)


def merged(prediction: Prediction, things: Collection[int], least: float = 0.0, least_stuff: float = 0.0) -> Prediction:
    """The prediction as segments, best first: no two share a pixel, and stuff of one class is one. Things come first, each with the pixels
    that better ones leave it; then stuff, with those that are left. Things that score below `least`, and stuff below `least_stuff`, are
    left out before."""
    if not prediction.masks:
        return replace(prediction, segments=True)
    height, width = prediction.masks[0]["size"]
    ids = np.zeros((height, width, 1), np.int32)
    categories = prediction.categories.tolist()
    numbers: dict[int, int] = {}  # of each class of stuff
    for place in sorted(range(len(categories)), key=lambda i: categories[i] not in things):
        if prediction.scores[place] < (least if categories[place] in things else least_stuff):
            continue
        inside, left, top = decode_crop(prediction.masks[place])
        there = ids[top : top + inside.shape[0], left : left + inside.shape[1], 0]
        free = inside & (there == 0)
        if categories[place] not in things:
            there[free] = numbers.setdefault(categories[place], place + 1)
        elif np.count_nonzero(free) > (1 - VISIBLE) * np.count_nonzero(inside):
            there[free] = place + 1
    boxes = boxes_of(ids, len(categories))
    kept = np.flatnonzero(boxes[:, 2])
    kept = kept[np.argsort(-np.asarray(prediction.scores)[kept], kind="stable")]
    rles, scores, classes = encode(ids, len(categories)), np.asarray(prediction.scores)[kept], np.asarray(prediction.categories)[kept]
    masks = [rles[i] for i in kept]
    return Prediction(scores=scores, categories=classes, boxes=boxes[kept].astype(np.float32), masks=masks, segments=True)


def together(first: Prediction, second: Prediction) -> Prediction:
    """The segments of both, which `merged` makes segments of again: a pixel may be of two."""
    scores, categories, boxes = (np.concatenate([getattr(p, name) for p in (first, second)]) for name in ("scores", "categories", "boxes"))
    return Prediction(scores=scores, categories=categories, boxes=boxes, masks=[*first.masks, *second.masks], segments=True)
