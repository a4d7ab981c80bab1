"""Mask classification for objects: each query that is sure of a class is one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.rle import encode_crop
from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.models.base import Floats, Scale, Size, first_label
from seg.models.masks.base import MaskClassification, check_parts, lookup

LEAST = 0.01  # the score from which on a query is given as an instance


class ObjectModel(MaskClassification):
    """Each query's best class, with the papers' score: the class's probability times the mean of the mask's, where it is over a half."""

    def __init__(
        self, network: nn.Module, loss: Any, class_names: Sequence[str], mean: Floats, std: Floats, stride: int, scale: Scale
    ) -> None:
        check_parts(network, loss)
        super().__init__(mean, std, stride, scale)
        self.network, self.loss = network, loss
        self.first = 1 - first_label(class_names)  # the class of the network's first output: a background is no object
        self.num_classes = len(class_names) - self.first

    def labels(self, batch: Batch, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What lies in a crowd alone counts nowhere; with a background so does what is neither that nor an object."""
        ids, kept = batch.instances[index], batch.objects[index]
        wanted = (kept + 1).to(ids.dtype)
        ignored = lookup(ids, batch.crowds[index])
        if self.first or self.things is not None:
            ignored = ignored | (batch.semantic[index] == IGNORE)
        return ids, wanted, batch.categories[index][kept].long() - self.first, ignored & ~lookup(ids, wanted)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        x, ((height, width), *_) = self.network_input(images)
        given = self.network(x)
        sizes = ((x.shape[-2], x.shape[-1]), (height, width), (images.shape[-2], images.shape[-1]))
        return [self._prediction(c.float(), m.float(), *sizes) for c, m in zip(given["classes"][-1], given["masks"][-1], strict=True)]

    def _prediction(self, classes: Tensor, masks: Tensor, padded: Size, seen: Size, stored: Size) -> Prediction:
        """Logits (Q, K + 1) and (Q, h, w) of an image -> its instances. padded, seen: the network's image, and that without padding."""
        scores, kinds = classes.softmax(dim=-1)[:, :-1].nan_to_num().max(dim=-1)
        found: list[tuple[Any, ...]] = []  # score, class, mask and box
        for query in (scores >= LEAST).nonzero()[:, 0].tolist():
            logits = F.interpolate(masks[None, query : query + 1], padded, mode="bilinear")[..., : seen[0], : seen[1]]
            logits = (logits if seen == stored else F.interpolate(logits, stored, mode="bilinear"))[0, 0]
            mask = logits > 0
            rows, columns = (mask.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
            if not len(rows):
                continue
            top, bottom, left, right = (int(v) for v in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
            score = float(scores[query] * logits[mask].sigmoid().mean())
            rle = encode_crop(mask[top:bottom, left:right].cpu().numpy(), left, top, *stored)
            found.append((score, int(kinds[query]) + self.first, rle, [left, top, right, bottom]))
        found.sort(key=lambda one: -one[0])
        sure, categories, rles, boxes = ([one[column] for one in found] for column in range(4))
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        return Prediction(None, None, np.array(sure, np.float32), np.array(categories, np.int32), corners, rles)
