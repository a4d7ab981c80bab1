"""A U-Net whose decoder has a block of the literature in place of a convolution, or behind it."""

from collections.abc import Callable
from typing import Literal, get_args

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import DeformConv2d

from seg.core.errors import ConfigError

Block = Literal["none", "se", "scse", "nonlocal", "deformable", "involution", "separable", "atrous"]


class BlockUNet(smp.Unet):
    """smp's U-Net: images (B, in_channels, H, W), H and W multiples of the encoder's stride -> logits (B, classes, H, W).

    block: behind each decoder block: `se` (squeeze and excitation), `scse` (concurrent spatial and channel). Behind the first one, the
    coarsest: `nonlocal`. In place of the second convolution of each: `deformable`, `involution`, `separable`, `atrous`. ConfigError for
    others. rate: of `atrous`: how many pixels apart a convolution's weights lie. Other arguments: as smp has them."""

    def __init__(
        self,
        encoder_name: str,
        encoder_depth: int,
        decoder_channels: list[int],
        in_channels: int,
        classes: int,
        block: Block = "none",
        rate: int = 2,
        encoder_weights: str | None = None,
    ) -> None:
        if block not in get_args(Block):
            raise ConfigError(f"model.network.block={block}: expected one of {', '.join(get_args(Block))}")
        sizes = {"decoder_channels": decoder_channels, "in_channels": in_channels, "classes": classes}
        attention = "scse" if block == "scse" else None
        super().__init__(encoder_name, encoder_depth, encoder_weights, decoder_attention_type=attention, **sizes)
        replaced: dict[str, Callable[[int], nn.Module]] = {
            "deformable": Deformable,
            "involution": Involution,
            "separable": separable,
            "atrous": lambda channels: nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, bias=False),
        }
        for number, (one, channels) in enumerate(zip(self.decoder.blocks, decoder_channels, strict=True)):
            if block in replaced:
                one.conv2[0] = initialized(replaced[block](channels))
            elif block == "se":
                one.attention2 = initialized(SqueezeExcitation(channels))
            elif block == "nonlocal" and number == 0:
                one.attention2 = initialized(NonLocal(channels))


def initialized(module: nn.Module) -> nn.Module:
    """As smp's decoders are; what begins with zeros stays so."""
    initialize_decoder(module)
    for part in module.modules():
        if isinstance(part, Zeros):
            part.reset_parameters()
    return module


class Zeros(nn.Conv2d):
    """A convolution that gives 0 until it has learned."""

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class SqueezeExcitation(nn.Module):
    """(B, C, H, W) -> each channel times a number in 0..1 that depends on the means of all channels (Hu, Shen, Sun 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        self.squeeze, self.excite = nn.Conv2d(channels, middle, 1), nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class NonLocal(nn.Module):
    """(B, C, H, W) -> x plus, for each pixel, a mean over all pixels, weighed by how alike they are (Wang, Girshick, Gupta, He 2018).

    Embedded Gaussian: softmax of theta^T phi. As in the paper phi and g see every second pixel (their maximum), and the last weights are 0
    at the start, so that the network begins without it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, middle, 1) for _ in range(3))
        self.out = Zeros(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2).transpose(1, 2)
        phi, g = (F.max_pool2d(conv(x), 2, ceil_mode=True).flatten(2) for conv in (self.phi, self.g))
        mean = torch.softmax(theta @ phi, dim=-1) @ g.transpose(1, 2)
        return x + self.out(mean.transpose(1, 2).unflatten(2, x.shape[-2:]))


class Deformable(nn.Module):
    """A 3 x 3 convolution that reads each of its nine pixels where a convolution of the same input says (Dai et al. 2017).

    The shifts are 0 at the start. They are computed in float32, since bfloat16 knows no part of a pixel from 256 on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = Zeros(channels, 18, 3, padding=1)
        self.conv = DeformConv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_uniform_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            shift = F.conv2d(x.float(), self.shift.weight.float(), self.shift.bias, padding=1)
            return self.conv(x.float(), shift)


class Involution(nn.Module):
    """(B, C, H, W) -> a sum over K x K pixels with weights that each place makes from its own channels, shared by groups of them (Li et al.
    2021, figure 2; K = 7, 16 channels a group, reduction 4)."""

    def __init__(self, channels: int, side: int = 7, group: int = 16, reduction: int = 4) -> None:
        super().__init__()
        self.side, self.groups = side, max(1, channels // group)
        if channels % self.groups:
            what = f"model.network.decoder_channels: involution makes {self.groups} groups of {channels} channels, and"
            raise ConfigError(f"{what} {channels} is no multiple; take multiples of {group}")
        middle = max(1, channels // reduction)
        self.reduce = nn.Sequential(nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True))
        self.span = nn.Conv2d(middle, side**2 * self.groups, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        weights = self.span(self.reduce(x)).unflatten(1, (self.groups, 1, self.side**2))
        around = F.pad(x, [self.side // 2] * 4).unflatten(1, (self.groups, -1))
        found = torch.zeros_like(around[..., :height, :width])
        for place in range(self.side**2):  # and not all at once, which would hold K x K times the features
            top, left = divmod(place, self.side)
            found = found + weights[:, :, :, place] * around[..., top : top + height, left : left + width]
        return found.flatten(1, 2)


def separable(channels: int) -> nn.Module:
    """A depthwise 3 x 3 convolution as 1 x 3 and 3 x 1, then 1 x 1 (spatially separable, as in EffNet, Freeman et al. 2018)."""
    row = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels, bias=False)
    column = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels, bias=False)
    return nn.Sequential(row, column, nn.Conv2d(channels, channels, 1, bias=False))
