"""Any torch network that maps (B, C, H, W) to maps of the same image, behind the seam: what semantic models and `distance` share."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.base import Scale, SegmentationModel, Size


@runtime_checkable
class Attentive(Protocol):
    """A network that shows what it attends to: its input (B, C, H, W) -> {name: (B, 1, H, W) float in 0..1}."""

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]: ...


class DenseModel(SegmentationModel):
    """A network of which each pixel gets `channels` outputs.

    Args:
        network: Maps (B, C, h, w) float32 to (B, channels, ...), or to a dict: these under "out", and under other
            names those of auxiliary heads.
        channels: The number of outputs a pixel.
        mean: See `SegmentationModel`, as for std, stride and scale.
        std: See mean.
        stride: See mean.
        scale: See mean.
    """

    def __init__(self, network: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float], stride: int, scale: Scale) -> None:
        super().__init__(mean, std, stride, scale)
        self.network, self.channels = network, channels

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of all heads, at the size (h, w) at which the network sees the images.

        Args:
            images: (B, C, H, W) uint8 as stored.

        Returns:
            {"out": (B, channels, h, w)}, and the outputs of each auxiliary head under its name.
        """
        x, ((height, width), *_) = self.network_input(images)
        heads = self.maps(x)
        sized = {n: v if v.shape[-2:] == x.shape[-2:] else F.interpolate(v, x.shape[-2:], mode="bilinear") for n, v in heads.items()}
        return {name: value[..., :height, :width] for name, value in sized.items()}

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """What the network says of its input, as maps: (B, channels, ...) under "out", and those of auxiliary heads."""
        given = self.network(x)
        return given if isinstance(given, dict) else {"out": given}

    def full_logits(self, images: Tensor) -> Tensor:
        """The outputs at the size of the images.

        Args:
            images: (B, C, H, W) uint8 as stored.

        Returns:
            (B, channels, H, W) float32.
        """
        logits = self.logits(images)["out"]
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear")
        return logits.float()

    @property
    def body(self) -> nn.Module:
        return self.network

    def check_body(self, given: Any, size: Size) -> None:
        name = f"model.network: {type(self.network).__name__}"
        heads = given if isinstance(given, dict) else {"out": given}
        if "out" not in heads or not all(isinstance(logits, Tensor) and logits.ndim == 4 for logits in heads.values()):
            raise ConfigError(f"{name} gives {_kind(given)}, expected logits (B, K, h, w), or a dict with them under 'out'")
        for head, logits in heads.items():
            if logits.shape[1] != self.channels:
                raise ConfigError(f"{name} gives {logits.shape[1]} channels ('{head}'), expected {self.channels}, {self.channels_are}")
            (height, width), (h, w) = size, logits.shape[-2:]
            if not _lie_on(height / h, width / w):
                raise ConfigError(
                    f"{name} gives logits of {h}x{w} for images of {height}x{width}, so they would lie beside the labels; "
                    "set model.network.upsampling, or choose an encoder whose features are the image's size divided by 2, 4, 8, ..."
                )

    channels_are = "one a class"
    """What the outputs of a pixel are, in words."""

    @torch.inference_mode()
    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        if not isinstance(self.network, Attentive):
            return {}
        x, ((height, width), *_) = self.network_input(images)
        seen = {name: a[..., :height, :width].float() for name, a in self.network.attention_maps(x).items()}
        return {name: F.interpolate(a, images.shape[-2:], mode="bilinear")[:, 0] for name, a in seen.items()}


def _lie_on(*ratios: float) -> bool:
    """Whether the image's sides are the same multiple of the logits', to 5 %: what is cut at the edge shifts the rest by less."""
    times = {max(1, round(ratio)) for ratio in ratios}
    return len(times) == 1 and all(abs(ratio / max(1, round(ratio)) - 1) <= 0.05 for ratio in ratios)


def _kind(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return f"a dict of {', '.join(map(str, given))}" if isinstance(given, dict) else f"a {type(given).__name__}"
