"""What every task's figures are to the training loop and to the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from seg.sample import Batch, Prediction


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image's figures: `score` orders the images from worst to best (NaN: left out), `figures` are a table's columns."""

    image_id: str
    score: float
    figures: dict[str, float]


class Metrics(Protocol):
    """Streaming figures of a task: a state that grows by batches, and that ranks add up exactly."""

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        """Count a batch; returns each image's own score."""
        ...

    def state(self) -> Tensor:
        """The counts, int64; the sum over ranks is the state of all of them together."""
        ...

    def load_state(self, state: Tensor) -> None: ...

    def figures(self) -> dict[str, float]:
        """The headline figures over everything seen; NaN where undefined."""
        ...

    def per_class(self) -> dict[str, dict[str, float]]:
        """{class: its figures} over everything seen; NaN where undefined."""
        ...

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """{file stem: rows} of the task's own tables."""
        ...
