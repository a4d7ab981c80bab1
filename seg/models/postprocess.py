"""What is done to a prediction after the network: a temperature on its probabilities, and operations on objects.

`seg.training.choosing` chooses them on validation images after a training; a checkpoint and an exported file hold them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field
from scipy import ndimage

from seg.data.rle import decode_crop, encode_crop
from seg.data.sample import BACKGROUND, CERTAIN, MAX_CLASSES, Prediction
from seg.models.declared import Text

NEIGHBOURS = np.ones((3, 3), bool)  # pixels that touch by a corner are of one object
Area = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Class = Annotated[int, Field(strict=True, ge=0, lt=MAX_CLASSES)]


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure before and after a change, over the same images.

    what: the change, in words. figure: which of the figures is compared. low, high: of the difference, after less before; NaN where the
    images are too few for an interval. taken: whether the change was made."""

    what: Text
    figure: Text
    before: float
    after: float
    low: float
    high: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """images: of validation, by which it was made. tried: every change. calibration: of the likelihood by the temperature, and errors: the
    expected calibration errors without it and with it; None where there was no probability to calibrate."""

    images: int = 0
    tried: Annotated[tuple[Compared, ...], Field(max_length=10_000)] = ()
    calibration: Compared | None = None
    errors: tuple[float, float] | None = None

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"tried": [asdict(row) for row in self.tried], "errors": list(self.errors) if self.errors else None}

    def lines(self) -> list[str]:
        """What is told of a change that was made, with the figure that it changed."""
        rows = [f"{row.what}: {row.figure} {row.before:.3f} -> {row.after:.3f}" for row in self.tried if row.taken]
        if self.calibration and self.calibration.taken and self.errors:
            rows.insert(0, f"{self.calibration.what}: calibration error {self.errors[0]:.3f} -> {self.errors[1]:.3f}")
        return rows


NO_CHOICE = Choice()


@dataclass(frozen=True, slots=True)
class Postprocess:
    """What a model's predictions go through. Without arguments: nothing changes.

    temperature: logits are divided by it before the softmax, and the log-odds of instances' scores (Guo et al. 2017). score_threshold: of
    instances, below which they are not shown; None: it was not chosen. least_area: objects of fewer pixels are removed. fill_holes:
    background that one object encloses becomes part of it. largest: the classes of whose objects only the largest region stays: of a class
    map, one region an image; of an instance, one region of its mask.

    Objects of a class map are the connected regions of each class but `background`, which they need: what is removed becomes it."""

    temperature: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    least_area: Area = 0
    fill_holes: bool = False
    largest: Annotated[tuple[Class, ...], Field(max_length=MAX_CLASSES)] = ()

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"largest": list(self.largest)}

    def uncalibrated_threshold(self, otherwise: float) -> float:
        """The score threshold for scores before the temperature, or `otherwise` where none was chosen."""
        chosen = self.score_threshold
        return otherwise if chosen is None else float(softened(np.array([chosen]), 1 / self.temperature)[0])

    @property
    def changes_objects(self) -> bool:
        return bool(self.least_area or self.fill_holes or self.largest)

    def described(self, class_names: Sequence[str]) -> list[str]:
        """Each part that changes something, in words."""
        parts = [f"objects of fewer than {self.least_area} pixels are removed"] * bool(self.least_area)
        parts += ["holes in objects are filled"] * self.fill_holes
        if self.largest:
            parts.append(f"only the largest region stays of {', '.join(class_names[c] for c in self.largest)}")
        if self.score_threshold is not None:
            parts.append(f"instances count from a score of {self.score_threshold:g} on")
        return parts

    def applied(self, prediction: Prediction, has_background: bool) -> Prediction:
        """The prediction after the operations on objects; its probabilities and scores are those that the network's side calibrated."""
        if not self.changes_objects:
            return prediction
        if prediction.semantic is None:
            return self._instances(prediction)
        return self._class_map(prediction) if has_background else prediction

    def _class_map(self, prediction: Prediction) -> Prediction:
        assert prediction.semantic is not None
        classes = prediction.semantic.copy()
        for index in np.unique(classes[classes > 0]):
            regions, count = ndimage.label(classes == index, NEIGHBOURS)
            areas = np.bincount(regions.ravel(), minlength=count + 1)
            kept = areas >= self.least_area
            if index in self.largest:
                kept &= np.arange(count + 1) == 1 + areas[1:].argmax()
            kept[0] = True
            classes[~kept[regions]] = 0
        if self.fill_holes:
            fill_enclosed(classes)
        if prediction.confidence is None:
            return replace(prediction, semantic=classes)
        changed = classes != prediction.semantic
        # what was 0.9 likely of another class is at most 0.1 likely of this one
        return replace(prediction, semantic=classes, confidence=np.where(changed, CERTAIN - prediction.confidence, prediction.confidence))

    def _instances(self, prediction: Prediction) -> Prediction:
        crops = [decode_crop(mask) for mask in prediction.masks]
        taken = _count(crops, prediction.masks[0]["size"]) if crops and self.fill_holes else None
        masks, kept, boxes = [], [], np.array(prediction.boxes, np.float32)
        for number, (mask, (before, left, top)) in enumerate(zip(prediction.masks, crops, strict=True)):
            inside = _largest_region(before) if prediction.categories[number] in self.largest else before
            if taken is not None:
                height, width = inside.shape
                free = taken[top : top + height, left : left + width] == 0
                inside = inside | (ndimage.binary_fill_holes(inside) & free)
            if inside.sum() < max(1, self.least_area):
                continue
            if not np.array_equal(inside, before):
                mask = encode_crop(inside, left, top, *mask["size"])
                boxes[number] = _within(boxes[number], inside, left, top)
            masks.append(mask)
            kept.append(number)
        scores, categories = (np.asarray(values)[kept] for values in (prediction.scores, prediction.categories))
        return replace(prediction, scores=scores, categories=categories, boxes=boxes[kept].reshape(-1, 4), masks=masks)


NOTHING = Postprocess()  # predictions stay as they are


def _count(crops: Sequence[tuple[np.ndarray, int, int]], size: Sequence[int]) -> np.ndarray:
    """How many masks hold each pixel (H, W)."""
    counts = np.zeros(size, np.int32)
    for inside, left, top in crops:
        counts[top : top + inside.shape[0], left : left + inside.shape[1]] += inside
    return counts


def _largest_region(mask: np.ndarray) -> np.ndarray:
    regions, count = ndimage.label(mask, NEIGHBOURS)
    return regions == 1 + np.bincount(regions.ravel())[1:].argmax() if count > 1 else mask


def _within(box: np.ndarray, inside: np.ndarray, left: int, top: int) -> np.ndarray:
    """A box (4,) xyxy, cut to a pixel around what is left of its mask."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    low = np.array([left + columns[0], top + rows[0]], np.float32)
    high = np.array([left + columns[-1] + 1, top + rows[-1] + 1], np.float32)
    return np.concatenate([np.maximum(box[:2], low - 1), np.minimum(box[2:], high + 1)])


def fill_enclosed(classes: np.ndarray) -> None:
    """Give each region of background (0) that pixels of one class alone surround, and that does not reach the border, to that class.

    classes: (H, W) uint8, changed in place."""
    count, regions = cv2.connectedComponents((classes == 0).view(np.uint8), connectivity=4)
    around = np.full(count, -1, np.int64)  # of each region the class beside it; 0: of several
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for own, beside in ((first, second), (second, first)):
            edge = (classes[own] == 0) & (classes[beside] > 0)
            region, found = regions[own][edge], classes[beside][edge].astype(np.int64)
            for value in np.unique(found):
                touched = np.unique(region[found == value])
                around[touched] = np.where((around[touched] == -1) | (around[touched] == value), value, 0)
    for border in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        around[border] = 0
    around[0] = 0
    filled = np.maximum(around, 0)[regions]
    classes[filled > 0] = filled[filled > 0]


def calibrated(prediction: Prediction, temperature: float) -> Prediction:
    """The instances of a prediction, with their scores' log-odds divided by the temperature."""
    if temperature == 1 or not len(prediction.scores):
        return prediction
    return replace(prediction, scores=softened(np.asarray(prediction.scores), temperature).astype(np.float32))


def softened(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores (N,) in 0..1 -> float64 of which the log-odds are divided by the temperature. Their order stays."""
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(1 / (1 + np.exp(-np.log(clipped / (1 - clipped)) / temperature)))


def has_background(class_names: Sequence[str]) -> bool:
    """Whether a class list has a class for what is removed."""
    return class_names[0] == BACKGROUND
