"""Weights of classes, and means that keep to them."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from seg.core.errors import ArgumentError
from seg.data.sample import IGNORE
from seg.data.store import ClassCounts

ClassWeights = Literal["none", "inverse", "median"] | list[Annotated[float, Field(ge=0)]]
"""How classes are weighted, see `weights_of`."""


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
        """The weighted mean over the classes that occur in the batch.

        Args:
            losses: (K,), one for each class.
            actual: (K,), the pixels of each class in the batch.

        Returns:
            A scalar; 0 where no class occurs.
        """
        return weighted_mean(losses, self.weights_where(actual > 0))

    def weights_where(self, present: Tensor) -> Tensor:
        """The weight of each class.

        Args:
            present: (K,) bool, whether the class occurs.

        Returns:
            (K,) float32; 0 for a class that does not occur.
        """
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
    taken as it is; ArgumentError where it has not a weight for each class.
    """
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
