"""torchvision's Mask R-CNN behind the seam: its parts are called here one by one, because the truth is an id map.

So masks are never N x H x W, losses are float32 under autocast, and crowds are neither object nor background."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss, maskrcnn_inference
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.loading.batch import Batch
from seg.models.base import Floats, Scale, SegmentationModel, Size, Subject, box_factor, first_label
from seg.models.roi_masks import mask_targets, prediction_of

MAX_IN_CROWD = 0.5  # a box that lies in a crowd with more than this share of its area is not called background
Target = dict[str, Any]
"""One image's truth in the network's pixels: boxes (N, 4), labels (N,) from 1; ids (N,) in `masks`, the id map (H, W, L) as
stored; crowd, the integral image (h + 1, w + 1) of its crowds, or None; factor (4,), network pixels for one of the map's."""


class TermWeights(nn.Module):
    """The weight of each of Mask R-CNN's losses (He et al. 2017: all 1), and of a `SemanticBranch` where there is one."""

    def __init__(self, objectness: float, rpn_box: float, classifier: float, box: float, mask: float, semantic: float = 0.0) -> None:
        super().__init__()
        self.weights = {"objectness": objectness, "rpn_box": rpn_box, "classifier": classifier, "box": box, "mask": mask}
        self.weights["semantic"] = semantic
        if min(self.weights.values()) < 0:
            raise ConfigError(f"loss: expected weights of 0 or more, got {self.weights}")

    def forward(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses, each times its weight; those of weight 0 are left out."""
        return {name: weight * terms[name] for name, weight in self.weights.items() if weight}


class RegionModel(SegmentationModel):
    """A torchvision MaskRCNN whose label 0 is "no object"; a first class `background` stands for it, other classes follow in order."""

    LOSS: ClassVar[str]
    """The file of conf/loss that holds the weights of its losses."""

    def __init__(
        self, network: nn.Module, loss: nn.Module | None, class_names: Sequence[str], mean: Floats, std: Floats, stride: int, scale: Scale
    ) -> None:
        super().__init__(mean, std, stride, scale)
        if not isinstance(network, MaskRCNN):
            raise ConfigError(f"model.network: gave a {type(network).__name__}, expected torchvision's MaskRCNN")
        if not isinstance(loss, TermWeights | None):
            raise ConfigError(f"loss: Mask R-CNN brings its own losses; set loss={self.LOSS}, which holds their weights")
        if (self.LOSS == "panoptic") != hasattr(network, "semantic"):
            what = "model.network.semantic_channels: expected a number such as 64 for task=panoptic, whose network classifies each pixel"
            raise ConfigError(f"{what}, too, and 0 for task=instance")
        if loss and bool(loss.weights["semantic"]) != hasattr(network, "semantic"):
            raise ConfigError(f"loss.semantic={loss.weights['semantic']}: does not fit the network; set loss={self.LOSS}")
        self.network, self.loss = network, loss
        self.first_label = first_label(class_names)

    @property
    def body(self) -> nn.Module:
        return self.network.backbone

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        x, sizes = self.network_input(batch.images, batch.sizes)
        features = self.network.backbone(x)
        targets = [self.target(batch, i, size) for i, size in enumerate(sizes)]
        proposals, terms = self._proposals(ImageList(x, sizes), features, targets)
        terms |= self._head_losses(features, proposals, sizes, targets) | self.further_losses(features, batch, sizes)
        assert self.loss is not None, "a model that is only used has no loss"
        return self.loss(terms)

    def further_losses(self, features: dict[str, Tensor], batch: Batch, sizes: Sequence[Size]) -> dict[str, Tensor]:
        """Beside those of boxes and masks."""
        return {}

    def instances(self, x: Tensor, features: dict[str, Tensor], sizes: list[tuple[int, int]], stored: tuple[int, int]) -> list[Prediction]:
        """The instances of each image, best first, in pixels of images of the size `stored` (height, width)."""
        factor = box_factor(stored, sizes[0], x.device)
        return [
            prediction_of(boxes / factor, scores, labels - self.first_label, masks[:, 0], *stored)
            for boxes, scores, labels, masks in self.found(x, features, sizes)
        ]

    def found(self, x: Tensor, features: dict[str, Tensor], sizes: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Input of the network, its features and sizes before padding -> of each image, best first: boxes (N, 4) float32 xyxy in its
        pixels, scores (N,) float32, labels (N,) int64, and the probability of each of M x M parts of a box to be of the object,
        (N, 1, M, M) float32."""
        proposals, _ = self._proposals(ImageList(x, sizes), features, None)
        heads = self.network.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
        boxes, scores, labels = heads.postprocess_detections(logits.float(), deltas.float(), proposals, sizes)
        shapes = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes, sizes)))
        masks = maskrcnn_inference(shapes.float(), labels)
        return list(zip(boxes, scores, labels, masks, strict=True))

    def evidence(self, x: Tensor, size: tuple[int, int], subject: Subject) -> Tensor:
        """The logit of the class, of the box around the region."""
        heads, boxes = self.network.roi_heads, [subject.box] * len(x)
        logits, _ = heads.box_predictor(heads.box_head(heads.box_roi_pool(self.network.backbone(x), boxes, [size] * len(x))))
        return logits[:, subject.category + self.first_label].float()

    def target(self, batch: Batch, index: int, size: tuple[int, int]) -> Target:
        """The truth of image `index`, which the network sees at `size`."""
        instances, boxes, crowds, kept = (each[index] for each in (batch.instances, batch.boxes, batch.crowds, batch.objects))
        factor = box_factor(batch.sizes[index], size, boxes.device)
        integral: Tensor | None = None
        if len(crowds):
            mask = torch.isin(instances, crowds).any(dim=2)
            integral = F.pad(mask.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))
        labels = batch.categories[index][kept].long() + self.first_label
        truth = {"boxes": boxes[kept] * factor, "labels": labels, "ids": kept + 1, "masks": instances}
        return truth | {"crowd": integral, "factor": factor}

    def _proposals(
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes that may hold an object, a tensor (P, 4) an image; and their losses where the truth is given."""
        rpn, levels = self.network.rpn, list(features.values())
        by_level, deltas_by_level = rpn.head(levels)
        shapes = [level.new_zeros((), dtype=torch.float32).expand(level.shape) for level in levels]  # bf16 knows no odd pixel from 256 on
        anchors = rpn.anchor_generator(images, shapes)
        counts = [level[0].numel() for level in by_level]
        objectness, deltas = (t.float() for t in concat_box_prediction_layers(by_level, deltas_by_level))
        decoded = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        proposals, _ = rpn.filter_proposals(decoded, objectness, images.image_sizes, counts)
        if targets is None:
            return proposals, {}
        labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            if target["crowd"] is not None:
                label.masked_fill_((label == 0) & _in_crowd(boxes, target), -1)
        objectness_loss, box_loss = rpn.compute_loss(objectness, deltas, labels, rpn.box_coder.encode(matched, anchors))
        return proposals, {"objectness": objectness_loss, "rpn_box": box_loss}

    def _head_losses(
        self, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]], targets: list[Target]
    ) -> dict[str, Tensor]:
        heads = self.network.roi_heads
        proposals = [
            p if t["crowd"] is None else p[~(_in_crowd(p, t) & ~_on_object(p, t))] for p, t in zip(proposals, targets, strict=True)
        ]
        boxes, matched, labels, regression = heads.select_training_samples(proposals, targets)
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, boxes, sizes)))
        classifier_loss, box_loss = fastrcnn_loss(logits.float(), deltas.float(), labels, regression)
        objects = [torch.where(label > 0)[0] for label in labels]
        on_objects = [b[o] for b, o in zip(boxes, objects, strict=True)]
        shapes = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, on_objects, sizes)))
        truth = torch.cat(
            [
                mask_targets(t["masks"], t["ids"][m[o]], b / t["factor"], shapes.shape[-1])
                for t, m, o, b in zip(targets, matched, objects, on_objects, strict=True)
                if len(o)
            ]
            or [shapes.new_zeros((0, *shapes.shape[-2:]), dtype=torch.float32)]
        )
        of_class = torch.cat([label[o] for label, o in zip(labels, objects, strict=True)])
        own = shapes[torch.arange(len(of_class), device=shapes.device), of_class].float()
        total = F.binary_cross_entropy_with_logits(own, truth, reduction="sum")
        return {"classifier": classifier_loss, "box": box_loss, "mask": total / max(1, truth.numel())}


def _in_crowd(boxes: Tensor, target: Target) -> Tensor:
    """(P,) bool: boxes that lie in a crowd with more than MAX_IN_CROWD of their area; the target has one."""
    sums = target["crowd"]
    height, width = sums.shape
    x1, y1, x2, y2 = (boxes / target["factor"]).round().long().unbind(1)
    (x1, x2), (y1, y2) = (t.clamp(0, width - 1) for t in (x1, x2)), (t.clamp(0, height - 1) for t in (y1, y2))
    covered = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
    return covered > MAX_IN_CROWD * ((x2 - x1) * (y2 - y1)).clamp(min=1)


def _on_object(boxes: Tensor, target: Target) -> Tensor:
    """(P,) bool: boxes that overlap an object with an IoU of 0.5 or more."""
    if not len(target["boxes"]) or not len(boxes):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return box_iou(target["boxes"], boxes).amax(dim=0) >= 0.5
