"""Any encoder of segmentation-models-pytorch or timm as a feature pyramid (Lin et al. 2017) for torchvision's detectors."""

from collections import OrderedDict
from itertools import pairwise

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from seg.core.errors import ConfigError

STRIDES = (4, 8, 16, 32)
NUM_STAGES = 5


class EncoderPyramid(nn.Module):
    """Images (B, C, H, W), H and W multiples of 32 -> {"0", "1", "2", "3", "pool"}: (B, out_channels, ...) at strides 4 to 64.

    ConfigError where the encoder does not give features at the strides 4, 8, 16, 32.
    """

    def __init__(self, encoder_name: str, weights: str | None, in_channels: int, out_channels: int) -> None:
        super().__init__()
        try:
            self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=NUM_STAGES, weights=weights)
        except ValueError as error:
            if "downsampling pattern" in str(error) or "stages" in str(error):
                raise ConfigError(_no_pyramid(encoder_name)) from None
            raise
        self.out_channels = out_channels
        sides = self._sides(in_channels)
        self.levels = [sides.index(side) if side in sides else -1 for side in (64 // s for s in STRIDES)]
        channels = [self.encoder.out_channels[level] for level in self.levels]
        if -1 in self.levels or not all(channels):
            raise ConfigError(_no_pyramid(encoder_name))
        self.pyramid = FeaturePyramidNetwork(channels, out_channels, extra_blocks=LastLevelMaxPool())

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        features = self.encoder(images)
        found: OrderedDict[str, Tensor] = self.pyramid(OrderedDict((str(i), features[level]) for i, level in enumerate(self.levels)))
        return found

    def _sides(self, in_channels: int) -> list[int]:
        """The features' heights for an image of 64 x 64 pixels; of equal ones the last counts, which is the deepest."""
        self.encoder.eval()
        with torch.no_grad():
            sides = [f.shape[-1] for f in self.encoder(torch.zeros(1, in_channels, 64, 64))]
        return [side if following != side else -1 for side, following in pairwise([*sides, 0])]


def _no_pyramid(encoder_name: str) -> str:
    return f"model.network.encoder_name={encoder_name}: gives no features at the strides 4, 8, 16 and 32; choose another encoder"
