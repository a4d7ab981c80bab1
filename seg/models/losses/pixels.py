"""Weights of classes, and means that keep to them; pixelwise losses: cross-entropy, and what weights its pixels by how hard they are."""

import math
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ArgumentError
from seg.data.sample import IGNORE
from seg.data.store import ClassCounts
from seg.settings.section import Share

ClassWeights = Literal["none", "inverse", "median"] | list[Annotated[float, Field(ge=0)]]
"""How classes are weighted, see `weights_of`."""
ROWS_FROM = 16
"""As many classes as fill a vector register: fewer, and torch's softmax of a pixel whose logits lie side by side is not
vectorised (on a CPU, 6 classes: 6 times the time)."""


class ClassLoss(nn.Module):
    """The base of losses with a weight for each class: the buffer `weight` (K,) float32, or None.

    Args:
        class_weights: `none`, `inverse` (frequency), `median` (frequency), or a list with a weight for each class.
        class_counts: Pixels and images of each class in the training split.

    Raises:
        ArgumentError: The list does not have a weight for each class.
    """

    weight: Tensor | None

    def __init__(self, class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__()
        weights = weights_of(class_weights, class_counts)
        self.register_buffer("weight", None if weights is None else torch.tensor(weights, dtype=torch.float32))

    def mean_over_classes(self, losses: Tensor, actual: Tensor) -> Tensor:
        """The weighted mean over the classes that occur in the batch, a scalar; 0 where no class does. losses: (K,), one for each class.
        actual: (K,), the pixels of each class in the batch."""
        return weighted_mean(losses, self.weights_where(actual > 0))

    def weights_where(self, present: Tensor) -> Tensor:
        """The weight of each class, (K,) float32; 0 for a class that does not occur. present: (K,) bool, whether it does."""
        return present.float() if self.weight is None else present * self.weight


def pixels_of_each(semantic: Tensor, classes: int) -> Tensor:
    """The pixels of each class (K,) int64 in class maps uint8. torch's `bincount` is the quickest on a CPU; elsewhere the host would wait
    for the largest value."""
    if semantic.device.type == "cpu":
        return torch.bincount(semantic.flatten(), minlength=IGNORE + 1)[:classes]
    labels = semantic.flatten().long()
    return labels.new_zeros(IGNORE + 1).scatter_add_(0, labels, torch.ones_like(labels))[:classes]


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Of two tensors of one shape; 0 where all weights are 0."""
    return (losses * weights).sum() / divisor(weights.sum())


def divisor(total: Tensor) -> Tensor:
    """`total`, or infinity in place of 0, so that what is divided by it becomes 0."""
    return torch.where(total > 0, total, torch.inf)


def weights_of(kind: ClassWeights, class_counts: ClassCounts) -> list[float] | None:
    """A weight for each class; None for "none". A class without a pixel gets 0.

    "inverse": 1 / share of the pixels, scaled to mean 1 over the classes that occur. "median": median frequency / frequency,
    a class's frequency being its share of the labelled pixels of the images in which it occurs (Eigen and Fergus 2015). A list is
    taken as it is; ArgumentError where it has not a weight for each class."""
    if kind == "none":
        return None
    if isinstance(kind, list):
        if len(kind) != len(class_counts.pixels):
            raise ArgumentError(f"class_weights={kind}: expected {len(class_counts.pixels)} weights, one a class, got {len(kind)}")
        return [float(w) for w in kind]
    pixels, of_images = np.asarray(class_counts.pixels, float), np.asarray(class_counts.of_images, float)
    present = pixels > 0
    weights = np.zeros(len(pixels))
    if present.any():
        frequency = pixels[present] / (of_images[present] if kind == "median" else pixels.sum())
        weights[present] = np.median(frequency) / frequency if kind == "median" else 1 / frequency / (1 / frequency).mean()
    return [float(w) for w in weights]


class CrossEntropy(ClassLoss):
    """Pixelwise cross-entropy: the weighted mean over the pixels that are not ignored.

    label_smoothing: share of each pixel's target that is spread over all classes (Szegedy et al. 2016), as in torch."""

    def __init__(
        self, class_weights: ClassWeights, label_smoothing: Annotated[float, Field(ge=0, lt=1)], class_counts: ClassCounts
    ) -> None:
        super().__init__(class_weights, class_counts)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        losses = pixel_losses(logits, semantic, self.weight, self.label_smoothing)
        return losses.sum() / divisor(pixel_weights(semantic, self.weight).sum())


class Focal(ClassLoss):
    """Focal loss of the softmax: each pixel's cross-entropy times (1 - p)^gamma, p being its class's probability.

    Lin et al. 2017, "Focal loss for dense object detection", eq. 4, from two classes to many as in the multi-class
    cross-entropy. The weighted mean over the pixels; gamma=0 is the cross-entropy."""

    def __init__(self, gamma: Annotated[float, Field(ge=0)], class_weights: ClassWeights, class_counts: ClassCounts) -> None:
        super().__init__(class_weights, class_counts)
        self.gamma = gamma

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        losses = pixel_losses(logits, semantic)
        missing = (-torch.expm1(-losses)).clamp_min(1e-12)  # 1 - p; at 0 the slope of a power below 1 is infinite
        return weighted_mean(losses * missing**self.gamma, pixel_weights(semantic, self.weight))


class HardExamples(ClassLoss):
    """Cross-entropy of the hard pixels alone: online hard example mining (Shrivastava et al. 2016), for pixels also called
    bootstrapped cross-entropy (Wu et al. 2016).

    A pixel is hard where its class has a probability of `threshold` or less. If fewer than the share `min_kept` of the
    batch's pixels are, then as many as that of the hardest are taken. The weighted mean over those; pixels of weight 0 are
    not counted anywhere."""

    def __init__(
        self, threshold: Annotated[float, Field(gt=0, le=1)], min_kept: Share, class_weights: ClassWeights, class_counts: ClassCounts
    ) -> None:
        super().__init__(class_weights, class_counts)
        self.threshold, self.min_kept = threshold, min_kept

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        losses, weights = pixel_losses(logits, semantic), pixel_weights(semantic, self.weight)
        with torch.no_grad():
            counted = losses[weights > 0]
            at_least, hard = math.ceil(self.min_kept * len(counted)), -math.log(self.threshold)
            if at_least and (counted >= hard).sum() < at_least:
                hard = float(counted.kthvalue(len(counted) - at_least + 1).values)
            kept = weights * (losses >= hard)
        return weighted_mean(losses, kept)


def pixel_losses(logits: Tensor, semantic: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Each pixel's cross-entropy (B * H * W,) float32, 0 where it is ignored; the arguments are those of torch's."""
    target = semantic.long()
    if logits.shape[1] >= ROWS_FROM and logits.is_contiguous(memory_format=torch.channels_last):
        logits, target = logits.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()
    return F.cross_entropy(logits.float(), target, weight, ignore_index=IGNORE, reduction="none", label_smoothing=label_smoothing).flatten()


def pixel_weights(semantic: Tensor, weight: Tensor | None) -> Tensor:
    """The weight of each pixel's class (B * H * W,) float32; 0 where it is ignored."""
    labels = semantic.flatten()
    return (labels != IGNORE).float() if weight is None else F.pad(weight, (0, 256 - len(weight)))[labels.long()]
