"""Weights for images of another number of channels: the first convolution is adapted, not thrown away.

The rule is segmentation-models-pytorch's and timm's: one channel sees the sum of the weights; n channels see them in turn,
times old / n, so that features keep their size.
"""

import torch
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from torch import Tensor, nn

RGB = 3


def first_convolution(network: nn.Module, channels: int) -> str | None:
    """The name of the first convolution that takes images of so many channels."""
    return next((n for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == channels), None)


def take_channels(network: nn.Module, channels: int, pretrained: bool) -> None:
    """Have a network for RGB images take others; `pretrained` weights are adapted, others drawn anew.

    ValueError where no convolution takes three channels.
    """
    if first_convolution(network, RGB) is None:
        raise ValueError("has no convolution that takes three channels")
    patch_first_conv(network, channels, RGB, pretrained=pretrained)


def adapted(weight: Tensor, channels: int) -> Tensor:
    """The weight (O, I, k, k) of a first convolution as one for images of `channels` channels: (O, channels, k, k)."""
    convolution = nn.utils.skip_init(nn.Conv2d, weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=False)
    with torch.no_grad():
        convolution.weight.copy_(weight)
    patch_first_conv(convolution, channels, weight.shape[1])
    adapted_weight: Tensor = convolution.weight.detach()
    return adapted_weight
