"""A network that sees large images in overlapping tiles."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from seg.data.labelmaps import merged
from seg.data.sample import Prediction
from seg.tiles.bands import joined, predict_bands
from seg.tiles.batches import ArrayRows, Rows
from seg.tiles.grid import Tiling
from seg.tiles.network import Network
from seg.tiles.stitching import predict_instances


class Tiled:
    """Images larger than a tile are cut into tiles, whose answers are blended, or whose instances are joined; others are seen whole.

    batch_size: tiles at once. blend: `logits` or `probabilities`. min_iou: of two views of one object, see `stitching.stitch`.
    """

    def __init__(self, network: Network, tiling: Tiling, batch_size: int, blend: str, min_iou: float) -> None:
        self.network, self.tiling, self.batch_size, self.blend, self.min_iou = network, tiling, batch_size, blend, min_iou
        self.facts = network.facts

    def logits(self, images: Tensor) -> Tensor:
        """In memory, of whole images. Blended probabilities are given as their logarithm, whose softmax they are."""
        if not self._is_large(images):
            return self.network.logits(images)
        return torch.stack([torch.from_numpy(self._values(rows)) for rows in _rows(images)])

    def predict(self, images: Tensor) -> list[Prediction]:
        if not self._is_large(images):
            return self.network.predict(images)
        predict: Callable[[Rows], Prediction] = self._class_map if self.facts.dense else self._instances
        return [predict(rows) for rows in _rows(images)]

    def _is_large(self, images: Tensor) -> bool:
        return images.shape[-2] > self.tiling.tile[0] or images.shape[-1] > self.tiling.tile[1]

    def _class_map(self, rows: Rows) -> Prediction:
        height, width, _ = rows.shape
        return joined(predict_bands(self.network, rows, self.tiling, self.batch_size, self.blend), height, width)

    def _instances(self, rows: Rows) -> Prediction:
        found = predict_instances(self.network, rows, self.tiling, self.batch_size, self.min_iou)
        return merged(found, self.facts.things) if self.facts.answer == "segments" else found

    def _values(self, rows: Rows) -> np.ndarray:
        bands = predict_bands(self.network, rows, self.tiling, self.batch_size, self.blend, keep_values=True)
        values = np.concatenate([band.values for band in bands if band.values is not None], axis=1)
        return np.log(np.maximum(values, np.finfo(np.float32).tiny)) if self.blend == "probabilities" else values


def in_window(network: Network, batch_size: int) -> Network:
    """A network as training validates it: images larger than its window in tiles of that size, `batch_size` at once; others whole."""
    size = network.facts.window
    return Tiled(network, window_tiling(size), batch_size, BLEND, MIN_IOU) if size else network


def window_tiling(size: int) -> Tiling:
    """The tiles of a network's own window; conf/predict has the same values."""
    return Tiling((size, size), overlap=0.25, sigma=0.125, margin=0, padding="reflect")


BLEND, MIN_IOU = "probabilities", 0.5
"""How tiles of a network's own window are joined."""


def _rows(images: Tensor) -> list[Rows]:
    return [ArrayRows(np.ascontiguousarray(image)) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
