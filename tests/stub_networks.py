"""Networks for predictions that need no training: of given layers, and one that knows the truth."""

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.sample import ClassInfo, Prediction
from seg.tiles.network import Facts

CLASSES = (ClassInfo("ground", (0, 0, 0)), ClassInfo("cell", (250, 0, 0)), ClassInfo("grain", (0, 250, 0)))


class Layers:
    """A semantic network of any layers, which pads to its stride by the edge as the project's models do."""

    def __init__(self, layers: nn.Module, stride: int = 1, channels: int = 3) -> None:
        self.layers, self.facts = layers.eval(), Facts("semantic", CLASSES, channels, stride, None)
        self.batches: list[int] = []

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        height, width = images.shape[-2:]
        stride = self.facts.stride
        x = F.pad(images.float() / 16, (0, -width % stride, 0, -height % stride), mode="replicate")
        return self.layers(x)[..., :height, :width].contiguous(memory_format=torch.channels_last)

    def predict(self, images: Tensor) -> list[Prediction]:
        raise NotImplementedError


def whole(layers: nn.Module, seed: int = 0) -> nn.Module:
    """The same layers with small whole numbers for weights: in float32 their sums are exact, in any order."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in layers.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape, generator=generator).float()
    return layers


class Truth:
    """An instance network that sees in an image's first two channels the ids (low and high byte) of the objects that are there."""

    def __init__(self, categories: dict[int, int] | None = None, scores: dict[int, float] | None = None) -> None:
        self.categories, self.scores = categories or {}, scores or {}
        self.facts = Facts("instance", CLASSES, 3, 8, None)

    def logits(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def predict(self, images: Tensor) -> list[Prediction]:
        return [self._of(image[0].astype(int) + 256 * image[1].astype(int)) for image in images.numpy()]

    def _of(self, ids: np.ndarray) -> Prediction:
        there = [int(i) for i in np.unique(ids) if i]
        return Prediction(
            scores=np.array([self.scores.get(i, 0.5) for i in there], np.float32),
            categories=np.array([self.categories.get(i, 1) for i in there], np.int32),
            boxes=np.zeros((len(there), 4), np.float32),
            masks=[coco_mask.encode(np.asfortranarray((ids == i).astype(np.uint8))) for i in there],
        )


def shown(ids: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) in which `Truth` sees an id map (H, W)."""
    return np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=2).astype(np.uint8)
