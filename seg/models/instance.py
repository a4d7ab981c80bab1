"""Mask R-CNN as the model of instances."""

import torch
from torch import Tensor

from seg.data.sample import Prediction
from seg.models.rcnn import RegionModel
from seg.models.rcnn import TermWeights as TermWeights  # the name that conf/ and checkpoints have


class InstanceModel(RegionModel):
    """The boxes and masks of its network, as instances."""

    LOSS = "mask_rcnn"

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        x, sizes = self.network_input(images)
        return self.instances(x, self.network.backbone(x), sizes, (images.shape[-2], images.shape[-1]))

    def detections(self, x: Tensor, sizes: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """As `found`, of the network's input alone, as exported files take it."""
        return self.found(x, self.network.backbone(x), sizes)
