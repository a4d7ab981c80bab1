"""torchvision's detectors of boxes over any encoder's feature pyramid, which has five levels, at the strides 4, 8, 16, 32, 64.

num_classes: with the background. anchor_sizes: pixels that the network sees, a list for each level; *_top_n: in training and in prediction.
"""

from functools import partial
from typing import Any, Unpack

from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.detection.ssdlite import SSDLiteHead

from seg.models.pyramid import PyramidRegionSettings, PyramidSettings, anchors_of, keys_named, pyramid_of, region_parts

STRIDES = (4, 8, 16, 32, 64)
GROUPS = 32  # of channels that are normalised together (Wu and He 2018)


class OneStageSettings(PyramidSettings):
    topk_candidates: int
    score_thresh: float
    nms_thresh: float
    detections_per_img: int


def _parts(settings: OneStageSettings, encoder_weights: str | None) -> dict[str, Any]:
    """The arguments that torchvision's detectors in one stage have in common."""
    passed = ("num_classes", "topk_candidates", "score_thresh", "nms_thresh", "detections_per_img")
    return {"backbone": pyramid_of(settings, encoder_weights)} | {name: value for name, value in settings.items() if name in passed}


@keys_named
def faster_rcnn(encoder_weights: str | None = None, **settings: Unpack[PyramidRegionSettings]) -> FasterRCNN:
    """Faster R-CNN (Ren et al. 2015) over a feature pyramid (Lin et al. 2017): proposals, each then classified and moved."""
    return FasterRCNN(**region_parts(settings, encoder_weights))


@keys_named
def retinanet(
    anchor_sizes: list[list[int]],
    aspect_ratios: list[float],
    fg_iou_thresh: float,
    bg_iou_thresh: float,
    encoder_weights: str | None = None,
    **settings: Unpack[OneStageSettings],
) -> RetinaNet:
    """RetinaNet (Lin et al. 2017, focal loss): each anchor is classified and moved, and the many easy ones weigh little.

    anchor_sizes: pixels that the network sees, a list for each level."""
    anchors, parts = anchors_of(anchor_sizes, aspect_ratios), _parts(settings, encoder_weights)
    channels, number, norm = settings["fpn_channels"], anchors.num_anchors_per_location()[0], partial(nn.GroupNorm, GROUPS)
    head = RetinaNetHead(channels, number, settings["num_classes"], norm_layer=norm)
    return RetinaNet(anchor_generator=anchors, head=head, fg_iou_thresh=fg_iou_thresh, bg_iou_thresh=bg_iou_thresh, **parts)


@keys_named
def fcos(center_sampling_radius: float, encoder_weights: str | None = None, **settings: Unpack[OneStageSettings]) -> FCOS:
    """FCOS (Tian et al. 2019): without anchors, each cell in an object's middle says how far its sides are.

    A level is for objects whose farther side is 4 to 8 strides from such a cell. center_sampling_radius: in strides."""
    anchors = AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    return FCOS(anchor_generator=anchors, center_sampling_radius=center_sampling_radius, **_parts(settings, encoder_weights))


@keys_named
def ssd(
    scales: list[float],
    aspect_ratios: list[int],
    iou_thresh: float,
    lite: bool = False,
    encoder_weights: str | None = None,
    **settings: Unpack[OneStageSettings],
) -> SSD:
    """SSD (Liu et al. 2016) over a feature pyramid: one convolution a level says what each default box holds.

    scales: of default boxes, shares of the image's side, one for each level and one more. aspect_ratios: beside 1, and their inverses.
    lite: SSDlite's head (Sandler et al. 2018), of depthwise convolutions."""
    parts = _parts(settings, encoder_weights)
    boxes = DefaultBoxGenerator([list(aspect_ratios)] * len(STRIDES), scales=list(scales))
    inputs, counts = [settings["fpn_channels"]] * len(STRIDES), boxes.num_anchors_per_location()
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    make = partial(SSDLiteHead, norm_layer=norm) if lite else SSDHead
    head = make(inputs, counts, settings["num_classes"])
    # size: of its transform, which takes no part
    return SSD(anchor_generator=boxes, size=(1, 1), head=head, iou_thresh=iou_thresh, **parts)
