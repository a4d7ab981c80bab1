"""YOLO without anchors (Redmon et al. 2016; Ge et al. 2021, YOLOX), over any encoder's feature pyramid, with torchvision's interface."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou, generalized_box_iou_loss, roi_align

from seg.core.errors import ConfigError
from seg.models.pyramid import EncoderPyramid
from seg.models.roi_masks import mask_targets

STRIDES = (4, 8, 16, 32, 64)
PRIOR = 0.01  # of an object in a cell, at the start
BOX, CLASS, FAR = 5.0, 1.0, 1e5
"""Weight of the boxes' loss; of classes and overlap (3) in the choice of cells, and of cells away from an object's middle (YOLOX)."""
OVERLAP, RADIUS, CANDIDATES = 3.0, 2.5, 10
FINE = 2  # pixels of a prototype's cell
Targets = Sequence[dict[str, Tensor]]
MaskSum = Callable[[int, Tensor, Tensor], Tensor]


class YoloHead(nn.Module):
    """Features (B, C, h, w) of each stride -> (B, cells, 4 + 1 + K + P): middle and size of a box, whether there is one, logits of classes,
    and how much of each prototype its mask has.

    Boxes and classes have convolutions of their own, shared by the strides (YOLOX's decoupled head)."""

    def __init__(self, channels: int, num_classes: int, prototypes: int = 0) -> None:
        super().__init__()
        self.boxes, self.classes = _tower(channels), _tower(channels)
        self.box, self.object, self.kind = (nn.Conv2d(channels, number, 1) for number in (4, 1, num_classes))
        self.mask = nn.Conv2d(channels, prototypes, 1) if prototypes else None
        for layer in (self.object, self.kind):
            nn.init.constant_(layer.bias, -log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        found = []
        for level in features:
            place, kind = self.boxes(level), self.classes(level)
            parts = [self.box(place), self.object(place), self.kind(kind)] + ([self.mask(place).tanh()] if self.mask else [])
            found.append(torch.cat(parts, dim=1).flatten(2).transpose(1, 2))
        return torch.cat(found, dim=1)


class Yolo(nn.Module):
    """Images -> boxes with classes, or with `targets` (boxes (N, 4) xyxy and labels (N,) from 1, of each image) a dict of losses.

    With prototypes a box has a mask, too (YOLACT, Bolya et al. 2019): a sum of maps that all boxes of an image share, cropped to the box.

    encoder_name, fpn_channels, in_channels, encoder_weights: as in `EncoderPyramid`. strides: of 4, 8, 16, 32, 64, those whose cells say
    where objects are; ConfigError for others. score_thresh, nms_thresh, detections_per_img: what is given: boxes from a score on, the best
    of those that overlap, so many. num_classes: with the background. prototypes: how many maps masks are summed of; 0: boxes alone.
    mask_bins: points along a box's side at which its mask is learned and given."""

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
        prototypes: int = 0,
        mask_bins: int = 28,
    ) -> None:
        super().__init__()
        if not strides or not set(strides) <= set(STRIDES):
            raise ConfigError(f"model.network.strides={strides}: expected some of {', '.join(map(str, STRIDES))}")
        self.strides, self.score_thresh, self.nms_thresh, self.most = sorted(strides), score_thresh, nms_thresh, detections_per_img
        self.transform: nn.Module = nn.Identity()  # takes no part, see `seg.models.detector`
        self.backbone = EncoderPyramid(encoder_name, encoder_weights, in_channels, fpn_channels)
        self.head, self.parts = YoloHead(fpn_channels, num_classes - 1, prototypes), [4, 1, num_classes - 1, prototypes]
        self.maps, self.mask_bins = _prototypes(fpn_channels, prototypes) if prototypes else None, mask_bins

    def forward(self, images: Any, targets: Targets | None = None) -> Any:
        boxes, (objects, kinds, shares), places, maps = self._said(images.tensors)
        if targets is not None:
            masks = None if maps is None else partial(self._mask_sum, maps, shares, targets)
            return losses(boxes, objects[..., 0], kinds, *places, targets, masks)
        chances, found = objects.sigmoid() * kinds.sigmoid(), []
        for i, size in enumerate(images.image_sizes):
            best, kept = self._best(boxes[i], chances[i], size)
            if maps is not None:
                logits = torch.einsum("np,npyx->nyx", shares[i, kept], self._cropped(maps[i], best["boxes"]))
                best["masks"] = logits.float().sigmoid()
            found.append(best)
        return found

    def evidence(self, x: Tensor, box: Tensor, label: int) -> Tensor:
        """The log-probability (B,) that the cell whose box overlaps a box (1, 4) most has an object of the label, from 1."""
        boxes, (objects, kinds, _), _, _ = self._said(x)
        cell = torch.stack([box_iou(own, box)[:, 0].argmax() for own in boxes.detach()])
        of_class = F.logsigmoid(objects[..., 0]) + F.logsigmoid(kinds[..., label - 1])
        return of_class.gather(1, cell[:, None])[:, 0]

    def _said(self, x: Tensor) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor], Tensor | None]:
        """Boxes (B, cells, 4) xyxy; objects, kinds and shares of prototypes (B, cells, ...); `cells`; prototypes (B, P, h, w)."""
        pyramid = list(self.backbone(x).values())
        features = [pyramid[STRIDES.index(stride)] for stride in self.strides]
        place, *said = self.head(features).split(self.parts, dim=-1)
        middles, sides = cells(features, self.strides)
        centers, sizes = middles + place[..., :2] * sides[:, None], place[..., 2:].clamp(max=8).exp() * sides[:, None]
        maps = None if self.maps is None else self.maps(pyramid[0]).float()
        return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1), said, (middles, sides), maps

    def _best(self, boxes: Tensor, chances: Tensor, size: tuple[int, int]) -> tuple[dict[str, Tensor], Tensor]:
        """What is given of an image, best first, and the cells that said it."""
        scores, kinds = chances.max(dim=1)
        sure = (scores > self.score_thresh).nonzero()[:, 0]
        height, width = (torch.as_tensor(side, dtype=boxes.dtype, device=boxes.device) for side in size)
        inside = torch.minimum(boxes[sure].clamp(min=0), torch.stack([width, height, width, height]))
        kept = batched_nms(inside, scores[sure], kinds[sure], self.nms_thresh)[: self.most]
        chosen = sure[kept]
        return {"boxes": inside[kept], "scores": scores[chosen], "labels": kinds[chosen] + 1}, chosen

    def _cropped(self, maps: Tensor, boxes: Tensor) -> Tensor:
        """Prototypes (P, h, w) of an image at the points of boxes (N, 4): (N, P, bins, bins)."""
        return roi_align(maps[None], [boxes], self.mask_bins, 1 / FINE, sampling_ratio=1, aligned=True)

    def _mask_sum(self, maps: Tensor, shares: Tensor, targets: Targets, image: int, chosen: Tensor, owner: Tensor) -> Tensor:
        """The cross-entropy of the masks of cells, each a mean over its object's box, summed."""
        target = targets[image]
        truth = mask_targets(target["masks"], target["ids"], target["boxes"] / target["factor"], self.mask_bins)
        logits = torch.einsum("np,npyx->nyx", shares[image, chosen], self._cropped(maps[image], target["boxes"])[owner])
        return F.binary_cross_entropy_with_logits(logits.float(), truth[owner], reduction="sum") / self.mask_bins**2


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
    boxes: Tensor, objects: Tensor, kinds: Tensor, middles: Tensor, sides: Tensor, targets: Targets, masks: MaskSum | None = None
) -> dict[str, Tensor]:
    """Sums over the cells that have an object, by their number: of boxes 5 (1 - GIoU), of classes cross-entropy with the overlap as its
    target; and cross-entropy of all cells, whether there is an object. boxes: (B, cells, 4); objects: (B, cells); kinds: (B, cells, K).
    masks: an image, its cells and their objects -> a further sum."""
    box, kind, mask, count = boxes.new_zeros(()), boxes.new_zeros(()), boxes.new_zeros(()), 0
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
        mask = mask + masks(i, chosen, owner) if masks else mask
        count += len(chosen)
    seen = F.binary_cross_entropy_with_logits(objects, wanted, reduction="sum")
    terms = {"classification": kind, "bbox_regression": BOX * box, "loss_objectness": seen} | ({"loss_mask": mask} if masks else {})
    return {name: term / max(1, count) for name, term in terms.items()}


def assign(
    boxes: Tensor, objects: Tensor, kinds: Tensor, middles: Tensor, sides: Tensor, truth: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cells that learn an object, the object (index into truth) of each, and how far its box overlaps it (SimOTA, YOLOX).

    Each object takes the cells that cost least: as many as its ten best boxes overlap it in sum. A cell near two objects goes to the
    cheaper one. Only cells whose middle lies in an object, or near its middle, can have it."""
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


def _prototypes(channels: int, number: int) -> nn.Sequential:
    """Features (B, C, h, w) of the stride 4 -> (B, number, 2 h, 2 w), 0 or more."""
    scaled = [nn.Upsample(scale_factor=4 // FINE, mode="bilinear"), *_tower(channels)[:3]]
    return nn.Sequential(*_tower(channels), *scaled, nn.Conv2d(channels, number, 1), nn.ReLU())
