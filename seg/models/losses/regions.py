"""Losses of how well each class's region is covered: Dice, Jaccard, Tversky and their kin, and Lovász-softmax; and the boundary loss:
probabilities weighted by their signed distance to the boundary of the class's true region.

True positives, false positives and false negatives are the sums of probabilities over all pixels of the batch that are not
ignored. A class without a pixel in the batch is left out of the mean: its overlap would be 0 / 0 at its best."""

from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from seg.data.sample import IGNORE
from seg.data.store import ClassCounts
from seg.models.losses.pixels import ClassLoss, ClassWeights, divisor, pixels_of_each

Factor = Annotated[float, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
ONE = 0x3F800000  # the bits of 1.0 in float32
ROWS_AT_ONCE = 1 << 26  # values that the search for the nearest pixels holds at once


@dataclass(frozen=True)
class SoftCounts:
    """Sums over a batch, (K,) float32 each: of a class's probabilities where it is the truth, wherever pixels count, and of its pixels."""

    true_positive: Tensor
    predicted: Tensor
    actual: Tensor

    @property
    def false_positive(self) -> Tensor:
        return self.predicted - self.true_positive

    @property
    def false_negative(self) -> Tensor:
        return self.actual - self.true_positive


def soft_counts(logits: Tensor, semantic: Tensor) -> SoftCounts:
    """Of logits (B, K, H, W) and a class map (B, H, W) uint8. No one-hot map is built."""
    probabilities = logits.float().contiguous().softmax(dim=1)
    batch, classes, height, _ = probabilities.shape
    counted = semantic != IGNORE
    labels = semantic.clamp(max=classes - 1).long()
    hits = probabilities.gather(1, labels[:, None])[:, 0] * counted
    # row by row first: adding one pixel after the other to one float32 would lose the small ones
    true_positive = hits.new_zeros(batch, height, classes).scatter_add(2, labels, hits).sum((0, 1))
    predicted = (probabilities * counted[:, None]).sum((0, 2, 3))
    return SoftCounts(true_positive, predicted, pixels_of_each(semantic, classes).float())


class Tversky(ClassLoss):
    """1 - TP / (TP + alpha FP + beta FN), the weighted mean over the classes in the batch (Salehi et al. 2017).

    alpha: weight of false positives; beta: of false negatives."""

    def __init__(self, alpha: Factor, beta: Above0, class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__(class_weights, class_counts)
        self.alpha, self.beta = alpha, beta

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        counts = soft_counts(logits, semantic)
        return self.mean_over_classes(self.of_each_class(counts), counts.actual)

    def of_each_class(self, counts: SoftCounts) -> Tensor:
        """The loss of each class (K,); of those that are absent, any finite number."""
        wrong = self.alpha * counts.false_positive + self.beta * counts.false_negative
        return wrong / torch.where(counts.actual > 0, counts.true_positive + wrong, 1)


class Dice(Tversky):
    """1 - 2 TP / (2 TP + FP + FN), the weighted mean over the classes in the batch (Milletari et al. 2016, with Drozdzal et al.'s
    sums of probabilities, not of their squares)."""

    def __init__(self, class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__(0.5, 0.5, class_weights, class_counts)


class Jaccard(Tversky):
    """1 - TP / (TP + FP + FN), the weighted mean over the classes in the batch (Rahman and Wang 2016)."""

    def __init__(self, class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__(1.0, 1.0, class_weights, class_counts)


class FocalTversky(Tversky):
    """Each class's Tversky loss to the power of 1 / gamma, then the weighted mean (Abraham and Khan 2019)."""

    def __init__(self, alpha: Factor, beta: Above0, gamma: Above0, class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__(alpha, beta, class_weights, class_counts)
        self.gamma = gamma

    def of_each_class(self, counts: SoftCounts) -> Tensor:
        # clamped, because the slope of such a power is infinite at 0
        return super().of_each_class(counts).clamp_min(1e-6) ** (1 / self.gamma)


class GeneralisedDice(ClassLoss):
    """1 - 2 sum(w TP) / sum(w (2 TP + FP + FN)), w = a class's weight / (its pixels in the batch)^2 (Sudre et al. 2017)."""

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        counts = soft_counts(logits, semantic)
        weights = self.weights_where(counts.actual > 0) / counts.actual.clamp_min(1) ** 2
        wrong = counts.false_positive + counts.false_negative
        return (weights * wrong).sum() / divisor((weights * (counts.predicted + counts.actual)).sum())


class LovaszSoftmax(ClassLoss):
    """The Lovász extension of 1 - Jaccard at the errors of the softmax (Berman et al. 2018), the weighted mean over the classes
    in the batch, all of whose pixels are taken together."""

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        probabilities = logits.float().contiguous().softmax(dim=1)
        counted = semantic != IGNORE
        actual = pixels_of_each(semantic, logits.shape[1])
        # to leave absent classes out, the host would wait for a device, which sorts their errors in less time; their loss is 0
        known = actual.tolist() if actual.device.type == "cpu" else [None] * len(actual)
        losses = []
        for index, (size, there) in enumerate(zip(actual, known, strict=True)):
            probability, truth = probabilities[:, index], semantic == index
            if there == 0:
                losses.append(probability[:0].sum())  # a 0 that has a gradient
                continue
            errors = torch.where(truth, 1 - probability, probability)
            with torch.no_grad():
                slopes = jaccard_slopes(errors.flatten(), truth.flatten(), counted.flatten(), size).view_as(errors)
            losses.append((errors * slopes).sum())
        return self.mean_over_classes(torch.stack(losses), actual)


def jaccard_slopes(errors: Tensor, truth: Tensor, counted: Tensor, size: Tensor | int) -> Tensor:
    """By how much 1 - Jaccard grows when a pixel joins those of larger errors as a wrong one (N,) float32.

    errors (N,) float32, 0 to 1; truth and counted (N,) bool; `size` pixels are true. Pixels that do not
    count come last, where the intersection is empty, and get 0, as do all where none is true.

    The loss is linear in the errors as long as their order stays, and these are its slopes. Berman et al. take differences
    of neighbouring values near 1, of which float32 keeps a digit or two; here each has its closed form: with i true pixels
    left in the intersection and u in the union, 1 / u for a true pixel, i / (u (u - 1)) for another."""
    # as integers, of which the bits of floats from 0 to 1 have the order: torch sorts those in a tenth of the time
    keys = (ONE - errors.view(torch.int32)).masked_fill(~counted, ONE + 1)
    order = keys.argsort(stable=True)
    true = truth[order]
    wrong_true = true.cumsum(0)
    intersection = size - wrong_true
    union = (size + torch.arange(1, len(true) + 1, device=true.device) - wrong_true).float()
    sorted_slopes = torch.where(true, 1 / union, intersection / (union * (union - 1).clamp_min(1)))
    return torch.empty_like(sorted_slopes).scatter_(0, order, sorted_slopes)


class Boundary(ClassLoss):
    """The mean over pixels of a class's probability times its signed distance map in pixels, and of that the weighted mean over
    the classes in the batch (Kervadec et al. 2019).

    It is negative where regions are covered. Alone it does not train a network: predicting no pixel of a small class costs
    next to nothing. It belongs beside a loss of regions or pixels, with a small weight."""

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        classes = logits.shape[1]
        if semantic.device.type == "cpu":
            distances = torch.from_numpy(np.stack([signed_distances(image, classes) for image in semantic.numpy()]))
        else:
            distances = distances_on_device(semantic, classes)
        counts = pixels_of_each(semantic, classes)
        losses = (logits.float().contiguous().softmax(dim=1) * distances).sum((0, 2, 3)) / counts.sum().clamp(min=1)
        return self.mean_over_classes(losses, counts)


def signed_distances(labels: np.ndarray, classes: int) -> np.ndarray:
    """Class map (H, W) uint8 -> (classes, H, W) float32: d outside of a class's region, 1 - d inside, in pixels.

    d is the Euclidean distance to the nearest pixel of the class, or, from inside, to the nearest of another class. Ignored
    pixels belong to neither, so they make no boundary, and their own value is 0. All is 0 for a class that has no boundary: it
    does not occur, or no other does. The 1 is that of the authors' code, by which pixels on the inner side of a boundary are 0."""
    maps = np.zeros((classes, *labels.shape), np.float32)
    counted = labels != IGNORE
    for index in np.unique(labels[counted]):
        inside = labels == index
        if (others := counted & ~inside).any():
            maps[index] = np.where(inside, 1 - _distance_to(others), _distance_to(inside)) * counted
    return maps


def _distance_to(region: np.ndarray) -> np.ndarray:
    """The Euclidean distance (H, W) float32 of each pixel to the nearest of `region`, exact (Felzenszwalb and Huttenlocher 2012)."""
    return cv2.distanceTransform((~region).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


@torch.no_grad()
def distances_on_device(semantic: Tensor, classes: int) -> Tensor:
    """The signed distances of class maps (B, H, W) uint8 as (B, K, H, W) float32, computed where they lie; the host waits for nothing.

    The squared distance is the least, over the image's rows, of the squared distance to the row plus the squared distance within it."""
    counted = (semantic != IGNORE)[:, None]
    inside = semantic[:, None] == torch.arange(classes, device=semantic.device)[:, None, None]
    others = counted & ~inside
    signed = torch.where(inside, 1 - _nearest(others), _nearest(inside))
    there = (inside.any(-1).any(-1) & others.any(-1).any(-1))[..., None, None]
    return torch.where(there & counted, signed, 0.0)


def _nearest(region: Tensor) -> Tensor:
    """The Euclidean distance (B, K, H, W) float32 of each pixel to the nearest of `region` (B, K, H, W) bool; large where it is empty."""
    height, width = region.shape[-2:]
    far = 4 * (height + width)
    column = torch.arange(width, device=region.device)
    before = torch.where(region, column, -far).cummax(-1).values  # the nearest column of the region on either side
    after = torch.where(region, column, far).flip(-1).cummin(-1).values.flip(-1)
    within = torch.minimum(column - before, after - column).float().square()
    squared = torch.empty_like(within)
    at_once = max(1, ROWS_AT_ONCE // within.numel())
    lines = torch.arange(height, device=region.device, dtype=torch.float32)
    for start in range(0, height, at_once):
        rows = lines[start : start + at_once]
        apart = (rows[:, None] - lines).square()[..., None]  # (rows, H, 1)
        squared[..., start : start + at_once, :] = (within[..., None, :, :] + apart).amin(-2)
    return squared.sqrt()
