"""Losses on class logits that know the ignore index and class weights, and stay finite when every pixel is ignored."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.errors import ConfigError
from seg.sample import IGNORE


class CrossEntropy(nn.Module):
    """Pixelwise cross-entropy: the weighted mean over the pixels that are not ignored; 0 when all are,
    or when all have the weight 0.

    class_weights: "none", "inverse", "median", or a list (see `class_weights`). class_pixels: pixels of each class in
    the training split.
    """

    weight: Tensor | None

    def __init__(self, class_weights: str | list[float], label_smoothing: float, class_pixels: Sequence[int]) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"loss.label_smoothing={label_smoothing}: expected 0 or more and less than 1")
        weights = weights_of(class_weights, class_pixels)
        self.register_buffer("weight", None if weights is None else torch.tensor(weights, dtype=torch.float32))
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        """Logits (B, K, H, W) and class map (B, H, W) uint8 -> scalar float32."""
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2).float()  # free where the logits are channels_last
        target = semantic.flatten().long()
        total = F.cross_entropy(rows, target, self.weight, ignore_index=IGNORE, reduction="sum", label_smoothing=self.label_smoothing)
        counted = target != IGNORE
        if self.weight is None:
            return total / counted.sum().clamp(min=1)
        weight = self.weight[target[counted]].sum()
        return total / torch.where(weight > 0, weight, torch.inf)  # label smoothing leaves a total to pixels without weight


def weights_of(kind: str | Sequence[float], class_pixels: Sequence[int]) -> list[float] | None:
    """A weight for each class; None for "none". A class without a pixel gets 0.

    "inverse": 1 / share of the pixels, scaled to mean 1 over the classes that occur. "median": median share / share
    (Eigen and Fergus 2015).
    """
    if isinstance(kind, str):
        if kind == "none":
            return None
        if kind not in ("inverse", "median"):
            raise ConfigError(f"loss.class_weights={kind!r}: expected none, inverse, median, or a list with a weight a class")
        share = np.asarray(class_pixels, float) / max(1, sum(class_pixels))
        present = share > 0
        weights = np.zeros(len(share))
        weights[present] = (np.median(share[present]) if kind == "median" else 1.0) / share[present]
        if kind == "inverse":
            weights /= weights[present].mean()
        return [float(w) for w in weights]
    if len(kind) != len(class_pixels) or min(kind) < 0:
        raise ConfigError(f"loss.class_weights={list(kind)}: expected {len(class_pixels)} weights of 0 or more, one a class")
    return [float(w) for w in kind]
