"""What every task's figures are to the training loop and to the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from seg.data.sample import Prediction
from seg.loading.batch import Batch


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image's figures, a table's columns. `by` names the one that orders images from worst to best (NaN: left out)."""

    image_id: str
    by: str
    figures: dict[str, float]

    @property
    def score(self) -> float:
        return self.figures[self.by]


class Metrics(Protocol):
    """Streaming figures of a task: a state that grows by batches, and that the states of all ranks make whole."""

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        """Count a batch; returns each image's own score."""
        ...

    def state(self) -> Tensor:
        """Everything seen, as a tensor (n,) that another rank can be sent; n may differ from rank to rank."""
        ...

    def load_states(self, states: Sequence[Tensor]) -> None:
        """Take the states of all ranks, in their order, for one's own: the figures are then those of one process that saw all."""
        ...

    def figures(self) -> dict[str, float]:
        """The headline figures over everything seen; NaN where undefined."""
        ...

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The headline figures of R data sets in which image i of `image_ids` occurs weights[r, i] times: {name: (R,)}.

        weights: (R, len(image_ids)) float64, whole numbers. All images must have been seen by this process. KeyError for another.
        """
        ...

    def per_class(self) -> dict[str, dict[str, float]]:
        """{class: its figures} over everything seen; NaN where undefined."""
        ...

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """{file stem: rows} of the task's own tables, each of a row or more."""
        ...
