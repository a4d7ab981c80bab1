"""Mask R-CNN (He et al. 2017) as torchvision builds it: over an encoder's feature pyramid, or with torchvision's own weights.

Images come normalised, scaled and padded (see `seg.models.base`), so torchvision's own transform takes no part."""

from typing import Literal, Unpack

import torch
from segmentation_models_pytorch.decoders.fpn.decoder import SegmentationBlock
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from seg.core.errors import ConfigError, did_you_mean
from seg.models.pyramid import LEVELS, PyramidRegionSettings, RegionSettings, keys_named, proposals_apart, region_parts

MASK_POOL = 14  # bins along a side that the mask head sees (paper)


@keys_named
def mask_rcnn(
    mask_head_channels: list[int], encoder_weights: str | None = None, semantic_channels: int = 0, **settings: Unpack[PyramidRegionSettings]
) -> MaskRCNN:
    """Mask R-CNN over any encoder that gives a pyramid. semantic_channels: of a `SemanticBranch`, a multiple of 32; 0: none."""
    if semantic_channels % 32:
        raise ConfigError(f"model.network.semantic_channels={semantic_channels}: expected a multiple of 32")
    channels, num_classes = settings["fpn_channels"], settings["num_classes"]
    network = MaskRCNN(
        **region_parts(settings, encoder_weights),
        mask_roi_pool=MultiScaleRoIAlign(LEVELS, MASK_POOL, settings["roi_sampling_ratio"]),
        mask_head=MaskRCNNHeads(channels, mask_head_channels, dilation=1),
        mask_predictor=MaskRCNNPredictor(mask_head_channels[-1], mask_head_channels[-1], num_classes),
    )
    if semantic_channels:
        network.semantic = SemanticBranch(channels, semantic_channels, num_classes)
    return network


class SemanticBranch(nn.Module):
    """Features of the strides 4 to 32 -> logits (B, num_classes, H / 4, W / 4): each level is scaled up to the first, and all are added
    (Kirillov et al. 2019, Panoptic Feature Pyramid Networks)."""

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(SegmentationBlock(in_channels, channels, n_upsamples=number) for number in range(4))
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        scaled = [level(features[str(number)]) for number, level in enumerate(self.levels)]
        logits: Tensor = self.classifier(torch.stack(scaled).sum(dim=0))
        return logits.float()


@keys_named
def resnet50_fpn(version: Literal[1, 2], num_classes: int, weights: str | None = None, **settings: Unpack[RegionSettings]) -> MaskRCNN:
    """torchvision's maskrcnn_resnet50_fpn (version 1) or _v2, whose other settings are the paper's. num_classes: with the background.

    weights: None, a name of torchvision's Mask R-CNN weights (COCO_V1), whose predictors are replaced for one's own
    classes, or a name of its ResNet-50 weights (IMAGENET1K_V2)."""
    name = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")[version - 1]
    names = {w.name for w in get_model_weights(name)}
    backbones = {"IMAGENET1K_V1", "IMAGENET1K_V2"}
    if weights is not None and weights not in names | backbones:
        raise ConfigError(f"model.weights={weights}: {did_you_mean(weights, names | backbones, 'weights of this model')}")
    whole = weights in names
    network = get_model(
        name,
        weights=weights if whole else None,
        weights_backbone=None if whole else weights,
        num_classes=None if whole else num_classes,
        trainable_backbone_layers=5 if weights else None,  # the group `finetune` freezes
        progress=False,
        **proposals_apart({**settings}),
    )
    if weights is not None:
        use_batch_norm(network)
    if whole:
        heads = network.roi_heads
        heads.box_predictor = FastRCNNPredictor(heads.box_predictor.cls_score.in_features, num_classes)
        reduced = heads.mask_predictor.conv5_mask
        heads.mask_predictor = MaskRCNNPredictor(reduced.in_channels, reduced.out_channels, num_classes)
    return network


def use_batch_norm(network: nn.Module) -> None:
    """Put batch norms in place of torchvision's frozen ones, which give the same in evaluation.

    torchvision freezes them where weights are given, with an epsilon that depends on the weights. A checkpoint would not fit
    the network that is built without these weights to receive it. `finetune.frozen_norms` freezes batch norms of any network."""
    for module in list(network.modules()):
        for name, frozen in module.named_children():
            if isinstance(frozen, FrozenBatchNorm2d):
                norm = nn.BatchNorm2d(len(frozen.weight))
                state = {**frozen.state_dict(), "running_var": frozen.running_var + frozen.eps - norm.eps}
                norm.load_state_dict({**state, "num_batches_tracked": torch.tensor(0)})
                setattr(module, name, norm)
