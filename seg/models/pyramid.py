"""Any encoder of segmentation-models-pytorch or timm as a feature pyramid (Lin et al. 2017) for torchvision's detectors."""

from collections import OrderedDict
from itertools import pairwise

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from seg.core.errors import ConfigError

STRIDES = (4, 8, 16, 32)
NUM_STAGES = 5
BOX_POOL = 7  # bins along a side that a box head sees (Girshick 2015)
LEVELS = ["0", "1", "2", "3"]  # of the pyramid that heads of regions look at


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


def anchors_of(sizes: list[list[int]], aspect_ratios: list[float]) -> AnchorGenerator:
    """Anchors of each level's sizes, each in all ratios. ConfigError where there are other than five levels."""
    if len(sizes) != 5:
        raise ConfigError(f"model.network.anchor_sizes: expected a list for each of the 5 levels of the pyramid, got {len(sizes)}")
    return AnchorGenerator(tuple(map(tuple, sizes)), (tuple(aspect_ratios),) * 5)


def top_n(before_nms: list[int], after_nms: list[int]) -> dict[str, int]:
    """torchvision's arguments for the numbers of proposals, each in training and in prediction."""
    if len(before_nms) != 2 or len(after_nms) != 2:
        raise ConfigError("model.network.rpn_pre_nms_top_n and .rpn_post_nms_top_n: expected two numbers, in training and in prediction")
    names = ("rpn_pre_nms_top_n_train", "rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_train", "rpn_post_nms_top_n_test")
    return dict(zip(names, (*before_nms, *after_nms), strict=True))


def _no_pyramid(encoder_name: str) -> str:
    return f"model.network.encoder_name={encoder_name}: gives no features at the strides 4, 8, 16 and 32; choose another encoder"
