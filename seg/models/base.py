"""The seam between the tasks: what every model takes and gives, with normalisation, scaling and padding done once for all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.sample import Prediction
from seg.loading.batch import Batch

Scale = float | Sequence[int]
Size = tuple[int, int]


class SegmentationModel(nn.Module, ABC):
    """A network behind the seam.

    mean, std: a channel's, in the units of the stored image (0..255). stride: the network takes multiples of it.
    scale: the network sees images at this share of their size; or so that their shorter side has the first of two numbers
    of pixels, but the longer side not more than the second.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], stride: int, scale: Scale) -> None:
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

    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) uint8 -> what the network attends to, to be looked at: {name: (B, H, W) float in 0..1}.

        Empty for networks that have nothing to show.
        """
        return {}

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """The part of the network that sees whole images: a batch of them, as `network_input` gives it, is all that it takes."""

    def check_body(self, given: Any, size: Size) -> None:
        """Raise ConfigError where what `body` gives for images of `size` is not what the model goes on with."""

    def start_epoch(self, epoch: int) -> None:
        """What a training tells before each epoch, counted from 0."""

    def learned(self, given: Any) -> Any:
        """Of what `body` gives, that on which the losses depend."""
        return given

    def network_input(self, images: Tensor, sizes: Sequence[Size] | None = None) -> tuple[Tensor, list[Size]]:
        """Images as stored -> float input, normalised, scaled, padded to the stride; and each one's size before padding.

        sizes: (height, width) of each image where the batch was padded; then each is scaled by itself, and what pads it is
        0. Else all are whole, and the padding repeats the edge. Both pad at the right and bottom.
        """
        x = (images.float() - self.mean) / self.std
        full = (images.shape[-2], images.shape[-1])
        if sizes is None or all(size == full for size in sizes):
            x = self._scaled(x)
            seen = (x.shape[-2], x.shape[-1])
            return self._padded(x, "replicate"), [seen] * len(images)
        parts = [self._scaled(part[None, :, :height, :width]) for part, (height, width) in zip(x, sizes, strict=True)]
        each = [(part.shape[-2], part.shape[-1]) for part in parts]
        height, width = (max(size[axis] for size in each) for axis in (0, 1))
        x = torch.cat([F.pad(part, (0, width - w, 0, height - h)) for part, (h, w) in zip(parts, each, strict=True)])
        return self._padded(x, "constant"), each

    def _scaled(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        size = scaled_size(height, width, self.scale)
        return x if size == (height, width) else F.interpolate(x, size, mode="bilinear", antialias=True)

    def _padded(self, x: Tensor, mode: str) -> Tensor:
        below, right = (-side % self.stride for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, below), mode=mode) if below or right else x


def scaled_size(height: Any, width: Any, scale: Scale) -> tuple[Any, Any]:
    """The (height, width) at which a network with this `scale` sees an image, rounded half up, at least 1.

    The sides are ints, or stand for them while a network is exported: torch.SymInt, or tensors. So whole numbers are all that is used.
    """
    if isinstance(scale, Sequence):
        shorter, longer = scale
        least, most = _least(height, width), _most(height, width)
        sides = [_least(_share(side, shorter, least), _share(side, longer, most)) for side in (height, width)]
    else:
        factor = Fraction(str(scale))
        sides = [_share(side, factor.numerator, factor.denominator) for side in (height, width)]
    return _most(sides[0], 1), _most(sides[1], 1)


def _share(side: Any, numerator: Any, denominator: Any) -> Any:
    return (2 * side * numerator + denominator) // (2 * denominator)


def _least(a: Any, b: Any) -> Any:
    return torch.minimum(a, torch.as_tensor(b)) if isinstance(a, Tensor) else torch.sym_min(a, b)


def _most(a: Any, b: Any) -> Any:
    return torch.maximum(a, torch.as_tensor(b)) if isinstance(a, Tensor) else torch.sym_max(a, b)
