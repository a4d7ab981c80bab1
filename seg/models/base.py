"""The seam between the tasks: what every model takes and gives, with normalisation, scaling and padding done once for all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.sample import Batch, Prediction


class SegmentationModel(nn.Module, ABC):
    """A network behind the seam.

    mean, std: a channel's, in the units of the stored image (0..255). stride: the network takes multiples of it.
    scale: the network sees images at this share of their size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).clamp(min=1e-3).view(1, -1, 1, 1))

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named terms, each a scalar; their sum is minimised."""

    @abstractmethod
    def predict(self, images: Tensor) -> list[Prediction]:
        """Images (B, C, H, W) uint8, as stored -> one Prediction an image, of the same size."""

    def network_input(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Images as stored -> float input, normalised, scaled, padded to the stride; and its (height, width) before padding.

        The padding repeats the edge, at the right and bottom.
        """
        x = (images.float() - self.mean) / self.std
        if self.scale != 1:
            size = [max(1, round(side * self.scale)) for side in x.shape[-2:]]
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        height, width = x.shape[-2:]
        below, right = -height % self.stride, -width % self.stride
        if below or right:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        return x, (height, width)
