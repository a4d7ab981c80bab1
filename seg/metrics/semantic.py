"""Semantic figures: one confusion matrix that counts pixels, and pure functions over it.

Rows are the truth, columns the prediction. Pixels whose truth is 255 are not counted. A class that is absent from both
is NaN and excluded from means; one that is only predicted, or only true, counts with 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
import torch

from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.metrics.base import ImageScore


@numba.njit(nogil=True, cache=True)
def _count(truth: np.ndarray, predicted: np.ndarray, matrix: np.ndarray) -> None:
    for i in range(truth.size):
        matrix[truth[i], predicted[i]] += 1


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Class maps of one shape, uint8 -> (K, K) int64 counts of the pixels whose truth is not 255.

    Raises ValueError where the shapes or types are others, or where a counted pixel has a class index, in the truth or in
    the prediction, that is not below num_classes."""
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}: both must have one shape")
    if truth.dtype != np.uint8 or predicted.dtype != np.uint8:
        raise ValueError(f"truth is {truth.dtype}, prediction {predicted.dtype}: both must be uint8")
    counts = np.zeros((256, 256), np.int64)
    _count(np.ascontiguousarray(truth).ravel(), np.ascontiguousarray(predicted).ravel(), counts)
    return known_pairs(counts, num_classes)


def known_pairs(counts: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (256, 256) of truth and prediction -> the confusion matrix (K, K); ValueError as `confusion_matrix` says."""
    if counts[num_classes:IGNORE].any() or counts[:IGNORE, num_classes:].any():
        raise ValueError(f"a class index outside 0..{num_classes - 1} was met")
    return counts[:num_classes, :num_classes].copy()


def totals(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix (..., K, K) -> (..., 3, K): of each class the pixels that are right, that are true, and that are predicted.

    All figures below are functions of these, which add up over images."""
    return np.stack([np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), matrix.sum(-2)], axis=-2)


def iou(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) of each class (..., K), the Jaccard index, from `totals`; NaN for an absent class."""
    right, true, predicted = _parts(counts)
    return ratio(right, true + predicted - right)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each class (..., K), the F1 score of its pixels; NaN for an absent class."""
    right, true, predicted = _parts(counts)
    return ratio(2 * right, true + predicted)


def precision(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP) of each class (..., K); NaN for a class that is never predicted."""
    right, _, predicted = _parts(counts)
    return ratio(right, predicted)


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FN) of each class (..., K), its accuracy; NaN for a class without a true pixel."""
    right, true, _ = _parts(counts)
    return ratio(right, true)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """The mean (...) of `iou` over the classes that are not absent; NaN without any."""
    return mean_of_known(iou(counts))


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """The share (...) of counted pixels that are right; NaN without any."""
    right, true, _ = _parts(counts)
    return ratio(right.sum(-1), true.sum(-1))


def frequency_weighted_iou(counts: np.ndarray) -> np.ndarray:
    """`iou`, weighted by each class's share of the true pixels (...) (Long, Shelhamer, Darrell 2015)."""
    _, true, _ = _parts(counts)
    return ratio(np.where(true > 0, true * np.nan_to_num(iou(counts)), 0).sum(-1), true.sum(-1))


FIGURES = {
    "miou": mean_iou,
    "mean_dice": lambda counts: mean_of_known(dice(counts)),
    "pixel_accuracy": pixel_accuracy,
    "mean_accuracy": lambda counts: mean_of_known(recall(counts)),  # Long, Shelhamer, Darrell 2015
    "frequency_weighted_iou": frequency_weighted_iou,
}
"""The headline figures, of `totals`."""


def _parts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, float64; NaN where that is 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, np.asarray(numerator, float) / denominator, np.nan)


def mean_of_known(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean over an axis of what is not NaN; NaN without any."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis), known.sum(axis))


class SemanticMetrics:
    """The streaming state: counts over everything seen, which ranks add up exactly."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self.matrix = np.zeros((len(self.class_names),) * 2, np.int64)
        self.images: dict[str, np.ndarray] = {}  # the `totals` of each that this process saw, by `update`
        self.counted: set[str] = set()  # by `count`
        self.pairs: torch.Tensor | None = None  # (65536,) int64 where the class maps are: pixels of 256 * truth + prediction

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        scores = []
        for truth, size, image_id, prediction in zip(batch.semantic, batch.sizes, batch.image_ids, predictions, strict=True):
            if prediction.semantic is None:
                raise ValueError(f"{image_id}: the prediction has no class map")
            self._refuse_counted(image_id)
            height, width = size
            counts = confusion_matrix(truth[:height, :width].cpu().numpy(), prediction.semantic[:height, :width], len(self.class_names))
            self.matrix += counts
            self.images[image_id] = totals(counts)
            scores.append(self.score(image_id, [image_id]))
        return scores

    def score(self, image_id: str, tiles: Sequence[str]) -> ImageScore:
        own = np.sum([self.images[tile] for tile in tiles], axis=0)
        per_class = dict(zip([f"iou_{n}" for n in self.class_names], iou(own).tolist(), strict=True))
        figures = {"miou": float(mean_iou(own)), "pixel_accuracy": float(pixel_accuracy(own))}
        return ImageScore(image_id, "miou", figures | per_class)

    def _refuse_counted(self, image_id: str) -> None:
        if image_id in self.images or image_id in self.counted:
            raise ValueError(f"{image_id}: the image was counted before; each image of a data set is to come once")

    def count(self, batch: Batch, class_maps: torch.Tensor) -> None:
        """See `seg.metrics.base.ClassMapCounts`. On a CPU, numba counts in a fraction of torch's time."""
        for image_id in batch.image_ids:
            self._refuse_counted(image_id)
            self.counted.add(image_id)
        if class_maps.device.type == "cpu":
            self.matrix += confusion_matrix(batch.semantic.cpu().numpy(), class_maps.numpy(), len(self.class_names))
            return
        if self.pairs is None:
            self.pairs = torch.zeros(256 * 256, dtype=torch.int64, device=class_maps.device)
        pairs = batch.semantic.to(class_maps.device, non_blocking=True).flatten().long() * 256 + class_maps.flatten()
        self.pairs.scatter_add_(0, pairs, torch.ones_like(pairs))  # the host waits for nothing

    def _collect(self) -> None:
        """Take what was counted on the device into the matrix."""
        if self.pairs is not None:
            self.matrix += known_pairs(self.pairs.cpu().numpy().reshape(256, 256), len(self.class_names))
            self.pairs = None

    def state(self) -> torch.Tensor:
        self._collect()
        return torch.from_numpy(self.matrix.ravel())

    def load_states(self, states: Sequence[torch.Tensor]) -> None:
        self.pairs = None
        self.matrix = torch.stack(list(states)).sum(0).cpu().numpy().reshape(self.matrix.shape)

    def figures(self) -> dict[str, float]:
        self._collect()
        return {name: float(figure(totals(self.matrix))) for name, figure in FIGURES.items()}

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        each = np.stack([self.images[image_id].ravel() for image_id in image_ids])
        counts = (weights @ each.astype(np.float64)).reshape(len(weights), 3, -1)  # exact: no sum reaches 2**53
        return {name: figure(counts) for name, figure in FIGURES.items()}

    def per_class(self) -> dict[str, dict[str, float]]:
        self._collect()
        counts = totals(self.matrix)
        columns = {"iou": iou(counts), "dice": dice(counts), "precision": precision(counts), "recall": recall(counts)}
        return {name: {c: float(v[i]) for c, v in columns.items()} for i, name in enumerate(self.class_names)}

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        self._collect()
        return {"confusion": list(confusion_rows(self.matrix, self.class_names))}


def confusion_rows(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """A confusion matrix (K, K) as rows: the pixels of each pair, and their share of the true class's pixels."""
    shares = ratio(matrix, matrix.sum(1, keepdims=True))
    return [
        {"actual": actual, "predicted": predicted, "pixels": int(matrix[i, j]), "share": float(shares[i, j])}
        for i, actual in enumerate(names)
        for j, predicted in enumerate(names)
    ]
