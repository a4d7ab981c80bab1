"""One labelled image, and what a model says of one: the types that both tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seg.core.errors import DataError

IGNORE = 255  # the class index of a pixel that counts neither in training nor in evaluation
MAX_CLASSES = 255
CERTAIN = 65535  # the confidence of a pixel whose predicted class has probability 1; others are in proportion
# the name of the class that the pixels of no instance have, where the class list starts with it; no instance is of it
BACKGROUND = "background"

# in files that people correct: how labels start that do not count, and the label of what counts nowhere
SUGGESTION, IGNORED = "suggestion:", "ignore"
Color = tuple[int, int, int]
Label = int | str | Color  # what raw data calls a class: a value in a mask, a category's name, or a colour


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class, as people name it and draw it. Its index is its place in the class list.

    Attributes:
        name: The name in tables and pictures.
        color: Red, green and blue, 0 to 255 each.
        labels: The values, names or colours that raw data has for the class. Empty: the class index, the name or the colour.
    """

    name: str
    color: Color
    labels: tuple[Label, ...] = ()


Range = Sequence[float] | str | None  # values of deep images that become 0 and 255: [low, high], `image` or None, as data.range has it


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its label maps; boxes, masks and RLE are derived from the maps (see `seg.data.labelmaps`).

    Attributes:
        image_id: The name of the image. It is unique in its split.
        image: (H, W, C) uint8; RGB when C == 3.
        semantic: (H, W) uint8 class index; 255 = ignore.
        instances: (H, W, L) int32 layered id map; 0 = none, ids 1..N, each id in exactly one layer.
        categories: (N,) int32 class index of instance id i + 1.
        crowd: (N,) bool, True for a region of uncounted instances.
    """

    image_id: str
    image: np.ndarray
    semantic: np.ndarray
    instances: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]


def no_instances(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The instances, categories and crowd of a sample that has none."""
    return np.zeros((height, width, 0), np.int32), np.zeros(0, np.int32), np.zeros(0, bool)


def validate(sample: Sample, num_classes: int) -> None:
    """Raise DataError where a sample contradicts itself or the class list."""
    name, (height, width) = sample.image_id, sample.size
    if sample.image.ndim != 3 or sample.image.dtype != np.uint8:
        raise DataError(f"{name}: image must be (H, W, C) uint8, got {sample.image.shape} {sample.image.dtype}")
    if sample.semantic.shape != (height, width) or sample.semantic.dtype != np.uint8:
        got = f"{sample.semantic.shape} {sample.semantic.dtype}"
        raise DataError(f"{name}: label map must be {(height, width)} uint8 like its image, got {got}")
    if (sample.semantic + np.uint8(1)).max(initial=0) > num_classes:  # 255, which is ignored, wraps to 0
        unknown = sample.semantic[(sample.semantic >= num_classes) & (sample.semantic != IGNORE)].min()
        raise DataError(f"{name}: class index {unknown} is not in the class list (0..{num_classes - 1}, 255 = ignore)")
    count = len(sample.categories)
    if sample.instances.shape[:2] != (height, width) or sample.instances.ndim != 3:
        raise DataError(f"{name}: id map must be ({height}, {width}, L), got {sample.instances.shape}")
    if len(sample.crowd) != count:
        raise DataError(f"{name}: {count} categories but {len(sample.crowd)} crowd flags")
    if sample.instances.size and int(sample.instances.max()) > count:
        raise DataError(f"{name}: instance id {int(sample.instances.max())} has no category (there are {count})")
    if count and not (sample.categories.min() >= 0 and sample.categories.max() < num_classes):
        raise DataError(f"{name}: an instance's category is not in the class list (0..{num_classes - 1})")


@dataclass(slots=True)
class Prediction:
    """The answer of a model for one image, at the image's own size.

    A semantic model fills the class map, an instance model the instances, which come best first.

    Attributes:
        semantic: (H, W) uint8 class index of each pixel, or None.
        confidence: (H, W) uint16, the probability of that class in 1/65535, or None.
        scores: (N,) float32 in 0..1, from high to low.
        categories: (N,) int32 class index of each instance.
        boxes: (N, 4) float32 xyxy, half-open, in pixels.
        masks: N masks as compressed COCO RLE: `{"size": [H, W], "counts": bytes}`.
        boxed: Whether the masks are the boxes, filled, as of a model that knows no more. Then the truth is compared by its boxes, too.
        segments: Whether the instances are segments, as `seg.data.labelmaps` makes them.
    """

    semantic: np.ndarray | None = None
    confidence: np.ndarray | None = None
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    categories: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    masks: list[dict[str, Any]] = field(default_factory=list)
    boxed: bool = False
    segments: bool = False
