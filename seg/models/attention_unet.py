"""Attention U-Net (Oktay et al. 2018), over any encoder of segmentation-models-pytorch or timm."""

from itertools import zip_longest

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional as F

OPEN = 2.0  # psi's bias at the start: gates let 88 % of all features pass, as the paper has them begin, and can still learn


class AttentionGate(nn.Module):
    """Additive attention: alpha = sigmoid(psi(relu(W_x x + W_g g))) weighs a skip x by what the coarser map g makes of it.

    As in the paper, W_x brings x to g's grid by its stride, and bilinear interpolation brings alpha back."""

    def __init__(self, skip_channels: int, gating_channels: int) -> None:
        super().__init__()
        inner = max(1, skip_channels // 2)
        self.of_skip = nn.Conv2d(skip_channels, inner, 2, stride=2, bias=False)
        self.of_gating = nn.Conv2d(gating_channels, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)

    def initialize(self) -> None:
        """Start open everywhere."""
        weight, bias = self.psi.parameters()
        nn.init.normal_(weight, std=0.01)
        nn.init.constant_(bias, OPEN)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, 2h, 2w), g (B, D, h, w) -> the weighed skip, and alpha (B, 1, 2h, 2w) in 0..1."""
        alpha = torch.sigmoid(self.psi(F.relu(self.of_skip(x) + self.of_gating(g))))
        alpha = F.interpolate(alpha, x.shape[-2:], mode="bilinear")
        return x * alpha, alpha


class AttentionUNet(nn.Module):
    """Images (B, in_channels, H, W), H and W multiples of the encoder's stride -> logits (B, classes, H, W)."""

    def __init__(
        self,
        encoder_name: str,
        encoder_depth: int,
        decoder_channels: list[int],
        in_channels: int,
        classes: int,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=encoder_depth, weights=encoder_weights)
        self.decoder = GatedDecoder(self.encoder.out_channels, decoder_channels, encoder_depth, encoder_name.startswith("vgg"))
        self.segmentation_head = SegmentationHead(decoder_channels[-1], classes, kernel_size=3)
        initialize_head(self.segmentation_head)

    def forward(self, x: Tensor) -> Tensor:
        return self.segmentation_head(self.decoder(self.encoder(x))[0])

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Images as in `forward` -> {"stride 16": each gate's map (B, 1, H, W) in 0..1, ...}, from the coarsest skip to the finest."""
        height, width = x.shape[-2:]
        alphas = self.decoder(self.encoder(x))[1]
        return {f"stride {height // alpha.shape[-2]}": F.interpolate(alpha, (height, width), mode="bilinear") for alpha in alphas}


class GatedDecoder(UnetDecoder):
    """smp's U-Net decoder, with a gate before each skip that is driven by the map which the skip joins."""

    def __init__(self, encoder_channels: list[int], decoder_channels: list[int], depth: int, add_center_block: bool) -> None:
        super().__init__(encoder_channels, decoder_channels, depth, add_center_block=add_center_block)
        coarsest, *skips = encoder_channels[:0:-1]
        gating = [coarsest, *decoder_channels]
        gates = {str(i): AttentionGate(count, gating[i]) for i, count in enumerate(skips) if count}  # some encoders lack stride 2
        self.gates = nn.ModuleDict(gates)
        initialize_decoder(self)
        for gate in gates.values():
            gate.initialize()

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The encoder's features -> the decoded map (B, C, H, W), and each gate's alpha."""
        coarsest, *skips = features[:0:-1]
        x, alphas = self.center(coarsest), []
        for i, (block, skip, finer) in enumerate(zip_longest(self.blocks, skips, features[-2::-1])):
            if str(i) in self.gates:
                skip, alpha = self.gates[str(i)](skip, x)
                alphas.append(alpha)
            x = block(x, *finer.shape[-2:], skip)
        return x, alphas
