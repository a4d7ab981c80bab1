"""Any encoder of smp or timm as a feature pyramid (Lin et al. 2017), and what torchvision's detectors take beside it."""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NotRequired, ParamSpec, TypedDict, TypeVar, get_args, get_type_hints

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from seg.core.errors import ConfigError
from seg.models.bifpn import BiFpn

STRIDES = (4, 8, 16, 32)
NUM_STAGES = 5
BOX_POOL = 7  # bins along a side that a box head sees (Girshick 2015)
LEVELS = ["0", "1", "2", "3"]  # of the pyramid that heads of regions look at
P = ParamSpec("P")
T = TypeVar("T")


class EncoderPyramid(nn.Module):
    """Images (B, C, H, W), H and W multiples of 32 -> {"0", "1", "2", "3", "pool"}: (B, out_channels, ...) at strides 4 to 64.

    bifpn_layers: Times that all levels tell each other what they see (`seg.models.bifpn`).
    ConfigError where the encoder does not give features at the strides 4, 8, 16, 32."""

    def __init__(self, encoder_name: str, weights: str | None, in_channels: int, out_channels: int, bifpn_layers: int = 0) -> None:
        super().__init__()
        name = f"model.network.encoder_name={encoder_name}"
        missing = ConfigError(f"{name}: gives no features at the strides 4, 8, 16 and 32; choose another encoder")
        try:
            self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=NUM_STAGES, weights=weights)
        except ValueError as error:
            if "downsampling pattern" in str(error) or "stages" in str(error):
                raise missing from None
            raise
        self.out_channels = out_channels
        sides = self._sides(in_channels)
        self.levels = [sides.index(side) if side in sides else -1 for side in (64 // s for s in STRIDES)]
        channels = [self.encoder.out_channels[level] for level in self.levels]
        if -1 in self.levels or not all(channels):
            raise missing
        self.pyramid = FeaturePyramidNetwork(channels, out_channels, extra_blocks=LastLevelMaxPool())
        self.fusion = nn.Sequential(*(BiFpn(out_channels, len(STRIDES) + 1) for _ in range(bifpn_layers)))

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        features = self.encoder(images)
        found = self.pyramid(OrderedDict((str(i), features[level]) for i, level in enumerate(self.levels)))
        return OrderedDict(zip(found, self.fusion([*found.values()]), strict=True))

    def _sides(self, in_channels: int) -> list[int]:
        """The features' heights for an image of 64 x 64 pixels; of equal ones the last counts, which is the deepest."""
        self.encoder.eval()
        with torch.no_grad():
            sides = [f.shape[-1] for f in self.encoder(torch.zeros(1, in_channels, 64, 64))]
        return [side if following != side else -1 for side, following in pairwise([*sides, 0])]


class PyramidSettings(TypedDict):
    """num_classes: with the background."""

    encoder_name: str
    fpn_channels: int
    in_channels: int
    num_classes: int
    bifpn_layers: NotRequired[int]


class RegionSettings(TypedDict):
    """What torchvision's own Mask R-CNN takes. *_top_n: two numbers, in training and in prediction."""

    rpn_pre_nms_top_n: list[int]
    rpn_post_nms_top_n: list[int]
    rpn_batch_size_per_image: int
    box_batch_size_per_image: int
    box_score_thresh: float
    box_nms_thresh: float
    box_detections_per_img: int


class PyramidRegionSettings(PyramidSettings, RegionSettings):
    """Beside those a network over a pyramid. anchor_sizes: pixels that the network sees, a list for each of the five levels.

    roi_sampling_ratio: points along a bin's side at which features are read (RoIAlign)."""

    anchor_sizes: list[list[int]]
    aspect_ratios: list[float]
    rpn_nms_thresh: float
    rpn_fg_iou_thresh: float
    rpn_bg_iou_thresh: float
    rpn_positive_fraction: float
    roi_sampling_ratio: int
    box_head_channels: int
    box_fg_iou_thresh: float
    box_bg_iou_thresh: float
    box_positive_fraction: float


def keys_named(call: Callable[P, T]) -> Callable[P, T]:
    """Have `inspect.signature` list the keys of a function's `**settings`, by which a configuration is checked."""
    signature = inspect.signature(call)
    *named, settings = signature.parameters.values()
    keys = get_args(settings.annotation)[0]
    default = {name: 0 if name in keys.__optional_keys__ else inspect.Parameter.empty for name in keys.__annotations__}
    kinds = get_type_hints(keys).items()
    further = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default[name]) for name, kind in kinds]
    call.__signature__ = signature.replace(parameters=[*named, *further])  # type: ignore[attr-defined]
    return call


def pyramid_of(settings: PyramidSettings, encoder_weights: str | None) -> EncoderPyramid:
    layers = settings.get("bifpn_layers", 0)
    return EncoderPyramid(settings["encoder_name"], encoder_weights, settings["in_channels"], settings["fpn_channels"], layers)


def region_parts(settings: PyramidRegionSettings, encoder_weights: str | None) -> dict[str, Any]:
    """The arguments that torchvision's FasterRCNN and MaskRCNN have in common."""
    channels, hidden = settings["fpn_channels"], settings["box_head_channels"]
    passed = {name: value for name, value in settings.items() if name.startswith(("rpn_", "box_")) and name != "box_head_channels"}
    return {
        "backbone": pyramid_of(settings, encoder_weights),
        "rpn_anchor_generator": anchors_of(settings["anchor_sizes"], settings["aspect_ratios"]),
        "box_roi_pool": MultiScaleRoIAlign(LEVELS, BOX_POOL, settings["roi_sampling_ratio"]),
        "box_head": TwoMLPHead(channels * BOX_POOL**2, hidden),
        "box_predictor": FastRCNNPredictor(hidden, settings["num_classes"]),
    } | proposals_apart(passed)


def anchors_of(sizes: list[list[int]], aspect_ratios: list[float]) -> AnchorGenerator:
    """Anchors of each level's sizes, each in all ratios. ConfigError where there are other than five levels."""
    if len(sizes) != 5:
        raise ConfigError(f"model.network.anchor_sizes: expected a list for each of the 5 levels of the pyramid, got {len(sizes)}")
    return AnchorGenerator(tuple(map(tuple, sizes)), (tuple(aspect_ratios),) * 5)


def proposals_apart(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with torchvision's names of the numbers of proposals, which are apart in training and in prediction."""
    found = dict(settings)
    for name in ("rpn_pre_nms_top_n", "rpn_post_nms_top_n"):
        numbers = found.pop(name)
        if len(numbers) != 2:
            keys = "model.network.rpn_pre_nms_top_n and .rpn_post_nms_top_n"
            raise ConfigError(f"{keys}: expected two numbers, in training and in prediction")
        found[f"{name}_train"], found[f"{name}_test"] = numbers
    return found
