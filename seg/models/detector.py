"""torchvision's detectors of boxes (Faster R-CNN, RetinaNet, FCOS, SSD) as a `SegmentationModel`: each whole, with losses of its own.

Its transform takes no part, since images come normalised, scaled and padded. Heads compute in any precision, all else in float32."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from seg.core.errors import ConfigError
from seg.data.labelmaps import fill_boxes
from seg.data.sample import Prediction
from seg.loading.batch import Batch
from seg.models.base import Floats, Scale, SegmentationModel, box_factor, first_label
from seg.models.roi_masks import prediction_of

TERMS = {
    "loss_classifier": "classifier",
    "classification": "classifier",
    "loss_box_reg": "box",
    "bbox_regression": "box",
    "bbox_ctrness": "centerness",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_mask": "mask",
}
"""What torchvision's detectors call their losses."""


class DetectionLoss(nn.Module):
    """The weight of each loss that a detector has (the papers: all 1, but for the masks of prototypes)."""

    def __init__(
        self, classifier: float, box: float, objectness: float, centerness: float = 1.0, rpn_box: float = 1.0, mask: float = 1.0
    ) -> None:
        super().__init__()
        given = (classifier, box, centerness, objectness, rpn_box, mask)
        self.weights = dict(zip(("classifier", "box", "centerness", "objectness", "rpn_box", "mask"), given, strict=True))
        if min(self.weights.values()) < 0:
            raise ConfigError(f"loss: expected weights of 0 or more, got {self.weights}")

    def forward(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's losses, each times its weight; those of weight 0 are left out."""
        named = {TERMS[name]: term.float() for name, term in terms.items()}
        return {name: self.weights[name] * term for name, term in named.items() if self.weights[name]}


class Given(ImageList):
    """Images as the network sees them, whose (height, width) without padding are known."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)


class AsGiven(nn.Module):
    """In place of torchvision's transform, which would normalise, scale and pad."""

    def forward(self, images: Given, targets: Any = None) -> tuple[Given, Any]:
        return images, targets

    def postprocess(self, detections: list[dict[str, Tensor]], *_: Any) -> list[dict[str, Tensor]]:
        return detections


class DetectorModel(SegmentationModel):
    """A torchvision detector whose label 0 is "no object"; a first class `background` stands for it, other classes follow in order."""

    def __init__(
        self, network: nn.Module, loss: nn.Module | None, class_names: Sequence[str], mean: Floats, std: Floats, stride: int, scale: Scale
    ) -> None:
        super().__init__(mean, std, stride, scale)
        heads = [part for name, part in network.named_modules() if name in ("head", "rpn.head", "roi_heads.box_predictor")]
        if not hasattr(network, "transform") or not hasattr(network, "backbone") or not heads:
            raise ConfigError(f"model.network: gave a {type(network).__name__}, expected a detector as torchvision has them")
        if not isinstance(loss, DetectionLoss | None):
            raise ConfigError("loss: a detector brings its own losses; set loss=detection, which holds their weights")
        network.transform = AsGiven()
        for part in (network.get_submodule("backbone"), *heads):  # anchors take the features' type, and bf16 knows no odd pixel from 256 on
            part.register_forward_hook(lambda _, __, output: as_float32(output))
        self.network, self.loss = network, loss
        self.first_label = first_label(class_names)

    @property
    def body(self) -> nn.Module:
        return self.network.get_submodule("backbone")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """What lies in a crowd alone is not shown, so that it is neither learned as an object nor as background."""
        x, sizes = self.network_input(without_crowds(batch, self.mean).images, batch.sizes)
        targets = []
        each = zip(batch.boxes, batch.categories, batch.objects, batch.instances, batch.sizes, sizes, strict=True)
        for boxes, categories, kept, ids, stored, seen in each:
            labels, factor = categories[kept].long() + self.first_label, box_factor(stored, seen, boxes.device)
            targets.append({"boxes": boxes[kept] * factor, "labels": labels, "ids": kept + 1, "masks": ids, "factor": factor})
        assert self.loss is not None, "a model that is only used has no loss"
        return self.loss(self.network(Given(x, sizes), targets))

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        x, sizes = self.network_input(images)
        height, width = images.shape[-2:]
        factor = box_factor((height, width), sizes[0], x.device)
        found = []
        for boxes, scores, labels, *masks in self.detections(x, sizes):
            said = (boxes / factor, scores, labels - self.first_label)
            found.append(prediction_of(*said, masks[0][:, 0], height, width) if masks else prediction_of_boxes(*said, height, width))
        return found

    def detections(self, x: Tensor, sizes: list[tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """Input of the network and sizes before padding -> of each image, best first: boxes (N, 4) float32 xyxy in its pixels, scores
        (N,) float32, labels (N,) int64 from 1, and of a network with prototypes the probability of each of M x M points of a box to be of
        the object, (N, 1, M, M) float32."""
        found = []
        for one in self.network(Given(x, sizes)):
            boxes, labels = one["boxes"], one["labels"]
            kept = (labels > 0) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
            masks = [one["masks"][kept][:, None]] if "masks" in one else []
            found.append((boxes[kept], one["scores"][kept], labels[kept], *masks))
        return found


def prediction_of_boxes(boxes: Tensor, scores: Tensor, categories: Tensor, height: int, width: int) -> Prediction:
    """What a detector says of one image (height, width), best first. boxes: (N, 4) xyxy in pixels. scores, categories: (N,)."""
    found = boxes.float().cpu().numpy()
    kinds = categories.cpu().numpy().astype(np.int32)
    return Prediction(None, None, scores.float().cpu().numpy(), kinds, found, fill_boxes(found, height, width), boxed=True)


def without_crowds(batch: Batch, mean: Tensor) -> Batch:
    """The batch with the mean colour in place of what lies in a crowd and in no object. mean: (1, C, 1, 1)."""
    if not any(map(len, batch.crowds)):
        return batch
    images = batch.images.clone()
    for image, ids, crowds in zip(images, batch.instances, batch.crowds, strict=True):
        inside = torch.isin(ids, crowds)
        hidden = inside.any(dim=2) & ~((ids > 0) & ~inside).any(dim=2)
        image[:, hidden] = mean[0, :, 0].round().to(images.dtype)
    return replace(batch, images=images)


def as_float32(output: Any) -> Any:
    """A tensor, or those in lists and dicts, as float32."""
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return type(output)((name, as_float32(part)) for name, part in output.items())
    return type(output)(as_float32(part) for part in output)
