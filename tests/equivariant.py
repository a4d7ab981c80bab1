"""Networks of a few lines, whose answers to turned and mirrored images are the turned and mirrored answers."""

import numpy as np
import torch
from random_instances import rle_of
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from seg.data.sample import ClassInfo, Prediction
from seg.tiles.network import Facts

CLASSES = tuple(ClassInfo(name, (40 * k, 20, 200 - 40 * k)) for k, name in enumerate(("background", "cell", "crack", "dust")))


class Pixels:
    """A semantic network; its logits are whole numbers: of the channels and of what surrounds a pixel. lopsided: to the left as well."""

    facts = Facts("semantic", CLASSES, 3, 4, None)

    def __init__(self, lopsided: bool = False) -> None:
        self.lopsided, self.batches = lopsided, []

    def logits(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        x = (images // 32).float()
        around = F.max_pool2d(x, 3, stride=1, padding=1)
        last = x[:, :1] - F.pad(x, (1, 0))[:, :1, :, :-1] if self.lopsided else x[:, :1]
        return torch.cat([x[:, 1:] - 3, around[:, :1] - 4, last], dim=1)

    def predict(self, images: Tensor) -> list[Prediction]:
        raise AssertionError("of a semantic network the logits are merged")


class Blobs:
    """An instance network: connected regions of each of three levels of brightness, scored by their size; boxes stand off by a quarter."""

    facts = Facts("instance", CLASSES, 3, 1, None)

    def logits(self, images: Tensor) -> Tensor:
        raise TypeError

    def predict(self, images: Tensor) -> list[Prediction]:
        return [self._one(image) for image in images.numpy()]

    def _one(self, image: np.ndarray) -> Prediction:
        found = []
        for category in (1, 2, 3):
            numbers, count = ndimage.label(image[0] // 64 == category)
            for number in range(1, count + 1):
                ys, xs = np.nonzero(numbers == number)
                box = [xs.min() - 0.25, ys.min() - 0.25, xs.max() + 1.25, ys.max() + 1.25]
                found.append((1 - 1 / (1.5 + len(ys)), category, box, rle_of(numbers == number)))
        found.sort(key=lambda entry: -entry[0])
        return Prediction(
            scores=np.array([f[0] for f in found], np.float32),
            categories=np.array([f[1] for f in found], np.int32),
            boxes=np.array([f[2] for f in found], np.float32).reshape(-1, 4),
            masks=[f[3] for f in found],
        )
