"""U-Net as in the paper (Ronneberger, Fischer, Brox 2015): a plain encoder, and convolutions that see no padding."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from seg.core.errors import ConfigError


class UNet(nn.Module):
    """Images (B, in_channels, H, W) of any size -> logits (B, classes, H, W).

    padding: "valid", the paper's: convolutions are not padded, skips are cropped, and what lies around the image is the
    image mirrored (the overlap-tile strategy); "same": convolutions are padded with zeros, and the image is mirrored
    only up to a multiple of 2 ** depth. depth: poolings. width: channels at full resolution, doubled at each pooling.
    dropout: at the two coarsest resolutions, the end of the contracting path. ConfigError where depth or width is below 1."""

    def __init__(
        self, depth: int, width: int, padding: Literal["valid", "same"], batch_norm: bool, dropout: float, in_channels: int, classes: int
    ) -> None:
        super().__init__()
        if depth < 1 or width < 1:
            raise ConfigError(f"model.network.depth={depth}, .width={width}: expected 1 or more")
        self.depth, self.lost = depth, {"valid": 2, "same": 0}[padding]  # pixels that a convolution takes from a side's length
        widths = [width * 2**level for level in range(depth + 1)]

        def convolutions(before: int, after: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (before, after):
                layers.append(nn.Conv2d(channels, after, 3, padding=padding, bias=not batch_norm))
                layers += [nn.BatchNorm2d(after)] * batch_norm + [nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList(convolutions(a, b) for a, b in pairwise([in_channels, *widths]))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(convolutions(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                inputs = module.in_channels * (1 if isinstance(module, nn.ConvTranspose2d) else module.kernel_size[0] ** 2)
                nn.init.normal_(module.weight, std=(2 / inputs) ** 0.5)  # each pixel of a transposed one has in_channels inputs
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = (mirrored(n, *self.margins(n)).to(x.device) for n in (height, width))
        return self.valid(x[:, :, rows[:, None], columns])[..., :height, :width]

    def margins(self, size: int) -> tuple[int, int]:
        """Pixels before and after `size` ones, for an output of `size` or a few more."""
        step, lost = 2**self.depth, 2 * self.lost
        # cells that the coarsest convolutions give, rounded up without a negative number, which ONNX divides in another way
        coarsest = (size + (lost + 1) * (step - 1)) // step
        needed = step * (coarsest + lost) + lost * (step - 1)
        given = step * coarsest - lost * (step - 1)
        before = (needed - given) // 2
        return before, needed - size - before

    def valid(self, x: Tensor) -> Tensor:
        """The network alone: images (B, C, h, w) that come with the margins -> logits (B, classes, h', w')."""
        skips = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(x)
            if level >= self.depth - 1:
                x = self.dropout(x)
            if level < self.depth:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
        for up, merge in zip(self.up, self.merge, strict=True):
            x, skip = up(x), skips.pop()
            top, left = ((skip.shape[axis] - x.shape[axis]) // 2 for axis in (-2, -1))
            middle = skip[..., top : top + x.shape[-2], left : left + x.shape[-1]]
            x = merge(torch.cat([middle, x], dim=1))
        return self.head(x)


def mirrored(size: int, before: int, after: int) -> Tensor:
    """Indices (before + size + after,) into `size` pixels, mirrored at the first and the last one as often as it takes."""
    period = max(1, 2 * (size - 1))
    place = torch.arange(-before, size + after)
    place = place.remainder(torch.scalar_tensor(period, dtype=place.dtype))  # an exporter knows no remainder of a size
    return torch.minimum(place, period - place) if size > 1 else place
