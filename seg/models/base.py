"""The seam between the tasks: what every model takes and gives, with normalisation, scaling and padding done once for all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.data.sample import BACKGROUND, Prediction
from seg.loading.batch import Batch
from seg.models.attention import encoder_maps

Floats = Sequence[float]
Scale = float | Sequence[int]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Subject:
    """A part of an answer. category: class index. region: (h, w) float32, 1 in the network's pixels that it is about, without padding."""

    category: int
    region: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """The mean of maps (B, h, w) over the region, (B,)."""
        return (values * self.region).sum(dim=(1, 2)) / self.region.sum()

    @property
    def box(self) -> Tensor:
        """(1, 4) float32 xyxy around the region, half-open."""
        rows, columns = (self.region.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
        return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])[None].float()


class SegmentationModel(nn.Module, ABC):
    """The interface of all tasks: a network with normalisation, scaling and padding around it. Extend it for a task of your own.

    Args:
        mean: Mean of each channel, in the units of the stored image (0..255).
        std: Standard deviation of each channel, in the same units.
        stride: Pixels. The network receives images whose sides are multiples of it.
        scale: The share of its size at which the network sees an image. Or two numbers of pixels (shorter, longer): the image is
            scaled until its shorter side has the first or its longer side has the second, whichever comes first.
    """

    mean: Tensor
    std: Tensor
    things: Sequence[int] | None = None
    """The classes whose segments are things, where it predicts segments, as `seg.data.labelmaps` makes them."""
    thing_score = 0.5  # below it things are left out before segments are made
    window: int | None = None
    """The side in stored pixels of the tiles in which larger images are predicted, from `model.window`. None: they are seen whole."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], stride: int, scale: Scale) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).clamp(min=1e-3).view(1, -1, 1, 1))

    @classmethod
    def num_outputs(cls, class_names: Sequence[str], instances: bool) -> int:
        """How many outputs the network has: the classes that it tells apart, and what the model needs beside them.

        Args:
            class_names: Of the data.
            instances: Whether the task has them. Then "no object" is a class, which a first class `background` stands for.

        Returns:
            What the network gets as `classes`, `num_classes` or `out_channels`.
        """
        return len(class_names) + (first_label(class_names) if instances else 0)

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch on the device of the model: named terms, each a scalar float32. Training minimises their sum."""

    @abstractmethod
    def predict(self, images: Tensor) -> list[Prediction]:
        """One prediction for each of the images (B, C, H, W) uint8 as stored, on the device of the model; of the same height and width."""

    @torch.inference_mode()
    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Maps that show where the network looks: what the method `attention_maps` of `body` gives, or the attention of its encoder.

        Args:
            images: (B, C, H, W) uint8 as stored.

        Returns:
            {name: (B, H, W) float in 0..1}; empty for a network without such maps.
        """
        maps_of: Callable[[Tensor], dict[str, Tensor]] = getattr(self.body, "attention_maps", partial(encoder_maps, self.body))
        x, ((height, width), *_) = self.network_input(images)
        seen = {name: a[..., :height, :width].float() for name, a in maps_of(x).items()}
        return {name: F.interpolate(a, images.shape[-2:], mode="bilinear")[:, 0] for name, a in seen.items()}

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """How strongly the network is for an answer, as a number that can be differentiated: the more, the surer.

        Args:
            x: The input of the network (B, C, h, w) float32, as `network_input` gives it.
            size: (height, width) of the images in it without padding.
            subject: The answer.

        Returns:
            (B,) float32.

        Raises:
            ConfigError: The model has no such number.
        """
        known = "models of pixels, of distances, of masks, of prototypes and Mask R-CNN can"
        raise ConfigError(f"{type(self).__name__}: cannot be explained; {known}")

    @property
    def body(self) -> nn.Module:
        """The part of the network that sees whole images. Its only argument is a batch as `network_input` gives it."""
        return self.get_submodule("network")

    def check_body(self, given: Any, size: Size) -> None:
        """Check the output of `body` before a training.

        Args:
            given: The output of `body`.
            size: (height, width) in pixels of the images that `body` saw.

        Raises:
            ConfigError: The model cannot go on with this output.
        """

    def seen_at_once(self, size: Size) -> Size:
        """The part of an image that the model predicts at once: for an image (height, width) larger than the window a tile's size in
        pixels, otherwise the image's."""
        return (self.window, self.window) if self.window and max(size) > self.window else size

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, whose number counts from 0. The training calls it before each epoch."""

    def learned(self, given: Any) -> Any:
        """The part of the output of `body` on which the losses depend."""
        return given

    def network_input(self, images: Tensor, sizes: Sequence[Size] | None = None) -> tuple[Tensor, list[Size]]:
        """Normalise and scale images, and pad them at the right and bottom to multiples of the stride.

        Args:
            images: (B, C, H, W) uint8 as stored.
            sizes: (height, width) of each image where the batch is padded. Then each image is scaled by itself and padded with 0.
                None: all images are whole, and the padding repeats the edge.

        Returns:
            The input of the network (B, C, h, w) float32, and the (height, width) of each image in it without padding.
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


def first_label(class_names: Sequence[str]) -> int:
    """The network's label of the first class: 0, "no object", for a class `background`, else 1."""
    return 0 if class_names[0] == BACKGROUND else 1


def box_factor(stored: Size, seen: Size, device: torch.device) -> Tensor:
    """(4,) network pixels for one stored pixel, for x, y, x, y; filled in on the device, which a copy from the host would wait for."""
    y, x = (s / o for s, o in zip(seen, stored, strict=True))
    return torch.cat([torch.full((1,), side, dtype=torch.float32, device=device) for side in (x, y, x, y)])


def scaled_size(height: Any, width: Any, scale: Scale) -> tuple[Any, Any]:
    """The size at which a network with this `scale` sees an image.

    Args:
        height: Pixels of the image: an int, or, while a network is exported, a torch.SymInt or a tensor.
        width: As height.
        scale: See `SegmentationModel`.

    Returns:
        (height, width), rounded half up, at least 1.
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
