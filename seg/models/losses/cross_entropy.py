"""Pixelwise losses: cross-entropy, and what weights its pixels by how hard they are."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from seg.data.sample import IGNORE
from seg.data.store import ClassCounts
from seg.models.losses.classes import ClassLoss, ClassWeights, divisor, weighted_mean
from seg.settings.section import Share

ROWS_FROM = 16
"""As many classes as fill a vector register: fewer, and torch's softmax of a pixel whose logits lie side by side is not
vectorised (on a CPU, 6 classes: 6 times the time)."""


class CrossEntropy(ClassLoss):
    """Pixelwise cross-entropy: the weighted mean over the pixels that are not ignored.

    label_smoothing: share of each pixel's target that is spread over all classes (Szegedy et al. 2016), as in torch.
    """

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
    cross-entropy. The weighted mean over the pixels; gamma=0 is the cross-entropy.
    """

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
    not counted anywhere.
    """

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
