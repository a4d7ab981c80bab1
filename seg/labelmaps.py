"""Pure functions on label maps: layered id maps to boxes, binary masks, RLE and class maps, and back.

A layered id map is (H, W, L) int32: 0 = none, ids 1..N, each id in exactly one layer. Of instances that overlap, the
one with the higher id lies on top. RLE is COCO's (https://github.com/cocodataset/cocoapi).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

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
    return (instances == instance_id).any(axis=2)


def boxes_of(instances: np.ndarray, count: int) -> np.ndarray:
    """Boxes (count, 4) int64, xyxy half-open pixels, of ids 1..count; zeros for an id without a pixel."""
    boxes = np.zeros((count, 4), np.int64)
    rows, columns, _ = np.nonzero(instances)
    if not len(rows):
        return boxes
    ids = instances[instances != 0] - 1
    low = np.full((count, 2), np.iinfo(np.int64).max)
    high = np.zeros((count, 2), np.int64)
    for axis, positions in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], ids, positions)
        np.maximum.at(high[:, axis], ids, positions + 1)
    present = high[:, 0] > 0
    boxes[present] = np.hstack([low, high])[present]
    return boxes


def encode(instances: np.ndarray, count: int) -> list[Rle]:
    """The RLE of ids 1..count of a layered id map, in order."""
    rles = []
    for number in range(1, count + 1):
        rle = coco_mask.encode(np.asfortranarray(mask_of(instances, number).astype(np.uint8)))
        rles.append({"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")})
    return rles


def decode(rles: Sequence[Rle], height: int, width: int) -> np.ndarray:
    """RLEs of one image -> layered id map (H, W, L); RLE i becomes id i + 1."""
    return layers_from_masks((coco_mask.decode(rle) for rle in rles), height, width)


def semantic_from_instances(instances: np.ndarray, categories: np.ndarray, crowd: np.ndarray, background: int) -> np.ndarray:
    """The class map (H, W) uint8 of a layered id map: the class of the topmost instance, 255 in a crowd, else `background`."""
    classes = np.concatenate([[background], np.where(crowd, IGNORE, categories)]).astype(np.uint8)
    top = instances.max(axis=2) if instances.shape[2] else np.zeros(instances.shape[:2], np.int32)
    return classes[top]
