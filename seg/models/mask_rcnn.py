"""Mask R-CNN (He et al. 2017) as torchvision builds it: over an encoder's feature pyramid, or with torchvision's own weights.

Images come normalised, scaled and padded (see `seg.models.base`), so torchvision's own transform takes no part.
"""

from typing import Literal

import torch
from segmentation_models_pytorch.decoders.fpn.decoder import SegmentationBlock
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import (
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    MaskRCNNHeads,
    MaskRCNNPredictor,
)
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from seg.core.errors import ConfigError, did_you_mean
from seg.models.pyramid import BOX_POOL, LEVELS, EncoderPyramid, anchors_of, top_n

MASK_POOL = 14  # bins along a side that the mask head sees (paper)


def mask_rcnn(
    encoder_name: str,
    fpn_channels: int,
    anchor_sizes: list[list[int]],
    aspect_ratios: list[float],
    rpn_pre_nms_top_n: list[int],
    rpn_post_nms_top_n: list[int],
    rpn_nms_thresh: float,
    rpn_fg_iou_thresh: float,
    rpn_bg_iou_thresh: float,
    rpn_batch_size_per_image: int,
    rpn_positive_fraction: float,
    roi_sampling_ratio: int,
    box_head_channels: int,
    box_score_thresh: float,
    box_nms_thresh: float,
    box_detections_per_img: int,
    box_fg_iou_thresh: float,
    box_bg_iou_thresh: float,
    box_batch_size_per_image: int,
    box_positive_fraction: float,
    mask_head_channels: list[int],
    in_channels: int,
    num_classes: int,
    encoder_weights: str | None = None,
    semantic_channels: int = 0,
) -> MaskRCNN:
    """Mask R-CNN over any encoder of smp or timm that gives a pyramid. num_classes: with the background.

    roi_sampling_ratio: points along a bin's side at which features are read (RoIAlign). anchor_sizes: pixels of the
    network's image, a list for each of the five levels. *_top_n: in training and in prediction. semantic_channels: of a `SemanticBranch`,
    a multiple of 32; 0: none.
    """
    if semantic_channels % 32:
        raise ConfigError(f"model.network.semantic_channels={semantic_channels}: expected a multiple of 32")
    backbone = EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels)
    network = MaskRCNN(
        backbone,
        rpn_anchor_generator=anchors_of(anchor_sizes, aspect_ratios),
        **top_n(rpn_pre_nms_top_n, rpn_post_nms_top_n),
        rpn_nms_thresh=rpn_nms_thresh,
        rpn_fg_iou_thresh=rpn_fg_iou_thresh,
        rpn_bg_iou_thresh=rpn_bg_iou_thresh,
        rpn_batch_size_per_image=rpn_batch_size_per_image,
        rpn_positive_fraction=rpn_positive_fraction,
        box_roi_pool=MultiScaleRoIAlign(LEVELS, BOX_POOL, roi_sampling_ratio),
        box_head=TwoMLPHead(fpn_channels * BOX_POOL**2, box_head_channels),
        box_predictor=FastRCNNPredictor(box_head_channels, num_classes),
        box_score_thresh=box_score_thresh,
        box_nms_thresh=box_nms_thresh,
        box_detections_per_img=box_detections_per_img,
        box_fg_iou_thresh=box_fg_iou_thresh,
        box_bg_iou_thresh=box_bg_iou_thresh,
        box_batch_size_per_image=box_batch_size_per_image,
        box_positive_fraction=box_positive_fraction,
        mask_roi_pool=MultiScaleRoIAlign(LEVELS, MASK_POOL, roi_sampling_ratio),
        mask_head=MaskRCNNHeads(fpn_channels, mask_head_channels, dilation=1),
        mask_predictor=MaskRCNNPredictor(mask_head_channels[-1], mask_head_channels[-1], num_classes),
    )
    if semantic_channels:
        network.semantic = SemanticBranch(fpn_channels, semantic_channels, num_classes)
    return network


class SemanticBranch(nn.Module):
    """Features of the strides 4 to 32 -> logits (B, num_classes, H / 4, W / 4): each level is scaled up to the first, and all are added
    (Kirillov et al. 2019, Panoptic Feature Pyramid Networks).
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(SegmentationBlock(in_channels, channels, n_upsamples=number) for number in range(4))
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        scaled = [level(features[str(number)]) for number, level in enumerate(self.levels)]
        logits: Tensor = self.classifier(torch.stack(scaled).sum(dim=0))
        return logits.float()


def resnet50_fpn(
    version: Literal[1, 2],
    rpn_pre_nms_top_n: list[int],
    rpn_post_nms_top_n: list[int],
    rpn_batch_size_per_image: int,
    box_batch_size_per_image: int,
    box_score_thresh: float,
    box_nms_thresh: float,
    box_detections_per_img: int,
    num_classes: int,
    weights: str | None = None,
) -> MaskRCNN:
    """torchvision's maskrcnn_resnet50_fpn (version 1) or _v2, whose other settings are the paper's. num_classes: with the background.

    weights: None, a name of torchvision's Mask R-CNN weights (COCO_V1), whose predictors are replaced for one's own
    classes, or a name of its ResNet-50 weights (IMAGENET1K_V2).
    """
    names = {w.name for w in (MaskRCNN_ResNet50_FPN_Weights, MaskRCNN_ResNet50_FPN_V2_Weights)[version - 1]}
    backbones = {"IMAGENET1K_V1", "IMAGENET1K_V2"}
    if weights is not None and weights not in names | backbones:
        raise ConfigError(f"model.weights={weights}: {did_you_mean(weights, names | backbones, 'weights of this model')}")
    whole = weights in names
    make = (maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2)[version - 1]
    network = make(
        weights=weights if whole else None,
        weights_backbone=None if whole else weights,
        num_classes=None if whole else num_classes,
        trainable_backbone_layers=5 if weights else None,  # the group `finetune` freezes
        progress=False,
        **top_n(rpn_pre_nms_top_n, rpn_post_nms_top_n),
        rpn_batch_size_per_image=rpn_batch_size_per_image,
        box_batch_size_per_image=box_batch_size_per_image,
        box_score_thresh=box_score_thresh,
        box_nms_thresh=box_nms_thresh,
        box_detections_per_img=box_detections_per_img,
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
    the network that is built without these weights to receive it. `finetune.frozen_norms` freezes batch norms of any network.
    """
    for module in list(network.modules()):
        for name, frozen in module.named_children():
            if isinstance(frozen, FrozenBatchNorm2d):
                norm = nn.BatchNorm2d(len(frozen.weight))
                state = {**frozen.state_dict(), "running_var": frozen.running_var + frozen.eps - norm.eps}
                norm.load_state_dict({**state, "num_batches_tracked": torch.tensor(0)})
                setattr(module, name, norm)
