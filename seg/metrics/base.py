"""What every task's figures are to the training loop and to the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from seg.data.sample import Prediction
from seg.data.store import DatasetInfo
from seg.loading.batch import Batch
from seg.settings.targets import build
from seg.settings.task import Task


@dataclass(frozen=True, slots=True)
class ImageScore:
    """The figures of one image.

    Attributes:
        image_id: The name of the image.
        by: The figure that orders images from worst to best. An image where it is NaN is left out of the order.
        figures: {figure: value}, the columns of per_image.csv.
    """

    image_id: str
    by: str
    figures: dict[str, float]

    @property
    def score(self) -> float:
        return self.figures[self.by]


def metrics_of(task: Task, allow: Sequence[str], info: DatasetInfo, **given: float) -> "Metrics":
    """Fresh figures of a task. given: arguments in place of those in its settings, where the figures take them."""
    known = {"class_names": [c.name for c in info.classes], "things": info.things}
    return build(task.metrics, allow, "task.metrics", known | given)


class Metrics(Protocol):
    """The figures of a task. The state grows batch by batch, and the states of several ranks can be joined."""

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        """Count a batch.

        Args:
            batch: Images with their labels, on any device.
            predictions: One for each image, in the same order.

        Returns:
            The figures of each image.

        Raises:
            ValueError: A prediction has no output of this task, or an image was counted before.
        """

    def state(self) -> Tensor:
        """Everything seen, as a tensor (n,) that can be sent to another rank. n may differ from rank to rank."""

    def load_states(self, states: Sequence[Tensor]) -> None:
        """Replace the own state by what `state` gave on each rank, in the order of the ranks. The figures are then those of one process
        that saw all images."""

    def figures(self) -> dict[str, float]:
        """The headline figures over everything seen; NaN where undefined."""

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The headline figures of R resampled data sets.

        Args:
            image_ids: Images that this process has seen.
            weights: (R, len(image_ids)) float64, whole numbers: how often each data set holds each image.

        Returns:
            {figure: (R,) float64}, with the names of `figures`.

        Raises:
            KeyError: This process has not seen an image.
        """

    def score(self, image_id: str, tiles: Sequence[str]) -> ImageScore:
        """The figures of an image that this process saw in tiles, as `update` gives those of one that is whole."""

    def per_class(self) -> dict[str, dict[str, float]]:
        """{class: its figures} over everything seen; NaN where undefined."""

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """{file stem: rows} of the task's own tables, each of a row or more."""


@runtime_checkable
class ClassMapCounts(Protocol):
    """Figures that are counted where the class maps are, so that a device need not wait for them."""

    def count(self, batch: Batch, class_maps: Tensor) -> None:
        """Count a batch, on any device, for the figures over everything seen; those of single images, and `resampled`, need `update`.
        class_maps: (B, H, W) uint8 class index, of the size of the labels. ValueError where an image was counted before."""
