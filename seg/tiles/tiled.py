"""A network that sees large images in overlapping tiles; and a semantic network's prediction of an image of any size, in bands of finished
rows: memory does not depend on the image's height."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seg.data.labelmaps import merged
from seg.data.sample import CERTAIN, Prediction
from seg.models.semantic import most_probable
from seg.tiles.grid import ArrayRows, Grid, Rows, Tiling, batches, grid, read_ahead
from seg.tiles.network import Network
from seg.tiles.stitching import predict_instances

AT_ONCE = 1 << 22  # values whose classes are decided at once
BLEND, MIN_IOU = "probabilities", 0.5  # how tiles of a network's own window are joined


@dataclass(frozen=True, slots=True)
class Band:
    """Finished rows of an image of width W, from row `top` on. classes: (h, W) uint8. confidence: (h, W) uint16, the probability of the
    class in 1/65535. values: (K, h, W) float32, what was blended: logits or probabilities; None where it was not asked for."""

    top: int
    classes: np.ndarray
    confidence: np.ndarray
    values: np.ndarray | None


def predict_bands(network: Network, rows: Rows, tiling: Tiling, batch_size: int, blend: str, keep_values: bool = False) -> Iterator[Band]:
    """The image's rows from the top to the bottom, each once. blend: "logits" or "probabilities", of which overlapping tiles are averaged,
    weighed as `tiling` says: the mean of logits is, up to a factor, the geometric mean of probabilities. keep_values: whether bands have
    them. ArgumentError, at the first band, where `tiling` does not go with the network's stride."""
    height, width, _ = rows.shape
    tiles = grid(tiling, height, width, network.facts.stride)
    ring: _Ring | None = None
    for places, images in read_ahead(batches(rows, tiles, tiling.padding, batch_size)):
        logits = network.logits(images)
        if ring is None:
            ring = _Ring(tiles, logits.shape[1], logits.device, blend == "probabilities")
        for (row, column), values in zip(places, logits, strict=True):
            if tiles.rows.starts[row] > ring.top:
                yield ring.finish(tiles.rows.starts[row], keep_values)
            ring.add(values, row, column)
        del logits, values  # before the network needs as much again
    if ring is not None:
        yield ring.finish(height, keep_values)


def joined(bands: Iterable[Band], height: int, width: int) -> Prediction:
    """The bands of an image of (height, width) pixels as one Prediction."""
    classes, confidence = np.empty((height, width), np.uint8), np.empty((height, width), np.uint16)
    for band in bands:
        rows = slice(band.top, band.top + len(band.classes))
        classes[rows], confidence[rows] = band.classes, band.confidence
    return Prediction(semantic=classes, confidence=confidence)


class _Ring:
    """Sums of weighted tiles, over as many rows as a tile has: row y of the image lies in row y % tile. All is on the network's device."""

    def __init__(self, tiles: Grid, num_classes: int, device: torch.device, as_probabilities: bool) -> None:
        self.tiles, self.as_probabilities, self.top = tiles, as_probabilities, 0
        self.sums = torch.zeros(num_classes, tiles.rows.tile, tiles.columns.length, device=device)
        sides = tiles.rows, tiles.columns
        self.row_weights, self.column_weights = ([torch.from_numpy(w).to(device) for w in side.weights] for side in sides)

    @torch.inference_mode()
    def add(self, values: Tensor, row: int, column: int) -> None:
        """The logits (K, h, w) of a tile."""
        if self.as_probabilities:
            values = values.softmax(dim=0)
        top, left = self.tiles.rows.starts[row], self.tiles.columns.starts[column]
        weights = torch.outer(self.row_weights[row], self.column_weights[column])
        for start, stop in self._parts(top, top + self.tiles.rows.tile):
            ours = self.sums[:, self._place(start) : self._place(start) + stop - start, left : left + self.tiles.columns.tile]
            ours.addcmul_(values[:, start - top : stop - top], weights[start - top : stop - top])

    @torch.inference_mode()
    def finish(self, until: int, keep_values: bool) -> Band:
        """The rows before `until`, whose place is free then."""
        top, height, width = self.top, until - self.top, self.tiles.width
        classes, confidence = np.empty((height, width), np.uint8), np.empty((height, width), np.uint16)
        kept = np.empty((len(self.sums), height, width), np.float32) if keep_values else None
        at_once = max(1, AT_ONCE // self.sums[:, 0].numel())
        for first, last in self._parts(top, until):
            for start in range(first, last, at_once):
                stop = min(start + at_once, last)
                sums = self.sums[:, self._place(start) : self._place(start) + stop - start]
                ours, rows = sums[None, :, :, :width], slice(start - top, stop - top)
                decided = _highest(ours) if self.as_probabilities else most_probable(ours)
                classes[rows], confidence[rows] = (part[0].cpu().numpy() for part in decided)
                if kept is not None:
                    kept[:, rows] = ours[0].cpu().numpy()
                sums.zero_()
        self.top = until
        return Band(top, classes, confidence, kept)

    def _place(self, y: int) -> int:
        return y % self.tiles.rows.tile

    def _parts(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Rows of the image, cut where the ring begins anew."""
        turn = -(-stop // self.tiles.rows.tile) * self.tiles.rows.tile - self.tiles.rows.tile
        return [(start, turn), (turn, stop)] if start < turn else [(start, stop)]


def _highest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """As `most_probable`, of probabilities (B, K, H, W)."""
    highest, classes = probabilities.max(dim=1)
    return classes.to(torch.uint8), highest.mul(CERTAIN).nan_to_num_(0).round_().clamp_(0, CERTAIN).to(torch.int32)


class Tiled:
    """Images larger than a tile are cut into tiles, whose answers are blended, or whose instances are joined; others are seen whole.
    batch_size: tiles at once. blend: `logits` or `probabilities`. min_iou: of two views of one object, see `stitching.stitch`."""

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


def _rows(images: Tensor) -> list[Rows]:
    return [ArrayRows(np.ascontiguousarray(image)) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
