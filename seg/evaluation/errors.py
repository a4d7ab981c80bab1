"""The kind of error of every true and predicted instance of an image.

Predictions below a score threshold do not exist here, and crowds are no instances. T is a truth, P a prediction. Of all kinds that
an instance fits it has the first of its list; kinds after `matched` say why an instance has no partner. They follow TIDE (Bolya et
al. 2020, https://dbolya.github.io/tide/) and, for splits and merges, Hoover et al. 1996 (An experimental comparison of range image
segmentation algorithms), whose shares hold for any number of parts; Caicedo et al. 2019 (Cytometry A 95, 952) ask for an IoU above
0.1 with each part instead, which no part of eleven reaches.

docs/reference.md, "Errors of instances", says what each kind means: of a predicted instance P and of a true one T, and when P joins
several T or T is cut into several P. Parts are taken by their overlap with the whole, the largest first (of equals the first). A match at
an IoU of 0.5 is one of the best one-to-one matching of a class (`seg.metrics.matching.assign`).

So `matched` truths are the true positives of `recall_50`, all other truths its false negatives, and the predictions that are
neither `matched` nor `crowd` the false positives of `precision_50`. TIDE asks for poor masks first, then wrong classes, then
duplicates; here the larger overlap explains more. An IoU is compared as a ratio of whole numbers of pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from seg.data.rle import Rle
from seg.metrics.coco import ImageInstances
from seg.metrics.matching import Overlaps, assign, measure_overlaps

MATCH, TOUCH = 50, 10  # the IoU in percent from which an instance is found, and below which a prediction is of nothing: TIDE's defaults

TRUTH_KINDS = ("matched", "merged", "split", "wrong_class", "poor_mask", "missed")
"""The kinds of true instances, first come first served; all but `matched` are errors."""

PREDICTED_KINDS = ("matched", "crowd", "duplicate", "merged", "split", "wrong_class", "poor_mask", "wrong_class_poor_mask", "background")
"""The kinds of predicted instances, first come first served; all but `matched` and `crowd` are errors."""


@dataclass(frozen=True, slots=True)
class InstanceVerdict:
    """What became of one instance.

    which: truth or predicted. index: its place among the image's true instances, crowds counted, or among its predictions, those
    below the threshold counted. partner: the index on the other side that its kind speaks of, of several that of the highest
    IoU, then the first; for `missed`, `background` and `crowd` any that it overlaps; None without one. iou: with the partner, or 0.
    area: pixels. score: NaN for a truth."""

    image_id: str
    which: str
    index: int
    category: int
    kind: str
    iou: float
    partner: int | None
    area: int
    score: float


def judge(image: ImageInstances, score_threshold: float) -> list[InstanceVerdict]:
    """A verdict for each true instance that is no crowd, then for each prediction that scores `score_threshold` or more."""
    true, found = np.flatnonzero(~image.crowd), np.flatnonzero(image.scores >= np.float32(score_threshold))
    truth, predicted = [image.rle(image.counts[i]) for i in true], [image.rle(image.predicted_counts[i]) for i in found]
    overlaps = measure_overlaps(truth, [], predicted)
    categories, predicted_categories = image.categories[true], image.predicted_categories[found]
    same = categories[:, None] == predicted_categories
    match, touch = overlaps.reach(MATCH), overlaps.reach(TOUCH)
    any_overlap = overlaps.intersections > 0
    matched = matched_pairs(overlaps, categories, predicted_categories)
    merged = _parts((2 * overlaps.intersections > overlaps.truth_areas[:, None]) & same, overlaps.intersections, truth, predicted)
    split = _parts(((2 * overlaps.intersections > overlaps.areas) & same).T, overlaps.intersections.T, predicted, truth).T
    in_crowd = _in_crowd(image, predicted_categories, predicted)

    predicted_links = [matched, any_overlap, match & same, merged, split, match & ~same, touch & same, touch & ~same, any_overlap]
    holds = [links.any(axis=0) for links in predicted_links]
    holds[PREDICTED_KINDS.index("crowd")], holds[-1] = in_crowd, np.ones(len(found), bool)
    predicted_kinds = np.argmax(holds, axis=0)

    wrong = match & ~same & (predicted_kinds == PREDICTED_KINDS.index("wrong_class"))
    poor = touch & same & (predicted_kinds == PREDICTED_KINDS.index("poor_mask"))
    truth_links = [matched, merged, split, wrong, poor, any_overlap]
    holds = [links.any(axis=1) for links in truth_links]
    holds[-1] = np.ones(len(true), bool)
    truth_kinds = np.argmax(holds, axis=0)

    verdicts = []
    for i, kind in enumerate(truth_kinds.tolist()):
        partner, iou = _best(truth_links[kind][i], overlaps.iou[i], found)
        own = (int(true[i]), int(categories[i]), TRUTH_KINDS[kind])
        verdicts.append(InstanceVerdict(image.image_id, "truth", *own, iou, partner, int(overlaps.truth_areas[i]), math.nan))
    for i, kind in enumerate(predicted_kinds.tolist()):
        partner, iou = _best(predicted_links[kind][:, i], overlaps.iou[:, i], true)
        own = (int(found[i]), int(predicted_categories[i]), PREDICTED_KINDS[kind])
        score = float(image.scores[found[i]])
        verdicts.append(InstanceVerdict(image.image_id, "predicted", *own, iou, partner, int(overlaps.areas[i]), score))
    return verdicts


def matched_pairs(overlaps: Overlaps, categories: np.ndarray, predicted_categories: np.ndarray) -> np.ndarray:
    """(G, P) bool: the pairs of the best matching of each class at an IoU of 0.5, the very same as of the headline figures."""
    pairs = np.zeros(overlaps.iou.shape, bool)
    eligible = overlaps.reach(MATCH)
    for category in np.intersect1d(categories, predicted_categories):
        rows, columns = np.flatnonzero(categories == category), np.flatnonzero(predicted_categories == category)
        within = np.ix_(rows, columns)
        r, c = assign(eligible[within], overlaps.iou[within])
        pairs[rows[r], columns[c]] = True
    return pairs


def _parts(inside: np.ndarray, intersections: np.ndarray, masks: Sequence[Rle], wholes: Sequence[Rle]) -> np.ndarray:
    """(N, M) bool: the masks that are parts of each whole, two or more or none; inside (N, M) bool: more than half lies in it."""
    found = np.zeros_like(inside)
    for whole in np.flatnonzero(inside.sum(axis=0) >= 2).tolist():
        candidates = np.flatnonzero(inside[:, whole])
        first, *others = candidates[np.argsort(-intersections[candidates, whole], kind="stable")].tolist()
        taken, union = [first], masks[first]
        for candidate in others:
            mask = masks[candidate]
            if 2 * _area_within(mask, union) < coco_mask.area(mask):
                taken, union = [*taken, candidate], coco_mask.merge([union, mask])
        if len(taken) >= 2 and 2 * _area_within(union, wholes[whole]) >= coco_mask.area(wholes[whole]):
            found[taken, whole] = True
    return found


def _area_within(a: Rle, b: Rle) -> int:
    return int(coco_mask.area(coco_mask.merge([a, b], intersect=True)))


def _in_crowd(image: ImageInstances, categories: np.ndarray, predicted: Sequence[Rle]) -> np.ndarray:
    """(P,) bool: more than half of the prediction lies in one crowd of its class."""
    found = np.zeros(len(predicted), bool)
    for category in np.intersect1d(image.categories[image.crowd], categories).tolist():
        own = np.flatnonzero(categories == category)
        found[own] = measure_overlaps([], image.truth(category, crowd=True), [predicted[i] for i in own.tolist()]).in_crowd
    return found


def _best(linked: np.ndarray, iou: np.ndarray, indices: np.ndarray) -> tuple[int | None, float]:
    """Of the linked instances (N,) bool that of the highest IoU (N,), by its index, and the IoU."""
    if not linked.any():
        return None, 0.0
    place = int(np.argmax(np.where(linked, iou, -1)))
    return int(indices[place]), float(iou[place])
