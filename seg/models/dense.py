"""Any torch network that maps (B, C, H, W) to maps of the same image, behind the seam: what semantic models and `distance` share."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.base import Scale, SegmentationModel, Size
from seg.models.losses.sum import DistanceLoss, Sum


class DenseModel(SegmentationModel):
    """A network of which each pixel gets `channels` outputs: it maps (B, C, h, w) float32 to (B, channels, ...), or to a dict with these
    under "out", and those of auxiliary heads under other names."""

    loss: Any
    channels_are = "one a class"  # what the outputs of a pixel are, in words
    aux_weight = 0.0  # of the loss of each auxiliary head; 0: these heads are not trained

    def __init__(self, network: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float], stride: int, scale: Scale) -> None:
        super().__init__(mean, std, stride, scale)
        self.network, self.channels = network, channels

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) uint8 as stored -> {"out": (B, channels, h, w)} at the size at which the network sees them, and the outputs
        of each auxiliary head under its name."""
        x, (size, *_) = self.network_input(images)
        return self.sized_maps(x, size)

    def sized_maps(self, x: Tensor, size: Size) -> dict[str, Tensor]:
        """As `maps`, at the size (height, width) that the images have in x without padding."""
        heads = self.maps(x)
        sized = {n: v if v.shape[-2:] == x.shape[-2:] else F.interpolate(v, x.shape[-2:], mode="bilinear") for n, v in heads.items()}
        return {name: value[..., : size[0], : size[1]] for name, value in sized.items()}

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """What the network says of its input, as maps: (B, channels, ...) under "out", and those of auxiliary heads."""
        given = self.network(x)
        return given if isinstance(given, dict) else {"out": given}

    def full_logits(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 as stored -> the outputs (B, channels, H, W) float32 at their size."""
        logits = self.logits(images)["out"]
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear")
        return logits.float()

    def learned(self, given: Any) -> Any:
        return given if self.aux_weight or not isinstance(given, dict) else given["out"]

    def start_epoch(self, epoch: int) -> None:
        if isinstance(self.loss, Sum | DistanceLoss):
            self.loss.start_epoch(epoch)

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
                what = f"{name} gives logits of {h}x{w} for images of {height}x{width}, so they would lie beside the labels"
                fix = "set model.network.upsampling, or choose an encoder whose features are the image's size divided by 2, 4, 8, ..."
                raise ConfigError(f"{what}; {fix}")


def _lie_on(*ratios: float) -> bool:
    """Whether the image's sides are the same multiple of the logits', to 5 %: what is cut at the edge shifts the rest by less."""
    times = {max(1, round(ratio)) for ratio in ratios}
    return len(times) == 1 and all(abs(ratio / max(1, round(ratio)) - 1) <= 0.05 for ratio in ratios)


def _kind(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return f"a dict of {', '.join(map(str, given))}" if isinstance(given, dict) else f"a {type(given).__name__}"
