"""YOLO without anchors (Redmon et al. 2016; Ge et al. 2021, YOLOX), over any encoder's feature pyramid, with torchvision's interface."""

from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou, generalized_box_iou_loss

from seg.core.errors import ConfigError
from seg.models.pyramid import EncoderPyramid

STRIDES = (4, 8, 16, 32, 64)
PRIOR = 0.01  # of an object in a cell, at the start
BOX, CLASS, FAR = 5.0, 1.0, 1e5
"""Weight of the boxes' loss; of classes and overlap (3) in the choice of cells, and of cells away from an object's middle (YOLOX)."""
OVERLAP, RADIUS, CANDIDATES = 3.0, 2.5, 10


class YoloHead(nn.Module):
    """Features (B, C, h, w) of each stride -> (B, cells, 4 + 1 + K): middle and size of a box, whether there is one, logits of classes.

    Boxes and classes have convolutions of their own, shared by the strides (YOLOX's decoupled head).
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.boxes, self.classes = _tower(channels), _tower(channels)
        self.box, self.object, self.kind = (nn.Conv2d(channels, number, 1) for number in (4, 1, num_classes))
        for layer in (self.object, self.kind):
            nn.init.constant_(layer.bias, -log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        found = []
        for level in features:
            place, kind = self.boxes(level), self.classes(level)
            found.append(torch.cat([self.box(place), self.object(place), self.kind(kind)], dim=1).flatten(2).transpose(1, 2))
        return torch.cat(found, dim=1)


class Yolo(nn.Module):
    """Images -> boxes with classes, or with `targets` (boxes (N, 4) xyxy and labels (N,) from 1, of each image) a dict of losses.

    Args:
        encoder_name, fpn_channels, in_channels, encoder_weights: As in `EncoderPyramid`.
        strides: Of 4, 8, 16, 32, 64, those whose cells say where objects are.
        score_thresh, nms_thresh, detections_per_img: What is given: boxes from a score on, the best of those that overlap, so many.
        num_classes: With the background.

    Raises:
        ConfigError: A stride that the pyramid does not have.
    """

    def __init__(
        self,
        encoder_name: str,
        fpn_channels: int,
        strides: list[int],
        score_thresh: float,
        nms_thresh: float,
        detections_per_img: int,
        in_channels: int,
        num_classes: int,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        if not strides or not set(strides) <= set(STRIDES):
            raise ConfigError(f"model.network.strides={strides}: expected some of {', '.join(map(str, STRIDES))}")
        self.strides, self.score_thresh, self.nms_thresh, self.most = sorted(strides), score_thresh, nms_thresh, detections_per_img
        self.transform: nn.Module = nn.Identity()  # takes no part, see `seg.models.detection`
        self.backbone = EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels)
        self.head = YoloHead(fpn_channels, num_classes - 1)

    def forward(self, images: Any, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        pyramid = list(self.backbone(images.tensors).values())
        features = [pyramid[STRIDES.index(stride)] for stride in self.strides]
        given = self.head(features)
        middles, sides = cells(features, self.strides)
        centers, sizes = middles + given[..., :2] * sides[:, None], given[..., 2:4].clamp(max=8).exp() * sides[:, None]
        boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)
        if targets is not None:
            return losses(boxes, given[..., 4], given[..., 5:], middles, sides, targets)
        chances = given[..., 4:5].sigmoid() * given[..., 5:].sigmoid()
        return [self._best(*one) for one in zip(boxes, chances, images.image_sizes, strict=True)]

    def _best(self, boxes: Tensor, chances: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        scores, kinds = chances.max(dim=1)
        sure = scores > self.score_thresh
        boxes, scores, kinds = boxes[sure], scores[sure], kinds[sure]
        limit = boxes.new_tensor([size[1], size[0]] * 2)
        boxes = torch.minimum(boxes.clamp(min=0), limit)
        kept = batched_nms(boxes, scores, kinds, self.nms_thresh)[: self.most]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": kinds[kept] + 1}


def cells(features: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The middles (cells, 2) x, y in pixels, and the strides (cells,), of all levels' cells."""
    middles, sides = [], []
    for level, stride in zip(features, strides, strict=True):
        rows, columns = (torch.arange(n, device=level.device, dtype=torch.float32) for n in level.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        middles.append((torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5) * stride)
        sides.append(torch.full((level.shape[-2] * level.shape[-1],), float(stride), device=level.device))
    return torch.cat(middles), torch.cat(sides)


def losses(
    boxes: Tensor, objects: Tensor, kinds: Tensor, middles: Tensor, sides: Tensor, targets: Sequence[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Sums over the cells that have an object, by their number: of boxes 5 (1 - GIoU), of classes cross-entropy with the overlap as its
    target; and cross-entropy of all cells, whether there is an object. boxes: (B, cells, 4); objects: (B, cells); kinds: (B, cells, K).
    """
    box, kind, count = boxes.new_zeros(()), boxes.new_zeros(()), 0
    wanted = torch.zeros_like(objects)
    for i, target in enumerate(targets):
        if not len(target["boxes"]):
            continue
        with torch.no_grad():
            chosen, owner, overlap = assign(boxes[i], objects[i], kinds[i], middles, sides, target["boxes"], target["labels"])
        wanted[i, chosen] = 1.0
        box = box + generalized_box_iou_loss(boxes[i, chosen], target["boxes"][owner], reduction="sum")
        hot = F.one_hot(target["labels"][owner] - 1, kinds.shape[-1]) * overlap[:, None]
        kind = kind + F.binary_cross_entropy_with_logits(kinds[i, chosen], hot.to(kinds.dtype), reduction="sum")
        count += len(chosen)
    seen = F.binary_cross_entropy_with_logits(objects, wanted, reduction="sum")
    return {
        name: term / max(1, count) for name, term in (("classification", kind), ("bbox_regression", BOX * box), ("loss_objectness", seen))
    }


def assign(
    boxes: Tensor, objects: Tensor, kinds: Tensor, middles: Tensor, sides: Tensor, truth: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cells that learn an object, the object (index into truth) of each, and how far its box overlaps it (SimOTA, YOLOX).

    Each object takes the cells that cost least: as many as its ten best boxes overlap it in sum. A cell near two objects goes to the
    cheaper one. Only cells whose middle lies in an object, or near its middle, can have it.
    """
    inside = ((middles[:, None] > truth[:, :2]) & (middles[:, None] < truth[:, 2:])).all(dim=-1)
    near = ((middles[:, None] - (truth[:, :2] + truth[:, 2:]) / 2).abs() < RADIUS * sides[:, None, None]).all(dim=-1)
    overlap = box_iou(boxes, truth)
    chances = (objects.sigmoid()[:, None] * kinds.sigmoid()).sqrt().clamp(1e-6, 1 - 1e-6)
    unlike = -(1 - chances).log().sum(dim=1, keepdim=True)
    of_class = chances[:, labels - 1]
    cost = CLASS * (unlike + (1 - of_class).log() - of_class.log()) - OVERLAP * (overlap + 1e-8).log() + FAR * ~(inside & near)
    cost = cost.masked_fill(~(inside | near), float("inf"))
    numbers = overlap.masked_fill(~(inside | near), 0).topk(min(CANDIDATES, len(boxes)), dim=0).values.sum(dim=0).int().clamp(min=1)
    taken = torch.zeros_like(inside)
    for index, number in enumerate(numbers.tolist()):
        best = cost[:, index].topk(min(number, len(boxes)), largest=False)
        taken[best.indices[best.values.isfinite()], index] = True
    chosen = taken.any(dim=1).nonzero()[:, 0]
    owner = cost[chosen].masked_fill(~taken[chosen], float("inf")).argmin(dim=1)
    return chosen, owner, overlap[chosen, owner]


def _tower(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.SiLU(inplace=True)]
    return nn.Sequential(*layers)
