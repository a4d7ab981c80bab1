"""What the checks know of an image beside its counts: taken where it is read, from the arrays that are there."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.labelmaps import mask_of
from seg.data.rle import Rle
from seg.data.sample import IGNORE, Sample
from seg.raw.record import Finding, Severity
from seg.storing.write import StoredRecord

MIN_OVERLAP = 0.5  # IoU of two instances from which on it is noted; whether it is too much, the checks decide
LARGEST = 20  # areas of ignored pixels that are looked at
COMPACT, THICK = 0.4, 6  # share of its box that an area fills, and pixels of its sides, from which on it is no border
AROUND = 4  # pixels from an area to the ones around it, so that soft edges do not count
ALIKE = 0.9  # share of those that are of one class, from which on the area lies within that
MANY = 60  # classes in an image from which on their areas are not counted
EVERY = 16  # rows that are looked at before all are: most colour images show there that they are no gray ones
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Apart:
    """An instance in pieces. instance: its place. share: of its area in the second largest piece, whose box is `box`. gap: pixels
    between the boxes of the two largest. length: the diagonal of the largest one's box, in pixels."""

    instance: int
    share: float
    gap: float
    length: float
    box: Box


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two instances, by their places, and their IoU."""

    first: int
    second: int
    iou: float


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """Of one image, small enough to be kept for all.

    gray: its channels are equal, of three or more. class_pixels: (256,) int64, by class index. categories: (N,) class indices of
    the instances; crowd: (N,) bool; areas: (N,) pixels; boxes: (N, 4), xyxy half-open pixels. Crowds are neither in apart nor in
    overlaps. values: how many different ones the image has, up to 3. blobs: pixels that are ignored in compact areas within one class.
    pieces: connected areas of all classes but the first, whose number of classes is `present`."""

    gray: bool
    class_pixels: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    apart: tuple[Apart, ...]
    overlaps: tuple[Overlap, ...]
    values: int = 3
    blobs: int = 0
    pieces: int = 0
    present: int = 0

    def box(self, instance: int) -> Box:
        x1, y1, x2, y2 = self.boxes[instance].tolist()
        return x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class Examined:
    """An image of the data set, as the checks see it. path: its raw file."""

    split: str
    path: str
    stored: StoredRecord
    facts: RecordFacts

    @property
    def name(self) -> str:
        """How people find it: the split, and the name of the file there."""
        return f"{self.split}/{self.stored.entry.file}"

    def finding(self, kind: str, what: str, fix: str, severity: Severity = "warning", box: Box | None = None) -> Finding:
        """What is odd about the image, or at a place in it."""
        return Finding(kind, self.path, what, fix, severity, self.stored.entry.image_id, box, self.split)


def facts_of(sample: Sample, stored: StoredRecord) -> RecordFacts:
    annotations = stored.annotations
    areas = np.array([a["area"] for a in annotations], np.int64)
    boxes = np.array([a["bbox"] for a in annotations], np.int32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    apart, overlaps = _apart(sample, areas, boxes), _overlaps(sample, [a["segmentation"] for a in annotations])
    pixels = stored.counts.class_pixels
    given = (sample.categories, sample.crowd, areas, boxes, tuple(apart), tuple(overlaps))
    values = min(3, int(np.count_nonzero(stored.counts.histogram.sum(axis=0))))
    areas_of_classes = () if len(sample.categories) else (_blobs(sample.semantic, pixels), *_pieces(sample.semantic, pixels))
    return RecordFacts(is_gray(sample.image), pixels, *given, values, *areas_of_classes)


def is_gray(image: np.ndarray) -> bool:
    """Whether an image (H, W, C) of three or more channels has equal ones."""
    channels = range(1, image.shape[2])
    return len(channels) > 1 and all(np.array_equal(rows[..., 0], rows[..., c]) for rows in (image[::EVERY], image) for c in channels)


def _blobs(semantic: np.ndarray, pixels: np.ndarray) -> int:
    """Ignored pixels in areas that are no thin border, do not touch the image's edge, and lie within a single class."""
    if not pixels[IGNORE] or pixels[IGNORE] == semantic.size:
        return 0
    _, places, stats, _ = cv2.connectedComponentsWithStats((semantic == IGNORE).astype(np.uint8), connectivity=8)
    found = 0
    for number in np.argsort(-stats[1:, 4])[:LARGEST] + 1:
        x, y, width, height, area = stats[number].tolist()
        if area < COMPACT * width * height or min(width, height) < THICK:
            continue
        if x == 0 or y == 0 or x + width == semantic.shape[1] or y + height == semantic.shape[0]:
            continue
        top, left = max(0, y - AROUND), max(0, x - AROUND)
        rows, columns = slice(top, y + height + AROUND), slice(left, x + width + AROUND)
        inside = (places[rows, columns] == number).astype(np.uint8)
        near, beyond = (cv2.dilate(inside, np.ones((2 * r + 1, 2 * r + 1), np.uint8)) for r in (AROUND - 1, AROUND))
        ring = semantic[rows, columns][beyond > near]
        if len(ring) and np.bincount(ring).max() >= ALIKE * len(ring):
            found += area
    return found


def _pieces(semantic: np.ndarray, pixels: np.ndarray) -> tuple[int, int]:
    """How many connected areas the classes but the first have, and how many of those classes there are."""
    there = [index for index in np.flatnonzero(pixels[:IGNORE]).tolist() if index]
    if not 2 <= len(there) <= MANY:
        return 0, len(there)
    counts = [cv2.connectedComponents((semantic == index).astype(np.uint8), connectivity=8)[0] - 1 for index in there]
    return sum(counts), len(there)


def _apart(sample: Sample, areas: np.ndarray, boxes: np.ndarray) -> list[Apart]:
    found = []
    for index in np.flatnonzero(~sample.crowd & (areas > 0)).tolist():  # OpenCV does not survive an empty image
        x1, y1, x2, y2 = boxes[index].tolist()
        crop = mask_of(sample.instances[y1:y2, x1:x2], index + 1).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(crop, connectivity=8)
        if count < 3:
            continue
        largest, second = sorted(stats[1:].tolist(), key=lambda piece: -piece[4])[:2]
        box = (x1 + second[0], y1 + second[1], x1 + second[0] + second[2], y1 + second[1] + second[3])
        gaps = [max(0, second[i] - largest[i] - largest[i + 2], largest[i] - second[i] - second[i + 2]) for i in (0, 1)]
        length = float(np.hypot(largest[2], largest[3]))
        found.append(Apart(index, second[4] / int(areas[index]), float(np.hypot(gaps[0], gaps[1])), length, box))
    return found


def _overlaps(sample: Sample, rles: Sequence[Rle]) -> list[Overlap]:
    if sample.instances.shape[2] < 2:  # no pixel is of two
        return []
    places = np.flatnonzero(~sample.crowd).tolist()
    counted = [rles[place] for place in places]
    iou = np.triu(coco_mask.iou(counted, counted, [0] * len(counted)), 1) if counted else np.zeros((0, 0))
    return [Overlap(places[a], places[b], float(iou[a, b])) for a, b in np.argwhere(iou >= MIN_OVERLAP).tolist()]
