"""Pictures of instances: outlines in the classes' colours, and which were found, missed or made up. RGB, uint8."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.labelmaps import encode
from seg.data.rle import Rle
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.metrics.matching import assign, measure_overlaps
from seg.pictures.draw import rgb
from seg.pictures.sheets import Panel

SIDE = 512  # pixels to which smaller images are enlarged, so that outlines and scores can be told apart
FOUND, MISSED, MADE_UP = (0, 114, 178), (213, 40, 30), (240, 160, 0)


@dataclass(frozen=True, slots=True)
class ColoredMasks:
    """Masks of one image, each with its colour and its label; filled: the share of its colour within."""

    masks: Sequence[Rle]
    colors: Sequence[tuple[int, int, int]]
    texts: Sequence[str]
    filled: float


def instance_panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], score_threshold: float) -> list[Panel]:
    """The image, its true instances, those predicted with at least `score_threshold`, and how the two match at IoU 0.5."""
    truth = encode(sample.instances, len(sample.categories))
    seen = [i for i in range(len(truth)) if coco_mask.area(truth[i])]
    truth, categories, crowd = [truth[i] for i in seen], sample.categories[seen], sample.crowd[seen]
    kept = np.flatnonzero(prediction.scores >= score_threshold)
    masks, kinds = [prediction.masks[i] for i in kept], prediction.categories[kept]
    image, pale = rgb(sample.image), _pale(sample.image)
    of_class = [c.color for c in classes]
    gray = (128, 128, 128)
    true = ColoredMasks(truth, [gray if c else of_class[k] for k, c in zip(categories, crowd, strict=True)], ["" for _ in truth], 0.35)
    scores = [f"{score:.2f}" for score in prediction.scores[kept]]
    found = ColoredMasks(masks, [of_class[k] for k in kinds], scores, 0.35)
    hit, made_up = match(truth, categories, crowd, masks, kinds)
    missed = [i for i in range(len(truth)) if not hit[i] and not crowd[i]]
    hits = [i for i in range(len(truth)) if hit[i]]
    verdict = ColoredMasks(
        [truth[i] for i in hits] + [truth[i] for i in missed] + [masks[i] for i in made_up],
        [FOUND] * len(hits) + [MISSED] * len(missed) + [MADE_UP] * len(made_up),
        [""] * (len(hits) + len(missed) + len(made_up)),
        0.3,
    )
    return [
        Panel("image", image),
        outlined(f"truth: {int((~crowd).sum())}", image, true),
        outlined(f"prediction: {len(masks)} with scores", image, found),
        outlined(f"found {len(hits)} (blue), missed {len(missed)} (red), made up {len(made_up)} (yellow)", pale, verdict),
    ]


def match(
    truth: Sequence[Rle], categories: np.ndarray, crowd: np.ndarray, masks: Sequence[Rle], kinds: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Which truths (G,) bool have a prediction of their class with an IoU of 0.5 or more; which predictions have no truth.

    Predictions in a crowd are neither.
    """
    hit, made_up = np.zeros(len(truth), bool), []
    for category in sorted({*categories.tolist(), *kinds.tolist()}):
        own = np.flatnonzero((categories == category) & ~crowd)
        crowds = np.flatnonzero((categories == category) & crowd)
        said = np.flatnonzero(kinds == category)
        own_masks, crowd_masks, said_masks = (
            [rles[int(i)] for i in which] for rles, which in ((truth, own), (truth, crowds), (masks, said))
        )
        overlaps = measure_overlaps(own_masks, crowd_masks, said_masks)
        rows, columns = assign(overlaps.reach(50), overlaps.iou)
        hit[own[rows]] = True
        alone = np.setdiff1d(np.arange(len(said)), columns)
        made_up += [int(said[i]) for i in alone if not overlaps.in_crowd[i]]
    return hit, made_up


def outlined(name: str, image: np.ndarray, outlines: ColoredMasks) -> Panel:
    """The image (H, W, 3), enlarged where it is small, with outlines over it."""
    height, width = image.shape[:2]
    factor = max(1, round(SIDE / max(height, width)))
    picture = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    texts = []
    for mask, color, text in zip(outlines.masks, outlines.colors, outlines.texts, strict=True):
        x, y, w, h = (int(v) for v in coco_mask.toBbox(mask))
        inside = coco_mask.decode(mask)[y : y + h, x : x + w]
        if not inside.size:
            continue
        large = cv2.resize(inside, (w * factor, h * factor), interpolation=cv2.INTER_NEAREST)
        part = picture[y * factor : (y + h) * factor, x * factor : (x + w) * factor]
        mixed = (part + (np.array(color, np.float32) - part) * outlines.filled).astype(np.uint8)
        part[large > 0] = mixed[large > 0]
        contours, _ = cv2.findContours(np.pad(large, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        thickness = max(2, max(picture.shape[:2]) // 300)
        cv2.drawContours(picture, contours, -1, color, thickness, offset=(x * factor - 1, y * factor - 1))
        if text:
            texts.append((float((x + w / 2) * factor), float((y + h / 2) * factor), text))
    return Panel(name, picture, texts)


def _pale(image: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(rgb(image), cv2.COLOR_RGB2GRAY)
    return np.repeat((gray // 3 + 140)[..., None].astype(np.uint8), 3, axis=2)
