"""A weighted sum of losses, each of which keeps its name."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seg.core.errors import ArgumentError
from seg.settings.section import Section


class Term(Section):
    """A loss of (logits, class map) and what it is multiplied by: the weight, to which `rise` is added after each epoch."""

    weight: Annotated[float, Field(ge=0)]
    rise: float = 0.0
    loss: Callable[[Tensor, Tensor], Tensor]


class Sum(nn.Module):
    """The terms, each times its weight, which never falls below 0; those that never have one are left out."""

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
        """Take the weights of an epoch, counted from 0."""
        self.weights = {name: max(0.0, weight + epoch * rise) for name, (weight, rise) in self.terms.items()}

    def forward(self, logits: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Logits (B, K, H, W) and class map (B, H, W) uint8 -> {term's name: scalar float32}, which are to be added."""
        return {name: weight * self.losses[name](logits, semantic) for name, weight in self.weights.items()}
