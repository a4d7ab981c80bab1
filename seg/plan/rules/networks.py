"""Networks that a plan may choose, from small to large, and what goes with them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import family


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with its stride. key: its name in files. least_steps, least_passes: the steps of a training, and how often it sees each
    image, from which on its size pays.
    """

    key: str
    name: str
    network: dict[str, Any]
    stride: int
    least_steps: int
    least_passes: int


def _unet(name: str, encoder: str, depth: int, channels: list[int], steps: int, passes: int) -> Candidate:
    network = {
        "_target_": "segmentation_models_pytorch.Unet",
        "encoder_name": encoder,
        "encoder_depth": depth,
        "decoder_channels": channels,
    }
    return Candidate(f"unet_{encoder.removeprefix('tu-')}", name, network, 2**depth, steps, passes)


def _mask_rcnn(name: str, encoder: str, channels: int, head: int, steps: int, passes: int) -> Candidate:
    network = {
        "_target_": "seg.models.mask_rcnn.mask_rcnn",
        "encoder_name": encoder,
        "fpn_channels": channels,
        "rpn_nms_thresh": 0.7,
        "rpn_fg_iou_thresh": 0.7,
        "rpn_bg_iou_thresh": 0.3,
        "rpn_batch_size_per_image": 128 if channels < 256 else 256,
        "rpn_positive_fraction": 0.5,
        "roi_sampling_ratio": 1 if channels < 256 else 2,
        "box_head_channels": head,
        "box_score_thresh": 0.05,
        "box_nms_thresh": 0.5,
        "box_fg_iou_thresh": 0.5,
        "box_bg_iou_thresh": 0.5,
        "box_batch_size_per_image": 64 if channels < 256 else 512,
        "box_positive_fraction": 0.25,
        "mask_head_channels": [channels] * 4,
    }
    return Candidate(f"mask_rcnn_{encoder}", name, network, 32, steps, passes)


def _faster_rcnn(mask_rcnn: Candidate) -> Candidate:
    """The same without masks."""
    network = {key: value for key, value in mask_rcnn.network.items() if key != "mask_head_channels"}
    network |= {"_target_": "seg.models.detectors.faster_rcnn"}
    return replace(mask_rcnn, network=network, key=mask_rcnn.key.replace("mask", "faster"), name=mask_rcnn.name.replace("Mask", "Faster"))


def _panoptic_fpn(mask_rcnn: Candidate) -> Candidate:
    """The same with a branch for the class of each pixel."""
    network = {**mask_rcnn.network, "semantic_channels": mask_rcnn.network["fpn_channels"]}
    key, name = mask_rcnn.key.replace("mask_rcnn", "panoptic_fpn"), mask_rcnn.name.replace("Mask R-CNN", "Panoptic FPN")
    return replace(mask_rcnn, network=network, key=key, name=name)


UNETS = {
    "cpu": (
        _unet("U-Net on a ResNet of 10 layers", "tu-resnet10t", 4, [64, 32, 16, 16], 0, 0),
        _unet("U-Net on ResNet-18", "resnet18", 5, [256, 128, 64, 32, 16], 1800, 15),
    ),
    "cuda": (
        _unet("U-Net on ResNet-18", "resnet18", 5, [256, 128, 64, 32, 16], 0, 0),
        _unet("U-Net on ResNet-34", "resnet34", 5, [256, 128, 64, 32, 16], 5000, 20),
        _unet("U-Net on ResNet-50", "resnet50", 5, [256, 128, 64, 32, 16], 20000, 40),
    ),
}
MASK_RCNNS = {
    "cpu": (_mask_rcnn("Mask R-CNN on ResNet-18", "resnet18", 64, 256, 0, 0),),
    "cuda": (
        _mask_rcnn("Mask R-CNN on ResNet-18", "resnet18", 128, 512, 0, 0),
        _mask_rcnn("Mask R-CNN on ResNet-50", "resnet50", 256, 1024, 10000, 12),
    ),
}
CANDIDATES = {
    **{("semantic", device): unets for device, unets in UNETS.items()},
    **{
        ("distance", device): tuple(replace(u, name=f"{u.name}, for distances", key=u.key.replace("unet", "distance")) for u in unets)
        for device, unets in UNETS.items()
    },
    **{("instance", device): networks for device, networks in MASK_RCNNS.items()},
    **{("detection", device): tuple(map(_faster_rcnn, networks)) for device, networks in MASK_RCNNS.items()},
    **{("panoptic", device): tuple(map(_panoptic_fpn, networks)) for device, networks in MASK_RCNNS.items()},
}
"""U-Net (Ronneberger et al. 2015) on residual encoders, Mask R-CNN (He et al. 2017), Faster R-CNN (Ren et al. 2015), and Panoptic FPN
(Kirillov et al. 2019). Steps and passes
that a larger one needs were measured on CamVid and `shapes`, Mask R-CNN's for both: with fewer the smaller one has the better figure."""


def candidates(facts: PlanFacts, draft: Draft) -> tuple[Candidate, ...]:
    """Those for the kind of model and device, from small to large."""
    return CANDIDATES[family(facts, draft), "cpu" if facts.device == "cpu" else "cuda"]


def network(facts: PlanFacts, draft: Draft, candidate: Candidate, reason: str) -> Iterator[Decision]:
    """A candidate's own keys."""
    yield Decision("model.network", candidate.network, reason)
    yield Decision("model.name", candidate.key, "named after its encoder")
    yield Decision("model.stride", candidate.stride, f"{candidate.name} halves its features {candidate.stride.bit_length() - 1} times")
