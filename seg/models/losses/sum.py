"""A weighted sum of losses, each of which keeps its name."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seg.core.errors import ArgumentError
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
        """Take the weights of an epoch.

        Args:
            epoch: The number of the epoch, from 0.
        """
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
