"""Suspect labels: places where the prediction of a model that did not learn from an image contradicts the labels of the image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from skimage.measure import label as connected

from seg.data.rle import Rle, encode_crop
from seg.data.sample import IGNORE
from seg.evaluation.errors import TOUCH, InstanceVerdict, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.matching import measure_overlaps

KINDS = {
    "missed": "nobody labelled it",
    "made up": "it is labelled where nothing seems to be",
    "wrong class": "it seems to be of another class",
    "outline": "its outline seems to lie elsewhere",
    "merged": "several objects seem to be labelled as one",
    "split": "one object seems to be labelled as several",
}
"""What may be wrong with a label, and how a page says it."""

TEMPERATURE = 0.1  # of the soft minimum: the paper's
OWN = 0.5  # the share of an object that agrees with the labels, from which on what disagrees beside it is a matter of its outline
WIDE = 2.0  # pixels to the edge of a region at which half of its disagreement counts: labels are rarely drawn to the pixel


@dataclass(frozen=True, slots=True)
class Suspect:
    """kind: of KINDS. score: 0..1, the more suspect the higher. label, likely: class indices, as labelled and as predicted; None: of no
    object. labelled, suggested: the masks that the label has, and that the prediction would have in its place. iou: of an outline. mark:
    what somebody said of it before."""

    image_id: str
    kind: str
    score: float
    label: int | None
    likely: int | None
    labelled: list[Rle]
    suggested: list[Rle]
    iou: float = float("nan")
    mark: str | None = None

    @property
    def rank(self) -> tuple[float, str, str]:
        """The most suspect is the least."""
        return -self.score, self.image_id, self.kind


@dataclass(slots=True)
class Found:
    """What was found in a data set. labelled, hit: of each class its labelled objects, and how many of them were found."""

    suspects: list[Suspect] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    labelled: dict[int, int] = field(default_factory=dict)
    hit: dict[int, int] = field(default_factory=dict)
    ious: dict[int, list[float]] = field(default_factory=dict)


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The soft minimum, over an image's pixels, of the probability of their labels: 0..1, the lower the more suspect (Lad and Mueller 2023,
    Estimating label quality and errors in semantic segmentation data via any model, https://arxiv.org/abs/2307.05080). 1 without labels.

    labels: (H, W) uint8. probabilities: (K, H, W) float32.
    """
    counted = labels != IGNORE
    own = np.take_along_axis(probabilities, np.where(counted, labels, 0)[None].astype(np.int64), axis=0)[0][counted].astype(np.float64)
    if not own.size:
        return 1.0
    weights = np.exp((1 - own - (1 - own).max()) / TEMPERATURE)
    return float((own * weights).sum() / weights.sum())


def of_class_map(
    image_id: str, labels: np.ndarray, probabilities: np.ndarray, background: int | None, least_pixels: int
) -> Iterator[Suspect]:
    """The connected regions of pixels that are labelled as one class and predicted as another.

    A region's score is the mean of how much more probable the predicted class is there than the labelled one, times t / (t + WIDE), where
    t is the largest distance of its pixels to its edge: the narrow seams along outlines come last. least_pixels: smaller ones are left out.
    """
    predicted = probabilities.argmax(axis=0)
    wrong = (labels != IGNORE) & (labels != predicted)
    regions = connected(np.where(wrong, labels.astype(np.int64) * 256 + predicted + 1, 0), background=0, connectivity=1)
    sizes = np.bincount(regions.ravel())
    kept = [int(r) for r in np.flatnonzero(sizes >= least_pixels) if r]
    if not kept:
        return
    safe = np.where(wrong, labels, 0).astype(np.int64)
    ours, theirs = (np.take_along_axis(probabilities, index[None], axis=0)[0] for index in (predicted, safe))
    margins = np.bincount(regions.ravel(), (ours - theirs).ravel().astype(np.float64)) / np.maximum(sizes, 1)
    there, here = connected(predicted, background=-1, connectivity=1), connected(labels.astype(np.int64), background=-1, connectivity=1)
    agree_there, agree_here = (np.bincount(part.ravel(), (~wrong).ravel()) / np.bincount(part.ravel()).clip(1) for part in (there, here))
    height, width = labels.shape
    for region in kept:
        rows, columns = np.nonzero(regions == region)
        top, left = int(rows.min()), int(columns.min())
        crop = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), bool)
        crop[rows - top, columns - left] = True
        deep = float(cv2.distanceTransform(np.pad(crop, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
        old, new = int(labels[rows[0], columns[0]]), int(predicted[rows[0], columns[0]])
        of_object = agree_here[here[rows[0], columns[0]]] if new == background else agree_there[there[rows[0], columns[0]]]
        kind = "outline" if of_object >= OWN else "missed" if old == background else "made up" if new == background else "wrong class"
        mask = encode_crop(crop, left, top, height, width)
        score = float(margins[region]) * deep / (deep + WIDE)
        yield Suspect(image_id, kind, score, _object(old, background), _object(new, background), [mask], [mask])


def _object(index: int, background: int | None) -> int | None:
    return None if index == background else index


def of_instances(image: ImageInstances, threshold: float, found: Found) -> None:
    """Judge an image's true and predicted instances, of predictions that score `threshold` or more; `weighed` gives the scores."""
    verdicts = judge(image, threshold)
    truth, predicted = ([v for v in verdicts if v.which == which] for which in ("truth", "predicted"))
    joined = _together(truth, "merged")
    cut = {
        index: apart for index, members in _together(predicted, "split", "duplicate").items() if len(apart := _apart(image, members)) > 1
    }
    several = {v.index for members in joined.values() for v in members} | set(cut)
    for verdict in truth:
        found.labelled[verdict.category] = found.labelled.get(verdict.category, 0) + 1
        found.hit[verdict.category] = found.hit.get(verdict.category, 0) + (verdict.kind == "matched")
        if verdict.kind == "missed":
            close = _touching(image, verdict.index)
            found.suspects.append(_of(image, "made up", 1 - max(close, default=0.0), [verdict.index], []))
    for verdict in predicted:
        if verdict.kind == "background" and not _labelled(image, verdict.index):
            found.suspects.append(_of(image, "missed", verdict.score, [], [verdict.index]))
        elif verdict.partner is None or verdict.partner in several:
            continue
        elif verdict.kind in ("matched", "poor_mask"):
            found.ious.setdefault(verdict.category, []).append(verdict.iou)
            found.suspects.append(_of(image, "outline", verdict.score, [verdict.partner], [verdict.index], verdict.iou))
        elif verdict.kind in ("wrong_class", "wrong_class_poor_mask"):
            found.suspects.append(_of(image, "wrong class", verdict.score * verdict.iou, [verdict.partner], [verdict.index]))
    for index, members in joined.items():
        found.suspects.append(_of(image, "split", float(image.scores[index]), [v.index for v in members], [index]))
    for index, members in cut.items():
        second = sorted(v.score for v in members)[-2]
        found.suspects.append(_of(image, "merged", second, [index], [v.index for v in members]))


def _together(verdicts: Sequence[InstanceVerdict], *kinds: str) -> dict[int, list[InstanceVerdict]]:
    """{index on the other side: two or more that it holds}: those of the kinds, and the one that it is matched with."""
    found: dict[int, list[InstanceVerdict]] = {}
    for verdict in verdicts:
        if verdict.kind in (*kinds, "matched") and verdict.partner is not None:
            found.setdefault(verdict.partner, []).append(verdict)
    return {index: members for index, members in found.items() if len(members) > 1}


def _apart(image: ImageInstances, members: Sequence[InstanceVerdict]) -> list[InstanceVerdict]:
    """Those of which less than half lies in a better one: others are the same object once more."""
    masks = [image.rle(image.predicted_counts[v.index]) for v in members]
    inside = measure_overlaps(masks, [], masks).intersections / np.array([v.area for v in members])
    better = np.array(
        [[other.score > v.score or (other.score == v.score and j < i) for i, v in enumerate(members)] for j, other in enumerate(members)]
    )
    return [v for v, covered in zip(members, ((inside >= 0.5) & better).any(axis=0), strict=True) if not covered]


def weighed(found: Found) -> list[Suspect]:
    """The suspects, the most suspect first, with scores that count what is usual in the data set: a label where nothing was found is the
    more suspect the larger the share of its class's objects that are found, and an outline the farther its IoU lies below its class's
    median, in units of the median deviation."""
    usual = {category: _usual(ious) for category, ious in found.ious.items()}

    def score(one: Suspect) -> float:
        if one.kind == "made up" and one.label is not None and found.labelled:
            return one.score * found.hit[one.label] / found.labelled[one.label]
        if one.kind == "outline" and one.iou == one.iou and one.likely is not None:
            middle, spread = usual[one.likely]
            return one.score * (1 - float(np.exp(-max(0.0, middle - one.iou) / (3 * spread))))
        return one.score

    return sorted((replace(one, score=round(score(one), 6)) for one in found.suspects), key=lambda s: s.rank)


def _usual(ious: Sequence[float]) -> tuple[float, float]:
    """The median, and the median deviation from it, but a hundredth at least."""
    middle = float(np.median(ious))
    return middle, max(0.01, float(np.median(np.abs(np.array(ious) - middle))))


def _labelled(image: ImageInstances, index: int) -> bool:
    """Whether half of a prediction or more lies in labelled objects, of which it is a piece."""
    shares = measure_overlaps([image.rle(counts) for counts in image.counts], [], [image.rle(image.predicted_counts[index])])
    return bool(2 * shares.intersections.sum() >= shares.areas[0])


def _touching(image: ImageInstances, index: int) -> list[float]:
    """The scores of all predictions, low ones too, whose IoU with a true instance is a tenth or more."""
    shares = measure_overlaps([image.rle(image.counts[index])], [], [image.rle(counts) for counts in image.predicted_counts])
    return image.scores[shares.reach(TOUCH)[0]].tolist()


def _of(
    image: ImageInstances, kind: str, score: float, truths: Sequence[int], predictions: Sequence[int], iou: float = float("nan")
) -> Suspect:
    label = int(image.categories[truths[0]]) if truths else None
    likely = int(image.predicted_categories[predictions[0]]) if predictions else None
    labelled = [image.rle(image.counts[i]) for i in truths]
    suggested = [image.rle(image.predicted_counts[i]) for i in predictions]
    return Suspect(image.image_id, kind, score, label, likely, labelled, suggested, iou)
