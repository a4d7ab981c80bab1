"""BiFPN (Tan et al. 2020, EfficientDet): a pyramid's levels tell each other what they see, top-down and then bottom-up."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BiFpn(nn.Module):
    """Levels (B, C, h, w), the finest first, each half as high and wide as the one before -> the same.

    A node is a sum by learned shares of what comes in, normalised to 1, and a convolution that is separable by depth."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        inputs = [2] * (levels - 1) + [3] * (levels - 2) + [2]
        self.shares = nn.ParameterList(torch.ones(number) for number in inputs)
        self.nodes = nn.ModuleList(_node(channels) for _ in inputs)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        last, down = len(levels) - 1, levels[-1:]
        for i in reversed(range(last)):
            down.insert(0, self._fused(i, levels[i], F.interpolate(down[0], levels[i].shape[-2:])))
        up = down[:1]
        for i in range(1, last + 1):
            up.append(self._fused(last + i - 1, *dict.fromkeys((levels[i], down[i])), F.max_pool2d(up[-1], 3, 2, 1)))
        return up

    def _fused(self, number: int, *inputs: Tensor) -> Tensor:
        shares = self.shares[number].relu()
        total = torch.stack([share * x for share, x in zip(shares, inputs, strict=True)]).sum(dim=0)
        fused: Tensor = self.nodes[number](total / (shares.sum() + 1e-4))
        return fused


def _node(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(nn.SiLU(), depthwise, nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
