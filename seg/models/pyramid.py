"""Any encoder of segmentation-models-pytorch or timm as a feature pyramid (Lin et al. 2017) for torchvision's detectors."""

from collections import OrderedDict
from itertools import pairwise

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from seg.errors import ConfigError

STRIDES = (4, 8, 16, 32)
NUM_STAGES = 5


class EncoderPyramid(nn.Module):
    """Images (B, C, H, W), H and W multiples of 32 -> {"0", "1", "2", "3", "pool"}: (B, out_channels, ...) at strides 4 to 64.

    trainable_layers: stages of the encoder that are trained, counted from its end (0..5); the others, their batch norms'
    statistics too, stay as they are. ConfigError where the encoder does not give features at the strides 4, 8, 16, 32.
    """

    def __init__(self, encoder_name: str, weights: str | None, in_channels: int, out_channels: int, trainable_layers: int) -> None:
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
        self.frozen = self._freeze(in_channels, NUM_STAGES - trainable_layers)

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        features = self.encoder(images)
        found: OrderedDict[str, Tensor] = self.pyramid(OrderedDict((str(i), features[level]) for i, level in enumerate(self.levels)))
        return found

    def train(self, mode: bool = True) -> "EncoderPyramid":
        super().train(mode)
        for name in self.frozen:
            self.encoder.get_submodule(name).eval()
        return self

    def _sides(self, in_channels: int) -> list[int]:
        """The features' heights for an image of 64 x 64 pixels; of equal ones the last counts, which is the deepest."""
        self.encoder.eval()
        with torch.no_grad():
            sides = [f.shape[-1] for f in self.encoder(torch.zeros(1, in_channels, 64, 64))]
        return [side if following != side else -1 for side, following in pairwise([*sides, 0])]

    def _freeze(self, in_channels: int, num_stages: int) -> list[str]:
        """Stop the gradients of the first stages' parameters; returns the modules that hold some of them."""
        if not num_stages:
            return []
        stage_of = stages_of(self.encoder, in_channels)
        for name, parameter in self.encoder.named_parameters():
            if stage_of.get(name, 0) <= num_stages:
                parameter.requires_grad = False
        return [
            name
            for name, module in self.encoder.named_modules()
            if list(module.parameters(recurse=False)) and not any(p.requires_grad for p in module.parameters(recurse=False))
        ]


def stages_of(encoder: nn.Module, in_channels: int) -> dict[str, int]:
    """{parameter: the first of the encoder's stages (1..5) whose features depend on it}, found by differentiation."""
    encoder.eval()
    named = dict(encoder.named_parameters())
    features = encoder(torch.randn(1, in_channels, 64, 64))[1:]
    found: dict[str, int] = {}
    for stage, feature in enumerate(features, start=1):
        if feature.numel() and feature.requires_grad:
            gradients = torch.autograd.grad(feature.sum(), list(named.values()), retain_graph=True, allow_unused=True)
            for name, gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    found.setdefault(name, stage)
    return found


def _no_pyramid(encoder_name: str) -> str:
    return f"model.network.encoder_name={encoder_name}: gives no features at the strides 4, 8, 16 and 32; choose another encoder"
