"""What the checks know of an image beside its counts: taken where it is read, from the arrays that are there."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.labelmaps import mask_of
from seg.sample import Sample
from seg.store import Stored

MIN_OVERLAP = 0.5
"""IoU of two instances from which on it is noted; whether it is too much, the checks decide."""

EVERY = 16  # rows that are looked at before all are: most colour images show there that they are no gray ones


@dataclass(frozen=True, slots=True)
class Apart:
    """An instance in pieces. instance: its place. share: of its area in the second largest piece, whose box is `box`. gap: pixels
    between the boxes of the two largest. length: the diagonal of the largest one's box, in pixels."""

    instance: int
    share: float
    gap: float
    length: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two instances, by their places, and their IoU."""

    first: int
    second: int
    iou: float


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one image. gray: its channels are equal, of three or more. Crowds are in neither list."""

    gray: bool
    apart: tuple[Apart, ...]
    overlaps: tuple[Overlap, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """An image of the data set, as the checks see it. path: its raw file."""

    split: str
    path: str
    stored: Stored
    facts: Facts

    @property
    def name(self) -> str:
        """How people find it: the split, and the name of the file there."""
        return f"{self.split}/{self.stored.entry.file}"


def facts_of(sample: Sample, stored: Stored) -> Facts:
    """The facts of one sample and of what was stored of it."""
    return Facts(is_gray(sample.image), tuple(_apart(sample, stored)), tuple(_overlaps(sample, stored)))


def is_gray(image: np.ndarray) -> bool:
    """Whether an image (H, W, C) of three or more channels has equal ones."""
    return image.shape[2] >= 3 and _equal(image[::EVERY]) and _equal(image)


def _equal(image: np.ndarray) -> bool:
    return all(np.array_equal(image[..., 0], image[..., channel]) for channel in range(1, image.shape[2]))


def box_of(annotation: dict[str, list[int]]) -> tuple[int, int, int, int]:
    """The box of a stored annotation, xyxy half-open pixels."""
    x, y, width, height = annotation["bbox"]
    return x, y, x + width, y + height


def _apart(sample: Sample, stored: Stored) -> list[Apart]:
    found = []
    for index, annotation in enumerate(stored.annotations):
        if annotation["iscrowd"]:
            continue
        x1, y1, x2, y2 = box_of(annotation)
        crop = mask_of(sample.instances[y1:y2, x1:x2], index + 1).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(crop, connectivity=8)
        if count < 3:
            continue
        largest, second = sorted(stats[1:].tolist(), key=lambda piece: -piece[4])[:2]
        box = (x1 + second[0], y1 + second[1], x1 + second[0] + second[2], y1 + second[1] + second[3])
        gap = float(
            np.hypot(_between(largest[0], largest[2], second[0], second[2]), _between(largest[1], largest[3], second[1], second[3]))
        )
        found.append(Apart(index, second[4] / annotation["area"], gap, float(np.hypot(largest[2], largest[3])), box))
    return found


def _between(start: int, length: int, other: int, other_length: int) -> int:
    """Pixels between two intervals; 0 where they touch or overlap."""
    return max(0, other - start - length, start - other - other_length)


def _overlaps(sample: Sample, stored: Stored) -> list[Overlap]:
    if sample.instances.shape[2] < 2:  # no pixel is of two
        return []
    places: Sequence[int] = [i for i, a in enumerate(stored.annotations) if not a["iscrowd"]]
    rles = [stored.annotations[i]["segmentation"] for i in places]
    iou = np.triu(coco_mask.iou(rles, rles, [0] * len(rles)), 1)
    return [Overlap(places[a], places[b], float(iou[a, b])) for a, b in np.argwhere(iou >= MIN_OVERLAP).tolist()]
