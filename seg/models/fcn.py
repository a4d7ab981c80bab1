"""Fully convolutional networks on VGG-16: FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell 2015)."""

from itertools import chain, pairwise
from typing import Literal

import torch
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG16_BN_Weights, VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from seg.core.errors import ConfigError, did_you_mean
from seg.models.blocks import Zeros

BLOCKS = cfgs["D"]  # VGG-16: channels of each convolution, and "M" for each pooling
POOL5_CELLS = 7  # cells along a side of pool5 that the classifier looks at: 224 pixels / 32
PAPER_FC_CHANNELS = 4096


class DenseConvolution(nn.Linear):
    """A classifier's dense layer over a window of size x size cells, slid over a map as a convolution with its own weights.

    The weights keep the dense layer's shape (out, in * size * size), so that a classifier's state dict fits as it is. Maps are
    (B, in, H, W) -> (B, out, H, W): each cell has the output for the window around it, with zeros beyond the border."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        self.window = (in_channels, size, size)
        super().__init__(in_channels * size * size, out_channels)

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.view(-1, *self.window), self.bias, padding=self.window[1] // 2)


class BilinearUpsampling(nn.ConvTranspose2d):
    """A transposed convolution (B, C, H, W) -> (B, C, factor H, factor W) that starts as bilinear interpolation.

    factor: an even number. The border is repeated once around the map, so that the interpolation holds to the edge
    (F.interpolate with mode="bilinear" gives the same)."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(channels, channels, 2 * factor, factor, factor + factor // 2, bias=False)

    def reset_parameters(self) -> None:
        size, factor = self.kernel_size[0], self.stride[0]
        line = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
        with torch.no_grad():
            self.weight.copy_(torch.eye(self.in_channels)[..., None, None] * line[:, None] * line)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 1), mode="replicate"), output_size)


class FCN(nn.Module):
    """VGG-16 turned into a fully convolutional network: images (B, in_channels, H, W) -> logits (B, classes, H, W).

    H and W are multiples of 32. Convolution 6 is padded by 3 cells, which takes the place of the paper's 100 pixels around
    the image: pool5 and the scores have the same grid, and skips need no crop.

    prediction_stride: 32, 16 (adds scores of pool4) or 8 (of pool3, too). skip_scales: by which the skips' features are
    multiplied, pool4's first. width: share of VGG-16's channels. fc_channels: of convolutions 6 and 7. learn_last_upsampling:
    False keeps the last transposed convolution bilinear, as in the paper; those before it are always learned. weights: a
    name of torchvision's VGG-16 weights, for VGG-16's own width. Names of tensors are torchvision's, and the same at every
    prediction_stride. ConfigError where the settings contradict each other."""

    def __init__(
        self,
        prediction_stride: Literal[32, 16, 8],
        skip_scales: list[float],
        width: float,
        fc_channels: int,
        batch_norm: bool,
        dropout: float,
        learn_last_upsampling: bool,
        in_channels: int,
        num_classes: int,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        wanted = {32: 0, 16: 1, 8: 2}[prediction_stride]
        if len(skip_scales) != wanted:
            problem = f"model.network.skip_scales={skip_scales}: expected {wanted} numbers with prediction_stride={prediction_stride}"
            raise ConfigError(f"{problem}, of pool4 and pool3; [] for stride 32, [1.0] for 16, [1.0, 1.0] for 8")
        if weights is not None and (width != 1 or fc_channels != PAPER_FC_CHANNELS):
            what = f"model.weights={weights}: are of a whole VGG-16; set model.network.width=1.0 and"
            raise ConfigError(f"{what} model.network.fc_channels={PAPER_FC_CHANNELS}, or model.weights=null")
        pretrained = None if weights is None else _of_hub(weights, batch_norm)
        blocks = [b if isinstance(b, str) else max(1, round(width * b)) for b in BLOCKS]
        *_, pool3, pool4, pool5 = [before for before, b in pairwise(blocks) if b == "M" and isinstance(before, int)]
        self.features = make_layers(blocks, batch_norm=batch_norm)
        shapes = (pool5, fc_channels, POOL5_CELLS), (fc_channels, fc_channels, 1)
        dense = [[DenseConvolution(*shape), nn.ReLU(inplace=True), nn.Dropout(dropout)] for shape in shapes]
        self.classifier = nn.Sequential(*chain.from_iterable(dense))
        if pretrained is not None:
            self.load_state_dict(pretrained)
        if in_channels != 3:
            patch_first_conv(self.features, in_channels, pretrained=weights is not None)
        if weights is None:
            for layer in self.features:
                if isinstance(layer, nn.Conv2d):
                    for parameter in layer.parameters():
                        nn.init.kaiming_normal_(parameter, mode="fan_out") if parameter.ndim > 1 else nn.init.zeros_(parameter)
        third, fourth = [i for i, module in enumerate(self.features) if isinstance(module, nn.MaxPool2d)][2:4]
        self.pools, self.skip_scales = {third: "pool3", fourth: "pool4"}, dict(zip(("pool4", "pool3"), skip_scales, strict=False))
        channels = {"fc7": fc_channels, "pool4": pool4, "pool3": pool3}
        scored = ["fc7", *self.skip_scales]
        # zeros, so that a coarser network's predictions are where a finer one starts from
        self.scores = nn.ModuleDict({name: Zeros(channels[name], num_classes, 1) for name in scored})
        self.upsampling = nn.ModuleDict({name: BilinearUpsampling(num_classes, 2) for name in scored[:-1]})
        self.last = f"by_{prediction_stride}"
        self.upsampling[self.last] = BilinearUpsampling(num_classes, prediction_stride).requires_grad_(learn_last_upsampling)

    def forward(self, x: Tensor) -> Tensor:
        pooled = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.pools:
                pooled[self.pools[index]] = x
        logits: Tensor = self.scores["fc7"](self.classifier(x))
        coarser = "fc7"
        for name, scale in self.skip_scales.items():
            logits = self.upsampling[coarser](logits) + self.scores[name](scale * pooled[name])
            coarser = name
        return self.upsampling[self.last](logits)


def _of_hub(name: str, batch_norm: bool) -> dict[str, Tensor]:
    """The state dict of torchvision's VGG-16, without the layer that names ImageNet's classes."""
    known = {w.name: w for w in (VGG16_BN_Weights if batch_norm else VGG16_Weights) if w.meta["categories"]}
    if name not in known:
        raise ConfigError(f"model.weights={name}: {did_you_mean(name, known, 'weights of this model')}")
    state: dict[str, Tensor] = known[name].get_state_dict(progress=False, check_hash=True)
    return {n: t for n, t in state.items() if not n.startswith("classifier.6.")}
