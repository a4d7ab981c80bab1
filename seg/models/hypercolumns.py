"""Hypercolumns (Hariharan et al. 2015): each pixel is classified by the features above it in several stages of an encoder."""

from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError


class Hypercolumns(nn.Module):
    """Images (B, in_channels, H, W), H and W multiples of the encoder's stride -> logits (B, classes, H, W).

    A linear classifier of the stages' features, upsampled bilinearly and concatenated, is a sum of linear classifiers, one a
    stage. Both upsampling and classifying are linear, so each stage is classified first, on its own grid, and only the
    logits are upsampled: the same result without the columns.

    stages: of the encoder, 1 (stride 2 for most) to encoder_depth. ConfigError for a stage that the encoder does not have.
    """

    def __init__(
        self, encoder_name: str, encoder_depth: int, stages: list[int], in_channels: int, classes: int, encoder_weights: str | None = None
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=encoder_depth, weights=encoder_weights)
        channels = dict(enumerate(self.encoder.out_channels))
        known = [stage for stage, count in channels.items() if stage and count]
        if not stages or len(set(stages)) < len(stages) or not set(stages) <= set(known):
            raise ConfigError(f"model.network.stages={stages}: expected some of {known}, the stages of {encoder_name}, each once")
        self.stages = list(stages)
        self.classifiers = nn.ModuleList(nn.Conv2d(channels[stage], classes, 1, bias=stage == stages[0]) for stage in stages)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        scores = [classifier(features[stage]) for classifier, stage in zip(self.classifiers, self.stages, strict=True)]
        upsampled = [F.interpolate(score, x.shape[-2:], mode="bilinear") for score in scores]
        return sum(upsampled[1:], upsampled[0])
