"""The loss of mask classification (Cheng et al. 2022): each object is given to one query, which learns its class and, at points, its mask.

Labels are looked up in the id map at the points alone, so that there is never a mask for every object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.masks.networks import Queries

NEVER = -1e4  # the logit of a pixel that is ignored: it is none of the mask, and nothing can be learned from it


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects of an image: ids (H, W, L) int, of which `wanted` (N,) are objects of the classes (N,) int64; ignored (H, W) bool.

    size: (width, height) in pixels of the map of what the network saw, with its padding, (2,) float32. seen: (height, width) without it."""

    ids: Tensor
    wanted: Tensor
    classes: Tensor
    ignored: Tensor
    size: Tensor
    seen: tuple[int, int]

    def labels(self, points: Tensor) -> Tensor:
        """The share of each object at points (M, P, 2) of the network's image, x and y in 0..1, interpolated between the four nearest
        pixels: (N, P) float32. M: 1, or N for points of its own for each object."""
        place = points * self.size - 0.5
        low = place.floor()
        after = place - low
        found = torch.zeros(len(self.wanted), points.shape[1], device=points.device)
        for x, y in product((0, 1), (0, 1)):
            column, row = (low[..., axis].long() + step for axis, step in ((0, x), (1, y)))
            share = (after[..., 0] if x else 1 - after[..., 0]) * (after[..., 1] if y else 1 - after[..., 1])
            height, width = self.seen
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            there = self.ids[row.clamp(0, height - 1), column.clamp(0, width - 1)]
            found += (there == self.wanted[:, None, None]).any(dim=-1) * (share * inside)
        return found

    def hidden(self, points: Tensor) -> Tensor:
        """Whether points (M, P, 2) count nowhere: (M, P) bool, True for padding too."""
        column, row = (points * self.size).long().unbind(-1)
        height, width = self.seen
        outside = (column >= width) | (row >= height)
        return outside | self.ignored[row.clamp(max=height - 1), column.clamp(max=width - 1)]


class MaskLoss(nn.Module):
    """The three terms, summed over the layers, with the weights that count in the matching as well.

    classifier, mask, dice: the weights of the cross-entropy of classes, of the masks' binary cross-entropy, of their Dice loss. no_object:
    how much a query without an object counts in the cross-entropy of classes. points: at how many points of a mask its loss is taken, at
    most: never more than the network's masks have cells. oversample: times as many points are drawn, of which the least certain are kept.
    uncertain: the share of the points that are such; the others lie anywhere."""

    def __init__(
        self, classifier: float, mask: float, dice: float, no_object: float, points: int, oversample: float, uncertain: float
    ) -> None:
        super().__init__()
        self.weights = {"classifier": classifier, "mask": mask, "dice": dice}
        self.no_object, self.points, self.oversample, self.uncertain = no_object, points, oversample, uncertain
        if min(*self.weights.values(), no_object) < 0 or points < 1 or oversample < 1 or not 0 <= uncertain <= 1:
            raise ConfigError("loss: expected weights of 0 or more, points and oversample of 1 or more, and a share `uncertain` in 0..1")

    def forward(self, queries: Queries, truths: Sequence[Truth]) -> dict[str, Tensor]:
        """What the layers say of a batch, and the truth of each image -> the named terms, each a scalar float32."""
        layers = [self._layer(c.float(), m.float(), truths) for c, m in zip(queries["classes"], queries["masks"], strict=True)]
        return {name: weight * torch.stack([layer[name] for layer in layers]).sum() for name, weight in self.weights.items()}

    def _layer(self, classes: Tensor, masks: Tensor, truths: Sequence[Truth]) -> dict[str, Tensor]:
        from transformers.models.mask2former.modeling_mask2former import dice_loss, sigmoid_cross_entropy_loss

        nothing = classes.shape[-1] - 1
        wanted = torch.full(classes.shape[:2], nothing, device=classes.device)
        count = max(1, sum(len(truth.wanted) for truth in truths))
        mask = dice = masks.sum() * 0
        for image, truth in enumerate(truths):
            if not len(truth.wanted):
                continue
            chosen, objects = self._match(classes[image].detach(), masks[image].detach(), truth)
            wanted[image, chosen] = truth.classes[objects]
            own = masks[image, chosen]
            points = self._points(own.detach())
            shares = replace(truth, wanted=truth.wanted[objects]).labels(points)
            logits, labels = _hide(_at(own[:, None], points)[:, 0], shares, truth.hidden(points))
            mask = mask + sigmoid_cross_entropy_loss(logits, labels, count)
            dice = dice + dice_loss(logits, labels, count)
        share = torch.ones(nothing + 1, device=classes.device)
        share[-1] = self.no_object
        return {"classifier": F.cross_entropy(classes.transpose(1, 2), wanted, share), "mask": mask, "dice": dice}

    @torch.no_grad()
    def _match(self, classes: Tensor, masks: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
        """The queries (M,) that fit objects (M,) best together, at points that are the same for all."""
        from transformers.models.mask2former.modeling_mask2former import pair_wise_dice_loss, pair_wise_sigmoid_cross_entropy_loss

        points = torch.rand(1, self._count(masks), 2, device=masks.device)
        logits, labels = _hide(_at(masks[None], points)[0], truth.labels(points), truth.hidden(points))
        cost = -self.weights["classifier"] * classes.softmax(-1)[:, truth.classes]
        cost += self.weights["mask"] * pair_wise_sigmoid_cross_entropy_loss(logits, labels)
        cost += self.weights["dice"] * pair_wise_dice_loss(logits, labels)
        most = torch.finfo(cost.dtype).max
        rows, columns = linear_sum_assignment(cost.nan_to_num(most, most, most).cpu().numpy())
        return torch.as_tensor(rows, device=masks.device), torch.as_tensor(columns, device=masks.device)

    @torch.no_grad()
    def _points(self, masks: Tensor) -> Tensor:
        """(N, P, 2) points of masks (N, h, w), x and y in 0..1: mostly where the masks are least certain (Kirillov et al. 2020)."""
        count = self._count(masks)
        kept = int(self.uncertain * count)
        drawn = torch.rand(len(masks), int(count * self.oversample), 2, device=masks.device)
        least = _at(masks[:, None], drawn)[:, 0].abs().topk(kept, dim=1, largest=False).indices
        anywhere = torch.rand(len(masks), count - kept, 2, device=masks.device)
        return torch.cat([drawn.gather(1, least[..., None].expand(-1, -1, 2)), anywhere], dim=1)

    def _count(self, masks: Tensor) -> int:
        return min(self.points, masks.shape[-2] * masks.shape[-1])


def _at(masks: Tensor, points: Tensor) -> Tensor:
    """Masks (A, B, h, w) at points (A, P, 2): (A, B, P)."""
    return F.grid_sample(masks, 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def _hide(logits: Tensor, labels: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    return logits.masked_fill(hidden, NEVER), labels.masked_fill(hidden, 0)
