"""A weighted sum of losses, each of which keeps its name; and the loss of `model=distance`: one of classes and one of distances."""

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ArgumentError
from seg.data.sample import IGNORE
from seg.settings.section import Section


class Term(Section):
    """A loss in a `Sum`.

    Attributes:
        weight: The factor of the loss in the first epoch, 0 or more.
        rise: The number that is added to the weight after each epoch.
        loss: See `seg.models.semantic.Loss`.
    """

    weight: Annotated[float, Field(ge=0)]
    rise: float = 0.0
    loss: Callable[[Tensor, Tensor], Tensor]


class Sum(nn.Module):
    """A weighted sum of losses. A weight never falls below 0.

    Args:
        terms: {name: term}. Terms whose weight is always 0 are left out. history.csv has each as `train_<name>_term`.

    Raises:
        ArgumentError: No term has a weight above 0, or a term's loss is no single torch.nn.Module.
    """

    def __init__(self, terms: dict[str, Term]) -> None:
        super().__init__()
        used: Mapping[str, Term] = {name: term for name, term in terms.items() if term.weight or term.rise > 0}
        if not used:
            raise ArgumentError("terms: expected at least one with a weight above 0")
        for name, term in used.items():
            if not isinstance(term.loss, nn.Module) or isinstance(term.loss, Sum):
                raise ArgumentError(f"terms.{name}.loss: expected one loss, a torch.nn.Module, got {type(term.loss).__name__}")
        self.terms = {name: (term.weight, term.rise) for name, term in used.items()}
        self.start_epoch(0)
        self.losses = nn.ModuleDict({name: term.loss for name, term in used.items()})  # type: ignore[misc]

    def start_epoch(self, epoch: int) -> None:
        """Take the weights of an epoch, whose number counts from 0."""
        self.weights = {name: max(0.0, weight + epoch * rise) for name, (weight, rise) in self.terms.items()}

    def forward(self, logits: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """The weighted losses.

        Args:
            logits: (B, K, H, W) float.
            semantic: (B, H, W) uint8 class index; 255 = ignore.

        Returns:
            {name of the term: scalar float32}. Training adds them up.
        """
        return {name: weight * self.losses[name](logits, semantic) for name, weight in self.weights.items()}


class DistanceLoss(nn.Module):
    """A loss of classes, and beside it the binary cross-entropy of the distances, which are shares of 0 to 1.

    class_loss: takes logits (B, K, h, w) and a class map (B, h, w) uint8 in which 0 is no object and 255 counts nowhere. distance_weight:
    the factor of the distances; ArgumentError where it is not above 0."""

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
        count, less its least possible value, so that it ends at 0. All weighted."""
        given = self.class_loss(outputs[:, :-1], labels)
        terms = dict(given) if isinstance(given, dict) else {"classes": given}
        counted = labels != IGNORE
        found, wanted = outputs[:, -1].float(), distances
        least = -(torch.xlogy(wanted, wanted) + torch.xlogy(1 - wanted, 1 - wanted))  # the entropy of the shares
        excess = F.binary_cross_entropy_with_logits(found, wanted, reduction="none") - least
        total = torch.where(counted, excess, 0).sum() / counted.sum().clamp(min=1)
        return terms | {"distance": self.distance_weight * total}
