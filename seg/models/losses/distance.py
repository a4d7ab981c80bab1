"""The loss of `model=distance`: one of classes and one of distances."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ArgumentError
from seg.data.sample import IGNORE
from seg.models.losses.sum import Sum


class DistanceLoss(nn.Module):
    """A loss of classes, and beside it the binary cross-entropy of the distances, which are shares of 0 to 1.

    class_loss: takes logits (B, K, h, w) and a class map (B, h, w) uint8 in which 0 is no object and 255 counts nowhere. distance_weight:
    the factor of the distances; ArgumentError where it is not above 0.
    """

    def __init__(self, class_loss: Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]], distance_weight: float) -> None:
        super().__init__()
        if not distance_weight > 0:
            raise ArgumentError(f"distance_weight: expected a number above 0, got {distance_weight}; without it objects that touch are one")
        self.class_loss, self.distance_weight = class_loss, distance_weight

    def start_epoch(self, epoch: int) -> None:
        if isinstance(self.class_loss, Sum):
            self.class_loss.start_epoch(epoch)

    def forward(self, outputs: Tensor, labels: Tensor, distances: Tensor) -> dict[str, Tensor]:
        """Logits (B, K + 1, h, w) of the classes, then one of the distance; labels (B, h, w) uint8, 255 for what counts nowhere; distances
        (B, h, w) float32 in 0..1 -> the terms of `class_loss` under their names, or `classes`; and `distance`, the mean over pixels that
        count, less its least possible value, so that it ends at 0. All weighted.
        """
        given = self.class_loss(outputs[:, :-1], labels)
        terms = dict(given) if isinstance(given, dict) else {"classes": given}
        counted = labels != IGNORE
        found, wanted = outputs[:, -1].float(), distances
        least = -(torch.xlogy(wanted, wanted) + torch.xlogy(1 - wanted, 1 - wanted))  # the entropy of the shares
        excess = F.binary_cross_entropy_with_logits(found, wanted, reduction="none") - least
        total = torch.where(counted, excess, 0).sum() / counted.sum().clamp(min=1)
        return terms | {"distance": self.distance_weight * total}
