"""U-Net++ with deep supervision (Zhou et al. 2018), over any encoder of segmentation-models-pytorch or timm."""

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn


class UNetPlusPlus(nn.Module):
    """Images (B, in_channels, H, W), H and W multiples of the encoder's stride -> {"out": logits (B, classes, H, W), and auxiliary ones}.

    The auxiliary heads "x_0_1", "x_0_2", ... (the paper's names) classify the nodes of the finest row that has a skip, all
    but the last of it, from which the output is decoded; they have that row's size, half the image's for most encoders."""

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
        self.decoder = NestedDecoder(self.encoder.out_channels, decoder_channels, encoder_depth)
        self.segmentation_head = SegmentationHead(decoder_channels[-1], classes, kernel_size=3)
        self.auxiliary_heads = nn.ModuleDict({name: nn.Conv2d(channels, classes, 1) for name, channels in self.decoder.supervised.items()})
        initialize_decoder(self.decoder)
        initialize_head(self.segmentation_head)
        initialize_head(self.auxiliary_heads)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        decoded, nodes = self.decoder(self.encoder(x))
        return {"out": self.segmentation_head(decoded)} | {name: self.auxiliary_heads[name](node) for name, node in nodes.items()}


class NestedDecoder(UnetPlusPlusDecoder):
    """smp's decoder, which also gives the nodes that are supervised.

    Rows j are counted from the coarsest skip. smp's block x_i_j upsamples x_i_(j-1), or the encoder's map where i is j, and joins
    it with the encoder's map of its row and with x_j_j, ..., x_(i+1)_j: the paper's node j - i + 1 of that row."""

    def __init__(self, encoder_channels: list[int], decoder_channels: list[int], depth: int) -> None:
        super().__init__(encoder_channels, decoder_channels, depth)
        self.row = max((j for j in range(self.depth) if self.skip_channels[j]), default=-1)
        self.supervised = {f"x_0_{self.row - i + 1}": self.blocks[f"x_{i}_{self.row}"].out_channels for i in range(self.row, 0, -1)}

    def forward(self, features: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The encoder's features -> the decoded map, and the supervised nodes by the paper's names."""
        coarsest, *skips = features[:0:-1]
        below, nodes = [coarsest], {}
        for j, skip in enumerate(skips):
            row = [skip]  # the encoder's map, then x_j_j, ..., x_0_j
            for i in range(j, -1, -1):
                row.append(self.blocks[f"x_{i}_{j}"](below[j - i], torch.cat(row[::-1], dim=1)))
            if j == self.row:
                nodes = {name: row[position] for position, name in enumerate(self.supervised, start=1)}
            below = row
        return self.blocks[f"x_0_{self.depth}"](below[-1]), nodes
