"""Mask classification for segments: each query that is sure of a class is a thing, or a part of the stuff of a class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seg.data.labelmaps import merged
from seg.data.sample import Prediction
from seg.models.base import Scale
from seg.models.masks.objects import ObjectModel


class Model(ObjectModel):
    """things: the class indices that have instances; segment_score: queries of a lower score are left out, unless a training chose another
    for things."""

    things: list[int]

    def __init__(
        self,
        network: nn.Module,
        loss: Any,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        scale: Scale,
        things: Sequence[int],
        segment_score: float = 0.5,
    ) -> None:
        super().__init__(network, loss, class_names, mean, std, stride, scale)
        self.things = list(things)
        self.segment_score = self.thing_score = segment_score
        self.first, self.num_classes = 0, len(class_names)  # a background is stuff like any other

    @classmethod
    def num_outputs(cls, class_names: Sequence[str], instances: bool) -> int:
        return len(class_names) + 1  # no object

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        return [merged(found, self.things, self.thing_score, self.segment_score) for found in super().predict(images)]
