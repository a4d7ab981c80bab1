"""torchvision's detectors of boxes over any encoder's feature pyramid, which has five levels, at the strides 4, 8, 16, 32, 64.

num_classes: with the background. anchor_sizes: pixels that the network sees, a list for each level; *_top_n: in training and in prediction.
"""

from functools import partial

from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import MultiScaleRoIAlign

from seg.models.pyramid import BOX_POOL, LEVELS, EncoderPyramid, anchors_of, top_n

STRIDES = (4, 8, 16, 32, 64)
GROUPS = 32  # of channels that are normalised together (Wu and He 2018)


def faster_rcnn(
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
    in_channels: int,
    num_classes: int,
    encoder_weights: str | None = None,
) -> FasterRCNN:
    """Faster R-CNN (Ren et al. 2015) over a feature pyramid (Lin et al. 2017): proposals, each then classified and moved."""
    return FasterRCNN(
        EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels),
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
    )


def retinanet(
    encoder_name: str,
    fpn_channels: int,
    anchor_sizes: list[list[int]],
    aspect_ratios: list[float],
    fg_iou_thresh: float,
    bg_iou_thresh: float,
    topk_candidates: int,
    score_thresh: float,
    nms_thresh: float,
    detections_per_img: int,
    in_channels: int,
    num_classes: int,
    encoder_weights: str | None = None,
) -> RetinaNet:
    """RetinaNet (Lin et al. 2017, focal loss): each anchor is classified and moved, and the many easy ones weigh little."""
    anchors = anchors_of(anchor_sizes, aspect_ratios)
    norm = partial(nn.GroupNorm, GROUPS)
    return RetinaNet(
        EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels),
        num_classes,
        anchor_generator=anchors,
        head=RetinaNetHead(fpn_channels, anchors.num_anchors_per_location()[0], num_classes, norm_layer=norm),
        fg_iou_thresh=fg_iou_thresh,
        bg_iou_thresh=bg_iou_thresh,
        topk_candidates=topk_candidates,
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        detections_per_img=detections_per_img,
    )


def fcos(
    encoder_name: str,
    fpn_channels: int,
    center_sampling_radius: float,
    topk_candidates: int,
    score_thresh: float,
    nms_thresh: float,
    detections_per_img: int,
    in_channels: int,
    num_classes: int,
    encoder_weights: str | None = None,
) -> FCOS:
    """FCOS (Tian et al. 2019): without anchors, each cell in an object's middle says how far its sides are.

    A level is for objects whose farther side is 4 to 8 strides from such a cell. center_sampling_radius: in strides.
    """
    return FCOS(
        EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels),
        num_classes,
        anchor_generator=AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES)),
        center_sampling_radius=center_sampling_radius,
        topk_candidates=topk_candidates,
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        detections_per_img=detections_per_img,
    )


def ssd(
    encoder_name: str,
    fpn_channels: int,
    scales: list[float],
    aspect_ratios: list[int],
    iou_thresh: float,
    topk_candidates: int,
    score_thresh: float,
    nms_thresh: float,
    detections_per_img: int,
    in_channels: int,
    num_classes: int,
    lite: bool = False,
    encoder_weights: str | None = None,
) -> SSD:
    """SSD (Liu et al. 2016) over a feature pyramid: one convolution a level says what each default box holds.

    scales: of default boxes, shares of the image's side, one for each level and one more. aspect_ratios: beside 1, and their inverses.
    lite: SSDlite's head (Sandler et al. 2018), of depthwise convolutions.
    """
    boxes = DefaultBoxGenerator([list(aspect_ratios)] * len(STRIDES), scales=list(scales))
    inputs, counts = [fpn_channels] * len(STRIDES), boxes.num_anchors_per_location()
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    return SSD(
        EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels),
        boxes,
        (1, 1),  # of its transform, which takes no part
        num_classes,
        head=SSDLiteHead(inputs, counts, num_classes, norm) if lite else SSDHead(inputs, counts, num_classes),
        iou_thresh=iou_thresh,
        topk_candidates=topk_candidates,
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        detections_per_img=detections_per_img,
    )
