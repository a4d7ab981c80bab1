"""Panoptic FPN (Kirillov et al. 2019) behind the seam: Mask R-CNN for things, and a branch of its pyramid for the class of each pixel."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.labelmaps import boxes_of, encode, merged
from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.models.base import Scale, Size, Subject
from seg.models.rcnn import RegionModel, Target


class PanopticModel(RegionModel):
    """A Mask R-CNN with a branch for the class of each pixel; things and stuff become segments of which no two share a pixel.

    things: the class indices that have instances; other classes are stuff. thing_score: things of a lower score are left out before the
    segments are made."""

    LOSS = "panoptic"
    things: list[int]
    is_thing: Tensor

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        scale: Scale,
        things: Sequence[int],
        thing_score: float,
    ) -> None:
        super().__init__(network, loss, class_names, mean, std, stride, scale)
        self.things = list(things)
        self.thing_score = thing_score
        self.register_buffer("is_thing", torch.tensor([c in self.things for c in range(len(class_names))]), persistent=False)

    def target(self, batch: Batch, index: int, size: tuple[int, int]) -> Target:
        found = super().target(batch, index, size)
        things = self.is_thing[found["labels"] - self.first_label]
        return found | {key: found[key][things] for key in ("boxes", "labels", "ids")}

    def further_losses(self, features: dict[str, Tensor], batch: Batch, sizes: Sequence[Size]) -> dict[str, Tensor]:
        return {"semantic": self._semantic_loss(self.network.semantic(features), batch, sizes)}

    def _semantic_loss(self, logits: Tensor, batch: Batch, sizes: Sequence[Size]) -> Tensor:
        """The mean cross-entropy of all pixels that have a class."""
        total, count = logits.new_zeros((), dtype=torch.float32), logits.new_zeros((), dtype=torch.float32)
        for one, labels, seen, (height, width) in zip(logits, batch.semantic, sizes, batch.sizes, strict=True):
            truth = labels[:height, :width].long()
            known = truth != IGNORE
            wanted = torch.where(known, truth + self.first_label, IGNORE)
            total = total + F.cross_entropy(_whole(one, seen, (height, width)), wanted[None], ignore_index=IGNORE, reduction="sum")
            count = count + known.sum()
        return total / count.clamp(min=1)

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """Of a thing as of `RegionModel`; of stuff the mean logit of the class over the region."""
        if subject.category in self.things:
            return super().evidence(x, size, subject)
        logits = self.network.semantic(self.network.backbone(x))[:, subject.category + self.first_label, None]
        full = F.interpolate(logits, scale_factor=4.0, mode="bilinear")[:, 0, : size[0], : size[1]]
        return subject.mean(full.float())

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        x, sizes = self.network_input(images)
        stored = (images.shape[-2], images.shape[-1])
        features = self.network.backbone(x)
        found = zip(self.instances(x, features, sizes, stored), self.network.semantic(features), strict=True)
        return [self._segments(things, _whole(logits, sizes[0], stored)[0]) for things, logits in found]

    def _segments(self, things: Prediction, logits: Tensor) -> Prediction:
        """things: instances. logits: (K, H, W) of the labels of all classes."""
        confidence, classes = logits.softmax(dim=0)[self.first_label :].max(dim=0)
        sure, seen = confidence.cpu().numpy(), classes.cpu().numpy()
        stuff = [int(c) for c in np.unique(seen) if c not in self.things]
        ids = np.zeros((*seen.shape, 1), np.int32)
        for number, index in enumerate(stuff, start=1):
            ids[seen == index] = number
        scores = np.append(things.scores, [sure[seen == c].mean() for c in stuff]).astype(np.float32)
        categories = np.append(things.categories, stuff).astype(np.int32)
        boxes = np.concatenate([things.boxes, boxes_of(ids, len(stuff))]).astype(np.float32)
        found = Prediction(None, None, scores, categories, boxes, [*things.masks, *encode(ids, len(stuff))])
        return merged(found, self.things, self.thing_score)


def _whole(logits: Tensor, seen: tuple[int, int], stored: tuple[int, int]) -> Tensor:
    """Logits of one image (K, h, w) at the stride 4, padded -> (1, K, H, W) at its stored size; `seen`: its size in the network."""
    height, width = logits.shape[-2:]
    full = F.interpolate(logits[None], (4 * height, 4 * width), mode="bilinear")[..., : seen[0], : seen[1]]
    return full if seen == stored else F.interpolate(full, stored, mode="bilinear", antialias=True)
