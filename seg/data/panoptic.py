"""Panoptic segments (Kirillov et al. 2019): things, one by one, and stuff, a region for each class. A pixel is of one segment, or of none.

A segment is an instance like any other: here alone it is said that stuff becomes one, and that no two share a pixel.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from seg.data.labelmaps import boxes_of, encode
from seg.data.rle import decode_crop
from seg.data.sample import IGNORE, Prediction, Sample

# A thing of which better ones cover more than the rest of this share is left out (Kirillov et al. 2019, the heuristic combination).
VISIBLE = 0.5


def with_stuff(sample: Sample, things: Collection[int]) -> Sample:
    """The sample with segments for instances: what is seen of each thing, then the region of each class that is not among `things`. The
    class map says what is seen: pixels of an instance that are of another class there belong to none. A crowd stays one."""
    top = sample.instances.max(axis=2, initial=0)
    classes, crowd = np.append(IGNORE, sample.categories), np.append(True, sample.crowd)
    top = np.where((classes[top] == sample.semantic) | crowd[top], top, 0).astype(np.int32)
    stuff = [int(c) for c in np.unique(sample.semantic[top == 0]) if c != IGNORE and c not in things]
    for number, index in enumerate(stuff, start=len(sample.categories) + 1):
        top[(top == 0) & (sample.semantic == index)] = number
    return replace(
        sample,
        instances=top[:, :, None],
        categories=np.append(sample.categories, stuff).astype(np.int32),
        crowd=np.append(sample.crowd, np.zeros(len(stuff), bool)),
    )


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
    masks = encode(ids, len(categories))
    return Prediction(
        scores=np.asarray(prediction.scores)[kept],
        categories=np.asarray(prediction.categories)[kept],
        boxes=boxes[kept].astype(np.float32),
        masks=[masks[i] for i in kept],
        segments=True,
    )


def together(first: Prediction, second: Prediction) -> Prediction:
    """The segments of both, which `merged` makes segments of again: a pixel may be of two."""
    scores, categories, boxes = (np.concatenate([getattr(p, name) for p in (first, second)]) for name in ("scores", "categories", "boxes"))
    return Prediction(scores=scores, categories=categories, boxes=boxes, masks=[*first.masks, *second.masks], segments=True)
