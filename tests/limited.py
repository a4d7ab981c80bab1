"""A network whose device has too little memory: it refuses more images at once than it is told to, as CUDA does."""

import os

import torch
from torch import Tensor, nn

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.25 GiB is free."


class Limited(nn.Module):
    """Batch norm, whose statistics a failed attempt spoils, and dropout, which takes random numbers.

    at_most: images of a training step; evaluation: of an evaluation. rank: the only process that is short of memory.
    """

    def __init__(
        self, in_channels: int, classes: int, at_most: int, evaluation: int = 1000, rank: int | None = None, dropout: float = 0.2
    ) -> None:
        super().__init__()
        features = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.layers = nn.Sequential(features, nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(dropout), nn.Conv2d(8, classes, 1))
        self.at_most, self.evaluation = at_most, evaluation
        self.here = rank is None or rank == int(os.environ.get("LOCAL_RANK", 0))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        if x.device.type != "meta" and self.here and len(x) > (self.at_most if self.training else self.evaluation):
            raise torch.OutOfMemoryError(MESSAGE)
        return logits
